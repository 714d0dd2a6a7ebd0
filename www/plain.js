// @ts-check
/** Worker side: from the engine's Reading, whose arrays may live in wasm memory, to one plain object that can be transferred. */
import { STATS } from "./reading.js";

/** @typedef {import("./reading.js").PlainReading} PlainReading */

/**
 * An array that owns its whole buffer, so that transferring it takes nothing else along.
 * @template {Float32Array | Uint32Array | Uint8Array} A
 * @param {A} array
 * @returns {A}
 */
const owned = (array) =>
  array.byteLength === array.buffer.byteLength ? array : /** @type {A} */ (array.slice());

/** @param {import("./reading.js").Token} token */
export const plainToken = ({ id, text, bytes, shown }) => ({ id, text, bytes: owned(bytes), shown });

/** @param {import("./reading.js").Track} track */
export const plainTrack = ({ id, logit, logprob, rank }) => ({ id, logit: owned(logit), logprob: owned(logprob), rank: owned(rank) });

/**
 * @param {any} reading the engine's Reading
 * @param {{ asked: import("./reading.js").Asked, track: number[], tracked_tokens: import("./reading.js").Token[], serial: number, read_ms: number }} about
 * @returns {PlainReading}
 */
export function plainReading(reading, { asked, track, tracked_tokens, serial, read_ms }) {
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
    asked,
    serial,
    read_ms,
    model: null,
  };
}

/** @param {import("./reading.js").Track} track */
const arraysOf = ({ logit, logprob, rank }) => [logit, logprob, rank];

/** The buffers to hand over instead of copying: the large ones; a token's few bytes are cheaper to copy. @param {PlainReading} reading */
export const buffersOf = (reading) => [
  ...new Set([...Object.values(reading.stats), ...Object.values(reading.tracked).flatMap(arraysOf), reading.top_ids, reading.top_logits].map((array) => array.buffer)),
];

/** The buffers of the arrays in an answer of the atlas: an array, a table of arrays, or a list of such tables. @param {unknown} answer @returns {ArrayBuffer[]} */
export function answerBuffers(answer) {
  if (ArrayBuffer.isView(answer)) return [/** @type {ArrayBuffer} */ (answer.buffer)];
  if (answer && typeof answer === "object") return [...new Set(Object.values(answer).flatMap(answerBuffers))];
  return [];
}
