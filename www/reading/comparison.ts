/**
 * Two readings and how they differ. Columns are aligned by their tokens, and a difference holds the token fixed: the
 * first text's, scored in both readings. Pure.
 */
import { diffArrays } from "diff";
import { NO_TOKEN, finalTap, statAt, topId } from "./reading.ts";
import type { Cell, PlainReading } from "./reading.ts";

/** A token of each column at every row, tap-major. */
export type Scores = { logit: Float32Array; logprob: Float32Array; rank: Float32Array };
/** What the engine says of two readings; divergences in nats. [N·columns] */
export type Divergences = {
  kl: Float32Array;
  kl_reverse: Float32Array;
  js: Float32Array;
  targets: { a: Scores; b: Scores }[];
};

export interface Comparison {
  first: PlainReading;
  second: PlainReading;
  /** positions of the first and the second text whose tokens are aligned */
  columns: [number, number][];
  /** [T of first] the index of a position's column; −1 where it has none */
  column_of: Int32Array;
  /** with the targets of `targetsOf` */
  divergences: Divergences;
}

/** Places of `targetsOf`. */
const TOP = 0;
const NEXT = 1;

/** Pairs of positions with the same token: the prefix that both texts share, then a longest common subsequence. */
export function alignedColumns(first: PlainReading, second: PlainReading): [number, number][] {
  const [a, b] = [first, second].map(({ tokens }) => tokens.map(({ id }) => id));
  let shared = 0;
  while (shared < a.length && a[shared] === b[shared]) shared++;
  const columns: [number, number][] = Array.from({ length: shared }, (_, i) => [i, i]);
  let [i, j] = [shared, shared];
  for (const { value, added, removed } of diffArrays(a.slice(shared), b.slice(shared))) {
    if (!added && !removed) for (let k = 0; k < value.length; k++) columns.push([i + k, j + k]);
    if (!added) i += value.length;
    if (!removed) j += value.length;
  }
  return columns;
}

/**
 * The tokens to score in both readings: what the first one's final row puts first, and the first text's true next
 * token.
 */
export const targetsOf = (first: PlainReading, columns: [number, number][]) => [
  Uint32Array.from(columns, ([position]) => topId(first, { tap: finalTap(first), position })),
  Uint32Array.from(columns, ([position]) => first.tokens[position + 1]?.id ?? NO_TOKEN),
];

export function comparisonOf(
  first: PlainReading,
  second: PlainReading,
  columns: [number, number][],
  divergences: Divergences,
): Comparison {
  const column_of = new Int32Array(first.n_tokens).fill(-1);
  columns.forEach(([position], column) => (column_of[position] = column));
  return { first, second, columns, column_of, divergences };
}

/**
 * The cell of the second reading that a cell of the first is compared with; null where its column has no counterpart.
 */
export function counterpart({ columns, column_of }: Comparison, { tap, position }: Cell): Cell | null {
  const column = column_of[position];
  return column < 0 ? null : { tap, position: columns[column][1] };
}

/** Values of the columns as values of the first reading's cells; NaN where a position has no counterpart. */
function spread({ first, columns }: Comparison, value: (column: number, tap: number) => number) {
  const values = new Float32Array(first.taps.length * first.n_tokens).fill(NaN);
  for (let tap = 0; tap < first.taps.length; tap++) {
    columns.forEach(([position], column) => (values[tap * first.n_tokens + position] = value(column, tap)));
  }
  return values;
}

/**
 * A statistic of the engine's comparison at every cell of the first reading.
 * @param values [N·columns]
 */
export const atCells = (comparison: Comparison, values: Float32Array) =>
  spread(comparison, (column, tap) => values[tap * comparison.columns.length + column]);

/** How a target is scored by a quantity. */
const SCORES: Record<"logit" | "probability" | "rank" | "loss", (scores: Scores, i: number) => number> = {
  logit: ({ logit }, i) => logit[i],
  probability: ({ logprob }, i) => Math.exp(logprob[i]),
  rank: ({ rank }, i) => (rank[i] >= 1 ? rank[i] : NaN),
  loss: ({ logprob }, i) => -logprob[i],
};

export type Quantity = keyof typeof SCORES;

/** Two values as one: how much larger the second is. A ratio is for ranks: its logarithm to base 2. */
const BETWEEN: Record<"minus" | "ratio", (first: number, second: number) => number> = {
  minus: (first, second) => second - first,
  ratio: (first, second) => Math.log2(second / first),
};

/** A target's change from the first reading to the second. */
export function targetChange(comparison: Comparison, target: "top" | "next", quantity: Quantity) {
  const { a, b } = comparison.divergences.targets[target === "top" ? TOP : NEXT];
  const [score, between] = [SCORES[quantity], BETWEEN[quantity === "rank" ? "ratio" : "minus"]];
  return spread(comparison, (column, tap) => {
    const i = tap * comparison.columns.length + column;
    return between(score(a, i), score(b, i));
  });
}

/** A target in both readings at a cell of the first one. */
export function targetAt(
  comparison: Comparison,
  target: "top" | "next",
  quantity: Quantity,
  { tap, position }: Cell,
): [number, number] {
  const column = comparison.column_of[position];
  if (column < 0) return [NaN, NaN];
  const { a, b } = comparison.divergences.targets[target === "top" ? TOP : NEXT];
  const i = tap * comparison.columns.length + column;
  return [SCORES[quantity](a, i), SCORES[quantity](b, i)];
}

/** A statistic in both readings at a cell of the first one. */
export function statsAt(comparison: Comparison, name: string, cell: Cell): [number, number] {
  const other = counterpart(comparison, cell);
  return [statAt(comparison.first, name, cell), other ? statAt(comparison.second, name, other) : NaN];
}

/** A divergence at a cell of the first reading. */
export function divergenceAt(
  { columns, column_of, divergences }: Comparison,
  which: "kl" | "kl_reverse" | "js",
  { tap, position }: Cell,
) {
  const column = column_of[position];
  return column < 0 ? NaN : divergences[which][tap * columns.length + column];
}

/** The change of values that both readings have, such as entropies. */
export function change(
  comparison: Comparison,
  values: (reading: PlainReading) => Float32Array,
  how: "minus" | "ratio",
) {
  const { first, second, columns } = comparison;
  const [a, b] = [values(first), values(second)];
  // An absent rank is 0: no number to compare with another.
  const present = (value: number) => (how === "ratio" && value < 1 ? NaN : value);
  return spread(comparison, (column, tap) => {
    const [i, j] = columns[column];
    return BETWEEN[how](present(a[tap * first.n_tokens + i]), present(b[tap * second.n_tokens + j]));
  });
}

/** The change of each row's own best logit where both rows put the same token first; NaN where they do not. */
export function changeWhereSame(comparison: Comparison, values: (reading: PlainReading) => Float32Array) {
  const { first, second, columns } = comparison;
  const [a, b] = [values(first), values(second)];
  return spread(comparison, (column, tap) => {
    const [i, j] = columns[column];
    const is_same = topId(first, { tap, position: i }) === topId(second, { tap, position: j });
    return is_same ? b[tap * second.n_tokens + j] - a[tap * first.n_tokens + i] : NaN;
  });
}

/** What the comparison covers, in words. */
export function alignmentWords({ first, second, columns }: Comparison) {
  const [left, right] = [first.n_tokens - columns.length, second.n_tokens - columns.length];
  const is_cut = [first, second].some(({ n_read, n_text }) => n_read < n_text);
  if (left === 0 && right === 0)
    return is_cut
      ? "What was read of both texts is the same."
      : "The same text: change a word and see what follows from it.";
  const only = (n: number, which: string) => (n === 0 ? "" : `${n} of the ${which}`);
  const rest = [only(left, "first"), only(right, "second")].filter(Boolean).join(" and ");
  return columns.length === 0
    ? "No token is in both texts, so nothing can be compared."
    : `${columns.length} of ${first.n_tokens} positions are compared: those whose tokens both texts have in the same order. ${rest} have no partner.`;
}
