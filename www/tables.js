// @ts-check
/**
 * A reading as CSV and JSON. Pure. CSV: lines with `#` say what it is, then one line per cell; text is quoted, and text
 * that a spreadsheet would take for a formula gets an apostrophe before it. JSON: everything, arrays as [row][position].
 */
import { NO_TOKEN, tokenById, topId } from "./reading.js";

/** @typedef {import("./reading.js").PlainReading} PlainReading */
/** What a table says about its origin. @typedef {{ model: Record<string, string | number | boolean | null>, adapter: Record<string, string | number | boolean>, made_by: string }} Origin */

/** Single-precision numbers in the digits that bring them back. @param {number} value */
const number = (value) => (Number.isFinite(value) ? Number(value.toPrecision(9)) : null);

/** @param {string} text */
export function quoted(text) {
  // Also after spaces, tabs and line ends, which spreadsheets skip.
  const safe = /^\s*[=+\-@]/.test(text) || /^[\t\r]/.test(text) ? `'${text}` : text;
  return `"${safe.replaceAll('"', '""')}"`;
}

/** @param {Uint8Array} bytes */
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");

/** @param {PlainReading} reading @param {Origin} origin */
export function csvOf(reading, { model, adapter, made_by }) {
  const facts = { made_by, ...model, ...Object.fromEntries(Object.entries(adapter).map(([key, value]) => [`adapter_${key}`, value])), ...reading.asked, final_is_model: reading.final_is_model };
  const notes = Object.entries(facts).map(([key, value]) => `# ${key}: ${String(Array.isArray(value) ? value.join(" ") : value ?? "").replace(/[\r\n]+/g, " ")}`);
  const names = Object.keys(reading.stats);
  const tracked = Object.values(reading.tracked);
  const head = ["row", "position", "token_id", "token", "next_id", "top_id", "top_token", "top_bytes", ...names, ...tracked.flatMap(({ id }) => [`logit_${id}`, `logprob_${id}`, `rank_${id}`])];
  const lines = reading.taps.flatMap((tap, t) => reading.tokens.map((token, position) => {
    const i = t * reading.n_tokens + position;
    const top = tokenById(reading, topId(reading, { tap: t, position }));
    return [
      tap, position, token.id, quoted(token.text), reading.tokens[position + 1]?.id ?? "", top.id === NO_TOKEN ? "" : top.id, quoted(top.text), hex(top.bytes),
      ...names.map((name) => number(reading.stats[name][i]) ?? ""),
      ...tracked.flatMap(({ logit, logprob, rank }) => [logit, logprob, rank].map((values) => number(values[i]) ?? "")),
    ].join(",");
  }));
  return [...notes, head.join(","), ...lines, ""].join("\r\n");
}

/** @param {PlainReading} reading @param {Origin} origin */
export function jsonOf(reading, origin) {
  const { n_tokens, top_k, taps } = reading;
  const table = (/** @type {ArrayLike<number>} */ values) => taps.map((_, tap) => Array.from({ length: n_tokens }, (_, position) => number(values[tap * n_tokens + position])));
  const lists = (/** @type {ArrayLike<number>} */ values) => taps.map((_, tap) => Array.from({ length: n_tokens }, (_, position) =>
    Array.from({ length: top_k }, (_, k) => number(values[(tap * n_tokens + position) * top_k + k]))));
  const token = (/** @type {import("./reading.js").Token} */ { id, text, bytes, shown }) => ({ id, text, bytes: Array.from(bytes), shown });
  return JSON.stringify({
    format: "loupe-reading",
    version: 1,
    ...origin,
    options: reading.asked,
    final_is_model: reading.final_is_model,
    not_finite: reading.not_finite,
    text: reading.tokens.map(({ text }) => text).join(""),
    tokens: reading.tokens.map(token),
    rows: taps,
    statistics: Object.fromEntries(Object.entries(reading.stats).map(([name, values]) => [name, table(values)])),
    tracked: Object.values(reading.tracked).map(({ id, logit, logprob, rank }) => ({ id, logit: table(logit), logprob: table(logprob), rank: table(rank) })),
    top_ids: lists(Array.from(reading.top_ids, (id) => (id === NO_TOKEN ? NaN : id))),
    top_logits: lists(reading.top_logits),
    vocabulary: reading.top_tokens.map(token),
  });
}
