/** Where in depth a reading makes up its mind, and what stopping earlier would cost. Pure. */
import { deviation, mean } from "d3-array";
import { NO_TOKEN, finalTap, topId } from "./reading.ts";
import type { PlainReading } from "./reading.ts";

/** taps: the first whose top-1 is the final one; the first from which it never changes any more */
export type Decision = { first: number; settled: number };

const known: WeakMap<PlainReading, Decision[]> = new WeakMap();

/** One decision per position. */
export function decisionsOf(reading: PlainReading): Decision[] {
  let decisions = known.get(reading);
  if (!decisions) known.set(reading, (decisions = reading.tokens.map((_, position) => decisionAt(reading, position))));
  return decisions;
}

function decisionAt(reading: PlainReading, position: number): Decision {
  const last = finalTap(reading);
  const final = topId(reading, { tap: last, position });
  let [first, settled] = [last, last];
  if (final === NO_TOKEN) return { first, settled };
  for (let tap = last; tap >= 0; tap--) {
    if (topId(reading, { tap, position }) !== final) continue;
    first = tap;
    if (settled === tap + 1) settled = tap;
  }
  return { first, settled };
}

/** How many positions of [start, end) decide at each tap. */
export function histogramOf(reading: PlainReading, { start, end }: { start: number; end: number }) {
  const counts = reading.taps.map((tap) => ({ tap, first: 0, settled: 0 }));
  for (const { first, settled } of decisionsOf(reading).slice(start, end)) {
    counts[first].first++;
    counts[settled].settled++;
  }
  return counts;
}

/** Two-sided 95 % of the normal distribution, in standard errors. */
const NORMAL_95 = 1.96;

/**
 * Mean −log p(true next token) of each tap over the positions of [start, end) that have a next token, with a 95 %
 * interval of the mean (1.96 standard errors: positions taken as independent).
 */
export const lossByDepth = (reading: PlainReading, { start, end }: { start: number; end: number }) =>
  reading.taps.map((tap, index) => {
    const from = index * reading.n_tokens;
    const losses = Array.from(reading.stats.logprob_next.slice(from + start, from + end), (value) => -value).filter(
      Number.isFinite,
    );
    const loss = mean(losses) ?? NaN;
    const half = losses.length > 1 ? (NORMAL_95 * (deviation(losses) ?? 0)) / Math.sqrt(losses.length) : NaN;
    return { tap, index, loss, low: loss - half, high: loss + half, n: losses.length };
  });
