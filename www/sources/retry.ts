/** How long to wait before another attempt, and when to give up: exponential back-off with a little chance in it. */
import { LoupeError } from "../engine/errors.ts";

/** What waits are told to, and what ends them. */
export type Watch = { signal: AbortSignal; onWait: (wait: { ms: number; reason: string }) => void };

const MAX_FAILURES = 5;
const LONGEST_BACKOFF_MS = 30_000;
const LONGEST_ASKED_MS = 600_000;

/** A failure that may be over in a moment. */
export class RetryableError extends Error {
  readonly asked_ms: number;

  /** @param asked_ms how long the server asks to wait */
  constructor(reason: string, asked_ms: number = 0) {
    super(reason);
    this.asked_ms = asked_ms;
  }
}

/** Errors: `aborted`. */
export function throwIfAborted(signal: AbortSignal) {
  if (signal.aborted) throw new LoupeError("aborted", "Cancelled.");
}

async function pause(ms: number, signal: AbortSignal) {
  throwIfAborted(signal);
  await new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), done(undefined)), { once: true });
  });
  throwIfAborted(signal);
}

/** @param retry_ms the first wait */
export function createBackoff(retry_ms: number, { signal, onWait }: Watch) {
  let n_failures = 0;
  return {
    /** Something came: failures count from nought again. */
    reset() {
      n_failures = 0;
    },

    /** Waits after a fault. Errors: `network` after too many in a row, `aborted`. */
    async after(fault: RetryableError) {
      n_failures += 1;
      if (n_failures > MAX_FAILURES) {
        throw new LoupeError(
          "network",
          `The download was given up after ${n_failures} failures in a row. The last one: ${fault.message}.`,
        );
      }
      const backoff = Math.min(retry_ms * 2 ** (n_failures - 1), LONGEST_BACKOFF_MS) * (1 + Math.random() / 4);
      const ms = Math.max(backoff, Math.min(fault.asked_ms, LONGEST_ASKED_MS));
      onWait({ ms, reason: fault.message });
      await pause(ms, signal);
    },
  };
}
