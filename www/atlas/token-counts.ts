/**
 * How often each token stands in a long text, without ever holding all of its tokens. The text is cut before a single
 * space between two words: GPT-2's tokenizer begins anew there, so that the pieces give the tokens of the whole.
 */
import { LoupeError } from "../engine/errors.ts";
import { countsOf, looksLikeCounts } from "./stats/count-files.ts";
import type { Texts } from "./stats/count-files.ts";

const PIECE_CHARS = 1 << 16;
/** How far back one looks for a good place, before the piece is cut as it falls. */
const LOOK_BACK = 1 << 12;
/** So much of a file tells what it holds. */
const HEAD_BYTES = 1 << 14;

const isSpace = (letter: string | undefined) => letter === undefined || /\s/.test(letter);

/** Where to cut the text, at most at `most`. */
export function cutOf(text: string, most: number): { at: number; is_clean: boolean } {
  for (let at = Math.min(most, text.length - 2); at > Math.max(0, most - LOOK_BACK); at--) {
    if (text[at] === " " && !isSpace(text[at - 1]) && !isSpace(text[at + 1])) return { at, is_clean: true };
  }
  // Never between the halves of one character.
  const splits = /[\ud800-\udbff]/.test(text[most - 1]) && /[\udc00-\udfff]/.test(text[most] ?? "");
  return { at: splits ? most - 1 : most, is_clean: false };
}

/**
 * The text in pieces.
 * @param text UTF-8
 * @returns `is_clean`: whether its end may stand there; `done`: 0…1
 */
export async function* piecesOf(
  text: Blob,
  piece_chars: number = PIECE_CHARS,
): AsyncGenerator<{ text: string; is_clean: boolean; done: number }> {
  const decoder = new TextDecoder();
  const reader = text.stream().getReader();
  let rest = "";
  let read = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    read += value.length;
    rest += decoder.decode(value, { stream: true });
    while (rest.length > piece_chars + 1) {
      const { at, is_clean } = cutOf(rest, piece_chars);
      yield { text: rest.slice(0, at), is_clean, done: (read - rest.length) / text.size };
      rest = rest.slice(at);
    }
  }
  rest += decoder.decode();
  if (rest) yield { text: rest, is_clean: true, done: 1 };
}

/** `n_cut`: cuts that may have changed a token; `form`: that of a file which had the counts already */
export type Counted = {
  name: string;
  counts: Uint32Array | Float64Array;
  n_tokens: number;
  n_distinct: number;
  n_cut: number;
  form?: string;
};

const nDistinct = (counts: Uint32Array | Float64Array) => Array.from(counts).filter((count) => count > 0).length;

/** Whether a file holds counts, as far as its beginning tells. */
export const holdsCounts = async (file: Blob, texts: Texts) =>
  looksLikeCounts(await file.slice(0, HEAD_BYTES).text(), file.size > HEAD_BYTES, texts);

/** The counts that a file has already; they need not be whole numbers. */
export async function readCounts(file: Blob, name: string, texts: Texts): Promise<Counted> {
  const found = countsOf(await file.text(), texts);
  const { counts } = found;
  return { ...found, name, n_tokens: counts.reduce((a, b) => a + b, 0), n_distinct: nDistinct(counts), n_cut: 0 };
}

export async function countTokens(
  text: Blob,
  name: string,
  {
    n_vocabulary,
    encode,
    signal,
    onProgress,
    piece_chars,
  }: {
    n_vocabulary: number;
    encode: (text: string) => Promise<ArrayLike<number>>;
    signal: AbortSignal;
    onProgress: (done: number) => void;
    piece_chars?: number;
  },
): Promise<Counted> {
  const counts = new Uint32Array(n_vocabulary);
  let [n_tokens, n_cut] = [0, 0];
  for await (const piece of piecesOf(text, piece_chars)) {
    const ids = await encode(piece.text.toWellFormed());
    if (signal.aborted) throw new LoupeError("aborted", "Cancelled.");
    for (let i = 0; i < ids.length; i++) counts[ids[i]]++;
    n_tokens += ids.length;
    n_cut += Number(!piece.is_clean);
    onProgress(piece.done);
  }
  return { name, counts, n_tokens, n_distinct: nDistinct(counts), n_cut };
}
