// @ts-check
/** The legend: quantity, unit, and a bar that runs from low on the left to high on the right. */
import { swatch } from "./colour.js";
import { byId, element } from "./dom.js";
import { strength } from "./views.js";

const N_STOPS = 24;

/**
 * @param {import("./views.js").View} view @param {import("./views.js").Scale} scale
 * @param {import("./colour.js").Theme} theme
 */
export function showLegend(view, scale, theme) {
  byId("legend-quantity").textContent = view.quantity;
  byId("legend-unit").textContent = `(${view.unit})`;
  const stops = Array.from({ length: N_STOPS }, (_, i) => swatch(view.map, theme, strength(view, i / (N_STOPS - 1))).css);
  byId("legend-bar").style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  byId("legend-ticks").replaceChildren(...scale.ticks.map(({ at, label }) => {
    const tick = element("span", at === 0 ? "tick tick-first" : at === 1 ? "tick tick-last" : "tick", label);
    tick.style.left = `${at * 100}%`;
    return tick;
  }));
}
