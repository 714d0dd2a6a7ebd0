// @ts-check
/**
 * Loading and reading, in time: the newest text wins. A newer text cancels the older reading, whose answer is
 * then ignored, whatever it is.
 */
import { startEngine } from "./engine.js";
import { codeOf } from "./outcome.js";

/** @typedef {import("./engine.js").Engine} Engine */
/** @typedef {import("./engine.js").Facts} Facts */

const DEBOUNCE_MS = 150;

/**
 * @param {string} model_url
 * @param {object} on
 * @param {() => void} on.loading a fresh engine starts
 * @param {(progress: import("./engine.js").Progress) => void} on.progress
 * @param {(facts: { model: Facts, adapter: Facts }) => void} on.loaded
 * @param {() => void} on.busy
 * @param {(end: number) => void} on.block
 * @param {(reading: import("./reading.js").PlainReading) => void} on.reading
 * @param {(code: string, message: string, loading: boolean) => void} on.failure
 */
export function createSession(model_url, on) {
  /** @type {Engine} */
  let engine;
  let loaded = false;
  let asked_again = 0;
  let current = new AbortController();

  /** @param {unknown} error @param {boolean} loading */
  const fail = (error, loading) => on.failure(codeOf(error), /** @type {Error} */ (error).message, loading);

  /** @param {string | Uint32Array} text_or_ids */
  async function readNow(text_or_ids) {
    clearTimeout(asked_again);
    current.abort();
    if (!loaded) return;
    const mine = (current = new AbortController());
    const { signal } = mine;
    if (text_or_ids.length === 0) return on.failure("empty", "", false);
    on.busy();
    try {
      const onBlock = (/** @type {number} */ end) => signal.aborted || on.block(end);
      const reading = await engine.read(text_or_ids, { signal, onBlock: (end) => void onBlock(end) });
      if (!signal.aborted) on.reading(reading);
    } catch (error) {
      if (!signal.aborted && codeOf(error) !== "aborted") fail(error, false);
    }
  }

  return {
    /** Starts over with a fresh engine and reads the text once it is loaded. @param {() => string} text */
    async start(text) {
      current.abort();
      loaded = false;
      engine?.close();
      const started = (engine = startEngine());
      on.loading();
      try {
        const facts = await started.load(model_url, on.progress);
        if (engine !== started) return;
        loaded = true;
        on.loaded(facts);
        await readNow(text());
      } catch (error) {
        if (engine === started) fail(error, true);
      }
    },

    readNow,

    /** Reads once typing pauses. @param {string} text */
    readSoon(text) {
      clearTimeout(asked_again);
      asked_again = window.setTimeout(readNow, DEBOUNCE_MS, text);
    },

    engine: () => engine,
  };
}
