/** Which rows of a reading are in the picture, and in which order. Pure. */
import { finalTap } from "./reading.ts";
import type { PlainReading } from "./reading.ts";

/** The block that a row belongs to: 3 for "h.3", "h.3.attn" and "h.3.mlp_out"; −1 for "input". */
export const blockOf = (tap: string) => (tap === "input" ? -1 : Number(tap.split(".")[1]));

/**
 * The taps to show, from the top down, or from left to right when transposed: depth then runs to the right. A step of
 * n keeps each n-th block counted from
 * the last, which therefore always stays, with all of the block's rows.
 */
export function rowsOf(
  reading: PlainReading,
  { shows_input }: { shows_input: boolean },
  { step, final_on, transposed }: { step: number; final_on: "top" | "bottom"; transposed: boolean },
) {
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

/** The values of the rows that set a scale: all but `input`, which would squeeze the rest. */
export const scaledValues = (reading: PlainReading, values: Float32Array) =>
  values.subarray(reading.taps[0] === "input" && reading.taps.length > 1 ? reading.n_tokens : 0);
