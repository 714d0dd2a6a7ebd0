/** Worker side: from the engine's Reading, whose arrays may live in wasm memory, to one plain object that can be transferred. */
import type { Reading } from "../../src/web/types.d.ts";
import { STATS } from "../reading/reading.ts";
import type { PlainReading, Token, Track } from "../reading/reading.ts";

/** An array that owns its whole buffer, so that transferring it takes nothing else along. */
const owned = <A extends Float32Array | Uint32Array | Uint8Array>(array: A): A =>
  array.byteLength === array.buffer.byteLength ? array : (array.slice() as A);

export const plainToken = ({ id, text, bytes, shown }: Token) => ({ id, text, bytes: owned(bytes), shown });

export const plainTrack = ({ id, logit, logprob, rank }: Track) => ({
  id,
  logit: owned(logit),
  logprob: owned(logprob),
  rank: owned(rank),
});

export function plainReading(
  reading: Reading,
  {
    track,
    tracked_tokens,
    ...made
  }: { track: number[] } & Pick<
    PlainReading,
    "asked" | "tracked_tokens" | "serial" | "read_ms" | "n_text" | "n_read" | "kept"
  >,
): PlainReading {
  return {
    tokens: reading.tokens.map(plainToken),
    taps: [...reading.taps],
    n_tokens: reading.n_tokens,
    top_k: reading.top_k,
    stats: Object.fromEntries(STATS.map((name) => [name, owned(reading.stat(name))])),
    top_ids: owned(reading.top_ids),
    top_logits: owned(reading.top_logits),
    top_tokens: reading.top_tokens.map(plainToken),
    final_is_model: reading.final_is_model,
    not_finite: reading.not_finite,
    tracked_tokens: tracked_tokens.map(plainToken),
    tracked: Object.fromEntries(track.map((id) => [id, plainTrack(reading.tracked(id))])),
    ...made,
    model: null,
  };
}

const arraysOf = ({ logit, logprob, rank }: Track) => [logit, logprob, rank];

/** The buffers to hand over instead of copying: the large ones; a token's few bytes are cheaper to copy. */
export const buffersOf = (reading: PlainReading) => [
  ...new Set(
    [
      ...Object.values(reading.stats),
      ...Object.values(reading.tracked).flatMap(arraysOf),
      reading.top_ids,
      reading.top_logits,
    ].map((array) => array.buffer),
  ),
];

/** The buffers of the arrays in an answer of the atlas: an array, a table of arrays, or a list of such tables. */
export function answerBuffers(answer: unknown): ArrayBuffer[] {
  if (ArrayBuffer.isView(answer)) return [answer.buffer as ArrayBuffer];
  if (answer && typeof answer === "object") return [...new Set(Object.values(answer).flatMap(answerBuffers))];
  return [];
}
