/** The text with an arc from each position that a head reads to the one that reads it. */
import { decimal, percent } from "../lib/format.ts";
import { svgElement } from "./waterfall.ts";
import type { Token } from "../reading/reading.ts";

const PITCH = 58;
const HEIGHT = 118;
const BASE = 88;
const LETTERS = 8;
/** Arcs that would not be seen are left out. */
const LEAST = 0.01;

/**
 * @param values [position + 1] what each position gives
 * @param is_raw whether these are weights of attention, not logits
 */
export function arcsOf(tokens: Token[], position: number, values: Float32Array, is_raw: boolean, label: string) {
  const width = (position + 1) * PITCH + 12;
  const svg = svgElement("svg", {
    width,
    height: HEIGHT,
    viewBox: `0 0 ${width} ${HEIGHT}`,
    class: "arcs",
    "font-size": 12,
  });
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", label);
  const x = (at: number) => at * PITCH + PITCH / 2 + 6;
  // Position 0 is where heads look that find nothing: it says little, and would dwarf the rest.
  const most =
    values.reduce((most, value, i) => (i === 0 && position > 0 ? most : Math.max(most, Math.abs(value))), 0) || 1;
  values.forEach((value, from) => {
    const share = Math.min(1, Math.abs(value) / most);
    if (share < LEAST) return;
    const [a, b] = [x(from), x(position)];
    const rise = Math.min(BASE - 12, 14 + ((b - a) / width) * 90);
    const colour = from === 0 && position > 0 ? "var(--quiet)" : value < 0 ? "var(--accent)" : "var(--blue)";
    const d =
      from === position
        ? `M${a - 9} ${BASE - 16}a9 11 0 1 1 18 0`
        : `M${a} ${BASE - 16}C${a} ${BASE - 16 - rise} ${b} ${BASE - 16 - rise} ${b} ${BASE - 16}`;
    const path = svgElement("path", {
      d,
      fill: "none",
      stroke: colour,
      "stroke-width": 0.8 + 5 * share,
      "stroke-opacity": 0.35 + 0.6 * share,
    });
    path.append(
      svgElement(
        "title",
        {},
        `position ${from}, ${tokens[from].shown}: ${is_raw ? percent(value) : decimal(value, 3)}`,
      ),
    );
    svg.append(path);
  });
  tokens.slice(0, position + 1).forEach(({ shown }, at) => {
    const text = shown.length > LETTERS ? `${shown.slice(0, LETTERS - 1)}…` : shown;
    svg.append(
      svgElement(
        "text",
        {
          x: x(at),
          y: BASE,
          "text-anchor": "middle",
          fill: "var(--ink)",
          ...(at === position ? { "font-weight": 700 } : {}),
        },
        text,
      ),
      svgElement(
        "text",
        {
          x: x(at),
          y: BASE + 18,
          "text-anchor": "middle",
          fill: at === 0 && position > 0 ? "var(--quiet)" : "var(--muted)",
          "font-size": 11,
        },
        is_raw ? percent(values[at]) : decimal(values[at], 2),
      ),
    );
  });
  return svg;
}
