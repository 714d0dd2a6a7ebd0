/** The axes of a cloud as marks: lines and numbers for pixels and SVG alike. Pure. */
import { decadeTicks } from "./log-ticks.ts";
import { textMark } from "./marks.ts";
import { scaleLinear, scaleLog } from "d3-scale";
import type { Mark, TextMark } from "./marks.ts";
import type { ScaleLinear, ScaleLogarithmic } from "d3-scale";

export type Scale = ScaleLinear<number, number> | ScaleLogarithmic<number, number>;
/** the plotting area, and the size of all */
export type Frame = { left: number; top: number; right: number; bottom: number; width: number; height: number };

const PADDING = 0.04;
const MAX_DIGITS = 7;
const MINUS = "\u2212";

/** A scale over what there is, with some room around it. */
export function scaleFor(kind: "linear" | "log", [least, most]: [number, number], range: [number, number]): Scale {
  if (kind === "log") {
    const [low, high] = [Math.log10(least), Math.log10(most)];
    const room = Math.max((high - low) * PADDING, 0.01);
    return scaleLog([10 ** (low - room), 10 ** (high + room)], range);
  }
  const room = (most - least) * PADDING || Math.abs(most) * PADDING || 1;
  return scaleLinear([least - room, most + room], range);
}

/**
 * With as many digits as tell neighbours apart.
 * @param step between ticks
 */
function plain(value: number, step: number) {
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  if (step >= 1) return value.toLocaleString("en", { maximumFractionDigits: 0 }).replace("-", MINUS);
  const text =
    digits <= MAX_DIGITS || value === 0
      ? value.toFixed(Math.min(digits, MAX_DIGITS))
      : value.toExponential(Math.max(0, Math.ceil(Math.log10(Math.abs(value) / step))));
  return text.replace(/-/g, MINUS);
}

/** Plain between a thousandth and ten thousand, a power of ten elsewhere. */
export function logLabel(value: number) {
  if (value >= 0.00099 && value < 1e4) return String(Number(value.toPrecision(3)));
  const power = Math.floor(Math.log10(value) + 1e-9);
  const lead = Number((value / 10 ** power).toPrecision(2));
  const raised = String(power)
    .replace("-", "⁻")
    .replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]);
  return lead === 1 ? `10${raised}` : `${lead}·10${raised}`;
}

/**
 * Where the lines and the numbers stand.
 * @param n about so many
 */
export function ticksOf(scale: Scale, kind: "linear" | "log", n: number): { at: number; label: string }[] {
  const [low, high] = scale.domain() as [number, number];
  if (kind === "log" && high / low > 8) {
    const inside = (leads: number[], every: number) => decadeTicks(low, high, leads, every);
    const every = Math.max(1, Math.ceil(Math.log10(high / low) / n));
    // As many as there is room for.
    const values =
      [
        [1, 2, 5],
        [1, 3],
      ]
        .map((leads) => inside(leads, 1))
        .find((found) => found.length <= n) ?? inside([1], every);
    return values.map((value) => ({ at: scale(value), label: logLabel(value) }));
  }
  const values = scaleLinear([low, high], [0, 1]).ticks(n);
  const step = values.length > 1 ? Math.abs(values[1] - values[0]) : 1;
  return values.map((value) => ({ at: scale(value), label: plain(value, step) }));
}

export function axesOf({
  x,
  y,
  x_kind,
  y_kind,
  x_label,
  y_label,
  frame,
  palette,
  is_small = false,
}: {
  x: Scale;
  y: Scale;
  x_kind: "linear" | "log";
  y_kind: "linear" | "log";
  x_label: string;
  y_label: string;
  frame: Frame;
  palette: { ink: string; muted: string; line: string };
  /** fewer numbers, no names */
  is_small?: boolean;
}): Mark[] {
  const { left, top, right, bottom } = frame;
  const size = is_small ? 10 : 11;
  const text = (mark: { x: number; y: number; text: string; align?: TextMark["align"]; max_width?: number }) =>
    textMark({ size, mono: false, align: "center", fill: palette.muted, ...mark });
  const line = (x: number, y: number, width: number, height: number) =>
    ({ kind: "rect", x, y, width, height, r: 0, fill: palette.line }) as Mark;
  const marks: Mark[] = [];
  for (const { at, label } of ticksOf(
    x,
    x_kind,
    Math.max(2, Math.floor((right - left) / (is_small ? (x_kind === "log" ? 36 : 46) : 80))),
  )) {
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
