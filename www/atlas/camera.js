// @ts-check
/** One axis of a picture that can be zoomed: n cells in a row, of which `length` pixels are seen. Pure. */

/** @typedef {{ n: number, length: number, start: number, size: number, max_size: number }} Axis `start`: the first cell seen, with its fraction; `size`: pixels of one cell */

/** @param {number} n @param {number} length @param {number} max_size @returns {Axis} */
export const fitted = (n, length, max_size) => {
  const size = length / Math.max(1, n);
  return { n, length, start: 0, size, max_size: Math.max(size, max_size) };
};

/** Nothing beyond the ends. @param {Axis} axis @returns {Axis} */
function held(axis) {
  const size = Math.min(axis.max_size, Math.max(axis.length / Math.max(1, axis.n), axis.size));
  return { ...axis, size, start: Math.min(Math.max(0, axis.start), Math.max(0, axis.n - axis.length / size)) };
}

/** The cell under `at` stays there. @param {Axis} axis @param {number} factor @param {number} at pixels @returns {Axis} */
export function zoomed(axis, factor, at) {
  const { size } = held({ ...axis, size: axis.size * factor });
  return held({ ...axis, size, start: axis.start + at / axis.size - at / size });
}

/** @param {Axis} axis @param {number} pixels to the right or down @returns {Axis} */
export const panned = (axis, pixels) => held({ ...axis, start: axis.start - pixels / axis.size });

/** The same cells on another length. @param {Axis} axis @param {number} length @returns {Axis} */
export const resized = (axis, length) => held({ ...axis, length, size: (axis.size * length) / Math.max(1, axis.length) });

/** Just these cells. @param {Axis} axis @param {number} start @param {number} end @returns {Axis} */
export const windowed = (axis, start, end) => held({ ...axis, start, size: axis.length / Math.max(1e-9, end - start) });

/** The cells seen, whole numbers. @param {Axis} axis */
export const seen = ({ n, length, start, size }) => ({ start: Math.floor(start), end: Math.min(n, Math.ceil(start + length / size - 1e-6)) });

/** @param {Axis} axis @param {number} at pixels @returns {number | null} */
export function cellAt({ n, length, start, size }, at) {
  const cell = Math.floor(start + at / size);
  return at >= 0 && at < length && cell >= 0 && cell < n ? cell : null;
}

/** Where a cell begins, in pixels. @param {Axis} axis @param {number} cell */
export const placeOf = ({ start, size }, cell) => (cell - start) * size;

/** Whether all of it is seen. @param {Axis} axis */
export const isWhole = ({ n, length, size }) => size * n <= length * 1.0001;

/** How fast each of two axes zooms, so that both come to their largest cells together. @param {Axis} a @param {Axis} b @returns {[number, number]} */
export function rates(a, b) {
  const [of_a, of_b] = [a, b].map(({ n, length, max_size }) => Math.log(Math.max(1.001, (max_size * n) / length)));
  const most = Math.max(of_a, of_b);
  return [of_a / most, of_b / most];
}
