// @ts-check
/** Pairs of channels: by class, and at random but reproducible. Pure. */
import { random } from "./maths.js";

/** @typedef {[number, number]} Pair */
/** @typedef {"random" | "heavy" | "neither" | "each"} Kind */

export const KINDS = /** @type {[Kind, string][]} */ ([["random", "Random pair"], ["heavy", "Both position-heavy"], ["neither", "Neither"], ["each", "One of each"]]);

/**
 * @param {Kind} kind @param {Uint8Array} heavy which channels are position-heavy @param {() => number} next
 * @returns {Pair | null} null where there are too few
 */
export function pairOf(kind, heavy, next) {
  const all = Array.from(heavy.keys());
  const [yes, no] = [all.filter((c) => heavy[c] === 1), all.filter((c) => heavy[c] !== 1)];
  const take = (/** @type {number[]} */ from) => from[Math.floor(next() * from.length)];
  const two = (/** @type {number[]} */ from) => {
    if (from.length < 2) return null;
    const first = take(from);
    return /** @type {Pair} */ ([first, take(from.filter((c) => c !== first))]);
  };
  if (kind === "heavy") return two(yes);
  if (kind === "neither") return two(no);
  if (kind === "each") return yes.length > 0 && no.length > 0 ? [take(yes), take(no)] : null;
  return two(all);
}

/** Draws for each pair that is wanted: of few channels there are few pairs. */
const MAX_DRAWS = 8;

/** The same few pairs for the same seed, each once. @param {Kind} kind @param {Uint8Array} heavy @param {number} n @param {number} seed */
export function pairsOf(kind, heavy, n, seed) {
  const next = random(seed * 7919 + kind.length);
  /** @type {Map<string, Pair>} */
  const found = new Map();
  for (let draw = 0; draw < n * MAX_DRAWS && found.size < n; draw++) {
    const pair = pairOf(kind, heavy, next);
    if (!pair) break;
    const name = pair.toSorted((a, b) => a - b).join();
    if (!found.has(name)) found.set(name, pair);
  }
  return [...found.values()];
}

/** The n channels with the largest values, largest first. @param {ArrayLike<number>} values @param {number} n */
export const mostActive = (values, n) =>
  Array.from(values, (_, c) => c).sort((a, b) => values[b] - values[a]).slice(0, n);

/** Channels written as numbers with dots between them. @param {string | null} text @param {number} n_embd @param {number} most */
export const parseChannels = (text, n_embd, most) =>
  [...new Set((text ?? "").split(".").filter((part) => /^\d{1,6}$/.test(part)).map(Number))].filter((c) => c < n_embd).slice(0, most);
