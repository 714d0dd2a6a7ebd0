/** The atlas' statistical charts: histograms and curves, by Observable Plot. */
import { axisX, axisY, dot, gridX, gridY, line, rectY, ruleX, ruleY, text } from "@observablehq/plot";
import { chart } from "../../graphics/plot.ts";
import { logLabel } from "../../graphics/axes.ts";

export type CurvePoint = { x: number; y: number; series: string; css: string; title?: string };

const POWERS = Array.from({ length: 30 }, (_, i) => 10 ** (i - 20));

export function histogramOf(
  bins: { from: number; to: number; count: number }[],
  {
    width,
    label,
    css,
    unit,
    log,
    cut = null,
    chosen = null,
  }: {
    width: number;
    /** of x */
    label: string;
    css: string;
    /** what is counted */
    unit: string;
    /** whether x is logarithmic */
    log: boolean;
    /** a place that is marked */
    cut?: { at: number; words: string } | null;
    /** the selected one's value */
    chosen?: number | null;
  },
) {
  const [low, high] = [bins[0].from, bins[bins.length - 1].to];
  const ticks = log ? POWERS.filter((value) => value >= low * 0.999 && value <= high * 1.001) : undefined;
  const finer = (leads: number[]) =>
    POWERS.flatMap((value) => leads.map((lead) => lead * value)).filter((value) => value >= low && value <= high);
  const few =
    ticks && ticks.length < 3
      ? ([finer([1, 2, 5]), finer([1, 1.5, 2, 3, 4, 5, 6, 8])].find((found) => found.length > 2) ?? ticks)
      : ticks;
  const is_right =
    cut !== null && (log ? Math.log(cut.at / low) / Math.log(high / low) : (cut.at - low) / (high - low)) > 0.5;
  return chart(
    {
      width,
      height: 190,
      marginLeft: 40,
      marginBottom: 36,
      marginTop: 22,
      marginRight: 10,
      x: { type: log ? "log" : "linear", domain: [low, high] },
      y: { nice: true },
      marks: [
        gridY({ ticks: 4 }),
        axisY({ label: unit, labelArrow: "none", tickSize: 0, ticks: 4 }),
        axisX({
          label: `${label}${log ? ", log scale" : ""}`,
          labelAnchor: "center",
          labelArrow: "none",
          tickSize: 3,
          ...(few ? { ticks: few, text: logLabel } : { ticks: 5 }),
        }),
        rectY(bins, {
          x1: "from",
          x2: "to",
          y: "count",
          fill: css,
          fillOpacity: 0.8,
          inset: 0.3,
          title: (bin: { count: number; from: number; to: number }) =>
            `${bin.count} ${unit} from ${logLabel(bin.from)} to ${logLabel(bin.to)}`,
        }),
        ...(chosen !== null ? [ruleX([chosen], { stroke: "var(--accent)", strokeWidth: 2 })] : []),
        ruleY([0], { stroke: "var(--line)" }),
        ...(cut
          ? [
              ruleX([cut.at], { stroke: "var(--ink)", strokeDasharray: "3 3" }),
              text([cut], {
                x: "at",
                text: "words",
                frameAnchor: "top",
                dx: is_right ? -6 : 6,
                dy: 2,
                fill: "var(--ink)",
                stroke: "var(--surface)",
                strokeWidth: 4,
                textAnchor: is_right ? "end" : "start",
              }),
            ]
          : []),
      ],
    },
    `histogram of ${label}`,
  );
}

/** Curves over positions or layers. */
export function curvesOf(
  points: CurvePoint[],
  {
    width,
    height = 240,
    x_label,
    y_label,
    xTick = (x) => x.toLocaleString("en"),
    xs,
    has_dots = false,
    n_ticks = 5,
    front,
  }: {
    width: number;
    height?: number;
    x_label: string;
    y_label: string;
    xTick?: (x: number) => string;
    /** where the ticks stand */
    xs?: number[];
    has_dots?: boolean;
    /** of y */
    n_ticks?: number;
    /** the series that lies over the others */
    front?: string;
  },
) {
  const last = Math.max(...points.map(({ x }) => x), 1);
  const sorted =
    front === undefined
      ? points
      : [...points.filter(({ series }) => series !== front), ...points.filter(({ series }) => series === front)];
  return chart(
    {
      width,
      height,
      marginLeft: 46,
      marginBottom: 36,
      marginTop: 22,
      marginRight: 14,
      x: { domain: [0, last], inset: has_dots ? 8 : 0 },
      y: { nice: true },
      marks: [
        gridX({ ticks: xs ?? 6, strokeOpacity: 0.06 }),
        gridY({ ticks: n_ticks }),
        axisY({ label: y_label, labelArrow: "none", tickSize: 0, ticks: n_ticks }),
        axisX({
          label: x_label,
          labelAnchor: "center",
          labelArrow: "none",
          tickSize: 3,
          ticks: xs ?? Math.max(2, Math.floor(width / 90)),
          tickFormat: xTick,
        }),
        ruleY([0], { stroke: "var(--line)" }),
        line(sorted, {
          x: "x",
          y: "y",
          z: "series",
          stroke: "css",
          strokeWidth: ({ series }: CurvePoint) => (series === front ? 2.4 : 1.4),
          strokeOpacity: 0.95,
        }),
        ...(has_dots ? [dot(sorted, { x: "x", y: "y", fill: "css", r: 3, title: "title" })] : []),
      ],
      color: { type: "identity" },
    },
    `${y_label} against ${x_label}`,
  );
}
