// @ts-check
/** Which tokens and channels stand in a picture, in which order, and which of them are drawn where there is no room for all. Pure. */

/** @param {number} n */
export const inOrder = (n) => Uint32Array.from({ length: n }, (_, i) => i);

/** Indices from the largest value to the smallest; equals by index. @param {ArrayLike<number>} values */
export const descending = (values) => inOrder(values.length).sort((a, b) => values[b] - values[a] || a - b);

/**
 * Numbers and ranges as one writes them, "0-99, 262 #314": each once, in the order given, below `n` only.
 * @param {string} text @param {number} n @returns {Uint32Array}
 */
export function parseIndices(text, n) {
  /** @type {Set<number>} */
  const found = new Set();
  for (const [, from, to] of text.matchAll(/#?(\d{1,9})(?:\s*[-–]\s*#?(\d{1,9}))?/g)) {
    const [first, last] = [Number(from), Number(to ?? from)];
    for (let i = first; i <= Math.min(last, n - 1); i++) if (i < n) found.add(i);
  }
  return Uint32Array.from(found);
}

/** Every how many-th has room, about one a pixel: a power of two, so that zooming in keeps what is there. @param {number} n @param {number} pixels */
export const strideFor = (n, pixels) => 2 ** Math.max(0, Math.round(Math.log2(n / Math.max(1, pixels))));

/** The multiples of `stride` that cover start … end − 1. @param {number} start @param {number} end @param {number} stride */
export function samplesOf(start, end, stride) {
  const first = Math.floor(start / stride) * stride;
  return Array.from({ length: Math.max(0, Math.ceil((end - first) / stride)) }, (_, i) => first + i * stride);
}

/**
 * What stands in for a place that is not there yet: the nearest coarser one that is.
 * @param {number} place @param {number} stride @param {(place: number) => boolean} has
 */
export function coarser(place, stride, has) {
  for (let step = stride; ; step *= 2) {
    const near = place - (place % step);
    if (has(near)) return near;
    if (near === 0) return null;
  }
}
