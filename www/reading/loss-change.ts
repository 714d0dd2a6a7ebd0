/** How an edit changes the loss of a text: the mean of the differences at each prediction, with its interval. Pure. */
import { finalTap } from "./reading.ts";
import type { PlainReading } from "./reading.ts";

/** Of a normal distribution, 95 %. */
const Z = 1.96;

const meanOf = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;

/**
 * `before` is the mean without the change, `mean` the change, `low` and `high` its 95 % interval over the predictions as
 * independent ones.
 */
export function meanChange(before: number[], after: number[]) {
  const n = before.length;
  const differences = after.map((value, i) => value - before[i]);
  const mean = meanOf(differences);
  const variance = differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, n - 1);
  const half = Z * Math.sqrt(variance / n);
  return { before: meanOf(before), mean, low: mean - half, high: mean + half, n };
}

/** The change of the loss of the final row, in nats. */
export function lossChange(base: PlainReading, edited: PlainReading) {
  const row = finalTap(base) * base.n_tokens;
  const losses = (of: PlainReading) =>
    Array.from(of.stats.logprob_next.subarray(row, row + base.n_tokens - 1), (p) => -p);
  return meanChange(losses(base), losses(edited));
}
