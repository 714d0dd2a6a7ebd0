/** The statistical charts of the atlas' views of tokens, by Observable Plot. */
import { axisX, axisY, barY, dot, gridY, line, ruleX, ruleY, text } from "@observablehq/plot";
import { seriesKey } from "../../ui/chart-legend.ts";
import { chart } from "../../graphics/plot.ts";
import { colourOf } from "../../graphics/series.ts";
import { logLabel } from "../../graphics/axes.ts";
import { outlineOf } from "../stats/bins.ts";
import { logTicks } from "../../graphics/log-ticks.ts";

/** Where a log axis of counts ends: below one, so that a single one can be seen. */
const LOG_FLOOR = 0.7;
const count = (y: number) => (Number.isInteger(y) || y >= 1 ? y.toLocaleString("en") : "");

/** Histograms as steps. */
export function stepsChart({
  edges,
  counts,
  is_log,
  x_label,
  y_label,
  width,
  label,
}: {
  edges: number[];
  counts: number[][];
  is_log: boolean;
  x_label: string;
  y_label: string;
  width: number;
  label: string;
}) {
  const most = Math.max(1, ...counts.flat());
  const points = counts.flatMap((of, series) =>
    outlineOf(edges, of).map(({ x, y }) => ({ x, y: is_log ? Math.max(y, LOG_FLOOR) : y, series })),
  );
  const powers = Array.from({ length: Math.floor(Math.log10(most)) + 1 }, (_, i) => 10 ** i);
  const ticks = is_log ? { ticks: powers } : { ticks: Math.min(5, most) };
  const svg = chart(
    {
      width,
      height: 240,
      marginLeft: 52,
      marginBottom: 36,
      marginTop: 24,
      x: { domain: [edges[0], edges[edges.length - 1]] },
      y: is_log ? { type: "log", domain: [LOG_FLOOR, most * 1.2] } : { domain: [0, most] },
      color: { type: "identity" },
      marks: [
        gridY(ticks),
        axisY({
          label: `${y_label} in a bin${is_log ? " (log)" : ""}`,
          labelArrow: "none",
          tickSize: 0,
          tickFormat: count,
          ...ticks,
        }),
        axisX({
          label: x_label,
          labelAnchor: "center",
          labelArrow: "none",
          tickSize: 3,
          ticks: Math.max(3, Math.floor(width / 90)),
        }),
        line(points, {
          x: "x",
          y: "y",
          z: "series",
          stroke: ({ series }: { series: number }) => colourOf(series),
          strokeWidth: 1.5,
          strokeLinejoin: "miter",
        }),
      ],
    },
    label,
  );
  return { svg, keys: counts.map((_, series) => seriesKey(colourOf(series))) };
}

/** Singular values, the largest first, with the shown directions marked. */
export function singularChart({
  values,
  marked,
  is_log,
  width,
}: {
  values: Float32Array;
  marked: number[];
  is_log: boolean;
  width: number;
}) {
  const points = Array.from(values, (y, x) => ({ x, y })).filter(({ y }) => !is_log || y > 0);
  const chosen = points.filter(({ x }) => marked.includes(x));
  const [low, high] = [Math.min(...points.map(({ y }) => y)) * 0.85, values[0] * 1.15];
  const [height, top, bottom] = [260, 24, 36];
  const ticks = is_log ? { ticks: logTicks(low, high, height - top - bottom) } : { ticks: 5 };
  return chart(
    {
      width,
      height,
      marginLeft: 56,
      marginBottom: bottom,
      marginTop: top,
      x: { domain: [0, Math.max(1, values.length - 1)], inset: 10 },
      y: is_log ? { type: "log", domain: [low, high] } : { domain: [0, values[0] * 1.04] },
      marks: [
        gridY(ticks),
        axisY({
          label: `singular value${is_log ? " (log)" : ""}`,
          labelArrow: "none",
          tickSize: 0,
          ...ticks,
          ...(is_log ? { tickFormat: logLabel } : {}),
        }),
        axisX({
          label: "direction",
          labelAnchor: "center",
          labelArrow: "none",
          tickSize: 3,
          ticks: Math.max(3, Math.floor(width / 90)),
          tickFormat: (x: number) => (Number.isInteger(x) ? String(x) : ""),
        }),
        dot(points, {
          x: "x",
          y: "y",
          r: values.length > 300 ? 1.6 : 2.2,
          fill: "var(--series-0)",
          title: ({ x, y }: { x: number; y: number }) => `direction ${x}: singular value ${y.toPrecision(5)}`,
        }),
        ruleX(chosen, { x: "x", stroke: "var(--accent)", strokeOpacity: 0.35 }),
        // Below the curve, on either side of their lines, as neighbours stand two pixels apart.
        ...chosen.map((one, i) =>
          text([one], {
            x: "x",
            text: ({ x }) => String(x),
            frameAnchor: "bottom",
            dy: -4,
            ...(i === 0 && chosen.length > 1 ? { dx: -3, textAnchor: "end" } : { dx: 3, textAnchor: "start" }),
            fill: "var(--accent)",
            fontWeight: 600,
          }),
        ),
        dot(chosen, {
          x: "x",
          y: "y",
          r: 4,
          fill: "var(--accent)",
          title: ({ x, y }: { x: number; y: number }) => `direction ${x}: singular value ${y.toPrecision(5)}`,
        }),
      ],
    },
    "Singular values of wte",
  );
}

/** The cosine of each direction with the mean embedding. */
export function cosinesChart({ values, marked, width }: { values: Float32Array; marked: number[]; width: number }) {
  const bars = Array.from(values, (y, x) => ({
    x: String(x),
    y,
    title: `direction ${x}: cosine ${y.toFixed(4)} with the mean embedding`,
    fill: marked.includes(x) ? "var(--accent)" : "var(--series-0)",
  }));
  return chart(
    {
      width,
      height: 260,
      marginLeft: 46,
      marginBottom: 36,
      marginTop: 24,
      x: { domain: bars.map(({ x }) => x), padding: 0.25 },
      y: { domain: [Math.min(0, ...values), 1] },
      color: { type: "identity" },
      marks: [
        gridY({ ticks: 5 }),
        axisY({ label: "cosine with the mean embedding", labelArrow: "none", tickSize: 0, ticks: 5 }),
        axisX({ label: "direction", labelAnchor: "center", labelArrow: "none", tickSize: 0 }),
        barY(bars, { x: "x", y: "y", fill: "fill", title: "title" }),
        ruleY([0], { stroke: "var(--line)" }),
      ],
    },
    "Cosine of each direction with the mean embedding",
  );
}

/** What each channel has in a direction: a line from zero each, the selected one with its number. */
export function loadingsChart({
  values,
  marked,
  label,
  width,
}: {
  values: Float32Array;
  marked: number;
  label: string;
  width: number;
}) {
  const lines = Array.from(values, (y, x) => ({ x, y, title: `channel ${x}: ${y.toFixed(4)}` }));
  const chosen = lines.filter(({ x }) => x === marked);
  return chart(
    {
      width,
      height: 220,
      marginLeft: 46,
      marginBottom: 36,
      marginTop: 24,
      x: { domain: [0, Math.max(1, values.length - 1)], inset: 6 },
      y: { nice: true },
      marks: [
        gridY({ ticks: 5 }),
        axisY({ label: "loading", labelArrow: "none", tickSize: 0, ticks: 5 }),
        axisX({
          label: "channel",
          labelAnchor: "center",
          labelArrow: "none",
          tickSize: 3,
          ticks: Math.max(3, Math.floor(width / 90)),
        }),
        ruleX(lines, { x: "x", y1: 0, y2: "y", stroke: "var(--series-0)", title: "title" }),
        ruleY([0], { stroke: "var(--line)" }),
        ruleX(chosen, { x: "x", y1: 0, y2: "y", stroke: "var(--accent)", strokeWidth: 2 }),
        dot(chosen, { x: "x", y: "y", r: 4, fill: "var(--accent)", title: "title" }),
        text(chosen, {
          x: "x",
          y: "y",
          text: ({ x }: { x: number }) => String(x),
          dy: (chosen[0]?.y ?? 0) < 0 ? 11 : -11,
          fill: "var(--accent)",
          stroke: "var(--surface)",
          strokeWidth: 3,
          fontWeight: 600,
        }),
      ],
    },
    label,
  );
}
