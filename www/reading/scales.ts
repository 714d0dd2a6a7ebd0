/**
 * From a quantity's values to places on its legend. Each kind of quantity has its own natural limits; a person may
 * ask for others. Values are never clipped, only colours are, and a clipped end is marked in the legend.
 */
import { extent, quantileSorted } from "d3-array";
import { scaleLinear, scaleLog } from "d3-scale";
import { decimal, integer } from "../lib/format.ts";

export interface Scale {
  /** 0…1 along the legend, clipped at both ends */
  place: (value: number) => number;
  ticks: { at: number; label: string }[];
  /** how the limits came about, in words */
  rule: string;
}

/** what a quantity is, for its scale */
export type Kind = "logit" | "probability" | "rank" | "kl" | "nats" | "change" | "ratio";
/**
 * "own": as fits the quantity; "auto": the middle nine tenths of the shown cells; "shared": own, over all views of a
 * kind; "post": those of the post, where it has any.
 */
export type Limits = "own" | "auto" | "shared" | "post" | "fixed";

/** The end of the post’s scale of divergences, in nats. */
export const KL_CAP = 30;
const PERCENTILES = [0.05, 0.95];
const CHANGE_PERCENTILE = 0.86;
/** The least end of a scale of changes: texts without any get no scale of rounding errors. */
const LEAST_CHANGE = 0.01;

const finite = (values: Float32Array) => values.filter(Number.isFinite);

function middle(values: Float32Array): [number, number] {
  const sorted = Array.from(finite(values).sort());
  return [quantileSorted(sorted, PERCENTILES[0]) ?? 0, quantileSorted(sorted, PERCENTILES[1]) ?? 1];
}

/** As few decimals as tell the ends apart. */
const digitsFor = (from: number, to: number) =>
  Math.min(6, Math.max(0, 1 - Math.floor(Math.log10(Math.abs(to - from) || 1))));

/** @param clipped which ends stand for everything beyond them */
function linear(
  from: number,
  to: number,
  rule: string,
  { low = true, high = true }: { low?: boolean; high?: boolean } = {},
): Scale {
  const place = scaleLinear([from, to > from ? to : from + 1], [0, 1]).clamp(true);
  const [start, end] = place.domain();
  // Longer labels at the ends need more room.
  const margin = low || high ? 0.28 : 0.08;
  const inner = place.ticks(4).filter((value) => place(value) > margin && place(value) < 1 - margin);
  const digits = digitsFor(start, end);
  const digits_inner = inner.every(Number.isInteger) ? 0 : digits;
  return {
    place,
    rule,
    ticks: [
      { at: 0, label: `${low ? "≤ " : ""}${decimal(start, Number.isInteger(start) ? 0 : digits)}` },
      ...inner.map((value) => ({ at: place(value), label: decimal(value, digits_inner) })),
      { at: 1, label: `${high ? "≥ " : ""}${decimal(end, Number.isInteger(end) ? 0 : digits)}` },
    ],
  };
}

/** Logarithmic from one rank to another; every rank beyond looks like the end. */
function ranks(from: number, to: number): Scale {
  const [start, end] = [Math.max(1, from), Math.max(to, Math.max(1, from) * 1.5)];
  const place = scaleLog([start, end], [0, 1]).clamp(true);
  const steps = [1, 3, 10, 30, 100, 300, 1000, 3000, 10_000].filter((rank) => rank > start && place(rank) < 0.78);
  const spread = steps.filter((rank) => steps.length < 6 || String(rank).startsWith("1"));
  return {
    place,
    rule: "log scale",
    ticks: [
      { at: 0, label: `${start > 1 ? "≤ " : ""}${integer(start)}` },
      ...spread.map((rank) => ({ at: place(rank), label: integer(rank) })).filter(({ at }) => at > 0.08),
      { at: 1, label: `≥ ${integer(end)}` },
    ],
  };
}

/** A round number that is no less. */
const roundUp = (value: number) => scaleLinear().domain([0, value]).nice(4).domain()[1];

/** Whether fixed limits can be drawn: both are there, the lower one first. */
export const areLimits = ({ from, to }: { from: number | null; to: number | null }) =>
  from !== null && to !== null && to > from;

/** From zero to the largest value. */
function fromZero(values: Float32Array): Scale {
  const largest = extent(Array.from(finite(values)))[1] ?? 1;
  return linear(0, roundUp(Math.max(largest, 0.1)), "from 0", { low: false, high: false });
}

/** From zero, so far that a few cells with next to nothing in common with the rest do not take all colour from it. */
function divergences(values: Float32Array): Scale {
  const to = roundUp(Math.max(middle(values)[1], 0.1));
  return linear(0, to, "to the 95th percentile", { low: false });
}

/**
 * As far to either side, so that zero stays in the middle. A seventh of the cells may lie beyond: the first block
 * alone moves its row further than all others together.
 */
function reach(values: Float32Array) {
  const sorted = Array.from(finite(values).map(Math.abs).sort());
  return quantileSorted(sorted, CHANGE_PERCENTILE) ?? 1;
}

function bothWays(values: Float32Array): Scale {
  const to = roundUp(Math.max(reach(values), LEAST_CHANGE));
  return linear(-to, to, "zero in the middle");
}

/** Ratios by their logarithms to base 2, at least from a half to the double. */
function ratios(values: Float32Array): Scale {
  const to = Math.max(1, Math.ceil(reach(values)));
  const times = (power: number) => integer(2 ** power);
  const middle = to < 4 ? [] : [Math.round(to / 2)];
  return {
    place: scaleLinear([-to, to], [0, 1]).clamp(true),
    rule: "log scale",
    ticks: [
      { at: 0, label: `≤ ÷${times(to)}` },
      ...middle.map((power) => ({ at: 0.5 - power / (2 * to), label: `÷${times(power)}` })),
      { at: 0.5, label: "×1" },
      ...middle.map((power) => ({ at: 0.5 + power / (2 * to), label: `×${times(power)}` })),
      { at: 1, label: `≥ ×${times(to)}` },
    ],
  };
}

/** @param values that set the limits */
export function scaleOf(
  { kind, cap }: { kind: Kind; cap?: number },
  values: Float32Array,
  { limits, from, to }: { limits: Limits; from: number | null; to: number | null },
): Scale {
  if (limits === "fixed" && kind !== "ratio" && from !== null && to !== null && to > from) {
    // Zero stays in the middle of a change, or its colours would say the opposite.
    const reach = Math.max(Math.abs(from), Math.abs(to));
    if (kind === "change") return linear(-reach, reach, "fixed limits, zero in the middle");
    return kind === "rank" ? ranks(from, to) : linear(from, to, "fixed limits");
  }
  if (limits === "auto" && kind !== "change" && kind !== "ratio") {
    const [low, high] = middle(values);
    return kind === "rank"
      ? { ...ranks(low, high), rule: "log scale, 5th–95th percentile" }
      : linear(low, high, "5th–95th percentile");
  }
  switch (kind) {
    case "logit":
      return linear(...middle(values), "5th–95th percentile");
    case "probability":
      return linear(0, 1, "0 to 1", { low: false, high: false });
    case "rank":
      return ranks(1, cap ?? 100);
    case "kl":
      return limits === "post" ? linear(0, KL_CAP, "as in the post", { low: false }) : divergences(values);
    case "nats":
      return fromZero(values);
    case "change":
      return bothWays(values);
    case "ratio":
      return ratios(values);
  }
}
