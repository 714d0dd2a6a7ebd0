/** Trajectories: which tokens to follow, and their numbers along a line of cells. Pure. */
import { joined, topOfColumn } from "./derived.ts";
import { NO_TOKEN, topId } from "./reading.ts";
import type { Cell, PlainReading, Track } from "./reading.ts";

export type Measure = "rank" | "probability" | "logit";
export type Along = "taps" | "positions";

/** As many as one can tell apart. */
export const MAX_LINES = 8;

/** What is followed by itself: every token that some row of the column, or some position of the row, puts first. */
export const defaultIds = (reading: PlainReading, { tap, position }: Cell, along: Along) =>
  along === "taps"
    ? topOfColumn(reading, position)
    : [...new Set(reading.tokens.map((_, at) => topId(reading, { tap, position: at })))].filter(
        (id) => id !== NO_TOKEN,
      );

/** A token's numbers along a line. */
export type Numbers = { logit: Float32Array; logprob: Float32Array; rank: Float32Array };

export const measured = (measure: Measure, track: Numbers, i: number) =>
  measure === "rank"
    ? track.rank[i] >= 1
      ? track.rank[i]
      : NaN
    : measure === "logit"
      ? track.logit[i]
      : Math.exp(track.logprob[i]);

/**
 * The lines of a chart: the followed groups, then of the other tokens the likeliest anywhere on the line.
 * @param tracks by token id
 */
export function linesFrom(tracks: Map<number, Track>, groups: number[][], others: number[]) {
  const has = (id: number) => tracks.has(id);
  const track = (id: number) => tracks.get(id) as Track;
  const chosen = groups
    .filter((group) => group.every(has))
    .map((group) => ({ ids: group, track: joined(group.map(track)), is_chosen: true }));
  const alone = new Set(groups.filter((group) => group.length === 1).flat());
  const best = (id: number) => track(id).logprob.reduce((a, b) => (b > a ? b : a), -Infinity);
  const rest = others
    .filter((id) => has(id) && !alone.has(id))
    .sort((a, b) => best(b) - best(a))
    .map((id) => ({ ids: [id], track: track(id), is_chosen: false }));
  const lines = [...chosen, ...rest];
  return {
    lines: lines.slice(0, Math.max(MAX_LINES, chosen.length)),
    n_left_out: Math.max(0, lines.length - Math.max(MAX_LINES, chosen.length)),
  };
}

/**
 * Rank at the row below minus place here: positive if the token rose.
 * @param track along the taps
 */
export const rankChange = (track: Track, tap: number) => (tap > 0 ? track.rank[tap - 1] - track.rank[tap] : NaN);
