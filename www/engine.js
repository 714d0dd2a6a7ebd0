// @ts-check
/** The main thread's side of the engine: one worker, calls that throw a LoupeError, readings that can be cancelled. */
import * as Comlink from "comlink";
import { LoupeError, valueOf } from "./outcome.js";

/** @typedef {Record<string, string | number | boolean>} Facts */
/** @typedef {{ received: number, total: number | undefined, tensor: string }} Progress */
/** @typedef {ReturnType<typeof startEngine>} Engine */

/** Starts a worker. It holds nothing yet; `load` fills it, `close` ends it. */
export function startEngine() {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  /** @type {Comlink.Remote<import("./worker.js").EngineApi>} */
  const remote = Comlink.wrap(worker);
  // A worker whose script cannot run answers nothing at all: without this every call would wait for ever.
  const died = new Promise((_, reject) => {
    worker.addEventListener("error", (event) =>
      reject(new LoupeError("unexpected", `The engine's worker stopped: ${event.message || "its script could not be loaded"}`)));
  });
  died.catch(() => {});

  /** @template T @param {Promise<import("./outcome.js").Outcome<T>>} call @returns {Promise<T>} */
  const answer = async (call) => valueOf(await /** @type {typeof call} */ (Promise.race([call, died])));
  let n_jobs = 0;

  return {
    /**
     * @param {string} model_url @param {(progress: Progress) => void} onProgress
     * @returns {Promise<{ model: Facts, adapter: Facts }>}
     */
    load: (model_url, onProgress) => answer(remote.load(
      { engine_url: new URL("loupe/loupe.js", document.baseURI).href, model_url, precision: "f16" },
      Comlink.proxy(onProgress),
    )),

    /**
     * @param {string | Uint32Array} text_or_ids
     * @param {{ signal: AbortSignal, onBlock: (end: number) => void }} options
     * @returns {Promise<import("./reading.js").PlainReading>}
     */
    async read(text_or_ids, { signal, onBlock }) {
      const job = n_jobs++;
      const cancel = () => void remote.cancel(job);
      signal.addEventListener("abort", cancel);
      try {
        return await answer(remote.read(job, text_or_ids, Comlink.proxy(onBlock)));
      } finally {
        signal.removeEventListener("abort", cancel);
      }
    },

    /** @param {string} text @returns {Promise<number>} */
    count: (text) => answer(remote.count(text)),

    /** @param {string} text @param {number} n @param {"first" | "last"} which @returns {Promise<{ ids: Uint32Array, text: string }>} */
    keep: (text, n, which) => answer(remote.keep(text, n, which)),

    close: () => worker.terminate(),
  };
}
