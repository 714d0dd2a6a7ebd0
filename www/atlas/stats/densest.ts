/** Where points stand closest together. Pure. */
import { quantileSorted } from "d3-array";

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

export type Box = { x: [number, number]; y: [number, number] };

/** How many points lie in the fullest of the eight boxes of the same size around a box. */
export function mostBeside(xs: ArrayLike<number>, ys: ArrayLike<number>, { x, y }: Box) {
  const [width, height] = [x[1] - x[0], y[1] - y[0]];
  const counts = new Uint32Array(9);
  for (let i = 0; i < xs.length; i++) {
    const [column, row] = [Math.floor((xs[i] - x[0]) / width) + 1, Math.floor((ys[i] - y[0]) / height) + 1];
    if (column >= 0 && column < 3 && row >= 0 && row < 3) counts[3 * row + column]++;
  }
  counts[4] = 0;
  return Math.max(...counts);
}

/** So much fuller than what is beside it is a cluster. */
const MIN_RATIO = 2;
/** And by more than so many standard deviations of a count that varies by chance. */
const MIN_DEVIATIONS = 4;

/** Whether that many points together are a cluster of their own, and not an edge of the cloud. */
export const isCluster = (n: number, beside: number) =>
  n >= MIN_RATIO * beside && n - beside > MIN_DEVIATIONS * Math.sqrt(Math.max(1, beside));
