// @ts-check
/** What a legend says and which colours it runs through, for the page and for exports. Pure. */
import { swatch } from "./colour.js";
import { strength } from "./views.js";

const N_STOPS = 24;

/** @param {import("./views.js").View} view @param {import("./scales.js").Scale} scale */
export const unitOf = (view, scale) => [view.unit, scale.rule].filter(Boolean).join(", ");

/** The colours along the legend's bar, from its left end to its right one. @param {import("./views.js").View} view @param {import("./colour.js").Theme} theme */
export const legendStops = (view, theme) =>
  Array.from({ length: N_STOPS }, (_, i) => swatch(view.map, theme, strength(view, i / (N_STOPS - 1))).css);

/** @param {number} n of tokens that are selected in the atlas */
export const pickedWords = (n) => `${n.toLocaleString("en")} selected ${n === 1 ? "token" : "tokens"}`;
