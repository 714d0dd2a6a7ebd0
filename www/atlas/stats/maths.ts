/** What the atlas computes on the page from the engine's arrays. Pure. */
import { median } from "d3-array";
import type { LayerNormGains as Gains } from "../../engine/protocol.ts";

/**
 * Above it the channels that carry the position, below it the others. `low` and `high`: logarithms (base 10) of the
 * values beside it
 */
export type Gap = { low: number; high: number; n_above: number };

/** A lone channel far out makes no class: so many stand on either side of the gap at least. */
const MIN_SIDE = 2;

/**
 * The largest gap between neighbouring values on a log scale, in the upper part of them: half of the channels at most
 * lie above it. Null if there are too few.
 */
export function largestGap(values: ArrayLike<number>): Gap | null {
  const logs = Array.from(values)
    .filter((value) => value > 0 && Number.isFinite(value))
    .map(Math.log10)
    .sort((a, b) => a - b);
  const first = Math.max(MIN_SIDE, Math.ceil(logs.length / 2));
  let best: Gap | null = null;
  for (let i = first; i <= logs.length - MIN_SIDE; i++) {
    if (best && logs[i] - logs[i - 1] <= best.high - best.low) continue;
    best = { low: logs[i - 1], high: logs[i], n_above: logs.length - i };
  }
  return best;
}

/** Where the gap is cut: in its middle. */
export const cutOf = ({ low, high }: Gap) => 10 ** ((low + high) / 2);

/**
 * Which channels are position-heavy: 1 above the threshold.
 * @param chosen the threshold of a person, instead of the largest gap
 */
export function heavyOf(wpe_std: ArrayLike<number>, chosen: number | null = null) {
  const gap = largestGap(wpe_std);
  const cut = chosen ?? (gap ? cutOf(gap) : null);
  const heavy = Uint8Array.from(wpe_std, (value) => Number(cut !== null && value > cut));
  return { cut, is_chosen: chosen !== null, heavy, n_heavy: heavy.reduce((sum, is) => sum + is, 0) };
}

/** The median of the neighbours by x, for each point. */
export function runningMedian(xs: number[], ys: number[], n_neighbours: number) {
  const order = xs.map((_, i) => i).sort((a, b) => xs[a] - xs[b]);
  const half = Math.floor(n_neighbours / 2);
  const out = new Array<number>(xs.length);
  order.forEach((i, place) => {
    const from = Math.max(0, Math.min(place - half, order.length - n_neighbours));
    out[i] = median(order.slice(from, from + n_neighbours), (j) => ys[j]) ?? NaN;
  });
  return out;
}

/**
 * How far each y is from what is usual at its x, in median absolute deviations: large only for those that stand out
 * from the cloud around them, whatever the cloud's own slope.
 * @param ys finite
 */
export function robustDistance(xs: number[], ys: number[], n_neighbours: number = 61) {
  const usual = runningMedian(xs, ys, Math.min(n_neighbours, xs.length));
  const off = ys.map((y, i) => y - usual[i]);
  const mad = median(off, Math.abs) || 1e-9;
  return off.map((value) => value / mad);
}

const logs = (gain: Float32Array) => Array.from(gain, (value) => Math.log(Math.max(Math.abs(value), 1e-12)));

/**
 * The channel whose |ln_2 gain|, averaged over the blocks on a log scale, is farthest above the median; of any gains
 * where there is no ln_2. Null without gains.
 */
export function defaultChannel(gains: Gains[]) {
  const inner = gains.filter(({ name }) => name.endsWith("ln_2"));
  const used = inner.length > 0 ? inner : gains;
  if (used.length === 0) return null;
  const sums = new Float64Array(used[0].weight.length);
  for (const { weight } of used) logs(weight).forEach((value, c) => (sums[c] += value));
  return sums.reduce((best, value, c) => (value > sums[best] ? c : best), 0);
}

/** Rows of a table [n, C] as one column. */
export const columnOf = (table: Float32Array, n_columns: number, column: number) =>
  Float32Array.from({ length: Math.floor(table.length / n_columns) }, (_, row) => table[row * n_columns + column]);

/** The places of the n highest and of the n lowest numbers, each from its end on. */
export function extremes(values: ArrayLike<number>, n: number) {
  const order = Array.from(values, (_, i) => i).sort((a, b) => values[b] - values[a] || a - b);
  return { highest: order.slice(0, n), lowest: order.slice(Math.max(0, order.length - n)).reverse() };
}
