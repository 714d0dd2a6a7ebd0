/** Who wrote a cell: what each component adds to the logit difference of two tokens there, and where heads take it from. */
import { decimal, percent, significant } from "../lib/format.ts";
import { arcsOf } from "./arcs.ts";
import { createHeatGrid } from "./heat-grid.ts";
import { stepsOf, waterfallOf } from "./waterfall.ts";
import { createLatest } from "../lib/latest.ts";
import { button, element, replaceKeyed } from "../ui/dom.ts";
import { segmented } from "../ui/segmented.ts";
import type { TokenValue } from "../engine/protocol.ts";
import type { Step } from "./waterfall.ts";
import type { ChosenCell, Contrast, Stage } from "./types.ts";

/** Rows of the picture of heads: the strongest ones. */
const N_HEADS = 24;
const N_NEURONS = 20;

type Answer = { cell: ChosenCell; contrast: Contrast; components: Step[]; sum: number; shown: number };
/** A component that a head, an MLP or an embedding is. */
type Part = { name: string; block: number | null; head: number | null; is_mlp: boolean };

function partOf(name: string): Part {
  const [, block, half, head] = /^h\.(\d+)\.(attn|mlp)(?:\.(\d+))?$/.exec(name) ?? [];
  return {
    name,
    block: block === undefined ? null : Number(block),
    head: head === undefined ? null : Number(head),
    is_mlp: half === "mlp",
  };
}

export const contrastWords = ({ a, b }: Contrast) => `${a.shown} − ${b?.shown ?? "mean token"}`;

export function createAttribution({ ask, card, edit, theme }: Stage) {
  let answer: Answer | null = null;
  let wanted: { cell: ChosenCell; contrast: Contrast } | null = null;
  let chosen: string | null = null;
  let is_raw = false;
  const latest = createLatest();
  let details = new AbortController();

  const figure = card({
    name: "attribution",
    title: "What adds to a logit difference",
    csv: () => ({
      head: ["component", "logits"],
      lines: (answer?.components ?? []).map(({ name, value }) => [name, value]),
    }),
    again: () => void run(),
  });
  const proof = element("p", "muted proof");
  proof.dataset.caption = "";
  const falls = element("div", "falls");
  falls.tabIndex = -1;
  const grid = createHeatGrid("What each head and MLP adds", {
    words: ({ row, column }) => {
      const name = namesOfGrid(row, column);
      return `${name}: ${decimal(valueOf(name), 3)} logits`;
    },
    choose: ({ row, column }) => choose(namesOfGrid(row, column)),
  });
  figure.body.append(proof, element("div", "fall-columns", falls, element("div", "", grid.element)));

  const detail = card({
    name: "component",
    title: "One component",
    csv: () => ({
      head: ["position", "token", "value"],
      lines: Array.from(sources?.values ?? [], (value, i) => [i, answer?.cell.reading.tokens[i]?.shown ?? "", value]),
    }),
    again: () => void showDetail(),
  });
  const actions = element("div", "field-row");
  const arcs = element("div", "arcs-scroller");
  arcs.tabIndex = 0;
  arcs.setAttribute("role", "region");
  arcs.setAttribute("aria-label", "Where the head reads from");
  const lists = element("div", "promoted");
  detail.body.append(arcs, lists);
  detail.tools.append(actions);
  let sources: { values: Float32Array; is_raw: boolean } | null = null;

  const heads = card({
    name: "heads",
    title: "What heads read",
    words: "One row for each of the strongest heads: what it adds to the difference from each position.",
    csv: () => ({
      head: [
        "head",
        ...(answer?.cell.reading.tokens.slice(0, answer.cell.position + 1).map((_, i) => `position ${i}`) ?? []),
      ],
      lines: head_rows.map(({ name, values }) => [name, ...values]),
    }),
    again: () => void showHeads(),
  });
  let head_rows: { name: string; values: Float32Array }[] = [];
  const head_grid = createHeatGrid("What heads read, by position", {
    words: ({ row, column }) => {
      const { name, values } = head_rows[row];
      const token = answer?.cell.reading.tokens[column]?.shown ?? "";
      return `${name} from position ${column}, ${token}: ${is_raw ? percent(values[column]) : `${decimal(values[column], 3)} logits`}`;
    },
    choose: ({ row }) => choose(head_rows[row].name),
  });
  const raw_choice = segmented({
    label: "What of a head is shown",
    choices: [
      ["value", "what it adds"],
      ["raw", "attention"],
    ] as const,
    onChoose: (value) => {
      is_raw = value === "raw";
      void showHeads();
      void showDetail();
    },
  });
  raw_choice.set("value");
  heads.tools.append(raw_choice.element);
  heads.body.append(head_grid.element);

  const root = element("div", "causes-attribution", figure.element, detail.element, heads.element);
  root.hidden = true;

  const valueOf = (name: string) =>
    (answer?.components ?? [])
      .filter((each) => each.name === name || each.name.startsWith(`${name}.`))
      .reduce((sum, { value }) => sum + value, 0);
  const nHeads = () => Math.max(0, ...(answer?.components ?? []).map(({ name }) => (partOf(name).head ?? -1) + 1));
  const nBlocks = () => Math.max(0, ...(answer?.components ?? []).map(({ name }) => (partOf(name).block ?? -1) + 1));
  /** Blocks from the last at the top; heads, then the MLP. */
  const namesOfGrid = (row: number, column: number) => {
    const block = nBlocks() - 1 - row;
    return column < nHeads() ? `h.${block}.attn.${column}` : `h.${block}.mlp`;
  };

  async function run() {
    if (!wanted) return;
    const { cell, contrast } = wanted;
    const isCurrent = latest.begin();
    const { reading, tap, position } = cell;
    const found = await figure.run(({ signal }) =>
      ask(
        "attribute",
        {
          serial: reading.serial,
          tap: reading.taps[tap],
          position,
          tokens: contrast.b ? [contrast.a.id, contrast.b.id] : [contrast.a.id],
        },
        { signal },
      ),
    );
    if (!found || !isCurrent()) return;
    answer = { cell, contrast, ...found };
    if (!chosen || !found.components.some(({ name }) => name === chosen || name.startsWith(`${chosen}.`)))
      chosen = strongest(1)[0]?.name ?? found.components[0]?.name ?? null;
    draw();
    await Promise.all([showDetail(), showHeads()]);
  }

  const strongest = (n: number) =>
    (answer?.components ?? [])
      .filter(({ name }) => partOf(name).head !== null)
      .sort((a, b) => Math.abs(b.value) - Math.abs(a.value))
      .slice(0, n);

  function draw() {
    if (!answer) return;
    const { cell, contrast, components, sum, shown } = answer;
    const { reading, tap, position } = cell;
    const place = `${reading.taps[tap]}, position ${position} (after ${reading.tokens[position].shown})`;
    figure.setTitle(`What adds to ${contrastWords(contrast)}`);
    figure.setWords(
      `At ${place} of ${cell.which === "edited" ? "the edited run" : `text ${cell.which.toUpperCase()}`}, in logits, by the cell’s own mean and variance. A direct effect is not a cause: ablate a component to see what depends on it.`,
    );
    proof.textContent = `The components sum to ${decimal(sum, 4)}; the lens shows ${decimal(shown, 4)}: a difference of ${significant(Math.abs(sum - shown), 2)}.`;
    const falling = waterfallOf(stepsOf(components), {
      width: falls.clientWidth || 420,
      chosen: chosen && stepOf(chosen),
      label: "Components in the order of the pass",
      onChoose: choose,
    });
    replaceKeyed(falls, falling);
    const [L, H] = [nBlocks(), nHeads()];
    grid.show(
      L === 0
        ? null
        : {
            rows: Array.from({ length: L }, (_, row) => `h.${L - 1 - row}`),
            columns: [...Array.from({ length: H }, (_, head) => String(head)), "mlp"],
            values: Float32Array.from({ length: L * (H + 1) }, (_, i) => {
              const name = namesOfGrid(Math.floor(i / (H + 1)), i % (H + 1));
              return components.some((each) => each.name === name) ? valueOf(name) : NaN;
            }),
            print: (value) => decimal(value, 1),
          },
      theme(),
    );
  }

  /** The step that a component is part of. */
  const stepOf = (name: string) => /^h\.\d+\.attn/.exec(name)?.[0] ?? name;

  function choose(name: string) {
    // Of a whole half, the head that adds most.
    const [, half] = /^(h\.\d+\.attn)$/.exec(name) ?? [];
    const best = half
      ? (answer?.components ?? [])
          .filter((each) => each.name.startsWith(`${half}.`) && partOf(each.name).head !== null)
          .sort((a, b) => Math.abs(b.value) - Math.abs(a.value))[0]?.name
      : name;
    chosen = best ?? name;
    draw();
    void showDetail();
  }

  /** Offers to ablate a component. */
  function drawActions({ block, head, is_mlp }: Part) {
    const at = block === null ? null : `h.${block}.${is_mlp ? "mlp_out" : "attn_out"}`;
    const place = at === null ? null : { at, ...(head === null ? {} : { head }) };
    const other = answer?.cell.which === "b" ? "a" : "b";
    actions.replaceChildren(
      ...(place === null
        ? []
        : [
            button("chip small", "Ablate it: zero", () => edit({ ...place, to: "zero" })),
            button("chip small", "Ablate it: mean", () =>
              edit({ ...place, to: { mean: answer?.cell.which === "b" ? "b" : "a" } }),
            ),
            button("chip small", `Patch it from text ${other.toUpperCase()}`, () =>
              edit({ ...place, from: { text: other } }),
            ),
          ]),
    );
  }

  async function showDetail() {
    details.abort();
    details = new AbortController();
    if (!answer || chosen === null) return;
    const { cell, contrast, components } = answer;
    const part = partOf(chosen);
    const { reading, tap, position } = cell;
    const question = {
      serial: reading.serial,
      tap: reading.taps[tap],
      position,
      tokens: contrast.b ? [contrast.a.id, contrast.b.id] : [contrast.a.id],
    };
    const name = chosen;
    detail.setTitle(name);
    detail.setWords(`Adds ${decimal(valueOf(name), 3)} logits to ${contrastWords(contrast)} directly.`);
    drawActions(part);
    const has_vector = components.some((each) => each.name === name) && !/^(ln_f|unembed)\./.test(name);
    const H = nHeads();
    const found = await detail.run(async ({ signal }) => {
      const { block, head } = part;
      const weights =
        block === null || head === null
          ? null
          : is_raw
            ? await ask("attention", { serial: reading.serial, block, position }, { signal })
            : await ask("sources", { ...question, block }, { signal });
      const neurons = block !== null && part.is_mlp ? await ask("neurons", { ...question, block }, { signal }) : null;
      const promoted = has_vector
        ? await ask("promoted", { serial: question.serial, tap: question.tap, position, component: name }, { signal })
        : null;
      return { weights, neurons, promoted };
    });
    if (!found || chosen !== name || answer?.cell !== cell) return;
    const n = position + 1;
    sources =
      found.weights && part.head !== null && H > 0
        ? { values: found.weights.slice(part.head * n, (part.head + 1) * n), is_raw }
        : null;
    arcs.hidden = !sources;
    if (sources) {
      arcs.replaceChildren(
        arcsOf(
          reading.tokens,
          position,
          sources.values,
          sources.is_raw,
          `What ${name} ${sources.is_raw ? "attends to" : "takes from each position"} at position ${position}`,
        ),
      );
      arcs.scrollLeft = arcs.scrollWidth;
    }
    lists.replaceChildren(
      ...(found.promoted
        ? [tokenList("Raises most", found.promoted.promoted), tokenList("Lowers most", found.promoted.suppressed)]
        : []),
      ...(found.neurons ? [neuronList(found.neurons)] : []),
    );
  }

  function tokenList(title: string, tokens: TokenValue[]) {
    return element(
      "div",
      "promoted-list",
      captioned("h3", title),
      element(
        "ol",
        "",
        ...tokens.map(({ shown, value, id }) => {
          const item = element(
            "li",
            "",
            element("span", "token", shown),
            " ",
            element("span", "muted", decimal(value, 2)),
          );
          item.dataset.caption = "";
          item.title = `id ${id}: ${decimal(value, 3)} logits above the mean over the vocabulary`;
          return item;
        }),
      ),
    );
  }

  function neuronList(values: Float32Array) {
    const strongest = Array.from(values, (value, unit) => ({ value, unit }))
      .sort((a, b) => Math.abs(b.value) - Math.abs(a.value))
      .slice(0, N_NEURONS);
    return element(
      "div",
      "promoted-list",
      captioned("h3", `Strongest of ${values.length.toLocaleString("en")} units`),
      element(
        "ol",
        "units",
        ...strongest.map(({ value, unit }) => {
          const item = element(
            "li",
            "",
            element("span", "token", `#${unit}`),
            " ",
            element("span", "muted", decimal(value, 3)),
          );
          item.dataset.caption = "";
          return item;
        }),
      ),
    );
  }

  function captioned(tag: "h3", text: string) {
    const made = element(tag, "", text);
    made.dataset.caption = "";
    return made;
  }

  async function showHeads() {
    if (!answer) return;
    const { cell, contrast } = answer;
    const { reading, tap, position } = cell;
    const rows = strongest(N_HEADS);
    heads.element.hidden = rows.length === 0;
    if (rows.length === 0) return;
    const blocks = [...new Set(rows.map(({ name }) => partOf(name).block ?? 0))];
    const raw = is_raw;
    const question = {
      serial: reading.serial,
      tap: reading.taps[tap],
      position,
      tokens: contrast.b ? [contrast.a.id, contrast.b.id] : [contrast.a.id],
    };
    const found = await heads.run(async ({ signal, onProgress }) => {
      const all = new Map<number, Float32Array>();
      for (const [i, block] of blocks.entries()) {
        const values = raw
          ? await ask("attention", { serial: reading.serial, block, position }, { signal })
          : await ask("sources", { ...question, block }, { signal });
        all.set(block, values);
        onProgress({ done: (i + 1) / blocks.length });
      }
      return all;
    });
    if (!found || answer?.cell !== cell || raw !== is_raw) return;
    const n = position + 1;
    head_rows = rows.map(({ name }) => {
      const { block, head } = partOf(name);
      const values = found.get(block ?? 0) ?? new Float32Array();
      return { name, values: values.slice((head ?? 0) * n, ((head ?? 0) + 1) * n) };
    });
    const n_all = nBlocks() * nHeads();
    heads.setWords(
      `One row for each of the ${rows.length} heads of ${n_all} that add most: ${raw ? "the weights of attention" : "what each adds to the difference from each position"}. Position 0 is grey: heads that find nothing look there.`,
    );
    drawHeads();
  }

  function drawHeads() {
    if (!answer || head_rows.length === 0) return;
    const { cell } = answer;
    const n = cell.position + 1;
    const values = Float32Array.from(head_rows.flatMap(({ values }) => [...values]));
    const others = values.filter((_, i) => i % n > 0 || n === 1);
    head_grid.show(
      {
        rows: head_rows.map(({ name }) => name),
        columns: cell.reading.tokens.slice(0, n).map(({ shown }) => shown),
        values,
        limit: others.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1,
        greyed: (column) => column === 0 && n > 1,
        print: (value) => (is_raw ? String(Math.round(value * 100)) : decimal(value, 1)),
      },
      theme(),
    );
  }

  let width = 0;
  new ResizeObserver(() => {
    if (Math.abs(falls.clientWidth - width) < 2) return;
    width = falls.clientWidth;
    if (width > 0) draw();
  }).observe(falls);

  return {
    element: root,
    /** @param to null: no cell, or one that has no components */
    show(to: { cell: ChosenCell; contrast: Contrast } | null) {
      wanted = to;
      root.hidden = !to;
      if (to) void run();
      else {
        figure.stop();
        answer = null;
      }
    },
    /** After another theme. */
    redraw() {
      draw();
      drawHeads();
    },
    answer: () => answer,
    choose,
    grid,
    heads: head_grid,
  };
}
