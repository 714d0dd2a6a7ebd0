/**
 * The statistical charts, by Observable Plot. Loaded once the first one is wanted, so that the heatmap never waits for
 * it.
 */
import { areaY, axisX, axisY, dot, gridY, line, rectY, ruleX, ruleY } from "@observablehq/plot";
import { chart, powers } from "../../graphics/plot.ts";
import { DASHES, colourOf } from "../../graphics/series.ts";

/** `dash`: which family of lines it belongs to */
export type Point = { x: number; y: number; series: number; title: string; dash?: number };
export type Axis = { width: number; x_label: string; xTick: (x: number) => string; xs: number[] };

/**
 * No more names than have room, the last one always.
 * @param room pixels for one name
 */
function ticksOf({ xs, width }: Axis, room: number) {
  const step = Math.max(1, Math.ceil((xs.length * room) / Math.max(1, width - 60)));
  return xs.filter((_, i) => (xs.length - 1 - i) % step === 0);
}

/** The largest of the values that are numbers, and at least `floor`. */
const largestOf = (values: number[], floor: number) => values.reduce((a, b) => (b > a ? b : a), floor);

const xAxis = (axis: Axis, room: number = 34) => [
  axisX(ticksOf(axis, room), {
    label: axis.x_label,
    tickFormat: axis.xTick,
    labelAnchor: "center",
    labelArrow: "none",
    tickSize: 3,
  }),
];

/**
 * Lines over rows or positions.
 * @param marked an x to point at
 */
export function pathsChart(
  points: Point[],
  measure: "rank" | "probability" | "logit" | "kl",
  axis: Axis,
  marked: number | null,
) {
  const is_rank = measure === "rank";
  const label = { rank: "rank (1 is best, log scale)", probability: "probability", logit: "logit", kl: "nats" }[
    measure
  ];
  const largest = largestOf(
    points.map(({ y }) => y),
    measure === "probability" ? 0.01 : 10,
  );
  const room = Math.max(...axis.xs.map((x) => axis.xTick(x).length)) * 7 + 8;
  return chart(
    {
      width: axis.width,
      height: 240,
      marginLeft: 46,
      marginBottom: 36,
      marginTop: 24,
      x: { domain: [axis.xs[0], axis.xs[axis.xs.length - 1]], inset: 6 },
      y: is_rank
        ? { type: "log", reverse: true, domain: [1, largest] }
        : measure === "probability"
          ? { domain: [0, Math.min(1, largest * 1.04)] }
          : { nice: true },
      marks: [
        gridY(is_rank ? { ticks: powers(largest) } : { ticks: 5 }),
        axisY({
          label,
          labelArrow: "none",
          tickSize: 0,
          ...(is_rank ? { ticks: powers(largest), tickFormat: (y: number) => y.toLocaleString("en") } : { ticks: 5 }),
        }),
        ...xAxis(axis, room),
        ...(marked === null ? [] : [ruleX([marked], { stroke: "var(--line)", strokeWidth: 6 })]),
        ...DASHES.map((dash, i) =>
          line(
            points.filter((point) => (point.dash ?? 0) === i),
            {
              x: "x",
              y: "y",
              z: "series",
              stroke: ({ series }: Point) => colourOf(series),
              strokeWidth: 1.75,
              ...(dash ? { strokeDasharray: dash.join(" ") } : {}),
            },
          ),
        ),
        dot(points, { x: "x", y: "y", fill: ({ series }: Point) => colourOf(series), r: 2.4, title: "title" }),
      ],
      color: { type: "identity" },
    },
    `${label} ${axis.x_label}`,
  );
}

export function histogramChart(counts: { index: number; tap: string; first: number; settled: number }[], axis: Axis) {
  const most = Math.max(1, ...counts.flatMap(({ first, settled }) => [first, settled]));
  const bars = counts.flatMap(({ index, tap, first, settled }) => [
    {
      x1: index - 0.36,
      x2: index,
      y: first,
      fill: "var(--accent)",
      title: `${tap}: ${first} positions have the final top-1 for the first time`,
    },
    { x1: index, x2: index + 0.36, y: settled, fill: "var(--muted)", title: `${tap}: ${settled} positions settle` },
  ]);
  return chart(
    {
      width: axis.width,
      height: 230,
      marginLeft: 46,
      marginBottom: 36,
      marginTop: 24,
      x: { domain: [-0.6, counts.length - 0.4] },
      y: { domain: [0, most] },
      color: { type: "identity" },
      marks: [
        gridY({ ticks: 5 }),
        axisY({
          label: "positions",
          labelArrow: "none",
          tickSize: 0,
          ticks: Math.min(5, most),
          tickFormat: (y: number) => (Number.isInteger(y) ? String(y) : ""),
        }),
        ...xAxis(axis, 46),
        rectangles(bars),
        ruleY([0], { stroke: "var(--line)" }),
      ],
    },
    "positions that decide at each row",
  );
}

const rectangles = (bars: { x1: number; x2: number; y: number; fill: string; title: string }[]) =>
  rectY(bars, { x1: "x1", x2: "x2", y1: 0, y2: "y", fill: "fill", title: "title" });

type Loss = { index: number; tap: string; loss: number; low: number; high: number };

export const lossChart = (losses: Loss[], axis: Axis) =>
  chart(
    {
      width: axis.width,
      height: 230,
      marginLeft: 46,
      marginBottom: 36,
      marginTop: 24,
      x: { domain: [axis.xs[0], axis.xs[axis.xs.length - 1]], inset: 8 },
      y: { nice: true },
      marks: [
        gridY({ ticks: 5 }),
        axisY({ label: "mean −log p(true next), nats", labelArrow: "none", tickSize: 0, ticks: 5 }),
        ...xAxis(axis, 46),
        areaY(losses, { x: "index", y1: "low", y2: "high", fill: "var(--series-0)", fillOpacity: 0.18 }),
        line(losses, { x: "index", y: "loss", stroke: "var(--series-0)", strokeWidth: 1.75 }),
        dot(losses, {
          x: "index",
          y: "loss",
          fill: "var(--series-0)",
          r: 3,
          title: (d: Loss) =>
            `${d.tap}: ${d.loss.toFixed(2)} nats, 95 % interval ${d.low.toFixed(2)} to ${d.high.toFixed(2)}`,
        }),
      ],
    },
    "loss by depth",
  );

export function keptChart(
  tokens: { x: number; kept: number; title: string; is_chosen: boolean }[],
  width: number,
  x_label: string,
) {
  const largest = largestOf(
    tokens.map(({ kept }) => kept),
    10,
  );
  return chart(
    {
      width,
      height: 230,
      marginLeft: 52,
      marginBottom: 36,
      marginTop: 24,
      x: { nice: true },
      y: { type: "log", reverse: true, domain: [1, largest] },
      color: { type: "identity" },
      marks: [
        gridY({ ticks: powers(largest) }),
        axisY({
          label: "typical rank of the input token",
          labelArrow: "none",
          tickSize: 0,
          ticks: powers(largest),
          tickFormat: (y: number) => y.toLocaleString("en"),
        }),
        axisX({ label: x_label, labelAnchor: "center", labelArrow: "none", tickSize: 3, ticks: 5 }),
        dot(tokens, {
          x: "x",
          y: "kept",
          r: 3.5,
          fill: (d: { is_chosen: boolean }) => (d.is_chosen ? "var(--accent)" : "var(--series-0)"),
          fillOpacity: 0.75,
          title: "title",
        }),
      ],
    },
    `how well each input token is kept, against ${x_label}`,
  );
}
