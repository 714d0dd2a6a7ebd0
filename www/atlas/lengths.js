// @ts-check
/** Are the longest and shortest embeddings more extreme on a direction than their length alone explains? Pure. */
import { mean, median, quantileSorted } from "d3-array";
import { descending } from "./orders.js";

/** The middle of all tokens, outside of which one is extreme. */
const CENTRAL = [0.025, 0.975];

/** @typedef {{ ids: number[], mean: number, n_outside: number }} End */

/**
 * The cosine of each embedding with a unit direction is its projection over its length: length alone would leave it as
 * it is, so what differs here is more than length.
 * @param {ArrayLike<number>} projections @param {ArrayLike<number>} norms @param {number} n how many at either end
 */
export function lengthQuestion(projections, norms, n) {
  const cosines = Float64Array.from(norms, (norm, i) => (norm > 0 ? projections[i] / norm : 0));
  const sorted = Array.from(cosines).sort((a, b) => a - b);
  const [low, high] = CENTRAL.map((p) => quantileSorted(sorted, p) ?? 0);
  const by_norm = descending(norms);
  const count = Math.min(n, Math.floor(by_norm.length / 2));
  /** @param {number[]} ids @returns {End} */
  const end = (ids) => ({ ids, mean: mean(ids, (id) => cosines[id]) ?? NaN, n_outside: ids.filter((id) => cosines[id] < low || cosines[id] > high).length });
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
