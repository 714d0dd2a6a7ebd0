/** How an edit changes the loss of a text: the mean of the differences at each prediction, with its interval. Pure. */
import { finalTap } from "./reading.ts";
import type { PlainReading } from "./reading.ts";

/** Of a normal distribution, 95 %. */
const Z = 1.96;

/**
 * `before` is the mean loss without edits, `mean` the change, `low` and `high` its 95 % interval over the predictions as
 * independent ones; nats.
 */
export function lossChange(base: PlainReading, edited: PlainReading) {
  const row = finalTap(base) * base.n_tokens;
  const losses = (of: PlainReading) => of.stats.logprob_next.subarray(row, row + base.n_tokens - 1).map((p) => -p);
  const [before, after] = [losses(base), losses(edited)];
  const n = before.length;
  const meanOf = (values: ArrayLike<number>) => Array.from(values).reduce((sum, value) => sum + value, 0) / n;
  const differences = Array.from(after, (value, i) => value - before[i]);
  const mean = meanOf(differences);
  const variance = differences.reduce((sum, value) => sum + (value - mean) ** 2, 0) / Math.max(1, n - 1);
  const half = Z * Math.sqrt(variance / n);
  return { before: meanOf(before), mean, low: mean - half, high: mean + half, n };
}
