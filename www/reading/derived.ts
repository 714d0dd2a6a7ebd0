/** Numbers per cell that the page works out from a Reading: what is not a statistic of the engine by itself. */
import { NO_TOKEN, finalTap, topId } from "./reading.ts";
import type { PlainReading } from "./reading.ts";

/** Several tokens that count as one. */
export type Group = number[];

const known: WeakMap<PlainReading, Map<string, Float32Array>> = new WeakMap();

/** Works a quantity out once per reading. */
export function once(reading: PlainReading, name: string, compute: () => Float32Array) {
  let by_name = known.get(reading);
  if (!by_name) known.set(reading, (by_name = new Map<string, Float32Array>()));
  let values = by_name.get(name);
  if (!values) by_name.set(name, (values = compute()));
  return values;
}

/** The logit of each row's own top-1. */
export const ownTopLogit = (reading: PlainReading) =>
  once(reading, "logit_top", () =>
    Float32Array.from(
      { length: reading.taps.length * reading.n_tokens },
      (_, i) => reading.top_logits[i * reading.top_k],
    ),
  );

/**
 * How much a row moved towards the final one: KL(final ‖ row below) − KL(final ‖ row). The lowest row has none below,
 * and contributions are no stream that could move.
 */
export const klGain = (reading: PlainReading) =>
  once(reading, "kl_gain", () => {
    const {
      n_tokens,
      stats: { kl_final },
    } = reading;
    return kl_final.map((value, i) =>
      i < n_tokens || reading.asked.contributions ? NaN : kl_final[i - n_tokens] - value,
    );
  });

/** Loss of the true next token. */
export const lossNext = (reading: PlainReading) =>
  once(reading, "loss_next", () => reading.stats.logprob_next.map((value) => -value));

/**
 * Several tracks as one: probabilities add up, the rank is the best member's, the logit is the log of the sum of
 * exponentials, so that logit − log-probability stays what it is for a single token.
 */
export function joined(tracks: { logit: Float32Array; logprob: Float32Array; rank: Float32Array }[]) {
  const sum = (what: "logit" | "logprob") =>
    tracks[0][what].map((_, i) => {
      const largest = Math.max(...tracks.map((track) => track[what][i]));
      return largest + Math.log(tracks.reduce((total, track) => total + Math.exp(track[what][i] - largest), 0));
    });
  if (tracks.length === 1) return tracks[0];
  return {
    logit: sum("logit"),
    logprob: sum("logprob"),
    rank: tracks[0].rank.map((_, i) => Math.min(...tracks.map(({ rank }) => rank[i]))),
  };
}

/** A tracked group's numbers at every cell; NaN until they are there. */
export function trackedValues(reading: PlainReading, group: Group, what: "logit" | "probability" | "rank") {
  const tracks = group.map((id) => reading.tracked[id]);
  const n = reading.taps.length * reading.n_tokens;
  if (tracks.length === 0 || tracks.some((track) => !track)) return new Float32Array(n).fill(NaN);
  return once(reading, `${what} ${group.join("+")}`, () => {
    const { logit, logprob, rank } = joined(tracks);
    return what === "logit" ? logit : what === "rank" ? rank : logprob.map(Math.exp);
  });
}

/** What is followed until somebody chooses: what the final row puts first at the end. */
export const topGroup = (reading: PlainReading | null): Group =>
  reading
    ? [topId(reading, { tap: finalTap(reading), position: reading.n_tokens - 1 })].filter((id) => id !== NO_TOKEN)
    : [];

/** The distinct tokens that are top-1 in any row of a column, deepest row first. */
export const topOfColumn = (reading: PlainReading, position: number) =>
  [...new Set(reading.taps.map((_, tap) => topId(reading, { tap, position })).reverse())].filter(
    (id) => id !== NO_TOKEN,
  );
