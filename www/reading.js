// @ts-check
/**
 * What the page knows about a Reading: plain data that crossed from the worker, and questions to it.
 * Shape letters as in the design: T tokens, N taps, K top-k; a cell is (tap, position).
 */

/** @typedef {{ id: number, text: string, bytes: Uint8Array, shown: string }} Token */

/**
 * @typedef {object} PlainReading
 * @property {Token[]} tokens [T] the text that was read
 * @property {string[]} taps [N] in order of depth: `input`, `h.0`, …
 * @property {number} n_tokens T
 * @property {number} top_k K
 * @property {Record<string, Float32Array>} stats name ─▶ [N·T], tap-major; units as in the engine's documentation
 * @property {Uint32Array} top_ids [N·T·K], the likeliest first
 * @property {Float32Array} top_logits [N·T·K]
 * @property {Token[]} top_tokens the distinct tokens of `top_ids`
 * @property {boolean} final_is_model whether the final row is the model's own output
 * @property {{ tap: string, position: number }[]} not_finite cells with a logit that is not finite: they have no tokens and no numbers
 * @property {Record<number, Track>} tracked by token id: those that were asked for
 * @property {Token[]} tracked_tokens these tokens
 * @property {Asked} asked
 * @property {number} serial the worker's number for it, for tracing
 * @property {number} read_ms what the engine took, in milliseconds
 * @property {import("./engine.js").InUseFacts | null} model the model that it was made with; null for one that no engine of the page made
 */

/** @typedef {{ id: number, logit: Float32Array, logprob: Float32Array, rank: Float32Array }} Track */
/** What the engine was asked for. @typedef {{ norm: "affine" | "plain" | "none", subblocks: boolean, contributions: boolean, decoder: string[] }} Asked */
/** @typedef {{ tap: number, position: number }} Cell */
/** @typedef {{ token: Token, logit: number, probability: number }} Candidate */

/** The text of neighbouring tokens. A character may be spread over several of them, so their bytes are decoded together. @param {Token[]} tokens */
export function textOf(tokens) {
  const bytes = tokens.flatMap((token) => [...token.bytes]);
  // The first token may begin in the middle of a character.
  const start = bytes.findIndex((byte) => (byte & 0xc0) !== 0x80);
  return new TextDecoder().decode(Uint8Array.from(bytes.slice(Math.max(0, start))), { stream: true });
}

/** Whether two readings can be compared: they were made with the same model and options. @param {PlainReading} a @param {PlainReading} b */
export const areAlike = (a, b) => a.model === b.model && JSON.stringify(a.asked) === JSON.stringify(b.asked);

/** The statistics of the engine: all of them, which for the longest text is less than its top-k. */
export const STATS = /** @type {const} */ ([
  "logsumexp", "entropy", "logit_final", "prob_final", "rank_final", "logprob_input", "rank_input",
  "logprob_next", "rank_next", "kl_final", "kl_final_reverse", "kl_input", "kl_input_reverse",
]);

/** The id that a cell has in `top_ids` if its logits are not finite. */
export const NO_TOKEN = 0xffffffff;
/** What such a cell prints. @type {Token} */
const NOT_FINITE = { id: NO_TOKEN, text: "", bytes: new Uint8Array(), shown: "NaN" };

/** Candidates per cell: as many as the panel of a pinned cell lists, and filters choose among. */
export const TOP_K = 20;

/** @type {WeakMap<PlainReading, Map<number, Token>>} */
const tokens_by_id = new WeakMap();

/** The index of the row `final`. @param {PlainReading} reading */
export const finalTap = (reading) => reading.taps.length - 1;

/** A statistic at a cell; NaN where there is none, ranks included. @param {PlainReading} reading @param {string} name @param {Cell} cell */
export function statAt(reading, name, { tap, position }) {
  const value = reading.stats[name][tap * reading.n_tokens + position];
  return name.startsWith("rank_") && value < 1 ? NaN : value;
}

/** The id of the row's own top-1 at a cell. @param {PlainReading} reading @param {Cell} cell */
export const topId = (reading, { tap, position }) =>
  reading.top_ids[(tap * reading.n_tokens + position) * reading.top_k];

/** The token with this id, which stands in the text or in some cell's top-k. @param {PlainReading} reading @param {number} id @returns {Token} */
export function tokenById(reading, id) {
  if (id === NO_TOKEN) return NOT_FINITE;
  let known = tokens_by_id.get(reading);
  if (!known) {
    known = new Map([...reading.top_tokens, ...(reading.tracked_tokens ?? []), ...reading.tokens].map((token) => [token.id, token]));
    tokens_by_id.set(reading, known);
  }
  return known.get(id) ?? { id, text: "", bytes: new Uint8Array(), shown: `#${id}` };
}

/** The row's own top-1 at a cell. @param {PlainReading} reading @param {Cell} cell */
export const topToken = (reading, cell) => tokenById(reading, topId(reading, cell));

/** Whether the cell's top-1 equals the final top-1 of its position. @param {PlainReading} reading @param {Cell} cell */
export function agrees(reading, cell) {
  const id = topId(reading, cell);
  return id !== NO_TOKEN && id === topId(reading, { tap: finalTap(reading), position: cell.position });
}

/** The true next token; none at the last position. @param {PlainReading} reading @param {number} position @returns {Token | undefined} */
export const nextToken = (reading, position) => reading.tokens[position + 1];

/** Whether the final top-1 is the true next token. @param {PlainReading} reading @param {number} position */
export const guessIsRight = (reading, position) =>
  nextToken(reading, position)?.id === topId(reading, { tap: finalTap(reading), position });

/** The K likeliest tokens of a cell, the likeliest first; none if its logits are not finite. @param {PlainReading} reading @param {Cell} cell @returns {Candidate[]} */
export function candidates(reading, cell) {
  const start = (cell.tap * reading.n_tokens + cell.position) * reading.top_k;
  if (reading.top_ids[start] === NO_TOKEN) return [];
  const logsumexp = statAt(reading, "logsumexp", cell);
  return Array.from({ length: reading.top_k }, (_, i) => {
    const logit = reading.top_logits[start + i];
    return { token: tokenById(reading, reading.top_ids[start + i]), logit, probability: Math.exp(logit - logsumexp) };
  });
}
