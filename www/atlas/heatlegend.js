// @ts-check
/** What the colours of the token matrix stand for. */
import { element } from "../dom.js";
import { decimal } from "../format.js";
import { swatch } from "../colour.js";
import { themeNow } from "./colours.js";

const N_STOPS = 17;

/** @param {string} quantity */
export function createHeatLegend(quantity) {
  const [bar, ends, name] = [element("div", "bar"), element("div", "ticks"), element("figcaption", "")];
  return {
    element: element("figure", "scale heat-scale", name, bar, ends),
    /** @param {number} limit of the colours, on either side @param {number} percentile of the sizes that it is */
    show(limit, percentile) {
      const stops = Array.from({ length: N_STOPS }, (_, i) => swatch("diverging", themeNow(), i / (N_STOPS - 1)).css);
      bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
      const digits = limit < 0.1 ? 3 : 2;
      const is_clipped = percentile < 100;
      const ticks = [[0, "tick-first", `${is_clipped ? "≤ " : ""}${decimal(-limit, digits)}`], [0.5, "", "0"], [1, "tick-last", `${is_clipped ? "≥ " : ""}${decimal(limit, digits)}`]];
      ends.replaceChildren(...ticks.map(([at, place, label]) => {
        const tick = element("span", `tick ${place}`, String(label));
        tick.style.left = `${Number(at) * 100}%`;
        return tick;
      }));
      name.textContent = `${quantity}${is_clipped ? ` · ${100 - percentile} % of the values lie beyond the ends` : ""}`;
    },
  };
}
