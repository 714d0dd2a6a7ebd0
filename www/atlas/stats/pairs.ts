/** Pairs of channels: by class, and at random but reproducible. Pure. */
import { randomLcg } from "d3-random";

export type Pair = [number, number];
export type Kind = "random" | "heavy" | "neither" | "each";

/** In GPT-2 small the first few positions lie far from all others; an axis that spans them shows little else. */
const N_FIRST = 4;

/** How many positions at the start of a curve over all of them need not be spanned. */
export const nFirst = ({ length }: ArrayLike<number>) => Math.min(N_FIRST, Math.floor(length / 4));

export const KINDS = [
  ["random", "Random pair"],
  ["heavy", "Both position-heavy"],
  ["neither", "Neither"],
  ["each", "One of each"],
] as [Kind, string][];

/**
 * @param heavy which channels are position-heavy
 * @returns null where there are too few
 */
export function pairOf(kind: Kind, heavy: Uint8Array, next: () => number): Pair | null {
  const all = Array.from(heavy.keys());
  const [yes, no] = [all.filter((c) => heavy[c] === 1), all.filter((c) => heavy[c] !== 1)];
  const take = (from: number[]) => from[Math.floor(next() * from.length)];
  const two = (from: number[]) => {
    if (from.length < 2) return null;
    const first = take(from);
    return [first, take(from.filter((c) => c !== first))] as Pair;
  };
  if (kind === "heavy") return two(yes);
  if (kind === "neither") return two(no);
  if (kind === "each") return yes.length > 0 && no.length > 0 ? [take(yes), take(no)] : null;
  return two(all);
}

/** Draws for each pair that is wanted: of few channels there are few pairs. */
const MAX_DRAWS = 8;

/** The same few pairs for the same seed, each once. */
export function pairsOf(kind: Kind, heavy: Uint8Array, n: number, seed: number) {
  // Reproducible, so that a link shows the same pairs.
  const next = randomLcg(seed * 7919 + kind.length);
  const found: Map<string, Pair> = new Map();
  for (let draw = 0; draw < n * MAX_DRAWS && found.size < n; draw++) {
    const pair = pairOf(kind, heavy, next);
    if (!pair) break;
    const name = pair.toSorted((a, b) => a - b).join();
    if (!found.has(name)) found.set(name, pair);
  }
  return [...found.values()];
}

/** The n channels with the largest values, largest first. */
export const mostActive = (values: ArrayLike<number>, n: number) =>
  Array.from(values, (_, c) => c)
    .sort((a, b) => values[b] - values[a])
    .slice(0, n);

/** Channels written as numbers with dots between them. */
export const parseChannels = (text: string | null, n_embd: number, most: number) =>
  [
    ...new Set(
      (text ?? "")
        .split(".")
        .filter((part) => /^\d{1,6}$/.test(part))
        .map(Number),
    ),
  ]
    .filter((c) => c < n_embd)
    .slice(0, most);
