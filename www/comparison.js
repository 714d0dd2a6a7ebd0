// @ts-check
/**
 * Two readings and how they differ. Columns are aligned by their tokens, and a difference holds the token fixed: the
 * first text's, scored in both readings. Pure.
 */
import { diffArrays } from "diff";
import { NO_TOKEN, finalTap, statAt, topId } from "./reading.js";

/** @typedef {import("./reading.js").PlainReading} PlainReading */
/** @typedef {import("./reading.js").Cell} Cell */
/** A token of each column at every row, tap-major. @typedef {{ logit: Float32Array, logprob: Float32Array, rank: Float32Array }} Scores */
/** What the engine says of two readings; divergences in nats. [N·columns] @typedef {{ kl: Float32Array, kl_reverse: Float32Array, js: Float32Array, targets: { a: Scores, b: Scores }[] }} Divergences */

/**
 * @typedef {object} Comparison
 * @property {PlainReading} first
 * @property {PlainReading} second
 * @property {[number, number][]} columns positions of the first and the second text whose tokens are aligned
 * @property {Int32Array} column_of [T of first] the index of a position's column; −1 where it has none
 * @property {Divergences} divergences with the targets of `targetsOf`
 */

/** Places of `targetsOf`. */
const TOP = 0;
const NEXT = 1;

/**
 * Pairs of positions with the same token: the prefix that both texts share, then a longest common subsequence.
 * @param {PlainReading} first @param {PlainReading} second @returns {[number, number][]}
 */
export function alignedColumns(first, second) {
  const [a, b] = [first, second].map(({ tokens }) => tokens.map(({ id }) => id));
  let shared = 0;
  while (shared < a.length && a[shared] === b[shared]) shared++;
  /** @type {[number, number][]} */
  const columns = Array.from({ length: shared }, (_, i) => [i, i]);
  let [i, j] = [shared, shared];
  for (const { value, added, removed } of diffArrays(a.slice(shared), b.slice(shared))) {
    if (!added && !removed) for (let k = 0; k < value.length; k++) columns.push([i + k, j + k]);
    if (!added) i += value.length;
    if (!removed) j += value.length;
  }
  return columns;
}

/** The tokens to score in both readings: what the first one's final row puts first, and the first text's true next token. @param {PlainReading} first @param {[number, number][]} columns */
export const targetsOf = (first, columns) => [
  Uint32Array.from(columns, ([position]) => topId(first, { tap: finalTap(first), position })),
  Uint32Array.from(columns, ([position]) => first.tokens[position + 1]?.id ?? NO_TOKEN),
];

/** @param {PlainReading} first @param {PlainReading} second @param {[number, number][]} columns @param {Divergences} divergences @returns {Comparison} */
export function comparisonOf(first, second, columns, divergences) {
  const column_of = new Int32Array(first.n_tokens).fill(-1);
  columns.forEach(([position], column) => (column_of[position] = column));
  return { first, second, columns, column_of, divergences };
}

/** The cell of the second reading that a cell of the first is compared with; null where its column has no counterpart. @param {Comparison} comparison @param {Cell} cell @returns {Cell | null} */
export function counterpart({ columns, column_of }, { tap, position }) {
  const column = column_of[position];
  return column < 0 ? null : { tap, position: columns[column][1] };
}

/**
 * Values of the columns as values of the first reading's cells; NaN where a position has no counterpart.
 * @param {Comparison} comparison @param {(column: number, tap: number) => number} value
 */
function spread({ first, columns }, value) {
  const values = new Float32Array(first.taps.length * first.n_tokens).fill(NaN);
  for (let tap = 0; tap < first.taps.length; tap++) {
    columns.forEach(([position], column) => (values[tap * first.n_tokens + position] = value(column, tap)));
  }
  return values;
}

/** A statistic of the engine's comparison at every cell of the first reading. @param {Comparison} comparison @param {Float32Array} values [N·columns] */
export const atCells = (comparison, values) => spread(comparison, (column, tap) => values[tap * comparison.columns.length + column]);

/** How a target is scored by a quantity. @type {Record<"logit" | "probability" | "rank" | "loss", (scores: Scores, i: number) => number>} */
const SCORES = {
  logit: ({ logit }, i) => logit[i],
  probability: ({ logprob }, i) => Math.exp(logprob[i]),
  rank: ({ rank }, i) => (rank[i] >= 1 ? rank[i] : NaN),
  loss: ({ logprob }, i) => -logprob[i],
};

/** @typedef {keyof typeof SCORES} Quantity */

/** Two values as one: how much larger the second is. A ratio is for ranks: its logarithm to base 2. @type {Record<"minus" | "ratio", (first: number, second: number) => number>} */
const BETWEEN = {
  minus: (first, second) => second - first,
  ratio: (first, second) => Math.log2(second / first),
};

/**
 * A target's change from the first reading to the second.
 * @param {Comparison} comparison @param {"top" | "next"} target @param {Quantity} quantity
 */
export function targetChange(comparison, target, quantity) {
  const { a, b } = comparison.divergences.targets[target === "top" ? TOP : NEXT];
  const [score, between] = [SCORES[quantity], BETWEEN[quantity === "rank" ? "ratio" : "minus"]];
  return spread(comparison, (column, tap) => {
    const i = tap * comparison.columns.length + column;
    return between(score(a, i), score(b, i));
  });
}

/** A target in both readings at a cell of the first one. @param {Comparison} comparison @param {"top" | "next"} target @param {Quantity} quantity @param {Cell} cell @returns {[number, number]} */
export function targetAt(comparison, target, quantity, { tap, position }) {
  const column = comparison.column_of[position];
  if (column < 0) return [NaN, NaN];
  const { a, b } = comparison.divergences.targets[target === "top" ? TOP : NEXT];
  const i = tap * comparison.columns.length + column;
  return [SCORES[quantity](a, i), SCORES[quantity](b, i)];
}

/** A statistic in both readings at a cell of the first one. @param {Comparison} comparison @param {string} name @param {Cell} cell @returns {[number, number]} */
export function statsAt(comparison, name, cell) {
  const other = counterpart(comparison, cell);
  return [statAt(comparison.first, name, cell), other ? statAt(comparison.second, name, other) : NaN];
}

/** A divergence at a cell of the first reading. @param {Comparison} comparison @param {"kl" | "kl_reverse" | "js"} which @param {Cell} cell */
export function divergenceAt({ columns, column_of, divergences }, which, { tap, position }) {
  const column = column_of[position];
  return column < 0 ? NaN : divergences[which][tap * columns.length + column];
}

/**
 * The change of values that both readings have, such as entropies.
 * @param {Comparison} comparison @param {(reading: PlainReading) => Float32Array} values @param {"minus" | "ratio"} how
 */
export function change(comparison, values, how) {
  const { first, second, columns } = comparison;
  const [a, b] = [values(first), values(second)];
  // An absent rank is 0: no number to compare with another.
  const present = (/** @type {number} */ value) => (how === "ratio" && value < 1 ? NaN : value);
  return spread(comparison, (column, tap) => {
    const [i, j] = columns[column];
    return BETWEEN[how](present(a[tap * first.n_tokens + i]), present(b[tap * second.n_tokens + j]));
  });
}

/** The change of each row's own best logit where both rows put the same token first; NaN where they do not. @param {Comparison} comparison @param {(reading: PlainReading) => Float32Array} values */
export function changeWhereSame(comparison, values) {
  const { first, second, columns } = comparison;
  const [a, b] = [values(first), values(second)];
  return spread(comparison, (column, tap) => {
    const [i, j] = columns[column];
    const is_same = topId(first, { tap, position: i }) === topId(second, { tap, position: j });
    return is_same ? b[tap * second.n_tokens + j] - a[tap * first.n_tokens + i] : NaN;
  });
}

/** What the comparison covers, in words. @param {Comparison} comparison */
export function alignmentWords({ first, second, columns }) {
  const [left, right] = [first.n_tokens - columns.length, second.n_tokens - columns.length];
  if (left === 0 && right === 0) return "The same text: change a word and see what follows from it.";
  const only = (/** @type {number} */ n, /** @type {string} */ which) => (n === 0 ? "" : `${n} only in the ${which}`);
  const rest = [only(left, "first"), only(right, "second")].filter(Boolean).join(", ");
  return columns.length === 0 ? "No token is in both texts, so nothing can be compared." : `${columns.length} of ${first.n_tokens} positions are compared: those whose token is in both texts (${rest}).`;
}
