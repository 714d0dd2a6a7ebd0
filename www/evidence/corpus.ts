/** A corpus instead of a sentence: every curve by row over many windows, with intervals; another model's beside it. */
import { counted, decimal, integer, percent } from "../lib/format.ts";
import { classesOf, textsOf } from "../reading/token-classes.ts";
import { fileName } from "../export/image-file.ts";
import { save } from "../export/save-file.ts";
import { parseEdits } from "../reading/edits.ts";
import { textOf } from "../reading/reading.ts";
import { button, element, optionsOf } from "../ui/dom.ts";
import { checkbox, choiceOf, fieldOf } from "../ui/fields.ts";
import { depthCurves } from "./curves.ts";
import { createTexts } from "./texts.ts";
import type { CorpusPart, Extremes } from "../engine/protocol.ts";
import type { Vocabulary } from "../reading/token-classes.ts";
import type { Store } from "../state/store.ts";
import type { Curve } from "./curves.ts";
import type { Given, Stage } from "./types.ts";

/** What was run, and what came of it. */
type Done = {
  part: CorpusPart;
  extremes: Extremes;
  window: number;
  stride: number;
  lens: string;
  edits: object[];
  classes: string[];
  model: string;
  given: Given;
};

/** Another result, of a file. */
type Ghost = { name: string; rows: CorpusPart["rows"] };

const MEASURES = [
  ["loss", "loss"],
  ["kl", "KL(final ‖ row)"],
  ["entropy", "entropy"],
  ["agreement", "same top-1 as the final row"],
  ["settled", "settled from this row on"],
] as const;
type Measure = (typeof MEASURES)[number][0];

const STORED = "loupe:corpus";
/** Windows by which the time is estimated. */
const TRIAL = 2;
const COLOURS = 8;

export function createCorpus(
  { ask, card }: Stage,
  store: Store,
  page: { vocabulary: (signal: AbortSignal) => Promise<Vocabulary>; setText: (text: string) => void },
) {
  let done: Done | null = null;
  let ghost: Ghost | null = null;
  let by_class = false;

  const figure = card({
    name: "corpus",
    title: "A corpus instead of a sentence",
    words:
      "Every position of many texts, window by window: means by row with 95 % intervals, windows as clusters. Memory does not grow with the texts; a window is read like any text, so the page stays usable meanwhile.",
    csv: () => ({
      head: ["group", "row", "positions", "loss", "low", "high", "kl_final", "entropy", "agreement", "settled"],
      lines: groups().flatMap(([name, rows]) =>
        rows.map(
          ({ tap, n, loss, low, high, kl, entropy, agreement, settled }) =>
            [name, tap, n, loss, low, high, kl, entropy, agreement, settled] as (string | number)[],
        ),
      ),
    }),
    again: () => void run(null),
  });
  const texts = createTexts("Texts of the corpus", () => offerResume());
  const number = (label: string) => {
    const field = fieldOf(label, "", () => {}, { type: "number" });
    Object.assign(field.input, { min: "1", step: "1" });
    return field;
  };
  const window = number("window, tokens");
  const stride = number("stride");
  const lens = choiceOf("lens", [], () => {});
  const measure = choiceOf(
    "measure",
    MEASURES.map(([key, name]) => [key, name]),
    () => draw(),
  );
  const classes = checkbox("by class of the next token", (on) => {
    by_class = on;
    draw();
  });
  const resume = button("chip", "Resume", () => void run(stored()?.state ?? null));
  const ghost_input = element("input", "");
  Object.assign(ghost_input, { type: "file", accept: ".json,application/json", hidden: true });
  ghost_input.setAttribute("aria-label", "Another result as JSON");
  const overlay = button("chip small", "Overlay another result…", () => ghost_input.click());
  const said = element("p", "muted");
  said.setAttribute("role", "status");
  said.dataset.caption = "";
  const picture = element("div", "");
  const table = element("div", "");
  const exits = element("div", "field-row");
  figure.tools.append(
    texts.element,
    window.element,
    stride.element,
    lens.element,
    button("chip main", "Read the corpus", () => void run(null)),
    resume,
    measure.element,
    classes.element,
    overlay,
    ghost_input,
  );
  figure.body.append(said, picture, table, exits);

  const longest = () => Math.max(2, store.n_ctx.peek() || 2);
  const model = () => store.model.peek()?.in_use.name ?? "";

  /** What a run that was broken off has left. */
  function stored(): { key: string; state: string } | null {
    try {
      return JSON.parse(localStorage.getItem(STORED) ?? "null") as { key: string; state: string } | null;
    } catch {
      return null;
    }
  }
  const keyOf = (how: { window: number; stride: number; lens: string }) =>
    JSON.stringify([model(), how.window, how.stride, how.lens, store.edits.peek(), texts.key()]);
  const howNow = () => {
    const most = longest();
    const size = Math.min(most, Math.max(2, Math.floor(Number(window.input.value)) || most));
    const step = Math.min(size, Math.max(1, Math.floor(Number(stride.input.value)) || size));
    return { window: size, stride: step, lens: lens.select.value };
  };
  function offerResume() {
    const left = stored();
    resume.hidden = !left || texts.isEmpty() || left.key !== keyOf(howNow());
  }

  async function run(state: string | null) {
    if (texts.isEmpty()) return figure.say("There are no texts: paste some, or add text files.");
    const how = howNow();
    const edits = parseEdits(store.edits.peek())?.edits ?? [];
    if (edits.some((edit) => !("weights" in edit)))
      return figure.say(
        "Edits of activations belong to one text; only edits of weights can go with a corpus. Remove the others in Causes.",
      );
    const given = texts.get();
    const key = keyOf(how);
    await figure.run(
      async (watch) => {
        const vocabulary = await page.vocabulary(watch.signal);
        const found = classesOf(textsOf(vocabulary), new Set());
        const of_token = new Uint8Array(vocabulary.ends.length);
        found.forEach(({ ids }, i) => ids.forEach((id) => (of_token[id] = i)));
        const question = { ...given, ...how, edits, classes: of_token };
        const names = found.map(({ name }) => name);
        const take = ({ part, extremes }: { part: CorpusPart | null; extremes: Extremes }) => {
          if (!part) return;
          done = { part, extremes, ...how, edits, classes: names, model: model(), given };
          localStorage.setItem(STORED, JSON.stringify({ key, state: part.state }));
          draw();
        };
        // How long it takes is said first. Four bytes are about one token of English.
        const start = performance.now();
        if (state === null) take(await ask("corpus", { ...question, state, limit: TRIAL }, watch));
        const each = (performance.now() - start) / TRIAL;
        const n = Math.max(TRIAL, Math.ceil(texts.bytes() / 4 / how.stride));
        const took = performance.now();
        const total = each * n;
        said.textContent = `About ${counted(n, "window")}, ${inWords(total)}.`;
        const last = await ask(
          "corpus",
          { ...question, state: state ?? done?.part.state ?? null, limit: null },
          {
            ...watch,
            onProgress: ({ part = null, extremes }) => {
              watch.onProgress({ done: state === null ? Math.min(0.99, (performance.now() - took) / total) : NaN });
              if (extremes) take({ part, extremes });
            },
          },
        );
        take(last);
        localStorage.removeItem(STORED);
        draw();
        return true;
      },
      () => void run(stored()?.key === key ? (stored()?.state ?? null) : null),
    );
    offerResume();
  }

  const inWords = (ms: number) =>
    ms < 60_000 ? `about ${Math.max(1, Math.round(ms / 1000))} s` : `about ${Math.round(ms / 60_000)} min`;

  /** All tokens, then each class that has any. */
  const groups = (): [string, CorpusPart["rows"]][] =>
    done
      ? [
          ["all", done.part.rows],
          ...done.part.classes
            .map((rows, i): [string, CorpusPart["rows"]] => [(done as Done).classes[i] ?? String(i), rows])
            .filter(([, rows]) => (rows[0]?.n ?? 0) > 0),
        ]
      : [];

  function draw() {
    measure.element.hidden = classes.element.hidden = overlay.hidden = !done;
    if (!done) {
      picture.replaceChildren();
      table.replaceChildren();
      exits.replaceChildren();
      return;
    }
    const { part, given } = done;
    const which = measure.select.value as Measure;
    const values = (rows: CorpusPart["rows"]) =>
      rows.map((row) => (which === "loss" ? { mean: row.loss, low: row.low, high: row.high } : { mean: row[which] }));
    const curves: Curve[] = (by_class ? groups() : groups().slice(0, 1)).map(([name, rows], i) => ({
      name,
      css: `var(--series-${i % COLOURS})`,
      values: values(rows),
    }));
    if (ghost) curves.push({ name: ghost.name, css: "var(--muted)", values: values(ghost.rows), is_ghost: true });
    const is_share = which === "agreement" || which === "settled";
    picture.replaceChildren(
      depthCurves(curves, {
        label: is_share ? "share of positions" : "nats",
        width: Math.max(280, Math.min(760, picture.clientWidth || 640)),
        ...(is_share ? { domain: [0, 1] } : {}),
      }),
    );
    const [last] = part.rows.slice(-1);
    said.textContent = `${counted(part.rows[0].n, "position")} in ${counted(part.windows, "window")}: the model's own loss is ${decimal(last.loss, 3)} nats (95 % interval ${Number.isFinite(last.low) ? `${decimal(last.low, 3)} to ${decimal(last.high, 3)}` : "needs two windows"})${part.not_finite > 0 ? `; ${counted(part.not_finite, "position")} left out, where a logit is not finite` : ""}.`;
    table.replaceChildren(
      element(
        "table",
        "plain-table",
        element(
          "thead",
          "",
          element(
            "tr",
            "",
            ...["row", "loss", "95 % interval", "KL(final ‖ row)", "entropy", "same top-1", "settled"].map((name) =>
              element("th", "", name),
            ),
          ),
        ),
        element(
          "tbody",
          "",
          ...part.rows
            .toReversed()
            .map(({ tap, loss, low, high, kl, entropy, agreement, settled }) =>
              element(
                "tr",
                "",
                element("th", "", tap),
                ...[
                  decimal(loss, 3),
                  Number.isFinite(low) ? `${decimal(low, 3)} – ${decimal(high, 3)}` : "–",
                  decimal(kl, 3),
                  decimal(entropy, 3),
                  percent(agreement),
                  percent(settled),
                ].map((text) => element("td", "", text)),
              ),
            ),
        ),
      ),
    );
    exits.replaceChildren(
      button("chip small", "JSON", () =>
        save(fileName((done as Done).model, "corpus", "json"), json(), "application/json"),
      ),
      ...windowsOf("Hardest windows", done.extremes.hardest, given),
      ...windowsOf("Easiest windows", done.extremes.easiest, given),
    );
  }

  /** A click opens one in the lens. */
  const windowsOf = (label: string, windows: CorpusPart["last"][], given: Given) => [
    element("span", "muted", label),
    ...windows.map(({ text, start, n, loss }) =>
      button(
        "chip small",
        `document ${integer(text + 1)}, tokens ${integer(start)} to ${integer(start + n - 1)}: ${decimal(loss, 2)} nats`,
        async () => {
          const tokens = await figure.run((watch) => ask("window", { ...given, text, start, n }, watch));
          if (tokens) page.setText(textOf(tokens));
        },
      ),
    ),
  ];

  function json() {
    const { part, window, stride, lens, edits, classes, model } = done as Done;
    const { rows, classes: parts, windows, not_finite } = part;
    const how = { model, window, stride, lens, edits };
    return JSON.stringify(
      {
        made_by: "Loupe, the logit lens in a web page",
        kind: "corpus",
        ...how,
        windows,
        not_finite,
        rows,
        by_class: Object.fromEntries(parts.map((rows, i) => [classes[i], rows])),
      },
      null,
      1,
    );
  }

  /** A corpus, or a saved reading, of which the means by row are taken. */
  async function overlayFile(file: File) {
    try {
      const value = JSON.parse(await file.text()) as Record<string, unknown>;
      ghost = { name: `${nameOf(value)} (${file.name})`, rows: rowsOf(value) };
      draw();
    } catch (error) {
      figure.say(`${file.name}: ${(error as Error).message}`);
    }
  }
  ghost_input.addEventListener("change", () => {
    const [file] = ghost_input.files ?? [];
    if (file) void overlayFile(file);
    ghost_input.value = "";
  });
  for (const field of [window, stride]) field.input.addEventListener("input", offerResume);

  function offer() {
    const names = ["", ...store.lenses.peek().flatMap(({ name, card }) => (card.target === "input" ? [] : [name]))];
    const before = lens.select.value;
    lens.select.replaceChildren(...optionsOf(names.map((name) => [name, name || "logit lens"] as const)));
    if (names.includes(before)) lens.select.value = before;
    lens.element.hidden = names.length < 2;
    window.input.placeholder = stride.input.placeholder = String(longest());
    offerResume();
  }

  draw();
  offer();
  return {
    element: figure.element,
    offer,
    redraw: draw,
    texts,
    run,
    overlayFile,
    done: () => done,
    ghost: () => ghost,
    /** Another model: its numbers are no longer what is asked for, and stay as a curve beside the new ones. */
    forget(is_model: boolean) {
      figure.reset();
      if (!is_model || !done) return;
      ghost = { name: done.model, rows: done.part.rows };
      done = null;
      draw();
    },
  };
}

const nameOf = (value: Record<string, unknown>) => {
  const { model } = value;
  if (typeof model === "string") return model;
  const name = (model as { name?: unknown } | null | undefined)?.name;
  return typeof name === "string" ? name : "another model";
};

const isNumbers = (value: unknown): value is number[] => Array.isArray(value) && value.length > 0;

/**
 * The rows of a saved result.
 *
 * Errors: what is expected, for a file that is neither.
 */
export function rowsOf(value: Record<string, unknown>): CorpusPart["rows"] {
  const rows = value.rows as CorpusPart["rows"] | undefined;
  if (value.kind === "corpus" && Array.isArray(rows) && rows.every((row) => typeof row?.loss === "number")) return rows;
  const reading = (value.reading ?? value) as {
    taps?: string[];
    n_tokens?: number;
    stats?: Record<string, (number | null)[]>;
  };
  const { taps, stats } = reading;
  const n = reading.n_tokens ?? (value.tokens as unknown[] | undefined)?.length ?? 0;
  if (!Array.isArray(taps) || !stats || !isNumbers(stats.kl_final) || stats.kl_final.length !== taps.length * n)
    throw new Error("expected a corpus or a reading that Loupe saved as JSON, got another file.");
  const mean = (name: string, row: number, of: (value: number) => number = (v) => v) => {
    const all = (stats[name] ?? []).slice(row * n, (row + 1) * n).filter((v): v is number => Number.isFinite(v));
    return all.reduce((sum, v) => sum + of(v), 0) / all.length;
  };
  return taps.map((tap, row) => ({
    tap,
    n,
    loss: -mean("logprob_next", row),
    low: NaN,
    high: NaN,
    kl: mean("kl_final", row),
    entropy: mean("entropy", row),
    agreement: mean("rank_final", row, (rank) => Number(rank === 1)),
    settled: NaN,
  }));
}
