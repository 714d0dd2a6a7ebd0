/** What reads and writes one channel: every head and MLP of every block, against the median over all channels. */
import { createHeatGrid } from "../../cards/heat-grid.ts";
import { significant } from "../../lib/format.ts";
import { choiceOf } from "../../ui/fields.ts";
import { strengthsOf } from "../stats/circuits.ts";
import type { Circuits } from "../queries.ts";
import type { CircuitKind } from "../stats/circuits.ts";
import type { Stage } from "../types.ts";

const KINDS: [CircuitKind, string][] = [
  ["o", "what writes it"],
  ["q", "queries that read it"],
  ["k", "keys that read it"],
  ["v", "values that read it"],
];
/** Colours end at so many doublings. */
const LIMIT = 3;

export function createCircuits(
  { ask, selection, card, theme }: Stage,
  onPart: (norm: "ln_1" | "ln_2", block: number) => void,
) {
  let kind: CircuitKind = "o";
  let known: Circuits | null = null;
  const figure = card({
    name: "circuits",
    title: "What reads and writes this channel",
    words: "",
    csv: () => {
      const found = known && strengthsOf(known, { channel: selection.channel, n_embd: nEmbd(), kind });
      return {
        head: ["block", ...(found?.columns ?? [])],
        lines: Array.from({ length: found?.n_layer ?? 0 }, (_, block) => [
          block,
          ...(found?.ratios.slice(block * found.columns.length, (block + 1) * found.columns.length) ?? []),
        ]),
      };
    },
  });
  const nEmbd = () => Number(ask.facts.n_embd);
  const choice = choiceOf("by", KINDS, (value) => {
    kind = value as CircuitKind;
    draw();
  });
  figure.tools.append(choice.element);
  const grid = createHeatGrid("What reads and writes this channel", {
    words: ({ row, column }) => {
      const found = known && strengthsOf(known, { channel: selection.channel, n_embd: nEmbd(), kind });
      if (!found) return "";
      const block = found.n_layer - 1 - row;
      const ratio = found.ratios[block * found.columns.length + column];
      return `h.${block}, ${column < found.columns.length - 1 ? `head ${column}` : "MLP"}: ${significant(ratio)} × the median channel`;
    },
    choose: ({ row, column }) => {
      const found = known && strengthsOf(known, { channel: selection.channel, n_embd: nEmbd(), kind });
      if (found && kind !== "o") onPart(column < found.columns.length - 1 ? "ln_1" : "ln_2", found.n_layer - 1 - row);
    },
  });
  figure.body.append(grid.element);

  function draw() {
    if (!known) return grid.show(null, theme());
    const { columns, n_layer, ratios } = strengthsOf(known, { channel: selection.channel, n_embd: nEmbd(), kind });
    figure.setTitle(`What ${kind === "o" ? "writes" : "reads"} channel ${selection.channel}`);
    figure.setWords(
      kind === "o"
        ? "The length of each part’s weights into this channel, against the median over all channels."
        : "The length of this channel’s weights into each part, times the gain of the LayerNorm before it, against the median over all channels. A cell fills the fields above with what it reads.",
    );
    grid.show(
      {
        rows: Array.from({ length: n_layer }, (_, row) => `h.${n_layer - 1 - row}`),
        columns,
        values: Float32Array.from({ length: n_layer * columns.length }, (_, i) => {
          const block = n_layer - 1 - Math.floor(i / columns.length);
          return Math.log2(ratios[block * columns.length + (i % columns.length)]);
        }),
        limit: LIMIT,
        print: (value) => significant(2 ** value, 2),
      },
      theme(),
    );
  }

  return {
    element: figure.element,
    async show() {
      figure.element.hidden = ask.facts.partial === true;
      if (figure.element.hidden) return;
      known = await figure.run((watch) => ask.circuits(watch));
      draw();
    },
    redraw: draw,
  };
}
