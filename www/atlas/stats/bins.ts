/** Histograms that can be laid over each other: the same bins for all. Pure. */
import { deviation, mean } from "d3-array";
import { extentOf } from "../../lib/extent.ts";

/** @returns counts by series and bin; the last bin takes its upper edge in */
export function sharedBins(series: ArrayLike<number>[], n_bins: number): { edges: number[]; counts: number[][] } {
  const ends = series.map((values) => extentOf(values));
  const [least, most] = [Math.min(...ends.map(([low]) => low)), Math.max(...ends.map(([, high]) => high))];
  const width = (most - least || 1) / n_bins;
  const counts = series.map((values) => {
    const of = new Array<number>(n_bins).fill(0);
    for (let i = 0; i < values.length; i++) {
      if (Number.isFinite(values[i])) of[Math.min(n_bins - 1, Math.max(0, Math.floor((values[i] - least) / width)))]++;
    }
    return of;
  });
  return { edges: Array.from({ length: n_bins + 1 }, (_, i) => least + i * width), counts };
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
