/** Who wrote a cell: what each component adds to the logit difference of two tokens there, and where heads take it from. */
import { createHeatGrid } from "../cards/heat-grid.ts";
import { decimal, percent, significant } from "../lib/format.ts";
import { createLatest } from "../lib/latest.ts";
import { button, element, replaceKeyed } from "../ui/dom.ts";
import { segmented } from "../ui/segmented.ts";
import { arcsOf } from "./arcs.ts";
import { stepsOf, waterfallOf } from "./waterfall.ts";
import type { TokenValue } from "../engine/protocol.ts";
import type { PageEdit, TextName } from "../reading/edits.ts";
import type { Step } from "./waterfall.ts";
import type { ChosenCell, Contrast, Stage } from "./types.ts";

/** Rows of the picture of heads: the strongest ones. */
const N_HEADS = 24;
const N_NEURONS = 20;

type Answer = { cell: ChosenCell; contrast: Contrast; components: Step[]; sum: number; shown: number };
/** A component that a head, an MLP, all of attention or an embedding is. */
type Part = { block: number | null; head: number | null; is_mlp: boolean };
/** What the picture of heads shows, all of one cell. */
type Heads = { cell: ChosenCell; rows: { name: string; values: Float32Array }[]; is_raw: boolean };

function partOf(name: string): Part {
  const [, block, half, head] = /^h\.(\d+)\.(attn|mlp)(?:\.(\d+))?$/.exec(name) ?? [];
  return {
    block: block === undefined ? null : Number(block),
    head: head === undefined ? null : Number(head),
    is_mlp: half === "mlp",
  };
}

export const contrastWords = ({ a, b }: Contrast) => `${a.shown} − ${b?.shown ?? "mean token"}`;

const tokensOf = ({ a, b }: Contrast) => (b ? [a.id, b.id] : [a.id]);
const placeOf = ({ reading, tap, position }: ChosenCell) => ({
  serial: reading.serial,
  tap: reading.taps[tap],
  position,
});
const questionOf = (cell: ChosenCell, contrast: Contrast) => ({ ...placeOf(cell), tokens: tokensOf(contrast) });
const isSame = (a: { cell: ChosenCell; contrast: Contrast }, b: { cell: ChosenCell; contrast: Contrast }) =>
  JSON.stringify(questionOf(a.cell, a.contrast)) === JSON.stringify(questionOf(b.cell, b.contrast));

function captioned<N extends "h3" | "p" | "li">(tag: N, class_name: string, ...children: (Node | string)[]) {
  const made = element(tag, class_name, ...children);
  made.dataset.caption = "";
  return made;
}

export function createAttribution(
  { ask, card, edit, theme, has }: Stage,
  /** a person drags a head from the grid */
  dragHead: (down: PointerEvent, part: { at: string; head: number }, of: ChosenCell) => void,
) {
  let answer: Answer | null = null;
  let wanted: { cell: ChosenCell; contrast: Contrast } | null = null;
  let chosen: string | null = null;
  let is_raw = false;
  let read: Heads | null = null;
  let sources: Float32Array | null = null;
  const latest = createLatest();

  const figure = card({
    name: "attribution",
    title: "What adds to a logit difference",
    csv: () => ({
      head: ["component", "logits"],
      lines: (answer?.components ?? []).map(({ name, value }) => [name, value]),
    }),
    again: () => void run(),
  });
  const proof = captioned("p", "muted proof");
  const falls = element("div", "falls");
  const grid = createHeatGrid("What each head and MLP adds", {
    words: ({ row, column }) => {
      const name = nameInGrid(row, column);
      return `${name}: ${decimal(valueOf(name), 3)} logits`;
    },
    choose: ({ row, column }) => choose(nameInGrid(row, column)),
    press: ({ row, column }, event) => {
      const { block, head } = partOf(nameInGrid(row, column));
      if (answer && block !== null && head !== null) dragHead(event, { at: `h.${block}.attn_out`, head }, answer.cell);
    },
  });
  figure.body.append(proof, element("div", "fall-columns", falls, element("div", "", grid.element)));

  const detail = card({
    name: "component",
    title: "One component",
    csv: () => ({
      head: ["position", "token", is_raw ? "attention" : "logits"],
      lines: Array.from(sources ?? [], (value, i) => [i, answer?.cell.reading.tokens[i]?.shown ?? "", value]),
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

  const heads = card({
    name: "heads",
    title: "What heads read",
    csv: () => ({
      head: ["head", ...Array.from({ length: (read?.cell.position ?? -1) + 1 }, (_, i) => `position ${i}`)],
      lines: (read?.rows ?? []).map(({ name, values }) => [name, ...values]),
    }),
    again: () => void showHeads(),
  });
  const head_grid = createHeatGrid("What heads read, by position", {
    words: ({ row, column }) => {
      const found = read?.rows[row];
      if (!read || !found) return "";
      const value = found.values[column];
      const token = read.cell.reading.tokens[column].shown;
      return `${found.name} from position ${column}, ${token}: ${read.is_raw ? percent(value) : `${decimal(value, 3)} logits`}`;
    },
    choose: ({ row }) => choose(read?.rows[row]?.name ?? ""),
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
  const mostOf = (what: "block" | "head") =>
    Math.max(0, ...(answer?.components ?? []).map(({ name }) => (partOf(name)[what] ?? -1) + 1));
  /** Blocks from the last at the top; heads, then the MLP. */
  const nameInGrid = (row: number, column: number) => {
    const block = mostOf("block") - 1 - row;
    return column < mostOf("head") ? `h.${block}.attn.${column}` : `h.${block}.mlp`;
  };
  const strongest = (among: Step[], n: number) =>
    among
      .filter(({ name }) => partOf(name).head !== null)
      .sort((a, b) => Math.abs(b.value) - Math.abs(a.value))
      .slice(0, n);
  /** The step that a component is part of. */
  const stepOf = (name: string) => /^h\.\d+\.attn/.exec(name)?.[0] ?? name;

  /** Nothing of another cell stays in sight. */
  function clear() {
    [answer, read, sources, chosen] = [null, null, null, null];
    figure.setTitle("What adds to a logit difference");
    figure.setWords("");
    proof.textContent = "";
    falls.replaceChildren();
    grid.show(null, theme());
    for (const each of [detail, heads]) {
      each.reset();
      each.element.hidden = true;
    }
  }

  async function run() {
    if (!wanted) return;
    const { cell, contrast } = wanted;
    const isCurrent = latest.begin();
    const found = await figure.run(({ signal }) => ask("attribute", questionOf(cell, contrast), { signal }));
    if (!isCurrent()) return;
    if (!found) return clear();
    answer = { cell, contrast, ...found };
    if (chosen === null || !found.components.some(({ name }) => name === chosen))
      chosen = strongest(found.components, 1)[0]?.name ?? found.components[0]?.name ?? null;
    draw();
    await Promise.all([showDetail(), showHeads()]);
  }

  function draw() {
    if (!answer) return;
    const { cell, contrast, components, sum, shown } = answer;
    const { reading, tap, position } = cell;
    const text = cell.which === "edited" ? "the edited run" : `text ${cell.which.toUpperCase()}`;
    figure.setTitle(`What adds to ${contrastWords(contrast)}`);
    figure.setWords(
      `At ${reading.taps[tap]}, position ${position} (after ${reading.tokens[position].shown}) of ${text}, in logits, by the cell’s own mean and variance. A direct effect is not a cause: ablate a component to see what depends on it.`,
    );
    proof.textContent = `The components sum to ${decimal(sum, 4)}; the lens shows ${decimal(shown, 4)}: a difference of ${significant(Math.abs(sum - shown), 2)}.`;
    replaceKeyed(
      falls,
      waterfallOf(stepsOf(components), {
        width: falls.clientWidth || 420,
        chosen: chosen && stepOf(chosen),
        label: "Components in the order of the pass",
        onChoose: choose,
      }),
    );
    const [L, H] = [mostOf("block"), mostOf("head")];
    grid.show(
      L === 0
        ? null
        : {
            rows: Array.from({ length: L }, (_, row) => `h.${L - 1 - row}`),
            columns: [...Array.from({ length: H }, (_, head) => String(head)), "mlp"],
            values: Float32Array.from({ length: L * (H + 1) }, (_, i) => {
              const name = nameInGrid(Math.floor(i / (H + 1)), i % (H + 1));
              return components.some((each) => each.name === name) ? valueOf(name) : NaN;
            }),
            print: (value) => decimal(value, 1),
          },
      theme(),
    );
  }

  function choose(name: string) {
    if (name === "") return;
    // Of all of attention, the head that adds most.
    const of_half = (answer?.components ?? []).filter((each) => each.name.startsWith(`${name}.`));
    chosen = (/\.attn$/.test(name) ? strongest(of_half, 1)[0]?.name : null) ?? name;
    draw();
    void showDetail();
  }

  /** Offers to ablate a component, at all positions of the run that the cell is of, and to patch it. */
  function drawActions({ block, head, is_mlp }: Part, of: TextName) {
    if (block === null) return actions.replaceChildren();
    const at = `h.${block}.${is_mlp ? "mlp_out" : "attn_out"}`;
    const other: TextName = of === "a" ? "b" : "a";
    const act = (label: string, made: PageEdit) => {
      const each = button("chip small", label, () => edit(made, of));
      each.dataset.key = label;
      each.title = "At all positions";
      return each;
    };
    const place = head === null ? { at } : { at, head };
    replaceKeyed(
      actions,
      act("Ablate it: zero", { ...place, to: "zero" }),
      act("Ablate it: mean", { ...place, to: { mean: of } }),
      ...(has(other) ? [act(`Patch it from text ${other.toUpperCase()}`, { ...place, from: { text: other } })] : []),
      ...(head === null ? [] : [act(`Ablate all of ${at}`, { at, to: "zero" })]),
    );
  }

  async function showDetail() {
    detail.element.hidden = !answer || chosen === null;
    if (!answer || chosen === null) return;
    const { cell, contrast, components } = answer;
    const [name, part, raw] = [chosen, partOf(chosen), is_raw];
    const { block, head, is_mlp } = part;
    const question = questionOf(cell, contrast);
    detail.setTitle(name);
    detail.setWords(`Adds ${decimal(valueOf(name), 3)} logits to ${contrastWords(contrast)} directly.`);
    drawActions(part, cell.of);
    const has_vector = components.some((each) => each.name === name) && !/^(ln_f|unembed)\./.test(name);
    const found = await detail.run(async ({ signal }) => ({
      weights:
        block === null || head === null
          ? null
          : raw
            ? await ask("attention", { serial: question.serial, block, position: cell.position }, { signal })
            : await ask("sources", { ...question, block }, { signal }),
      neurons: block !== null && is_mlp ? await ask("neurons", { ...question, block }, { signal }) : null,
      promoted: has_vector ? await ask("promoted", { ...placeOf(cell), component: name }, { signal }) : null,
    }));
    if (!found || chosen !== name || answer?.cell !== cell) return;
    const n = cell.position + 1;
    sources = found.weights && head !== null ? found.weights.slice(head * n, (head + 1) * n) : null;
    arcs.hidden = !sources;
    if (sources) {
      const label = `What ${name} ${raw ? "attends to" : "takes from each position"} at position ${cell.position}`;
      arcs.replaceChildren(arcsOf(cell.reading.tokens, cell.position, sources, raw, label));
      arcs.scrollLeft = arcs.scrollWidth;
    }
    lists.replaceChildren(
      ...(found.promoted
        ? [tokenList("Raises most", found.promoted.promoted), tokenList("Lowers most", found.promoted.suppressed)]
        : []),
      ...(found.neurons ? [neuronList(found.neurons)] : []),
    );
  }

  const tokenList = (title: string, tokens: TokenValue[]) =>
    element(
      "div",
      "promoted-list",
      captioned("h3", "", title),
      element(
        "ol",
        "",
        ...tokens.map(({ shown, value, id }) => {
          const item = captioned(
            "li",
            "",
            element("span", "token", shown),
            " ",
            element("span", "muted", decimal(value, 2)),
          );
          item.title = `id ${id}: ${decimal(value, 3)} logits above the mean over the vocabulary`;
          return item;
        }),
      ),
    );

  function neuronList(values: Float32Array) {
    const largest = Array.from(values, (value, unit) => ({ value, unit }))
      .sort((a, b) => Math.abs(b.value) - Math.abs(a.value))
      .slice(0, N_NEURONS);
    return element(
      "div",
      "promoted-list",
      captioned("h3", "", `Strongest of ${values.length.toLocaleString("en")} units`),
      element(
        "ol",
        "units",
        ...largest.map(({ value, unit }) =>
          captioned("li", "", element("span", "token", `#${unit}`), " ", element("span", "muted", decimal(value, 3))),
        ),
      ),
    );
  }

  async function showHeads() {
    const rows = strongest(answer?.components ?? [], N_HEADS);
    heads.element.hidden = rows.length === 0;
    if (!answer || rows.length === 0) return;
    const { cell, contrast } = answer;
    const raw = is_raw;
    const blocks = [...new Set(rows.map(({ name }) => partOf(name).block ?? 0))];
    const question = questionOf(cell, contrast);
    const found = await heads.run(async ({ signal, onProgress }) => {
      const all = new Map<number, Float32Array>();
      for (const [i, block] of blocks.entries()) {
        const values = raw
          ? await ask("attention", { serial: question.serial, block, position: cell.position }, { signal })
          : await ask("sources", { ...question, block }, { signal });
        all.set(block, values);
        onProgress({ done: (i + 1) / blocks.length });
      }
      return all;
    });
    if (!found || answer?.cell !== cell || raw !== is_raw) return;
    const n = cell.position + 1;
    const rowOf = ({ name }: Step) => {
      const { block, head } = partOf(name);
      const values = found.get(block ?? 0) ?? new Float32Array();
      return { name, values: values.slice((head ?? 0) * n, ((head ?? 0) + 1) * n) };
    };
    read = { cell, rows: rows.map(rowOf), is_raw: raw };
    heads.setWords(
      `One row for each of the ${rows.length} heads of ${mostOf("block") * mostOf("head")} that add most: ${raw ? "the weights of attention" : "what each adds to the difference from each position"}.${n > 1 ? " Position 0 is grey: heads attend to it where nothing else matches." : ""}`,
    );
    drawHeads();
  }

  function drawHeads() {
    if (!read) return head_grid.show(null, theme());
    const { cell, rows, is_raw: raw } = read;
    const n = cell.position + 1;
    const values = Float32Array.from(rows.flatMap(({ values }) => [...values]));
    const others = values.filter((_, i) => i % n > 0 || n === 1);
    head_grid.show(
      {
        rows: rows.map(({ name }) => name),
        columns: cell.reading.tokens.slice(0, n).map(({ shown }) => shown),
        values,
        limit: others.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1,
        greyed: (column) => column === 0 && n > 1,
        print: (value) => (raw ? String(Math.round(value * 100)) : decimal(value, 1)),
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
    /** @param to a cell; null: none, `why` says why one that is chosen has no components */
    show(to: { cell: ChosenCell; contrast: Contrast } | null, why = "") {
      if (to && wanted && answer && isSame(to, wanted)) return;
      wanted = to;
      latest.begin();
      if (to) {
        root.hidden = false;
        // What is said of another text does not stay until the answer comes.
        if (answer && answer.cell.reading !== to.cell.reading) clear();
        return void run();
      }
      figure.reset();
      clear();
      root.hidden = why === "";
      figure.say(why);
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
