/**
 * What the page knows about a Reading: plain data that crossed from the worker, and questions to it.
 * Shape letters as in the design: T tokens, N taps, K top-k; a cell is (tap, position).
 */
import type { ModelInUse } from "../lib/model.ts";

export type Token = { id: number; text: string; bytes: Uint8Array; shown: string };

export interface PlainReading {
  /** [T] the text that was read */
  tokens: Token[];
  /** [N] in order of depth: `input`, `h.0`, … */
  taps: string[];
  /** T */
  n_tokens: number;
  /** K */
  top_k: number;
  /** name ─▶ [N·T], tap-major; units as in the engine's documentation */
  stats: Record<string, Float32Array>;
  /** [N·T·K], the likeliest first */
  top_ids: Uint32Array;
  /** [N·T·K] */
  top_logits: Float32Array;
  /** the distinct tokens of `top_ids` */
  top_tokens: Token[];
  /** whether the final row is the model's own output */
  final_is_model: boolean;
  /** cells with a logit that is not finite: they have no tokens and no numbers */
  not_finite: { tap: string; position: number }[];
  /** by token id: those that were asked for */
  tracked: Record<number, Track>;
  /** these tokens */
  tracked_tokens: Token[];
  asked: Asked;
  /** the worker's number for it, for tracing */
  serial: number;
  /** what the engine took, in milliseconds */
  read_ms: number;
  /** tokens of the whole text, and those of them that were read: no more than fit */
  n_text: number;
  n_read: number;
  /** which part was read, if not all */
  kept: Part["kept"];
  /** the model that it was made with; null for one that no engine of the page made */
  model: ModelInUse | null;
}

export type Track = { id: number; logit: Float32Array; logprob: Float32Array; rank: Float32Array };
/** What the engine was asked for. */
export type Asked = {
  norm: "affine" | "plain" | "none";
  subblocks: boolean;
  contributions: boolean;
  decoder: string[];
  /** the name of a lens other than the logit lens */
  lens?: string;
};
/** What of a text is read: the first or the last tokens, if not all fit, and what is put before them. */
export type Part = { kept: "first" | "last"; with_end_token: boolean };
export type Cell = { tap: number; position: number };
export const isSameCell = (a: Cell, b: Cell) => a.tap === b.tap && a.position === b.position;
export type Candidate = { token: Token; logit: number; probability: number };

/**
 * The text of neighbouring tokens. A character may be spread over several of them, so their bytes are decoded
 * together.
 */
export function textOf(tokens: Token[]) {
  const bytes = tokens.flatMap((token) => [...token.bytes]);
  // The first token may begin in the middle of a character.
  const start = bytes.findIndex((byte) => (byte & 0xc0) !== 0x80);
  return new TextDecoder().decode(Uint8Array.from(bytes.slice(Math.max(0, start))), { stream: true });
}

/** Neighbouring tokens [from, to) that have only parts of characters, and the characters that they make together. */
export type SplitCharacters = { from: number; to: number; text: string };

const split: WeakMap<PlainReading, SplitCharacters[]> = new WeakMap();

export function splitCharacters(reading: PlainReading): SplitCharacters[] {
  const known = split.get(reading);
  if (known) return known;
  const found = findSplitCharacters(reading.tokens);
  split.set(reading, found);
  return found;
}

/** Exported for tests. */
export function findSplitCharacters(tokens: Pick<Token, "bytes">[]): SplitCharacters[] {
  const found: SplitCharacters[] = [];
  const isInside = (byte: number | undefined) => byte !== undefined && (byte & 0xc0) === 0x80;
  for (let from = 0; from < tokens.length; from++) {
    // The next token goes on with a character of this one for as long as its first byte is no beginning.
    let to = from + 1;
    while (to < tokens.length && isInside(tokens[to].bytes[0])) to++;
    if (to === from + 1) continue;
    const bytes = Uint8Array.from(tokens.slice(from, to).flatMap((token) => [...token.bytes]));
    // Bytes that make no character have none to show.
    const text = new TextDecoder().decode(bytes).trim();
    if (!text.includes("\ufffd")) found.push({ from, to, text });
    from = to - 1;
  }
  return found;
}

/** Whether two readings can be compared: they were made with the same model and options. */
export const areAlike = (a: PlainReading, b: PlainReading) =>
  a.model === b.model && JSON.stringify(a.asked) === JSON.stringify(b.asked);

/** What of the text was read, as files state it; null where all of it was. */
export const partRead = ({ n_read, n_text, kept }: PlainReading) =>
  n_read < n_text ? `the ${kept} ${n_read} of ${n_text} tokens` : null;

/** The statistics of the engine: all of them, which for the longest text is less than its top-k. */
export const STATS = [
  "logsumexp",
  "entropy",
  "logit_final",
  "prob_final",
  "rank_final",
  "logprob_input",
  "rank_input",
  "logprob_next",
  "rank_next",
  "kl_final",
  "kl_final_reverse",
  "kl_input",
  "kl_input_reverse",
] as const;

/** The id that a cell has in `top_ids` if its logits are not finite. */
export const NO_TOKEN = 0xffffffff;
/** What such a cell prints. */
const NOT_FINITE: Token = { id: NO_TOKEN, text: "", bytes: new Uint8Array(), shown: "NaN" };

/** Candidates per cell: as many as the panel of a pinned cell lists, and filters choose among. */
export const TOP_K = 20;

const tokens_by_id: WeakMap<PlainReading, Map<number, Token>> = new WeakMap();

/** The index of the row `final`. */
export const finalTap = (reading: PlainReading) => reading.taps.length - 1;

/** A statistic at a cell; NaN where there is none, ranks included. */
export function statAt(reading: PlainReading, name: string, { tap, position }: Cell) {
  const value = reading.stats[name][tap * reading.n_tokens + position];
  return name.startsWith("rank_") && value < 1 ? NaN : value;
}

/** The id of the row's own top-1 at a cell. */
export const topId = (reading: PlainReading, { tap, position }: Cell) =>
  reading.top_ids[(tap * reading.n_tokens + position) * reading.top_k];

/** The token with this id, which stands in the text or in some cell's top-k. */
export function tokenById(reading: PlainReading, id: number): Token {
  if (id === NO_TOKEN) return NOT_FINITE;
  let known = tokens_by_id.get(reading);
  if (!known) {
    known = new Map(
      [...reading.top_tokens, ...(reading.tracked_tokens ?? []), ...reading.tokens].map((token) => [token.id, token]),
    );
    tokens_by_id.set(reading, known);
  }
  return known.get(id) ?? { id, text: "", bytes: new Uint8Array(), shown: `#${id}` };
}

/** The row's own top-1 at a cell. */
export const topToken = (reading: PlainReading, cell: Cell) => tokenById(reading, topId(reading, cell));

/** Whether the cell's top-1 equals the final top-1 of its position. */
export function agrees(reading: PlainReading, cell: Cell) {
  const id = topId(reading, cell);
  return id !== NO_TOKEN && id === topId(reading, { tap: finalTap(reading), position: cell.position });
}

/** The true next token; none at the last position. */
export const nextToken = (reading: PlainReading, position: number): Token | undefined => reading.tokens[position + 1];

/** Whether the final top-1 is the true next token. */
export const guessIsRight = (reading: PlainReading, position: number) =>
  nextToken(reading, position)?.id === topId(reading, { tap: finalTap(reading), position });

/** The K likeliest tokens of a cell, the likeliest first; none if its logits are not finite. */
export function candidates(reading: PlainReading, cell: Cell): Candidate[] {
  const start = (cell.tap * reading.n_tokens + cell.position) * reading.top_k;
  if (reading.top_ids[start] === NO_TOKEN) return [];
  const logsumexp = statAt(reading, "logsumexp", cell);
  return Array.from({ length: reading.top_k }, (_, i) => {
    const logit = reading.top_logits[start + i];
    return { token: tokenById(reading, reading.top_ids[start + i]), logit, probability: Math.exp(logit - logsumexp) };
  });
}
