/** An expert's experiment: the true next token in what later positions read of earlier ones, and random tokens as a control. */
import { createHeatGrid } from "../cards/heat-grid.ts";
import { decimal } from "../lib/format.ts";
import { meanChange } from "../reading/loss-change.ts";
import { button, element } from "../ui/dom.ts";
import { choiceOf } from "../ui/fields.ts";
import type { Causes } from "../engine/protocol.ts";
import type { PlainReading } from "../reading/reading.ts";
import type { Stage } from "./types.ts";

const ALPHAS = [0.25, 0.5, 0.75, 1];
/** The same random tokens every time. */
const SEED = 1;

type Done = { reading: PlainReading; answer: Causes["memory"][1] };

export function createMemory(
  { ask, card, theme }: Stage,
  page: { reading: () => PlainReading | null; n_layer: () => number },
) {
  let done: Done | null = null;
  const figure = card({
    name: "memory",
    title: "The true next token in the memory",
    words:
      "For experts. From one block on, the keys and values of each earlier position are made of the embedding of the token that really came next, mixed with the stream by α: does a model that is told what followed predict the rest better? No position sees its own next token. The control puts random tokens there.",
    csv: () => ({
      head: ["first_block", "alpha", "tokens", "change_of_loss", "low", "high", "predictions"],
      lines: (done?.answer.runs ?? []).flatMap(({ first, alpha, truth, control }) =>
        [["true next", truth] as const, ["random", control] as const].map(([name, values]) => {
          const { mean, low, high, n } = changeOf(values);
          return [first, alpha, name, mean, low, high, n] as (string | number)[];
        }),
      ),
    }),
    again: () => void run(),
  });
  const which = choiceOf(
    "tokens",
    [
      ["truth", "the true next ones"],
      ["control", "random ones (control)"],
    ],
    () => draw(),
  );
  figure.tools.append(
    button("chip", "Measure", () => void run()),
    which.element,
  );
  const said = element("p", "muted");
  said.dataset.caption = "";
  const grid = createHeatGrid("Change of the loss", {
    words: ({ row, column }) => {
      const found = at(row, column);
      if (!found) return "";
      const { mean, low, high, n } = changeOf(found[key()]);
      return `From block ${found.first} on, α = ${found.alpha}: loss ${mean < 0 ? "" : "+"}${decimal(mean, 3)} nats (95 % interval ${decimal(low, 3)} to ${decimal(high, 3)}, ${n} predictions)`;
    },
    choose: () => {},
  });
  figure.body.append(said, grid.element);

  const key = () => (which.select.value === "control" ? "control" : "truth");
  const changeOf = (values: Float32Array) =>
    meanChange(
      Array.from((done as Done).answer.own, (p) => -p),
      Array.from(values, (p) => -p),
    );
  const firsts = () => [...new Set((done?.answer.runs ?? []).map(({ first }) => first))];
  /** The last block at the top. */
  const at = (row: number, column: number) => {
    const all = firsts();
    const first = all[all.length - 1 - row];
    return done?.answer.runs.find((each) => each.first === first && each.alpha === ALPHAS[column]);
  };

  async function run() {
    const reading = page.reading();
    if (!reading) return;
    if (reading.n_tokens < 3) return figure.say("This needs a text of three tokens or more.");
    const question = { serial: reading.serial, alphas: ALPHAS, seed: SEED };
    const all = Array.from({ length: page.n_layer() }, (_, i) => i);
    const answer = await figure.run((watch) => ask("memory", { ...question, firsts: all }, watch));
    if (!answer) return;
    done = { reading, answer };
    draw();
  }

  function draw() {
    which.element.hidden = said.hidden = !done;
    if (!done) return grid.show(null, theme());
    const rows = firsts().toReversed();
    const values = rows.flatMap((_, row) =>
      ALPHAS.map((_, column) => changeOf(at(row, column)?.[key()] ?? new Float32Array()).mean),
    );
    const finite = done.answer.runs.filter(({ truth }) => Number.isFinite(changeOf(truth).mean));
    const [best] = finite.toSorted((a, b) => changeOf(a.truth).mean - changeOf(b.truth).mean);
    const signed = (value: number) => `${value < 0 ? "" : "+"}${decimal(value, 3)}`;
    said.textContent = `Text A, mean change of −log p(true next) in nats. ${
      !best || changeOf(best.truth).mean >= 0
        ? "The true next tokens help nowhere."
        : `Of ${finite.length} places, the true next tokens help most from block ${best.first} on with α = ${best.alpha}: ${signed(changeOf(best.truth).mean)}; random tokens in the same place: ${signed(changeOf(best.control).mean)}. The best of many looks better than it is; each cell has its interval.`
    }`;
    grid.show(
      {
        rows: rows.map((first) => `from h.${first}`),
        columns: ALPHAS.map((alpha) => `α ${alpha}`),
        values,
        print: (value) => decimal(value, 2),
      },
      theme(),
    );
  }

  draw();
  return {
    element: figure.element,
    /** Another model, or another text. */
    forget() {
      figure.reset();
      done = null;
      draw();
    },
    stop: () => figure.stop(),
    redraw: draw,
    run,
    done: () => done,
  };
}
