/** What the gains show, in words, and which channels stand out. Pure. */
import type { LayerNormGains as Gains } from "../../engine/protocol.ts";

/** In median absolute deviations; for a normal cloud of a thousand, 5 are usual. */
const MIN_DISTANCE = 9;

/**
 * The few channels that are farthest from the cloud around them, above it and below it: those far below are many, and
 * would leave no name for one far above.
 * @param distances in MADs
 * @param most on either side
 */
export function standsOut(distances: number[], most: number) {
  const far = distances
    .map((distance, c) => ({ c, distance }))
    .filter(({ distance }) => Math.abs(distance) >= MIN_DISTANCE);
  const side = (sign: number) =>
    far
      .filter(({ distance }) => distance * sign > 0)
      .sort((a, b) => sign * (b.distance - a.distance))
      .slice(0, most);
  return [...side(1), ...side(-1)].map(({ c }) => c);
}

/**
 * Numbers with runs written as ranges: 0, 2–10.
 * @param numbers rising
 */
export function rangesOf(numbers: number[]) {
  const runs: [number, number][] = [];
  for (const each of numbers) {
    const last = runs[runs.length - 1];
    if (last && each === last[1] + 1) last[1] = each;
    else runs.push([each, each]);
  }
  return runs
    .map(([from, to]) => (from === to ? String(from) : to === from + 1 ? `${from}, ${to}` : `${from}–${to}`))
    .join(", ");
}

/** The place of the value that is largest in size. */
export const largest = (values: Float32Array) =>
  values.reduce((best, value, i) => (Math.abs(value) > Math.abs(values[best]) ? i : best), 0);

/**
 * Which channel has the largest |gain| most often.
 * @param norm its name
 */
export function largestGainWords(blocks: Gains[], norm: string) {
  const wins: Map<number, number[]> = new Map();
  for (const { name, weight } of blocks) {
    const [c, block] = [largest(weight), Number(name.split(".")[1])];
    wins.set(c, [...(wins.get(c) ?? []), block]);
  }
  const [best] = [...wins].sort((a, b) => b[1].length - a[1].length);
  if (!best) return "";
  const [c, won] = best;
  if (blocks.length === 1) return `Channel ${c} has the largest |${norm} gain|.`;
  if (won.length < 2) return `No channel has the largest |${norm} gain| in more than one block.`;
  return `Channel ${c} has the largest |${norm} gain| in ${won.length} of ${blocks.length} blocks (${rangesOf(won)}).`;
}
