/** Curves over relative depth, with their intervals, by Observable Plot. */
import { areaY, axisX, axisY, gridY, line, ruleX } from "@observablehq/plot";
import { chart } from "../graphics/plot.ts";
import { DASHES } from "../graphics/series.ts";
import { chartLegend } from "../ui/chart-legend.ts";
import { element } from "../ui/dom.ts";

export interface Curve {
  name: string;
  css: string;
  /** by row, from the input on */
  values: { mean: number; low?: number; high?: number }[];
  /** another model, or a control */
  is_ghost?: boolean;
}

const HEIGHT = 240;

/**
 * @param marked a relative depth to point at
 * @param domain of y; as large as the values, if absent
 */
export function depthCurves(
  curves: Curve[],
  { label, width, marked = null, domain }: { label: string; width: number; marked?: number | null; domain?: number[] },
) {
  const points = curves.flatMap(({ name, css, values, is_ghost = false }) =>
    values.map(({ mean, low = NaN, high = NaN }, row) => ({
      x: values.length === 1 ? 1 : row / (values.length - 1),
      mean,
      low,
      high,
      name,
      css,
      is_ghost,
    })),
  );
  const svg = chart(
    {
      width,
      height: HEIGHT,
      marginLeft: 46,
      marginBottom: 36,
      marginTop: 24,
      x: { domain: [0, 1], inset: 6 },
      y: domain ? { domain } : { nice: true, zero: true },
      marks: [
        gridY({ ticks: 5 }),
        axisY({ label, labelArrow: "none", tickSize: 0, ticks: 5 }),
        axisX({
          ticks: [0, 0.25, 0.5, 0.75, 1],
          tickFormat: (x: number) => (x === 0 ? "input" : x === 1 ? "final" : `${x * 100} %`),
          label: "relative depth",
          labelAnchor: "center",
          labelArrow: "none",
          tickSize: 3,
        }),
        ...(marked === null ? [] : [ruleX([marked], { stroke: "var(--line)", strokeWidth: 6 })]),
        areaY(
          points.filter(({ low, high }) => Number.isFinite(low) && Number.isFinite(high)),
          { x: "x", y1: "low", y2: "high", z: "name", fill: "css", fillOpacity: 0.14, clip: true },
        ),
        ...[false, true].map((is_ghost) =>
          line(
            points.filter((point) => point.is_ghost === is_ghost && Number.isFinite(point.mean)),
            {
              x: "x",
              y: "mean",
              z: "name",
              stroke: "css",
              strokeWidth: 2,
              strokeDasharray: is_ghost ? DASHES[1]?.join(" ") : undefined,
              marker: is_ghost ? undefined : "dot",
            },
          ),
        ),
      ],
    },
    `${label} over relative depth: ${curves.map(({ name }) => name).join(", ")}`,
  );
  return element("div", "chart", chartLegend(curves.map(({ name, css }) => ({ name, css }))), svg);
}
