/** Whether a position still knows its own token: every occurrence of a token, and all tokens of a text. Pure. */
import { tokenById } from "./reading.ts";
import type { PlainReading } from "./reading.ts";

/** The distinct tokens of a text, those that occur most first, then in the order of the text. */
export function occurrencesOf({ tokens }: PlainReading) {
  const positions: Map<number, number[]> = new Map();
  tokens.forEach(({ id }, position) => positions.set(id, [...(positions.get(id) ?? []), position]));
  return [...positions]
    .map(([id, at]) => ({ id, positions: at }))
    .sort((a, b) => b.positions.length - a.positions.length);
}

/** A statistic of the input token along the rows at one position. */
export const alongRows = (reading: PlainReading, stat: "rank_input" | "kl_input", position: number) =>
  reading.taps.map((_, tap) => reading.stats[stat][tap * reading.n_tokens + position]);

/**
 * How well each distinct token is kept: the geometric mean of the rank of the input token over all rows but `input`
 * and over all of its occurrences.
 */
export const keptOf = (reading: PlainReading) =>
  occurrencesOf(reading).map(({ id, positions }) => {
    const ranks = positions.flatMap((position) => alongRows(reading, "rank_input", position).slice(1));
    const logs = ranks.filter((rank) => rank >= 1).map(Math.log);
    return {
      id,
      token: tokenById(reading, id),
      n: positions.length,
      kept: Math.exp(logs.reduce((a, b) => a + b, 0) / logs.length),
    };
  });
