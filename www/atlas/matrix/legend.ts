/** What the colours of the token matrix stand for: a drawing, so that it leaves the page with the picture. */
import { decimal } from "../../lib/format.ts";
import { swatch } from "../../graphics/colormaps.ts";
import { themeNow } from "../../graphics/css-colours.ts";

const N_STOPS = 64;
const WIDTH = 340;
const BAR = { top: 20, height: 10 };
const SVG = "http://www.w3.org/2000/svg";

function drawn(name: string, attributes: Record<string, string | number>, text?: string) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, String(value));
  if (text !== undefined) made.textContent = text;
  return made;
}

export function createHeatLegend(quantity: string) {
  const svg = drawn("svg", { class: "heat-legend", viewBox: `0 0 ${WIDTH} 48`, width: WIDTH, height: 48, role: "img" });
  return {
    element: svg,
    /**
     * @param limit of the colours, on either side
     * @param percentile of the sizes that it is
     */
    show(limit: number, percentile: number) {
      const digits = limit < 0.1 ? 3 : 2;
      const is_clipped = percentile < 100;
      const name = `${quantity}${is_clipped ? ` · ${100 - percentile} % of the values lie beyond the ends` : ""}`;
      const step = WIDTH / N_STOPS;
      const stops = Array.from({ length: N_STOPS }, (_, i) =>
        drawn("rect", {
          x: i * step,
          y: BAR.top,
          width: step + 0.5,
          height: BAR.height,
          fill: swatch("diverging", themeNow(), i / (N_STOPS - 1)).css,
        }),
      );
      const ticks = [
        [0, "start", `${is_clipped ? "≤ " : ""}${decimal(-limit, digits)}`],
        [0.5, "middle", "0"],
        [1, "end", `${is_clipped ? "≥ " : ""}${decimal(limit, digits)}`],
      ] as const;
      svg.replaceChildren(
        drawn("text", { x: 0, y: 13, fill: "var(--ink)" }, name),
        ...stops,
        ...ticks.map(([at, anchor, label]) =>
          drawn("text", { x: at * WIDTH, y: 44, "text-anchor": anchor, fill: "var(--muted)" }, label),
        ),
      );
      svg.setAttribute("aria-label", `${name}: from ${ticks[0][2]} in orange over 0 to ${ticks[2][2]} in blue`);
    },
  };
}
