// @ts-check
/** Which rows of a reading are in the picture, and in which order. Pure. */
import { finalTap } from "./reading.js";

/** @typedef {import("./reading.js").PlainReading} PlainReading */

/** The block that a row belongs to: 3 for "h.3", "h.3.attn" and "h.3.mlp_out"; −1 for "input". @param {string} tap */
export const blockOf = (tap) => (tap === "input" ? -1 : Number(tap.split(".")[1]));

/**
 * The taps to show, from the top down, or from left to right when transposed: depth then runs to the right. A step of n keeps each n-th block counted from
 * the last, which therefore always stays, with all of the block's rows.
 * @param {PlainReading} reading
 * @param {{ shows_input: boolean }} view
 * @param {{ step: number, final_on: "top" | "bottom", transposed: boolean }} switches
 */
export function rowsOf(reading, { shows_input }, { step, final_on, transposed }) {
  const last = blockOf(reading.taps[finalTap(reading)]);
  const rows = reading.taps
    .map((_, tap) => tap)
    .filter((tap) => {
      const block = blockOf(reading.taps[tap]);
      return block < 0 ? shows_input : tap === finalTap(reading) || (last - block) % step === 0;
    });
  // A view must have a row, also if input is the only one.
  if (rows.length === 0) rows.push(finalTap(reading));
  return (final_on === "top") !== transposed ? rows.reverse() : rows;
}

/** The values of the rows that set a scale: all but `input`, which would squeeze the rest. @param {PlainReading} reading @param {Float32Array} values */
export const scaledValues = (reading, values) => values.subarray(reading.taps[0] === "input" && reading.taps.length > 1 ? reading.n_tokens : 0);
