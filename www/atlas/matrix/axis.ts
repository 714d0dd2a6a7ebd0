/** One axis of a picture that can be zoomed: n cells in a row, of which `length` pixels are seen. Pure. */

/** `start`: the first cell seen, with its fraction; `size`: pixels of one cell */
export type Axis = { n: number; length: number; start: number; size: number; max_size: number };

export const fitted = (n: number, length: number, max_size: number): Axis => {
  const size = length / Math.max(1, n);
  return { n, length, start: 0, size, max_size: Math.max(size, max_size) };
};

/** Nothing beyond the ends. */
function held(axis: Axis): Axis {
  const size = Math.min(axis.max_size, Math.max(axis.length / Math.max(1, axis.n), axis.size));
  return { ...axis, size, start: Math.min(Math.max(0, axis.start), Math.max(0, axis.n - axis.length / size)) };
}

/**
 * The cell under `at` stays there.
 * @param at pixels
 */
export function zoomed(axis: Axis, factor: number, at: number): Axis {
  const { size } = held({ ...axis, size: axis.size * factor });
  return held({ ...axis, size, start: axis.start + at / axis.size - at / size });
}

/** @param pixels to the right or down */
export const panned = (axis: Axis, pixels: number): Axis => held({ ...axis, start: axis.start - pixels / axis.size });

/** The same cells on another length. */
export const resized = (axis: Axis, length: number): Axis =>
  held({ ...axis, length, size: (axis.size * length) / Math.max(1, axis.length) });

/** Just these cells. */
export const windowed = (axis: Axis, start: number, end: number): Axis =>
  held({ ...axis, start, size: axis.length / Math.max(1e-9, end - start) });

/** The cells seen, whole numbers. */
export const seen = ({ n, length, start, size }: Axis) => ({
  start: Math.floor(start),
  end: Math.min(n, Math.ceil(start + length / size - 1e-6)),
});

/** @param at pixels */
export function cellAt({ n, length, start, size }: Axis, at: number): number | null {
  const cell = Math.floor(start + at / size);
  return at >= 0 && at < length && cell >= 0 && cell < n ? cell : null;
}

/** Where a cell begins, in pixels. */
export const placeOf = ({ start, size }: Axis, cell: number) => (cell - start) * size;

/** Whether all of it is seen. */
export const isWhole = ({ n, length, size }: Axis) => size * n <= length * 1.0001;

/** How fast each of two axes zooms, so that both come to their largest cells together. */
export function rates(a: Axis, b: Axis): [number, number] {
  const [of_a, of_b] = [a, b].map(({ n, length, max_size }) => Math.log(Math.max(1.001, (max_size * n) / length)));
  const most = Math.max(of_a, of_b);
  return [of_a / most, of_b / most];
}
