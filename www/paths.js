// @ts-check
/** Trajectories: which tokens to follow, and their numbers along a line of cells. Pure. */
import { joined, topOfColumn } from "./quantities.js";
import { NO_TOKEN, topId } from "./reading.js";

/** @typedef {import("./reading.js").PlainReading} PlainReading */
/** @typedef {import("./reading.js").Track} Track */
/** @typedef {import("./reading.js").Cell} Cell */
/** @typedef {"rank" | "probability" | "logit"} Measure */
/** @typedef {"taps" | "positions"} Along */

/** As many as one can tell apart. */
export const MAX_LINES = 8;

/** What is followed by itself: every token that some row of the column, or some position of the row, puts first. @param {PlainReading} reading @param {Cell} cell @param {Along} along */
export const defaultIds = (reading, { tap, position }, along) =>
  along === "taps" ? topOfColumn(reading, position) : [...new Set(reading.tokens.map((_, at) => topId(reading, { tap, position: at })))].filter((id) => id !== NO_TOKEN);

/** A token's numbers along a line. @typedef {{ logit: Float32Array, logprob: Float32Array, rank: Float32Array }} Numbers */

/** @param {Measure} measure @param {Numbers} track @param {number} i */
export const measured = (measure, track, i) =>
  measure === "rank" ? (track.rank[i] >= 1 ? track.rank[i] : NaN) : measure === "logit" ? track.logit[i] : Math.exp(track.logprob[i]);

/**
 * The lines of a chart: the followed groups, then of the other tokens the likeliest anywhere on the line.
 * @param {Map<number, Track>} tracks by token id @param {number[][]} groups @param {number[]} others
 */
export function linesFrom(tracks, groups, others) {
  const has = (/** @type {number} */ id) => tracks.has(id);
  const track = (/** @type {number} */ id) => /** @type {Track} */ (tracks.get(id));
  const chosen = groups.filter((group) => group.every(has)).map((group) => ({ ids: group, track: joined(group.map(track)), is_chosen: true }));
  const alone = new Set(groups.filter((group) => group.length === 1).flat());
  const best = (/** @type {number} */ id) => track(id).logprob.reduce((a, b) => (b > a ? b : a), -Infinity);
  const rest = others
    .filter((id) => has(id) && !alone.has(id))
    .sort((a, b) => best(b) - best(a))
    .map((id) => ({ ids: [id], track: track(id), is_chosen: false }));
  const lines = [...chosen, ...rest];
  return { lines: lines.slice(0, Math.max(MAX_LINES, chosen.length)), n_left_out: Math.max(0, lines.length - Math.max(MAX_LINES, chosen.length)) };
}

/** Rank at the row below minus place here: positive if the token rose. @param {Track} track along the taps @param {number} tap */
export const rankChange = (track, tap) => (tap > 0 ? track.rank[tap - 1] - track.rank[tap] : NaN);
