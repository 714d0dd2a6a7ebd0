/** What is said of one cell: numbers, with both texts' where there are two, and a sentence for screen readers. Pure. */
import { decimal, percent, rank } from "../../lib/format.ts";
import { counterpart, divergenceAt, statsAt, targetAt } from "../../reading/comparison.ts";
import { candidates, statAt, topToken } from "../../reading/reading.ts";
import { numberIn } from "../../reading/views.ts";
import type { Cell, PlainReading } from "../../reading/reading.ts";
import type { Comparison } from "../../reading/comparison.ts";
import type { Shown } from "./frame.ts";

export type Fact = { label: string; unit: string; text: string };

/**
 * What is said of a cell. `value` is of one text; `values` of both, where the token that a rank is of is the first
 * text's.
 */
const FACTS: {
  label: string;
  unit: string;
  value?: (reading: PlainReading, cell: Cell) => string;
  values: (comparison: Comparison, cell: Cell) => [string, string] | string;
}[] = [
  {
    label: "rank of final top-1",
    unit: "",
    value: (reading, cell) => rank(statAt(reading, "rank_final", cell)),
    values: (comparison, cell) => both(targetAt(comparison, "top", "rank", cell), rank),
  },
  {
    label: "rank of input",
    unit: "",
    value: (reading, cell) => rank(statAt(reading, "rank_input", cell)),
    values: (comparison, cell) => both(statsAt(comparison, "rank_input", cell), rank),
  },
  {
    label: "rank of true next",
    unit: "",
    value: (reading, cell) => rank(statAt(reading, "rank_next", cell)),
    values: (comparison, cell) => both(targetAt(comparison, "next", "rank", cell), rank),
  },
  {
    label: "KL(final‖row)",
    unit: "nats",
    value: (reading, cell) => number(statAt(reading, "kl_final", cell)),
    values: (comparison, cell) => both(statsAt(comparison, "kl_final", cell), number),
  },
  {
    label: "entropy",
    unit: "nats",
    value: (reading, cell) => number(statAt(reading, "entropy", cell)),
    values: (comparison, cell) => both(statsAt(comparison, "entropy", cell), number),
  },
  {
    label: "−log p(true next)",
    unit: "nats",
    value: (reading, cell) => number(-statAt(reading, "logprob_next", cell)),
    values: (comparison, cell) => both(targetAt(comparison, "next", "loss", cell), number),
  },
  {
    label: "KL(first‖second)",
    unit: "nats",
    values: (comparison, cell) => number(divergenceAt(comparison, "kl", cell)),
  },
  {
    label: "Jensen–Shannon",
    unit: "nats",
    values: (comparison, cell) => number(divergenceAt(comparison, "js", cell)),
  },
];

const both = ([first, second]: [number, number], format: (value: number) => string): [string, string] => [
  format(first),
  format(second),
];

/** A number that may be absent. */
const number = (value: number) => (Number.isNaN(value) ? "–" : decimal(value));

/** The numbers of a cell, those of the drawn difference first. */
export function factsOf({ reading, comparison, view, values }: Shown, cell: Cell): Fact[] {
  const other = comparison && counterpart(comparison, cell);
  const drawn: Fact[] = comparison
    ? [
        {
          label: view.between ? "shown" : view.kind === "ratio" ? "shown: second ÷ first" : "shown: second − first",
          unit: "",
          text: numberIn(view, values[cell.tap * reading.n_tokens + cell.position]),
        },
      ]
    : [];
  const facts = FACTS.flatMap((fact) => {
    const said = other ? fact.values(comparison, cell) : fact.value?.(reading, cell);
    return said === undefined
      ? []
      : [{ label: fact.label, unit: fact.unit, text: Array.isArray(said) ? said.join(" → ") : said }];
  });
  return [...drawn, ...facts];
}

/** The cell in one sentence, for a screen reader. */
export function spokenCell({ reading, comparison, view, values }: Shown, cell: Cell, pinned: boolean) {
  const other = comparison && counterpart(comparison, cell);
  const second = other
    ? `; second text: top-1 ${topToken(comparison.second, other).shown}; ${view.quantity} ${numberIn(view, values[cell.tap * reading.n_tokens + cell.position])}`
    : comparison
      ? "; not compared"
      : "";
  return (
    `${reading.taps[cell.tap]}, position ${cell.position}, token ${reading.tokens[cell.position].shown}: ` +
    `top-1 ${topToken(reading, cell).shown}, ${percent(candidates(reading, cell)[0]?.probability ?? NaN)}, ` +
    `rank of final ${rank(statAt(reading, "rank_final", cell))}${second}${pinned ? ", pinned" : ""}`
  );
}
