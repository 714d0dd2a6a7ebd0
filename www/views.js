// @ts-check
/**
 * The views, as data: which statistic a view colours, what it is called, how its values become colour.
 * The stronger the colour, the more there is of the quantity; a rank is strongest at 1.
 */
import { extent, quantileSorted } from "d3-array";
import { scaleLinear, scaleLog } from "d3-scale";
import { decimal } from "./format.js";

/**
 * @typedef {object} Scale
 * @property {(value: number) => number} place 0…1 along the legend, clipped at both ends
 * @property {{ at: number, label: string }[]} ticks
 */

/**
 * @typedef {object} View
 * @property {string} name as in the URL and in `data-view`
 * @property {string} button
 * @property {string} stat the engine's name
 * @property {string} quantity
 * @property {string} unit
 * @property {string} explain
 * @property {boolean} shows_input whether the row `input` is in the picture
 * @property {string} map
 * @property {"high" | "low"} strong which end of the quantity has the strong colour
 * @property {(values: Float32Array) => Scale} scale
 */

const RANK_CAP = 100;
const KL_CAP = 30;

/** Linear between two percentiles of the shown cells, so that a few extreme cells do not wash out the rest. @param {number} low @param {number} high */
const percentiles = (low, high) => (/** @type {Float32Array} */ values) => {
  const sorted = Array.from(values.filter(Number.isFinite).sort());
  const from = quantileSorted(sorted, low) ?? 0;
  const to = quantileSorted(sorted, high) ?? 1;
  const place = scaleLinear([from, to === from ? from + 1 : to], [0, 1]).clamp(true);
  return {
    place,
    ticks: [
      { at: 0, label: `≤ ${decimal(from, 1)}` },
      ...place.ticks(4).map((value) => ({ at: place(value), label: decimal(value, 0) })).filter(({ at }) => at > 0.22 && at < 0.78),
      { at: 1, label: `≥ ${decimal(to, 1)}` },
    ],
  };
};

/** @param {number} to */
const fromZeroTo = (to) => () => {
  const place = scaleLinear([0, to], [0, 1]).clamp(true);
  return { place, ticks: [0, 0.25, 0.5, 0.75, 1].map((at) => ({ at, label: String(at * to) })) };
};

/** Logarithmic from rank 1; every rank beyond the cap looks like the cap. @param {number} cap */
const logRanksTo = (cap) => () => {
  const place = scaleLog([1, cap], [0, 1]).clamp(true);
  return {
    place,
    ticks: [1, 3, 10, 30].map((value) => ({ at: place(value), label: String(value) })).concat({ at: 1, label: `≥ ${cap}` }),
  };
};

/** From 0 to the largest value of the scaled rows, never beyond the cap; what lies further looks like the end. @param {number} cap */
const fromZeroCappedAt = (cap) => (/** @type {Float32Array} */ values) => {
  const largest = extent(Array.from(values).filter(Number.isFinite))[1] ?? 1;
  const capped = largest >= cap;
  const place = capped ? scaleLinear([0, cap], [0, 1]) : scaleLinear([0, Math.max(largest, 0.1)], [0, 1]).nice(4);
  place.clamp(true);
  const [, to] = place.domain();
  const inner = place.ticks(4).filter((value) => value < to);
  return {
    place,
    ticks: [...inner.map((value) => ({ at: place(value), label: String(value) })), { at: 1, label: `≥ ${to}` }],
  };
};

/** @type {View[]} */
export const VIEWS = [
  {
    name: "logit",
    button: "logit",
    stat: "logit_final",
    quantity: "logit of the final top-1",
    unit: "logits, 5th–95th percentile",
    explain: "How high each row scores the token that the final row puts first.",
    shows_input: false,
    map: "kbw",
    strong: "high",
    scale: percentiles(0.05, 0.95),
  },
  {
    name: "probability",
    button: "probability",
    stat: "prob_final",
    quantity: "probability of the final top-1",
    unit: "0 to 1",
    explain: "How much probability each row gives the token that the final row puts first.",
    shows_input: true,
    map: "blues",
    strong: "high",
    scale: fromZeroTo(1),
  },
  {
    name: "rank",
    button: "rank",
    stat: "rank_final",
    quantity: "rank of the final top-1",
    unit: "1 is best, log scale",
    explain: "Where the token that the final row puts first stands in each row’s own order.",
    shows_input: false,
    map: "blues",
    strong: "low",
    scale: logRanksTo(RANK_CAP),
  },
  {
    name: "kl_final",
    button: "KL(final‖row)",
    stat: "kl_final",
    quantity: "KL(final ‖ row)",
    unit: "nats",
    explain: "How far each row’s whole distribution still is from the final one.",
    shows_input: true,
    map: "kbw",
    strong: "high",
    scale: fromZeroCappedAt(KL_CAP),
  },
];

/** The view of that name, or the first one. @param {string | null} name @returns {View} */
export const viewNamed = (name) => VIEWS.find((view) => view.name === name) ?? VIEWS[0];

/** Colour strength in 0…1 from a place on the legend. @param {View} view @param {number} place */
export const strength = (view, place) => (view.strong === "high" ? place : 1 - place);
