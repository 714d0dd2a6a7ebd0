/** Where points stand closest together. Pure. */
import { deviation, mean, quantileSorted } from "d3-array";
import { randomLcg, randomNormal } from "d3-random";

/** The middle of each axis that is searched, so that a far point does not make every cell coarse. */
const SEARCHED = [0.0005, 0.9995];
const N_CELLS = 48;

function middle(values: ArrayLike<number>): [number, number] {
  const sorted = Array.from(values)
    .filter(Number.isFinite)
    .sort((a, b) => a - b);
  const [low, high] = SEARCHED.map((p) => quantileSorted(sorted, p) ?? 0);
  return [low, high > low ? high : low + 1];
}

/**
 * The cell of a grid with the most points, and its neighbours around it.
 * @param counts which points are looked at
 * @returns the rectangle, and how many of all points lie in it
 */
export function densest(
  xs: ArrayLike<number>,
  ys: ArrayLike<number>,
  counts: (i: number) => boolean = () => true,
): { x: [number, number]; y: [number, number]; n: number } {
  const [[left, right], [bottom, top]] = [middle(xs), middle(ys)];
  const [width, height] = [(right - left) / N_CELLS, (top - bottom) / N_CELLS];
  const grid = new Uint32Array(N_CELLS * N_CELLS);
  for (let i = 0; i < xs.length; i++) {
    if (!counts(i)) continue;
    const [column, row] = [Math.floor((xs[i] - left) / width), Math.floor((ys[i] - bottom) / height)];
    if (column >= 0 && column < N_CELLS && row >= 0 && row < N_CELLS) grid[row * N_CELLS + column]++;
  }
  let best = 0;
  for (let cell = 1; cell < grid.length; cell++) if (grid[cell] > grid[best]) best = cell;
  const [column, row] = [best % N_CELLS, Math.floor(best / N_CELLS)];
  const x: [number, number] = [left + (column - 1) * width, left + (column + 2) * width];
  const y: [number, number] = [bottom + (row - 1) * height, bottom + (row + 2) * height];
  let n = 0;
  for (let i = 0; i < xs.length; i++) n += Number(xs[i] >= x[0] && xs[i] <= x[1] && ys[i] >= y[0] && ys[i] <= y[1]);
  return { x, y, n };
}

/** The cluster is looked for among so many of the points with the smallest x. */
const NEAREST = 0.02;

/** Where the points with the smallest x stand closest together. */
export function densestNear(xs: Float32Array, ys: ArrayLike<number>) {
  const near = quantileSorted(Array.from(Float32Array.from(xs).sort()), NEAREST) ?? 0;
  return densest(xs, ys, (i) => xs[i] <= near);
}

/**
 * As many points as these, drawn from the normal distribution with their means, standard deviations and correlation:
 * what of a cluster would be there by chance.
 * @param seed from 0 to 1
 */
export function normalLike(xs: Float32Array, ys: ArrayLike<number>, seed: number) {
  const [x, y] = [xs, Float64Array.from(ys)].map((values) => ({
    mean: mean(values) ?? 0,
    deviation: deviation(values) || 1e-12,
  }));
  const together = xs.reduce((sum, value, i) => sum + (value - x.mean) * (ys[i] - y.mean), 0);
  const r = Math.min(1, Math.max(-1, together / ((xs.length - 1) * x.deviation * y.deviation)));
  const next = randomNormal.source(randomLcg(seed))();
  const [drawn_x, drawn_y] = [new Float32Array(xs.length), new Float32Array(xs.length)];
  for (let i = 0; i < xs.length; i++) {
    const a = next();
    drawn_x[i] = x.mean + x.deviation * a;
    drawn_y[i] = y.mean + y.deviation * (r * a + Math.sqrt(1 - r * r) * next());
  }
  return { xs: drawn_x, ys: drawn_y };
}
