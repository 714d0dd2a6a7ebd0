/** Histograms that can be laid over each other: the same bins for all. Pure. */
import { bin, deviation, mean } from "d3-array";
import { extentOf } from "../../lib/extent.ts";

/** The edges of bins of equal width; one value alone stands at the lower edge of bins whose widths sum to 1. */
const edgesOf = (least: number, most: number, n_bins: number) => {
  const width = (most - least || 1) / n_bins;
  return Array.from({ length: n_bins + 1 }, (_, i) => (i === n_bins && most > least ? most : least + i * width));
};

/** The last bin takes its upper edge in. */
const countsIn = (values: number[], edges: number[]) =>
  bin()
    .domain([edges[0], edges[edges.length - 1]])
    .thresholds(edges.slice(1, -1))(values)
    .map((members) => members.length);

/** @returns counts by series and bin, of the finite values */
export function sharedBins(series: ArrayLike<number>[], n_bins: number): { edges: number[]; counts: number[][] } {
  const finite = series.map((values) => Array.from(values).filter(Number.isFinite));
  const [least, most] = extentOf(finite.flat());
  const edges = edgesOf(least, most, n_bins);
  return { edges, counts: finite.map((values) => countsIn(values, edges)) };
}

/** Of the logarithms: what has none is left out and counted. Edges are of the values. */
export function logHistogram(values: ArrayLike<number>, n_bins: number) {
  const logs = Array.from(values, (value) => (value > 0 ? Math.log10(value) : NaN)).filter(Number.isFinite);
  const [least, most] = extentOf(logs);
  const edges = edgesOf(least, most, n_bins);
  return {
    bins: countsIn(logs, edges).map((count, i) => ({ from: 10 ** edges[i], to: 10 ** edges[i + 1], count })),
    n_left_out: values.length - logs.length,
  };
}

/** Mean and standard deviation over all of them, as the atlas takes it (ddof = 0). */
export function momentsOf(values: ArrayLike<number>) {
  const all = Array.from(values);
  const n = all.length;
  return { mean: mean(all) ?? NaN, std: n < 2 ? 0 : (deviation(all) ?? 0) * Math.sqrt((n - 1) / n) };
}

/** The outline of one histogram: a point at either end of each bin. */
export const outlineOf = (edges: number[], counts: number[]) => [
  { x: edges[0], y: 0 },
  ...counts.flatMap((y, i) => [
    { x: edges[i], y },
    { x: edges[i + 1], y },
  ]),
  { x: edges[edges.length - 1], y: 0 },
];
