/** What a legend says and which colours it runs through, for the page and for exports. Pure. */
import { swatch } from "../../graphics/colormaps.ts";
import { topId } from "../../reading/reading.ts";
import { strength } from "../../reading/views.ts";
import type { View } from "../../reading/views.ts";
import type { Scale } from "../../reading/scales.ts";
import type { Theme } from "../../graphics/colormaps.ts";
import type { PlainReading } from "../../reading/reading.ts";

const N_STOPS = 24;

/** What a picture of two texts marks. */
export const UNALIGNED = "≠ this token is not in the second text at such a place; the column is not compared";

export const unitOf = (view: View, scale: Scale) => [view.unit, scale.rule].filter(Boolean).join(", ");

/** The colours along the legend's bar, from its left end to its right one. */
export const legendStops = (view: View, theme: Theme) =>
  Array.from({ length: N_STOPS }, (_, i) => swatch(view.map, theme, strength(view, i / (N_STOPS - 1))).css);

/** In how many cells of these rows a selected token is first. */
export function pickedCells(reading: PlainReading, rows: number[], picked: ReadonlySet<number>) {
  let n = 0;
  for (const tap of rows) {
    for (let position = 0; position < reading.n_tokens; position++)
      n += Number(picked.has(topId(reading, { tap, position })));
  }
  return n;
}

/**
 * @param n of tokens that are selected in the atlas
 * @param n_cells in which one of them is first
 */
export const pickedWords = (n: number, n_cells: number) =>
  `${n.toLocaleString("en")} selected ${n === 1 ? "token" : "tokens"}, first in ${n_cells.toLocaleString("en")} ${n_cells === 1 ? "cell" : "cells"} of this reading`;
