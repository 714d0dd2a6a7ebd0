// @ts-check
/** What the zero-layer model costs, before it starts. Pure. */

/** Rows of a first, small run that sets the estimate. */
const SAMPLE_ROWS = 64;

/** Two operations, a multiplication and an addition, for each pair of tokens and each channel. @param {number} n_tokens @param {number} n_channels @param {number} [n_rows] */
export const flopOf = (n_tokens, n_channels, n_rows = n_tokens) => 2 * n_rows * n_tokens * n_channels;

/** @param {number} flop */
export function flopText(flop) {
  const [scale, unit] = flop >= 1e12 ? [1e12, "TFLOP"] : flop >= 1e9 ? [1e9, "GFLOP"] : [1e6, "MFLOP"];
  const value = flop / scale;
  return `${value.toFixed(value < 10 ? 1 : 0)} ${unit}`;
}

/** The step with which a run looks at about `rows` tokens. @param {number} n_tokens @param {number} [rows] */
export const stepFor = (n_tokens, rows = SAMPLE_ROWS) => Math.max(1, Math.floor(n_tokens / rows));

/** How many of the tokens 0, step, 2·step … there are. @param {number} n_tokens @param {number} step */
export const rowsFor = (n_tokens, step) => Math.ceil(n_tokens / step);

/** About how long, in words. @param {number} ms */
export function aboutText(ms) {
  const s = ms / 1000;
  if (s < 1) return "less than a second";
  if (s < 90) return `about ${s < 10 ? Math.ceil(s) : Math.round(s / 5) * 5} s`;
  const minutes = s / 60;
  return minutes < 90 ? `about ${Math.round(minutes)} minutes` : `about ${(minutes / 60).toFixed(1)} hours`;
}
