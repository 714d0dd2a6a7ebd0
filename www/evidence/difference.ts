/** Two lenses over the text that is read: how far apart they are, and where they say the same. */
import { createHeatGrid } from "../cards/heat-grid.ts";
import { decimal, percent } from "../lib/format.ts";
import { button, element, replaceOptions } from "../ui/dom.ts";
import { choiceOf } from "../ui/fields.ts";
import { lensWords } from "../state/lenses.ts";
import type { Evidence } from "../engine/protocol.ts";
import type { PlainReading } from "../reading/reading.ts";
import type { Store } from "../state/store.ts";
import type { Stage } from "./types.ts";

type Done = { reading: PlainReading; a: string; b: string; answer: Evidence["difference"][1] };

export function createDifference({ ask, card, theme }: Stage, store: Store) {
  let done: Done | null = null;
  const figure = card({
    name: "difference-of-lenses",
    title: "Difference of two lenses",
    words: "The same text under two lenses, cell by cell. Where they agree, a picture does not depend on the lens.",
    csv: () => ({
      head: ["tap", "position", "kl", "kl_reverse", "js", "same_top_1"],
      lines: (done?.answer.taps ?? []).flatMap((tap, row) =>
        (done as Done).answer.tokens.map((_, position) => {
          const { tokens, kl, kl_reverse, js, agrees } = (done as Done).answer;
          const at = row * tokens.length + position;
          return [tap, position, kl[at], kl_reverse[at], js[at], agrees[at]] as (string | number)[];
        }),
      ),
    }),
    again: () => void run(),
  });
  const first = choiceOf("lens", [], () => {});
  const second = choiceOf("against", [], () => {});
  const measure = choiceOf(
    "measure",
    [
      ["kl", "KL(first ‖ second)"],
      ["js", "Jensen–Shannon"],
      ["agrees", "same top-1"],
    ],
    () => draw(),
  );
  figure.tools.append(
    first.element,
    second.element,
    button("chip main", "Compare", () => void run()),
    measure.element,
  );
  const said = element("p", "muted");
  said.dataset.caption = "";
  const grid = createHeatGrid("Difference of two lenses", {
    words: ({ row, column }) => {
      if (!done) return "";
      const { taps, tokens, kl, js, agrees } = done.answer;
      const tap = taps.length - 1 - row;
      const at = tap * tokens.length + column;
      return `${taps[tap]}, position ${column}: KL ${decimal(kl[at], 3)} nats, Jensen–Shannon ${decimal(js[at], 3)}, ${agrees[at] ? "the same top-1" : "another top-1"}`;
    },
    choose: () => {},
  });
  figure.body.append(said, grid.element);

  async function run() {
    const reading = store.reading.peek();
    if (!reading) return figure.say("There is no text yet.");
    const [a, b] = [first.select.value, second.select.value];
    const answer = await figure.run((watch) =>
      ask("difference", { serial: reading.serial, a, b, norm: reading.asked.norm }, watch),
    );
    if (!answer) return;
    if (reading !== store.reading.peek()) return;
    done = { reading, a, b, answer };
    draw();
  }

  function draw() {
    measure.element.hidden = said.hidden = !done;
    if (!done) return grid.show(null, theme());
    const { taps, tokens, kl, js, agrees } = done.answer;
    const which = measure.select.value;
    const values = which === "kl" ? kl : which === "js" ? js : agrees;
    const n = tokens.length;
    const rows = taps.toReversed();
    const rowValues = (row: number) =>
      Array.from(values.subarray((taps.length - 1 - row) * n, (taps.length - row) * n));
    // But for the last row, which both leave as it is.
    const inner = agrees.subarray(0, (taps.length - 1) * n);
    const share = inner.reduce((sum, each) => sum + each, 0) / inner.length;
    said.textContent = `${lensWords(done.a)} against ${lensWords(done.b)}: in the rows below the last one, ${percent(share)} of the cells have the same top-1.`;
    grid.show(
      {
        rows,
        columns: tokens.map(({ shown }) => shown),
        values: rows.flatMap((_, row) => rowValues(row)),
        print: which === "agrees" ? (value) => (value ? "=" : "≠") : (value) => decimal(value, 2),
        ...(which === "agrees" ? { limit: 1 } : {}),
      },
      theme(),
    );
  }

  function offer() {
    const choices = store.lens_choices.peek();
    for (const { select } of [first, second]) replaceOptions(select, choices);
    if (second.select.value === first.select.value && choices.length > 1) [second.select.value] = choices[1];
    figure.element.hidden = choices.length < 2;
  }

  draw();
  return {
    element: figure.element,
    offer,
    redraw: draw,
    forget() {
      figure.reset();
      done = null;
      draw();
    },
    run,
    done: () => done,
  };
}
