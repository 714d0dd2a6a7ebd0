/** Which tokens and channels stand in a picture, in which order, and which of them are drawn where there is no room for all. Pure. */

export const inOrder = (n: number) => Uint32Array.from({ length: n }, (_, i) => i);

/** Indices from the largest value to the smallest; equals by index. */
export const descending = (values: ArrayLike<number>) =>
  inOrder(values.length).sort((a, b) => values[b] - values[a] || a - b);

/** Numbers and ranges as one writes them, "0-99, 262 #314": each once, in the order given, below `n` only. */
export function parseIndices(text: string, n: number): Uint32Array {
  const found: Set<number> = new Set();
  for (const [, from, to] of text.matchAll(/#?(\d{1,9})(?:\s*[-–]\s*#?(\d{1,9}))?/g)) {
    const [first, last] = [Number(from), Number(to ?? from)];
    for (let i = first; i <= Math.min(last, n - 1); i++) if (i < n) found.add(i);
  }
  return Uint32Array.from(found);
}

/** Every how many-th has room, about one a pixel: a power of two, so that zooming in keeps what is there. */
export const strideFor = (n: number, pixels: number) =>
  2 ** Math.max(0, Math.round(Math.log2(n / Math.max(1, pixels))));

/** The multiples of `stride` that cover start … end − 1. */
export function samplesOf(start: number, end: number, stride: number) {
  const first = Math.floor(start / stride) * stride;
  return Array.from({ length: Math.max(0, Math.ceil((end - first) / stride)) }, (_, i) => first + i * stride);
}

/** What stands in for a place that is not there yet: the nearest coarser one that is. */
export function coarser(place: number, stride: number, has: (place: number) => boolean) {
  for (let step = stride; ; step *= 2) {
    const near = place - (place % step);
    if (has(near)) return near;
    if (near === 0) return null;
  }
}
