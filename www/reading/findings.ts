/** What this model actually shows on an example: sentences worked out from its reading. Pure; tracing comes in. */
import { mean, median } from "d3-array";
import { decisionsOf } from "./settling.ts";
import { decimal, integer, percent } from "../lib/format.ts";
import { finalTap, guessIsRight, statAt, topToken } from "./reading.ts";
import type { Example } from "./examples.ts";
import type { PlainReading, Track } from "./reading.ts";

export type Trace = (ids: number[], position: number) => Promise<Track[]>;

const TOP = 10;

/**
 * The first row from which a rank stays within the top 10, in words.
 * @param ranks along the rows
 */
export function entry(reading: PlainReading, ranks: ArrayLike<number>) {
  let tap = reading.taps.length;
  while (tap > 0 && ranks[tap - 1] >= 1 && ranks[tap - 1] <= TOP) tap--;
  if (tap === reading.taps.length) return `does not stay in the top ${TOP} up to the final row`;
  return `is in the top ${TOP} from row ${reading.taps[tap]} on`;
}

const column = (reading: PlainReading, stat: string, position: number) =>
  reading.taps.map((_, tap) => statAt(reading, stat, { tap, position }));

function passage(reading: PlainReading) {
  const right = reading.tokens.filter((_, position) => guessIsRight(reading, position)).length;
  const settled = reading.taps[Math.round(median(decisionsOf(reading), (decision) => decision.settled) ?? 0)];
  const middle = Math.floor(finalTap(reading) / 2);
  const typical =
    median(reading.tokens.map((_, position) => statAt(reading, "rank_final", { tap: middle, position }))) ?? NaN;
  return `the final guess is right at ${right} of ${Math.max(0, reading.n_tokens - 1)} positions; half of the positions have settled by row ${settled}; at row ${reading.taps[middle]} the token that will win has a median rank of ${integer(typical)}.`;
}

function copied(reading: PlainReading) {
  const position = reading.n_tokens - 1;
  const cell = { tap: finalTap(reading), position };
  const token = topToken(reading, cell);
  const is_copy = reading.tokens.some(({ id }) => id === token.id);
  return `the final guess at the end is ${token.shown} (${percent(statAt(reading, "prob_final", cell))}), ${is_copy ? "which stands in the text: a copy" : "which does not stand in the text"}; it ${entry(reading, column(reading, "rank_final", position))}.`;
}

function repeated(reading: PlainReading) {
  const quarter = Math.max(1, Math.floor((reading.n_tokens - 1) / 4));
  const last = finalTap(reading);
  const loss = (from: number) =>
    mean(
      Array.from({ length: quarter }, (_, i) => -statAt(reading, "logprob_next", { tap: last, position: from + i })),
    ) ?? NaN;
  const late = decisionsOf(reading).slice(-quarter - 1);
  const settled = reading.taps[Math.round(median(late, (decision) => decision.settled) ?? 0)];
  return `over the first quarter of the text the final row loses ${decimal(loss(0))} nats a token, over the last ${decimal(loss(reading.n_tokens - 1 - quarter))}; there half of the positions settle only at row ${settled}.`;
}

/** The positions whose tokens make up a word's first occurrence. */
export function positionsOf(reading: PlainReading, word: string) {
  let text = "";
  const starts = reading.tokens.map((token) => {
    const start = text.length;
    text += token.text;
    return start;
  });
  const at = text.indexOf(word);
  if (at < 0) return [];
  return starts
    .map((start, i) => ({ i, start, end: starts[i + 1] ?? text.length }))
    .filter(({ start, end }) => end > at && start < at + word.length)
    .map(({ i }) => i);
}

function kept(reading: PlainReading, word: string) {
  const its = positionsOf(reading, word);
  const others = reading.tokens.map((_, i) => i).filter((i) => !its.includes(i));
  const tap = Math.min(1, finalTap(reading));
  const at = (positions: number[], row: number) =>
    integer(median(positions.map((position) => statAt(reading, "rank_input", { tap: row, position }))) ?? NaN);
  return `${its.map((i) => reading.tokens[i].shown).join(" ")}: the input token’s median rank is ${at(its, tap)} at row ${reading.taps[tap]} and ${at(its, finalTap(reading))} in the final row; for all other tokens ${at(others, tap)} and ${at(others, finalTap(reading))}.`;
}

async function told(reading: PlainReading, word: string, trace: Trace) {
  const promised = reading.tokens.find(({ text }) => text === word) ?? reading.tokens[positionsOf(reading, word)[0]];
  if (!promised) return "";
  const [{ rank, logprob }] = await trace([promised.id], reading.n_tokens - 1);
  const last = finalTap(reading);
  const guess = topToken(reading, { tap: last, position: reading.n_tokens - 1 });
  return `the promised ${promised.shown} ends at rank ${integer(rank[last])} with ${percent(Math.exp(logprob[last]))}; it ${entry(reading, rank)}. The final guess is ${guess.shown}.`;
}

export async function findingOf(
  { question, word = "" }: Example,
  reading: PlainReading,
  trace: Trace,
): Promise<string> {
  switch (question) {
    case "passage":
      return passage(reading);
    case "copied":
      return copied(reading);
    case "repeated":
      return repeated(reading);
    case "kept":
      return kept(reading, word);
    case "told":
      return told(reading, word, trace);
  }
}
