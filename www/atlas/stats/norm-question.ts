/** Are the longest and shortest embeddings more extreme on a direction than their length alone explains? Pure. */
import { mean, median, quantileSorted } from "d3-array";
import { descending } from "./orders.ts";

/** The middle of all tokens, outside of which one is extreme. */
const CENTRAL = [0.025, 0.975];

export type End = { ids: number[]; mean: number; n_outside: number };

/**
 * The cosine of each embedding with a unit direction is its projection over its length: length alone would leave it as
 * it is, so what differs here is more than length.
 * @param n how many at either end
 */
export function lengthQuestion(projections: ArrayLike<number>, norms: ArrayLike<number>, n: number) {
  const cosines = Float64Array.from(norms, (norm, i) => (norm > 0 ? projections[i] / norm : 0));
  const sorted = Array.from(cosines).sort((a, b) => a - b);
  const [low, high] = CENTRAL.map((p) => quantileSorted(sorted, p) ?? 0);
  const by_norm = descending(norms);
  const count = Math.min(n, Math.floor(by_norm.length / 2));
  const end = (ids: number[]): End => ({
    ids,
    mean: mean(ids, (id) => cosines[id]) ?? NaN,
    n_outside: ids.filter((id) => cosines[id] < low || cosines[id] > high).length,
  });
  return {
    cosines,
    low,
    high,
    mean: mean(cosines) ?? NaN,
    median: median(cosines) ?? NaN,
    longest: end(Array.from(by_norm.subarray(0, count))),
    shortest: end(Array.from(by_norm.subarray(by_norm.length - count)).reverse()),
  };
}
