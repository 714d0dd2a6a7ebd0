// @ts-check
/** What a legend says and which colours it runs through, for the page and for exports. Pure. */
import { swatch } from "./colour.js";
import { topId } from "./reading.js";
import { strength } from "./views.js";

const N_STOPS = 24;

/** What a picture of two texts marks. */
export const UNALIGNED = "≠ this token is not in the second text at such a place; the column is not compared";

/** @param {import("./views.js").View} view @param {import("./scales.js").Scale} scale */
export const unitOf = (view, scale) => [view.unit, scale.rule].filter(Boolean).join(", ");

/** The colours along the legend's bar, from its left end to its right one. @param {import("./views.js").View} view @param {import("./colour.js").Theme} theme */
export const legendStops = (view, theme) =>
  Array.from({ length: N_STOPS }, (_, i) => swatch(view.map, theme, strength(view, i / (N_STOPS - 1))).css);

/** In how many cells of these rows a selected token is first. @param {import("./reading.js").PlainReading} reading @param {number[]} rows @param {ReadonlySet<number>} picked */
export function pickedCells(reading, rows, picked) {
  let n = 0;
  for (const tap of rows) {
    for (let position = 0; position < reading.n_tokens; position++) n += Number(picked.has(topId(reading, { tap, position })));
  }
  return n;
}

/** @param {number} n of tokens that are selected in the atlas @param {number} n_cells in which one of them is first */
export const pickedWords = (n, n_cells) =>
  `${n.toLocaleString("en")} selected ${n === 1 ? "token" : "tokens"}, first in ${n_cells.toLocaleString("en")} ${n_cells === 1 ? "cell" : "cells"} of this reading`;
