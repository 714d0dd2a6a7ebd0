// @ts-check
/** The axes of a cloud as marks: lines and numbers for pixels and SVG alike. Pure. */
import { scaleLinear, scaleLog } from "d3-scale";

/** @typedef {import("../scene.js").Mark} Mark */
/** @typedef {import("d3-scale").ScaleLinear<number, number> | import("d3-scale").ScaleLogarithmic<number, number>} Scale */
/** @typedef {{ left: number, top: number, right: number, bottom: number, width: number, height: number }} Frame the plotting area, and the size of all */

const PADDING = 0.04;
const MAX_DIGITS = 7;
const MINUS = "\u2212";

/**
 * A scale over what there is, with some room around it.
 * @param {"linear" | "log"} kind @param {[number, number]} extent @param {[number, number]} range
 * @returns {Scale}
 */
export function scaleFor(kind, [least, most], range) {
  if (kind === "log") {
    const [low, high] = [Math.log10(least), Math.log10(most)];
    const room = Math.max((high - low) * PADDING, 0.01);
    return scaleLog([10 ** (low - room), 10 ** (high + room)], range);
  }
  const room = (most - least) * PADDING || Math.abs(most) * PADDING || 1;
  return scaleLinear([least - room, most + room], range);
}

/** With as many digits as tell neighbours apart. @param {number} value @param {number} step between ticks */
function plain(value, step) {
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  if (step >= 1) return value.toLocaleString("en", { maximumFractionDigits: 0 }).replace("-", MINUS);
  const text = digits <= MAX_DIGITS || value === 0 ? value.toFixed(Math.min(digits, MAX_DIGITS)) : value.toExponential(Math.max(0, Math.ceil(Math.log10(Math.abs(value) / step))));
  return text.replace(/-/g, MINUS);
}

/** Plain between a thousandth and ten thousand, a power of ten elsewhere. @param {number} value */
export function logLabel(value) {
  if (value >= 0.00099 && value < 1e4) return String(Number(value.toPrecision(3)));
  const power = Math.floor(Math.log10(value) + 1e-9);
  const lead = Number((value / 10 ** power).toPrecision(2));
  const raised = String(power).replace("-", "⁻").replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]);
  return lead === 1 ? `10${raised}` : `${lead}·10${raised}`;
}

/**
 * Where the lines and the numbers stand.
 * @param {Scale} scale @param {"linear" | "log"} kind @param {number} n about so many
 * @returns {{ at: number, label: string }[]}
 */
export function ticksOf(scale, kind, n) {
  const [low, high] = /** @type {[number, number]} */ (scale.domain());
  if (kind === "log" && high / low > 8) {
    const inside = (/** @type {number[]} */ leads, /** @type {number} */ every) => {
      const ticks = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
        if (power % every === 0) ticks.push(...leads.map((lead) => lead * 10 ** power));
      }
      return ticks.filter((value) => value >= low && value <= high);
    };
    const every = Math.max(1, Math.ceil(Math.log10(high / low) / n));
    // As many as there is room for.
    const values = [[1, 2, 5], [1, 3]].map((leads) => inside(leads, 1)).find((found) => found.length <= n) ?? inside([1], every);
    return values.map((value) => ({ at: scale(value), label: logLabel(value) }));
  }
  const values = scaleLinear([low, high], [0, 1]).ticks(n);
  const step = values.length > 1 ? Math.abs(values[1] - values[0]) : 1;
  return values.map((value) => ({ at: scale(value), label: plain(value, step) }));
}

/**
 * @param {object} axes
 * @param {Scale} axes.x @param {Scale} axes.y
 * @param {"linear" | "log"} axes.x_kind @param {"linear" | "log"} axes.y_kind
 * @param {string} axes.x_label @param {string} axes.y_label
 * @param {Frame} axes.frame
 * @param {{ ink: string, muted: string, line: string }} axes.palette
 * @param {boolean} [axes.is_small] fewer numbers, no names
 * @returns {Mark[]}
 */
export function axesOf({ x, y, x_kind, y_kind, x_label, y_label, frame, palette, is_small = false }) {
  const { left, top, right, bottom } = frame;
  const size = is_small ? 10 : 11;
  const text = (/** @type {Partial<import("../scene.js").TextMark>} */ mark) => /** @type {import("../scene.js").TextMark} */ ({ kind: "text", size, mono: false, bold: false, align: "center", tilt: false, max_width: Infinity, fill: palette.muted, ...mark });
  const line = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ width, /** @type {number} */ height) => /** @type {Mark} */ ({ kind: "rect", x, y, width, height, r: 0, fill: palette.line });
  /** @type {Mark[]} */
  const marks = [];
  for (const { at, label } of ticksOf(x, x_kind, Math.max(2, Math.floor((right - left) / (is_small ? (x_kind === "log" ? 36 : 46) : 80))))) {
    marks.push(line(Math.round(at), top, 1, bottom - top));
    // A number at the very edge would be cut.
    if (at < frame.width - 3.2 * label.length) marks.push(text({ x: at, y: bottom + 10, text: label }));
  }
  for (const { at, label } of ticksOf(y, y_kind, Math.max(2, Math.floor((bottom - top) / (is_small ? 32 : 50))))) {
    marks.push(line(left, Math.round(at), right - left, 1));
    marks.push(text({ x: left - 6, y: at, text: label, align: "right" }));
  }
  if (!is_small) {
    marks.push(text({ x: (left + right) / 2, y: bottom + 27, text: x_label, max_width: right - left }));
    marks.push(text({ x: 2, y: top - 12, text: `↑ ${y_label}`, align: "left", max_width: right - 4 }));
  }
  return marks;
}
