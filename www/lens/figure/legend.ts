/** The legend: quantity, unit, and a bar that runs from low on the left to high on the right. */
import { byId, element } from "../../ui/dom.ts";
import { filterWords } from "../../reading/cell-text.ts";
import { UNALIGNED, legendStops, unitOf } from "./legend-words.ts";
import type { Shown } from "./frame.ts";

export function showLegend({ view, scale, theme, printing, comparison }: Shown) {
  byId("legend-quantity").textContent = view.quantity;
  byId("legend-unit").textContent = `(${unitOf(view, scale)})`;
  byId("legend-bar").style.background = `linear-gradient(to right, ${legendStops(view, theme).join(", ")})`;
  byId("legend-ticks").replaceChildren(
    ...scale.ticks.map(({ at, label }) => {
      const tick = element("span", at === 0 ? "tick tick-first" : at === 1 ? "tick tick-last" : "tick", label);
      tick.style.left = `${at * 100}%`;
      return tick;
    }),
  );
  const filter = filterWords(printing);
  const filters = [filter && `Filter: ${filter}`, comparison ? UNALIGNED : ""].filter(Boolean).join(" · ");
  byId("filters").hidden = filters === "";
  byId("filters").textContent = filters;
}
