// @ts-check
/** What the colours of the token matrix stand for: a drawing, so that it leaves the page with the picture. */
import { decimal } from "../format.js";
import { swatch } from "../colour.js";
import { themeNow } from "./colours.js";

const N_STOPS = 64;
const WIDTH = 340;
const BAR = { top: 20, height: 10 };
const SVG = "http://www.w3.org/2000/svg";

/** @param {string} name @param {Record<string, string | number>} attributes @param {string} [text] */
function drawn(name, attributes, text) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

/** @param {string} quantity */
export function createHeatLegend(quantity) {
  const svg = drawn("svg", { class: "heat-legend", viewBox: `0 0 ${WIDTH} 48`, width: WIDTH, height: 48, role: "img" });
  return {
    element: svg,
    /** @param {number} limit of the colours, on either side @param {number} percentile of the sizes that it is */
    show(limit, percentile) {
      const digits = limit < 0.1 ? 3 : 2;
      const is_clipped = percentile < 100;
      const name = `${quantity}${is_clipped ? ` · ${100 - percentile} % of the values lie beyond the ends` : ""}`;
      const step = WIDTH / N_STOPS;
      const stops = Array.from({ length: N_STOPS }, (_, i) => drawn("rect", { x: i * step, y: BAR.top, width: step + 0.5, height: BAR.height, fill: swatch("diverging", themeNow(), i / (N_STOPS - 1)).css }));
      const ticks = /** @type {const} */ ([[0, "start", `${is_clipped ? "≤ " : ""}${decimal(-limit, digits)}`], [0.5, "middle", "0"], [1, "end", `${is_clipped ? "≥ " : ""}${decimal(limit, digits)}`]]);
      svg.replaceChildren(
        drawn("text", { x: 0, y: 13, fill: "var(--ink)" }, name), ...stops,
        ...ticks.map(([at, anchor, label]) => drawn("text", { x: at * WIDTH, y: 44, "text-anchor": anchor, fill: "var(--muted)" }, label)));
      svg.setAttribute("aria-label", `${name}: from ${ticks[0][2]} in orange over 0 to ${ticks[2][2]} in blue`);
    },
  };
}
