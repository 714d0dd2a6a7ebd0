// @ts-check
/**
 * The statistical charts, by Observable Plot. Loaded once the first one is wanted, so that the heatmap never waits for
 * it. Colours are the style sheet's variables; the style that Plot would write into each chart is left out, as the
 * page's policy forbids it, and stands in our style sheet.
 */
import { areaY, axisX, axisY, dot, gridY, line, plot, rectY, ruleX, ruleY } from "@observablehq/plot";

/** @typedef {{ x: number, y: number, series: number, title: string, dashed?: boolean }} Point `dashed`: of the second text */
/** @typedef {{ width: number, x_label: string, x_tick: (x: number) => string, xs: number[] }} Axis */

export const N_COLOURS = 8;
/** @param {number} series */
export const colourOf = (series) => `var(--series-${series % N_COLOURS})`;

/** No more names than have room, the last one always. @param {Axis} axis @param {number} room pixels for one name */
function ticksOf({ xs, width }, room) {
  const step = Math.max(1, Math.ceil((xs.length * room) / Math.max(1, width - 60)));
  return xs.filter((_, i) => (xs.length - 1 - i) % step === 0);
}

/** @param {Parameters<typeof plot>[0]} options @param {string} label */
export function chart(options, label) {
  const svg = /** @type {SVGSVGElement} */ (plot({ className: "chart-svg", ariaLabel: label, ...options }));
  svg.querySelector("style")?.remove();
  svg.setAttribute("role", "img");
  // The parts of an image have no names of their own.
  for (const part of svg.querySelectorAll("g[aria-label]")) part.removeAttribute("aria-label");
  return svg;
}

/** The largest of the values that are numbers, and at least `floor`. @param {number[]} values @param {number} floor */
const largestOf = (values, floor) => values.reduce((a, b) => (b > a ? b : a), floor);

/** @param {Axis} axis @param {number} [room] */
const xAxis = (axis, room = 34) => [
  axisX(ticksOf(axis, room), { label: axis.x_label, tickFormat: axis.x_tick, labelAnchor: "center", labelArrow: "none", tickSize: 3 }),
];

/**
 * Lines over rows or positions.
 * @param {Point[]} points @param {"rank" | "probability" | "logit" | "kl"} measure @param {Axis} axis @param {number | null} marked an x to point at
 */
export function pathsChart(points, measure, axis, marked) {
  const is_rank = measure === "rank";
  const label = { rank: "rank (1 is best, log scale)", probability: "probability", logit: "logit", kl: "nats" }[measure];
  const largest = largestOf(points.map(({ y }) => y), measure === "probability" ? 0.01 : 10);
  const room = Math.max(...axis.xs.map((x) => axis.x_tick(x).length)) * 7 + 8;
  return chart({
    width: axis.width,
    height: 240,
    marginLeft: 46,
    marginBottom: 36,
    marginTop: 24,
    x: { domain: [axis.xs[0], axis.xs[axis.xs.length - 1]], inset: 6 },
    y: is_rank ? { type: "log", reverse: true, domain: [1, largest] } : measure === "probability" ? { domain: [0, Math.min(1, largest * 1.04)] } : { nice: true },
    marks: [
      gridY(is_rank ? { ticks: powers(largest) } : { ticks: 5 }),
      axisY({ label, labelArrow: "none", tickSize: 0, ...(is_rank ? { ticks: powers(largest), tickFormat: (/** @type {number} */ y) => y.toLocaleString("en") } : { ticks: 5 }) }),
      ...xAxis(axis, room),
      ...(marked === null ? [] : [ruleX([marked], { stroke: "var(--line)", strokeWidth: 6 })]),
      ...[false, true].map((dashed) =>
        line(points.filter((point) => (point.dashed ?? false) === dashed), { x: "x", y: "y", z: "series", stroke: (/** @type {Point} */ { series }) => colourOf(series), strokeWidth: 1.75, ...(dashed ? { strokeDasharray: "5 4" } : {}) })),
      dot(points, { x: "x", y: "y", fill: (/** @type {Point} */ { series }) => colourOf(series), r: 2.4, title: "title" }),
    ],
    color: { type: "identity" },
  }, `${label} ${axis.x_label}`);
}

/** @param {number} largest */
const powers = (largest) => Array.from({ length: Math.floor(Math.log10(largest)) + 1 }, (_, i) => 10 ** i);

/** @param {{ index: number, tap: string, first: number, settled: number }[]} counts @param {Axis} axis */
export function histogramChart(counts, axis) {
  const most = Math.max(1, ...counts.flatMap(({ first, settled }) => [first, settled]));
  const bars = counts.flatMap(({ index, tap, first, settled }) => [
    { x1: index - 0.36, x2: index, y: first, fill: "var(--accent)", title: `${tap}: ${first} positions have the final top-1 for the first time` },
    { x1: index, x2: index + 0.36, y: settled, fill: "var(--muted)", title: `${tap}: ${settled} positions settle` },
  ]);
  return chart({
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
      axisY({ label: "positions", labelArrow: "none", tickSize: 0, ticks: Math.min(5, most), tickFormat: (/** @type {number} */ y) => (Number.isInteger(y) ? String(y) : "") }),
      ...xAxis(axis, 46),
      rectangles(bars),
      ruleY([0], { stroke: "var(--line)" }),
    ],
  }, "positions that decide at each row");
}

/** @param {{ x1: number, x2: number, y: number, fill: string, title: string }[]} bars */
const rectangles = (bars) => rectY(bars, { x1: "x1", x2: "x2", y1: 0, y2: "y", fill: "fill", title: "title" });

/** @param {{ index: number, tap: string, loss: number, low: number, high: number }[]} losses @param {Axis} axis */
export const lossChart = (losses, axis) =>
  chart({
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
      dot(losses, { x: "index", y: "loss", fill: "var(--series-0)", r: 3, title: (d) => `${d.tap}: ${d.loss.toFixed(2)} nats, 95 % interval ${d.low.toFixed(2)} to ${d.high.toFixed(2)}` }),
    ],
  }, "loss by depth");

/** @param {{ x: number, kept: number, title: string, is_chosen: boolean }[]} tokens @param {number} width @param {string} x_label */
export function keptChart(tokens, width, x_label) {
  const largest = largestOf(tokens.map(({ kept }) => kept), 10);
  return chart({
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
      axisY({ label: "typical rank of the input token", labelArrow: "none", tickSize: 0, ticks: powers(largest), tickFormat: (/** @type {number} */ y) => y.toLocaleString("en") }),
      axisX({ label: x_label, labelAnchor: "center", labelArrow: "none", tickSize: 3, ticks: 5 }),
      dot(tokens, { x: "x", y: "kept", r: 3.5, fill: (d) => (d.is_chosen ? "var(--accent)" : "var(--series-0)"), fillOpacity: 0.75, title: "title" }),
    ],
  }, `how well each input token is kept, against ${x_label}`);
}
