/** Numbers of a reading by row, for curves over depth. Pure. */
import { finalTap } from "./reading.ts";
import type { PlainReading } from "./reading.ts";

/** The place of each row between the input, 0, and the output, 1. */
export const relativeDepth = (n_rows: number) =>
  Array.from({ length: n_rows }, (_, row) => (n_rows === 1 ? 1 : row / (n_rows - 1)));

export type Mean = { mean: number; low: number; high: number; n: number };

/** The mean of the values that are numbers, with its 95 % interval over positions. */
export function meanOf(values: ArrayLike<number>): Mean {
  const finite = Array.from(values).filter(Number.isFinite);
  const n = finite.length;
  const mean = finite.reduce((sum, value) => sum + value, 0) / n;
  const variance = finite.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (n - 1);
  const half = n > 1 ? 1.96 * Math.sqrt(variance / n) : NaN;
  return { mean, low: mean - half, high: mean + half, n };
}

/** One mean a row of a table [N·T], without the first position, which is unlike all others. */
export const meansByRow = (values: ArrayLike<number>, n_rows: number, n_tokens: number): Mean[] =>
  Array.from({ length: n_rows }, (_, row) =>
    meanOf(Array.from(values).slice(row * n_tokens + Math.min(1, n_tokens - 1), (row + 1) * n_tokens)),
  );

/** Where one curve rises above another, as a relative depth; null if it never does. */
export function crossing(rising: number[], falling: number[]): number | null {
  const depth = relativeDepth(rising.length);
  for (let row = 1; row < rising.length; row++) {
    const [before, now] = [rising[row - 1] - falling[row - 1], rising[row] - falling[row]];
    if (before <= 0 && now > 0) return depth[row - 1] + (depth[row] - depth[row - 1]) * (-before / (now - before));
  }
  return null;
}

/** How the stream changes from row to row: lengths of steps relative to the row before, and cosines. */
export type Steps = { step: Mean[]; with_before: Mean[]; with_final: Mean[] };

/**
 * @param streams by row, [T·C] each; the first position is left out
 */
export function stepsOf(streams: Float32Array[], n_tokens: number): Steps {
  const width = streams[0].length / n_tokens;
  const first = Math.min(1, n_tokens - 1);
  const rowOf = (row: number, t: number) => streams[row].subarray(t * width, (t + 1) * width);
  const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i], 0);
  const cosine = (a: Float32Array, b: Float32Array) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  const over = (row: number, measure: (t: number) => number) =>
    meanOf(row < 0 ? [] : Array.from({ length: n_tokens - first }, (_, i) => measure(first + i)));
  const rows = streams.map((_, row) => row);
  return {
    step: rows.map((row) =>
      over(row - 1, (t) => {
        const [before, now] = [rowOf(row - 1, t), rowOf(row, t)];
        const change = now.map((value, i) => value - before[i]);
        return Math.sqrt(dot(change, change) / dot(before, before));
      }),
    ),
    with_before: rows.map((row) => over(row - 1, (t) => cosine(rowOf(row - 1, t), rowOf(row, t)))),
    with_final: rows.map((row) => over(row, (t) => cosine(rowOf(row, t), rowOf(streams.length - 1, t)))),
  };
}

/** A token that is among the likeliest in a row in the middle, and far from it at the end. */
export type Visitor = { id: number; positions: number; share: number; row: string; best: number; example: number };

/** Tokens in the top k of some row between the first and the last whose rank at the end is behind all that is listed there. */
export function visitorsOf(reading: PlainReading, k = 5): Visitor[] {
  const { taps, n_tokens, top_k, top_ids } = reading;
  const last = finalTap(reading);
  const listed = (row: number, t: number) =>
    top_ids.subarray((row * n_tokens + t) * top_k, (row * n_tokens + t) * top_k + top_k);
  const found: Map<number, Visitor & { seen: Set<number> }> = new Map();
  for (let t = 0; t < n_tokens; t++) {
    const at_end = new Set(listed(last, t));
    for (let row = 1; row < last; row++) {
      listed(row, t).forEach((id, rank) => {
        if (rank >= k || at_end.has(id) || id === reading.tokens[t].id) return;
        const known = found.get(id) ?? {
          id,
          positions: 0,
          share: 0,
          row: taps[row],
          best: rank + 1,
          example: t,
          seen: new Set(),
        };
        known.seen.add(t);
        if (rank + 1 < known.best) [known.best, known.row, known.example] = [rank + 1, taps[row], t];
        found.set(id, known);
      });
    }
  }
  return [...found.values()]
    .map(({ seen, ...visitor }) => ({ ...visitor, positions: seen.size, share: seen.size / n_tokens }))
    .toSorted((a, b) => b.positions - a.positions || a.best - b.best)
    .slice(0, 12);
}
