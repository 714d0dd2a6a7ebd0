/** The legend: quantity, unit, and a bar that runs from low on the left to high on the right. */
import { byId, element } from "../../ui/dom.ts";
import { filterWords } from "../../reading/cell-text.ts";
import { UNALIGNED, legendStops, unitOf } from "./legend-words.ts";
import type { Kind } from "../../reading/scales.ts";
import type { Shown } from "./frame.ts";

/** What Help explains of each kind of quantity. */
const TERMS: Record<Kind, string | null> = {
  logit: "logit",
  probability: "probability",
  rank: "rank",
  kl: "kl",
  nats: "nats",
  change: null,
  ratio: null,
};

export function showLegend({ view, scale, theme, printing, comparison }: Shown) {
  byId("legend-quantity").textContent = view.quantity;
  const term = TERMS[view.kind];
  const name = byId<HTMLButtonElement>("legend-quantity");
  name.disabled = term === null;
  if (term !== null) name.dataset.term = term;
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
