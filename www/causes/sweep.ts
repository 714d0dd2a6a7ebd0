/** Sweeps: one activation after the other is patched from one text into the other; and heads that repeat what came before. */
import { decimal, percent } from "../lib/format.ts";
import { createHeatGrid } from "../cards/heat-grid.ts";
import { contrastWords } from "./attribution.ts";
import { choiceOf } from "../ui/fields.ts";
import { button, element } from "../ui/dom.ts";
import type { Causes } from "../engine/protocol.ts";
import type { PlainReading } from "../reading/reading.ts";
import type { TextName } from "../reading/edits.ts";
import type { Contrast, Stage } from "./types.ts";

type What = Causes["sweep"][0]["what"];
type Direction = "denoise" | "noise";

const WHATS: [What, string][] = [
  ["stream", "the stream, by position"],
  ["attn_out", "attention, by position"],
  ["mlp_out", "MLPs, by position"],
  ["heads", "heads, at all positions"],
];
const DIRECTIONS: [Direction, string][] = [
  ["denoise", "A’s activations in B’s run"],
  ["noise", "B’s activations in A’s run"],
];

export type SweepTexts = { a: PlainReading; b: PlainReading | null; contrast: Contrast | null };

export function createSweep(
  { ask, card, edit, theme }: Stage,
  texts: () => SweepTexts | null,
  /** the text whose run is edited */
  of: () => TextName,
) {
  type Done = { what: What; direction: Direction; answer: Causes["sweep"][1]; texts: SweepTexts; contrast: Contrast };
  let done: Done | null = null;
  const figure = card({
    name: "sweep",
    title: "Sweep: every activation patched, one after the other",
    csv: () => ({
      head: ["patched", ...columnsOf(done).map((name, i) => `${i} ${name}`)],
      lines: (done?.answer.rows ?? []).map((row, i) => [
        row,
        ...(done?.answer.values.slice(i * done.answer.columns, (i + 1) * done.answer.columns) ?? []),
      ]),
    }),
    again: () => void run(),
  });
  const what = choiceOf("patch", WHATS, () => {});
  const direction = choiceOf("direction", DIRECTIONS, () => {});
  const start = button("chip main", "Run the sweep", () => void run());
  figure.tools.append(what.element, direction.element, start);
  const grid = createHeatGrid("Sweep", {
    words: ({ row, column }) => {
      if (!done) return "";
      const value = rowOf(done.answer, row)[column];
      return `${placeWords(row, column)}: ${decimal(value, 3)} of the difference between the texts`;
    },
    choose: ({ row, column }) => done && edit(editOf(done, row, column), done.direction === "denoise" ? "b" : "a"),
  });
  const proof = element("p", "muted proof");
  proof.dataset.caption = "";
  figure.body.append(proof, grid.element);

  const columnsOf = (of: Done | null) =>
    !of
      ? []
      : of.what === "heads"
        ? Array.from({ length: of.answer.columns }, (_, head) => `head ${head}`)
        : of.texts.a.tokens.map(({ shown }) => shown);

  function placeWords(row: number, column: number) {
    if (!done) return "";
    const { answer, what, texts } = done;
    const name = answer.rows[answer.rows.length - 1 - row];
    return what === "heads"
      ? `${name} head ${column}`
      : `${name} at position ${column}, ${texts.a.tokens[column].shown}`;
  }

  /** The patch that a cell stands for. */
  function editOf({ what, direction, answer }: Done, row: number, column: number) {
    const text = direction === "denoise" ? ("a" as const) : ("b" as const);
    const at = answer.rows[answer.rows.length - 1 - row];
    return what === "heads" ? { at, head: column, from: { text } } : { at, positions: [column], from: { text } };
  }

  /** The deepest at the top, as in the pictures. */
  const rowOf = ({ values, rows, columns }: Causes["sweep"][1], from_top: number) => {
    const row = rows.length - 1 - from_top;
    return values.subarray(row * columns, (row + 1) * columns);
  };

  async function run() {
    const now = texts();
    if (!now) return;
    const { a, b, contrast } = now;
    if (!b) return figure.say("A sweep needs a second text of the same length: press “Compare with…” above.");
    if (a.n_tokens !== b.n_tokens)
      return figure.say(
        `A sweep needs two texts of the same length: A has ${a.n_tokens} tokens and B ${b.n_tokens}. Replace words by others that are one token too.`,
      );
    if (!contrast?.b) return figure.say("A sweep needs two tokens to compare: name the second one under “Tokens”.");
    const two = contrast;
    const how = { what: what.select.value as What, direction: direction.select.value as Direction };
    const answer = await figure.run((watch) =>
      ask(
        "sweep",
        {
          clean: a.serial,
          corrupt: b.serial,
          ...how,
          metric: { plus: two.a.id, minus: contrast.b?.id ?? 0 },
        },
        watch,
      ),
    );
    if (!answer) return;
    done = { ...how, answer, texts: now, contrast: two };
    draw();
  }

  function draw() {
    grid.element.hidden = !done;
    proof.hidden = !done;
    if (!done) return;
    const { answer, contrast, direction } = done;
    figure.setWords(
      `${direction === "denoise" ? "One activation of A in B’s run: 1 where it alone brings A’s answer back, 0 where nothing changes." : "One activation of B in A’s run: 0 where it alone brings B’s answer, 1 where nothing changes."} A cell opens as an edit.`,
    );
    proof.textContent = `m = logit of ${contrastWords(contrast)} at the last position: ${decimal(answer.clean, 3)} in A, ${decimal(answer.corrupt, 3)} in B.`;
    grid.show(
      {
        rows: answer.rows.toReversed(),
        columns: columnsOf(done),
        values: Float32Array.from(answer.rows.toReversed().flatMap((_, i) => [...rowOf(answer, i)])),
        limit: 1,
        print: (value) => decimal(value, 2),
      },
      theme(),
    );
  }

  const induction = card({
    name: "induction",
    title: "Heads that repeat what came before",
    words:
      "Random tokens, then the same once more: how much each head attends, from a repeated token, to the one behind its first occurrence. A click on a head ablates it in the run that is edited.",
    csv: () => ({
      head: ["block", "head", "induction", "previous_token"],
      lines: Array.from(scores?.induction ?? [], (value, i) => [
        Math.floor(i / (scores?.n_head ?? 1)),
        i % (scores?.n_head ?? 1),
        value,
        scores?.previous[i] ?? NaN,
      ]),
    }),
    again: () => void measure(),
  });
  let scores: { induction: Float32Array; previous: Float32Array; n_head: number } | null = null;
  const kind = choiceOf(
    "attention to",
    [
      ["induction", "the token behind the first occurrence"],
      ["previous", "the token before"],
    ],
    () => drawScores(),
  );
  induction.tools.append(
    kind.element,
    button("chip", "Measure", () => void measure()),
  );
  const score_grid = createHeatGrid("Heads by how much they repeat", {
    words: ({ row, column }) => {
      const n_layer = (scores?.induction.length ?? 0) / (scores?.n_head ?? 1);
      const i = (n_layer - 1 - row) * (scores?.n_head ?? 1) + column;
      return `h.${n_layer - 1 - row} head ${column}: induction ${percent(scores?.induction[i] ?? NaN)}, token before ${percent(scores?.previous[i] ?? NaN)}`;
    },
    choose: ({ row, column }) => {
      const n_layer = (scores?.induction.length ?? 0) / (scores?.n_head ?? 1);
      edit({ at: `h.${n_layer - 1 - row}.attn_out`, head: column, to: "zero" }, of());
    },
  });
  induction.body.append(score_grid.element);
  score_grid.show(null, theme());

  const N_RANDOM = 25;
  let n_head = 1;

  async function measure() {
    const found = await induction.run((watch) => ask("induction", { n: N_RANDOM, seed: 1 }, watch));
    if (!found) return;
    scores = { ...found, n_head };
    drawScores();
  }

  function drawScores() {
    if (!scores) return;
    const values = kind.select.value === "previous" ? scores.previous : scores.induction;
    const { n_head } = scores;
    const n_layer = values.length / n_head;
    score_grid.show(
      {
        rows: Array.from({ length: n_layer }, (_, row) => `h.${n_layer - 1 - row}`),
        columns: Array.from({ length: n_head }, (_, head) => String(head)),
        values: Float32Array.from(
          values,
          (_, i) => values[(n_layer - 1 - Math.floor(i / n_head)) * n_head + (i % n_head)],
        ),
        limit: 1,
        print: (value) => String(Math.round(value * 100)),
      },
      theme(),
    );
  }

  draw();
  return {
    element: element("div", "causes-sweeps", figure.element, induction.element),
    /** Another model, or other texts: what was swept is of the old ones. */
    forget(heads: number, is_model: boolean) {
      n_head = heads;
      figure.reset();
      done = null;
      draw();
      if (!is_model) return;
      induction.reset();
      scores = null;
      score_grid.show(null, theme());
    },
    redraw() {
      draw();
      drawScores();
    },
    run,
    measure,
    choose: (how: { what: What; direction: Direction }) => {
      what.select.value = how.what;
      direction.select.value = how.direction;
    },
    /** Out of sight. */
    stop() {
      figure.stop();
      induction.stop();
    },
    done: () => done,
    scores: () => scores,
    grid,
  };
}
