/** How the zero-layer model was asked, in words. Pure. */

export type Setting = { norm: "none" | "plain" | "affine"; position: number | null };

const NORM = { none: "ln_f left out", affine: "ln_f with gain and bias", plain: "ln_f without gain and bias" };

/** What goes into the unembedding. */
export const settingWords = ({ norm, position }: Setting) =>
  `its row of wte${position === null ? "" : ` + wpe of position ${position}`}, ${NORM[norm]}`;

/**
 * Why there is no such position; empty if there is one.
 * @param text what was asked for
 * @param n_ctx 0 if nobody knows
 */
export function positionProblem(text: string | null, n_ctx: number) {
  if (text === null || (/^\d{1,7}$/.test(text) && (n_ctx === 0 || Number(text) < n_ctx))) return "";
  return n_ctx === 0 ? "A position is a whole number from 0." : `This model has positions 0 to ${n_ctx - 1}.`;
}
