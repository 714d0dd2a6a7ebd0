/** Worker side: all tokens of a model, as they are shown and as bytes, in a few arrays. */
import { LoupeError } from "./errors.ts";
import type { Loupe } from "../../src/web/types.d.ts";
import type { Tokens } from "./protocol.ts";

const PART = 4096;

export async function vocabularyOf(loupe: Loupe, signal: AbortSignal): Promise<Tokens> {
  const n = Number(loupe.model?.vocab_size ?? 0);
  const shown: string[] = [];
  const pieces: Uint8Array[] = [];
  const ends = new Uint32Array(n);
  let n_bytes = 0;
  for (let id = 0; id < n; id++) {
    const token = loupe.token(id);
    shown.push(token.shown);
    pieces.push(token.bytes);
    ends[id] = n_bytes += token.bytes.length;
    if (id % PART !== PART - 1) continue;
    // A cancel, or a reading that somebody waits for, comes in between.
    await new Promise((done) => setTimeout(done));
    if (signal.aborted) throw new LoupeError("aborted", "Cancelled.");
  }
  const bytes = new Uint8Array(n_bytes);
  pieces.forEach((piece, id) => bytes.set(piece, id > 0 ? ends[id - 1] : 0));
  return { shown, bytes, ends };
}
