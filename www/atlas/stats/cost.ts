/** What the zero-layer model costs, before it starts. Pure. */

/** Rows of a first, small run that sets the estimate. */
const SAMPLE_ROWS = 64;

/** Two operations, a multiplication and an addition, for each pair of tokens and each channel. */
export const flopOf = (n_tokens: number, n_channels: number, n_rows: number = n_tokens) =>
  2 * n_rows * n_tokens * n_channels;

export function flopText(flop: number) {
  const [scale, unit] = flop >= 1e12 ? [1e12, "TFLOP"] : flop >= 1e9 ? [1e9, "GFLOP"] : [1e6, "MFLOP"];
  const value = flop / scale;
  return `${value.toFixed(value < 10 ? 1 : 0)} ${unit}`;
}

/** The step with which a run looks at about `rows` tokens. */
export const stepFor = (n_tokens: number, rows: number = SAMPLE_ROWS) => Math.max(1, Math.floor(n_tokens / rows));

/** How many of the tokens 0, step, 2·step … there are. */
export const rowsFor = (n_tokens: number, step: number) => Math.ceil(n_tokens / step);

/** About how long, in words. */
export function aboutText(ms: number) {
  const s = ms / 1000;
  if (s < 1) return "less than a second";
  if (s < 90) return `about ${s < 10 ? Math.ceil(s) : Math.round(s / 5) * 5} s`;
  const minutes = s / 60;
  return minutes < 90 ? `about ${Math.round(minutes)} minutes` : `about ${(minutes / 60).toFixed(1)} hours`;
}
