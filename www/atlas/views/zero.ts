/** View 8: the zero-layer model, each token's embedding straight into the unembedding; who returns another token? */
import { button, element } from "../../ui/dom.ts";
import { decimal, integer, percent } from "../../lib/format.ts";
import { NO_TOKEN } from "../../reading/reading.ts";
import { GROUPS, straysOf } from "../stats/returned-tokens.ts";
import { aboutText, flopOf, flopText, rowsFor, stepFor } from "../stats/cost.ts";
import { choiceOf, fieldOf } from "../../ui/fields.ts";
import { createLatest } from "../../lib/latest.ts";
import { createTokenTable, tokenButton } from "../token-table.ts";
import { positionProblem, settingWords } from "../stats/zero-layer-text.ts";
import { createNext } from "./next.ts";
import type { Shown, Stage, View } from "../types.ts";
import type { Stray } from "../stats/returned-tokens.ts";
import type { Watch } from "../queries.ts";

const SAMPLE_STEP = 64;
/** Single precision, summed in another order. */
const NEAR = 1e-3;
const QUICK_MS = 10_000;
/** Rows that are asked for at once, for the products of the tokens in the list. */
const PAIRS = 1024;

export type Line = Stray & {
  norm: number;
  norm_returned: number;
  dot: number;
  dot_returned: number;
  /** of the token's embedding u and that of what it returns, v */
  cosine: number;
  /** |v|/|u| */
  ratio: number;
};

export const view: View = { name: "zero", title: "Zero-layer model", needs: ["wte"], create };

function create(stage: Stage): Shown {
  const { ask, selection, options } = stage;
  const latest = createLatest();
  const card = stage.card({ name: "zero-layer", title: "Zero-layer model", is_picture: false, csv });
  const next = createNext(stage, () => (problemNow() === "" ? optionsNow() : null));
  const whole = element("div", "atlas-view", card.element, next.element);

  const set = (name: string, value: string | null) => {
    options.set(name, value);
    void show();
  };
  const norm = choiceOf(
    "ln_f",
    [
      ["none", "left out"],
      ["affine", "with gain and bias"],
      ["plain", "without gain and bias"],
    ],
    (value) => set("norm", value === "none" ? null : value),
  );
  const position = fieldOf("wpe of position", "none", (value) => set("position", value.trim() || null), {
    type: "number",
  });
  Object.assign(position.input, { min: "0", step: "1" });
  card.tools.append(norm.element, position.element);

  const cost = element("p", "");
  const all = button("chip main", "All tokens", () => void start(1));
  const some = button("chip", `A sample: every ${SAMPLE_STEP}th`, () => void start(SAMPLE_STEP));
  const before = element("div", "zero-before", cost, element("div", "field-row", all, some));
  const summary = element("p", "atlas-answer");
  const explained = element(
    "p",
    "muted",
    "Space removed: the same bytes without the leading space. Bytes: the token is no text by itself (part of a character, or a control character). Other: all else; a word that returns itself with a space before it is marked “space added”, one that returns a token that is no text “returns bytes”.",
  );
  const filter = choiceOf(
    "Show",
    [["all", "all groups"], ...GROUPS.map((name) => [name, name] as [string, string])],
    (value) => {
      options.set("group", value === "all" ? null : value);
      fill();
    },
  );
  const groups = element("p", "muted zero-groups");
  const result = element("div", "zero-result", summary, groups, explained, element("div", "field-row", filter.element));
  result.hidden = true;
  card.body.append(before, result);
  let listing: ReturnType<typeof createTokenTable<Line>> | null = null;
  let lines: Line[] = [];
  let shown: string[] = [];
  /** What a sample took, in ms a row, by the options it was taken under. */
  const measured: Map<string, number> = new Map();
  let is_logit = false;
  /** What is under way, and what is shown: a run goes on while somebody looks at another view. */
  let running: string | null = null;
  let done: string | null = null;

  function optionsNow(): { norm: "none" | "plain" | "affine"; position: number | null } {
    const wanted = options.get("norm");
    const place = options.get("position");
    return {
      norm: wanted === "affine" || wanted === "plain" ? wanted : "none",
      position: place !== null && /^\d{1,7}$/.test(place) ? Number(place) : null,
    };
  }

  const problemNow = () => positionProblem(options.get("position"), Number(ask.facts.n_ctx) || 0);
  const size = () => ({ n_tokens: Number(ask.facts.vocab_size), n_channels: Number(ask.facts.n_embd) });
  const key = () => JSON.stringify(optionsNow());

  async function show() {
    const now = optionsNow();
    norm.select.value = now.norm;
    const n_ctx = Number(ask.facts.n_ctx) || 0;
    position.input.max = n_ctx > 0 ? String(n_ctx - 1) : "";
    position.input.value = options.get("position") ?? "";
    filter.select.value = options.get("group") ?? "all";
    norm.select.disabled = !ask.has("norms");
    position.input.disabled = !ask.has("wpe");
    void next.show();
    const problem = problemNow();
    before.hidden = problem !== "";
    if (problem !== "") {
      const isCurrent = latest.begin();
      forget();
      card.setWords("");
      // Overtakes what is under way, which would speak of another setting.
      await card.run(async () => {});
      if (isCurrent()) card.say(problem);
      return;
    }
    card.setWords(
      `For every token the arg-max of its logits without any block: ${settingWords(now)}, straight into the unembedding. Tokens that return another one are listed.`,
    );
    if (running === key()) return;
    if (done === key()) return fill();
    const isCurrent = latest.begin();
    forget();
    const step = Number(options.get("step"));
    await card.run(async (watch) => {
      ({ shown } = await ask.vocabulary());
      if (!isCurrent()) return;
      const is_known = measured.has(key());
      sayCost(!is_known);
      if (is_known) return;
      const { n_tokens } = size();
      const small = stepFor(n_tokens);
      // The first run builds what later ones have already: only the second one tells how long a row takes.
      await ask.zero_layer({ ...now, step: n_tokens - 1 }, watch);
      const begin = performance.now();
      await ask.zero_layer({ ...now, step: small }, watch);
      if (isCurrent()) measured.set(key(), (performance.now() - begin) / rowsFor(n_tokens, small));
    });
    // Also where the timing failed or was cancelled.
    if (isCurrent() && shown.length > 0) sayCost(false);
    // What an address asks for starts by itself only if nobody has to wait for it.
    const per_row = measured.get(key());
    if (
      isCurrent() &&
      step >= 1 &&
      Number.isInteger(step) &&
      per_row !== undefined &&
      per_row * rowsFor(shown.length, step) < QUICK_MS
    )
      void start(step);
  }

  /** Nothing of another setting stays, here or in the CSV. */
  function forget() {
    result.hidden = true;
    [running, done] = [null, null];
    [all.disabled, some.disabled] = [false, false];
    lines = [];
    listing?.show([]);
  }

  function sayCost(is_timing: boolean) {
    const { n_tokens, n_channels } = size();
    const per_row = measured.get(key());
    const about = (n_rows: number) => (per_row === undefined ? "" : ` · ${aboutText(per_row * n_rows)} here`);
    cost.textContent = `All ${integer(n_tokens)} tokens: 2·V²·C = ${flopText(flopOf(n_tokens, n_channels))}${about(n_tokens)}. A sample of every ${SAMPLE_STEP}th, ${integer(rowsFor(n_tokens, SAMPLE_STEP))} tokens: ${flopText(flopOf(n_tokens, n_channels, rowsFor(n_tokens, SAMPLE_STEP)))}${about(rowsFor(n_tokens, SAMPLE_STEP))}.${is_timing ? " A few rows are being timed to say how long it takes." : ""}`;
  }

  async function start(step: number) {
    const isCurrent = latest.begin();
    const now = optionsNow();
    options.set("step", String(step));
    forget();
    running = key();
    const mine = running;
    sayCost(false);
    [all.disabled, some.disabled] = [true, true];
    await card.run(
      async (watch) => {
        // What follows the arg-max is quick, unless the list is long.
        const share = (from: number, to: number) => ({
          signal: watch.signal,
          onProgress: ({ done }: { done: number }) => watch.onProgress({ done: from + done * (to - from) }),
        });
        const [found, norms, vocabulary] = await Promise.all([
          ask.zero_layer({ ...now, step }, share(0, 0.98)),
          ask.norms({ signal: watch.signal }),
          ask.vocabulary(),
        ]);
        const strays = straysOf(found, step, vocabulary);
        // A model may scale its embedding, or have another matrix or a bias at its end: then a logit is no dot product either.
        is_logit =
          now.norm !== "none" ||
          now.position !== null ||
          strays.some(({ id, self_logit }) => Math.abs(self_logit - norms[id] ** 2) > NEAR * norms[id] ** 2);
        const products = await productsOf(strays, share(0.98, 1));
        if (!isCurrent()) return;
        ({ shown } = vocabulary);
        lines = strays.map((stray, i) => {
          const [norm, norm_returned] = [norms[stray.id], norms[stray.returned]];
          return {
            ...stray,
            norm,
            norm_returned,
            dot: norm ** 2,
            dot_returned: products[i],
            cosine: products[i] / (norm * norm_returned),
            ratio: norm_returned / norm,
          };
        });
        describe(found.argmax, step);
        fill();
        result.hidden = false;
        done = mine;
      },
      () => void start(step),
    );
    if (!isCurrent()) return;
    running = null;
    [all.disabled, some.disabled] = [false, false];
  }

  /** The dot product of each token with the one it returns. */
  async function productsOf(strays: Stray[], { signal, onProgress }: Watch) {
    if (!is_logit) return strays.map(({ logit }) => logit);
    const products = [];
    for (let from = 0; from < strays.length; from += PAIRS) {
      const some = strays.slice(from, from + PAIRS);
      const rows = await ask.rows(
        some.flatMap(({ id, returned }) => [id, returned]),
        { signal },
      );
      const n = rows.length / (2 * some.length);
      for (let i = 0; i < some.length; i++) {
        let sum = 0;
        for (let c = 0; c < n; c++) sum += rows[2 * i * n + c] * rows[(2 * i + 1) * n + c];
        products.push(sum);
      }
      onProgress?.({ done: products.length / strays.length });
    }
    return products;
  }

  function describe(argmax: Uint32Array, step: number) {
    const n_rows = argmax.length;
    const n_bad = argmax.filter((id) => id === NO_TOKEN).length;
    const n_same = n_rows - n_bad - lines.length;
    const not_finite = n_bad > 0 ? ` ${integer(n_bad)} have logits that are not finite.` : "";
    summary.textContent = `${integer(n_same)} of ${integer(n_rows)} tokens${step > 1 ? ` (every ${step}th)` : ""} return themselves: ${percent(n_same / n_rows)}.${not_finite}${lines.length > 0 ? ` ${integer(lines.length)} do not:` : ""}`;
    const counts = GROUPS.map((name) => `${name} ${integer(lines.filter(({ group }) => group === name).length)}`);
    groups.textContent = lines.length > 0 ? counts.join(" · ") : "";
  }

  function columns() {
    const number = (name: string, title: string, of: (line: Line) => number) => ({
      name,
      title,
      by: of,
      show: (line: Line) => decimal(of(line), 3),
    });
    return [
      {
        name: "token",
        by: ({ id }: Line) => id,
        show: ({ id }: Line) => tokenButton(id, shown[id], selection),
        class_name: "token",
      },
      {
        name: "returns",
        by: ({ returned }: Line) => returned,
        show: ({ returned }: Line) => tokenButton(returned, shown[returned], selection),
        class_name: "token",
      },
      { name: "group", by: (line: Line) => groupName(line), show: groupName, class_name: "left" },
      number("norm", "length of the token’s embedding", ({ norm: of }) => of),
      number("norm of returned", "length of the embedding of what it returns", ({ norm_returned }) => norm_returned),
      number("dot with itself", "dot product of the embedding with itself", ({ dot }) => dot),
      number("dot with returned", "dot product of the two embeddings", ({ dot_returned }) => dot_returned),
      number("cos(u, v)", "cosine of the token’s embedding u and that of what it returns, v", ({ cosine }) => cosine),
      number("|v|/|u|", "length of the embedding of what it returns over the token’s own", ({ ratio }) => ratio),
      ...(is_logit
        ? [
            number("own logit", "the token’s own logit under these options", ({ self_logit }) => self_logit),
            number("largest logit", "the logit of what it returns", ({ logit }) => logit),
          ]
        : []),
    ];
  }

  function fill() {
    const group = options.get("group");
    filter.select.value = group ?? "all";
    listing?.element.remove();
    listing = createTokenTable({
      label: "Tokens that do not return themselves",
      columns: columns(),
      selection,
      sort: null,
    });
    result.append(listing.element);
    listing.element.hidden = lines.length === 0;
    filter.element.hidden = lines.length === 0;
    explained.hidden = lines.length === 0;
    listing.show(
      lines
        .filter((line) => group === null || line.group === group)
        .sort((a, b) => GROUPS.indexOf(a.group) - GROUPS.indexOf(b.group) || a.id - b.id),
    );
  }

  function csv() {
    const head = [
      "token_id",
      "token",
      "returned_id",
      "returned",
      "group",
      "norm",
      "norm_returned",
      "dot_self",
      "dot_returned",
      "cosine",
      "norm_ratio",
      "own_logit",
      "largest_logit",
    ];
    return {
      head,
      lines: (listing?.rows() ?? []).map((line) => [
        line.id,
        shown[line.id],
        line.returned,
        shown[line.returned],
        groupName(line),
        line.norm,
        line.norm_returned,
        line.dot,
        line.dot_returned,
        line.cosine,
        line.ratio,
        line.self_logit,
        line.logit,
      ]),
    };
  }

  selection.subscribe(() => listing?.mark());

  return { element: whole, show };
}

const groupName = ({ group, is_space_added, returns_bytes }: Line) =>
  `${group}${is_space_added ? ": space added" : ""}${returns_bytes ? ": returns bytes" : ""}`;
