/** How fast bytes come, over the last seconds; what a resumed download did not need to fetch again does not count. */

const WINDOW_MS = 6000;
/** A rate from less than this would only flicker. */
const LEAST_MS = 700;

export function createRate() {
  let samples: { at: number; received: number }[] = [];
  return {
    /** Starts over, after a wait or with another file. */
    reset() {
      samples = [];
    },

    /**
     * Bytes per second; null while it is not known yet.
     * @param at ms
     */
    rate(received: number, at: number) {
      samples.push({ at, received });
      while (samples.length > 2 && at - samples[1].at >= WINDOW_MS) samples.shift();
      const [first] = samples;
      const ms = at - first.at;
      return ms < LEAST_MS ? null : ((received - first.received) / ms) * 1000;
    },
  };
}
