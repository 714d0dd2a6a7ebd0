/** The gains of one channel over the blocks: a line for ln_1 and one for ln_2; ln_f, of another size, as a number. */
import { chartLegend } from "../../ui/chart-legend.ts";
import { element } from "../../ui/dom.ts";
import { significant } from "../../lib/format.ts";
import { curvesOf } from "./stat-charts.ts";
import type { Gains } from "../queries.ts";

const NORMS = [
  { name: "ln_1", css: "var(--series-0)" },
  { name: "ln_2", css: "var(--accent)" },
];

/**
 * @param c the channel
 * @returns no picture of a model without blocks
 */
export function gainLines(
  gains: Gains[],
  c: number,
  { width, height, n_ticks }: { width: number; height?: number; n_ticks?: number },
): { legend: HTMLElement; svg: SVGSVGElement | null } {
  const points = gains.flatMap(({ name, weight }) => {
    const [, block, norm] = /^h\.(\d+)\.(ln_[12])$/.exec(name) ?? [];
    const css = NORMS.find((each) => each.name === norm)?.css;
    return css
      ? [{ x: Number(block), y: weight[c], series: norm, css, title: `${name}: ${significant(weight[c])}` }]
      : [];
  });
  const drawn = NORMS.filter(({ name }) => points.some(({ series }) => series === name));
  const legend = chartLegend(drawn);
  const last = gains.find(({ name }) => name === "ln_f");
  if (last) legend.append(element("li", "muted", `ln_f ${significant(last.weight[c])}`));
  const n_blocks = Math.max(0, ...points.map(({ x }) => x + 1));
  const every = Math.ceil(n_blocks / Math.max(2, Math.floor(width / 26)));
  const xs = Array.from({ length: n_blocks }, (_, i) => i).filter((x) => x % every === 0);
  return {
    legend,
    svg:
      n_blocks > 0
        ? curvesOf(points, {
            width,
            height,
            n_ticks,
            x_label: "block",
            y_label: "gain",
            has_dots: true,
            xs,
            xTick: String,
          })
        : null,
  };
}
