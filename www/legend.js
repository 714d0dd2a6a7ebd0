// @ts-check
/** The legend: quantity, unit, and a bar that runs from low on the left to high on the right. */
import { swatch } from "./colour.js";
import { byId, element } from "./dom.js";
import { filterWords } from "./filters.js";
import { strength } from "./views.js";

const N_STOPS = 24;

/** @param {import("./views.js").View} view @param {import("./scales.js").Scale} scale */
export const unitOf = (view, scale) => [view.unit, scale.rule].filter(Boolean).join(", ");

/** The colours along the legend's bar, from its left end to its right one. @param {import("./views.js").View} view @param {import("./colour.js").Theme} theme */
export const legendStops = (view, theme) =>
  Array.from({ length: N_STOPS }, (_, i) => swatch(view.map, theme, strength(view, i / (N_STOPS - 1))).css);

/** @param {import("./picture.js").Shown} shown */
export function showLegend({ view, scale, theme, printing }) {
  byId("legend-quantity").textContent = view.quantity;
  byId("legend-unit").textContent = `(${unitOf(view, scale)})`;
  byId("legend-bar").style.background = `linear-gradient(to right, ${legendStops(view, theme).join(", ")})`;
  byId("legend-ticks").replaceChildren(...scale.ticks.map(({ at, label }) => {
    const tick = element("span", at === 0 ? "tick tick-first" : at === 1 ? "tick tick-last" : "tick", label);
    tick.style.left = `${at * 100}%`;
    return tick;
  }));
  const filters = filterWords(printing);
  byId("filters").hidden = filters === "";
  byId("filters").textContent = filters && `Filter: ${filters}`;
}
