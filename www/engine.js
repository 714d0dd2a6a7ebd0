// @ts-check
/** The main thread's side of the engine: one worker, calls that throw a LoupeError, jobs that can be cancelled. */
import * as Comlink from "comlink";
import { LoupeError, valueOf } from "./outcome.js";

/** @typedef {import("./worker.js").Facts} Facts */
/** @typedef {import("./worker.js").InUseFacts} InUseFacts */
/** @typedef {import("./worker.js").Plan} Plan */
/** @typedef {import("./opening.js").Step} Step */
/** @typedef {import("./gather.js").Source} Source */
/** @typedef {ReturnType<typeof startEngine>} Engine */

/** How the message of a crash begins, in src/web/guard.js. */
const CRASHED = "The engine crashed";

/** Where downloads come from is said once, in index.html. @returns {import("./request.js").Hub} */
function hubOfPage() {
  const meta = /** @type {HTMLMetaElement | null} */ (document.querySelector('meta[name="loupe-hub"]'));
  return {
    base: (meta?.content ?? "https://huggingface.co").replace(/\/+$/, ""),
    retry_ms: Number(meta?.dataset.retryMs ?? 1000),
    stall_ms: Number(meta?.dataset.stallMs ?? 60_000),
  };
}

/**
 * Starts a worker. It holds no model yet; `load` fills it, `close` ends it.
 * @param {(message: string) => void} [onCrash] called once when the engine in the worker has crashed: every call of it fails from then on
 */
export function startEngine(onCrash = () => {}) {
  const worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module" });
  /** @type {Comlink.Remote<import("./worker.js").EngineApi>} */
  const remote = Comlink.wrap(worker);
  /** How every call that waits for an answer is rejected. @type {Set<(error: LoupeError) => void>} */
  const waiting = new Set();
  /** Why the worker answers no more. @type {LoupeError | null} */
  let dead = null;
  /** @param {LoupeError} error */
  function die(error) {
    dead ??= error;
    for (const reject of waiting) reject(error);
    waiting.clear();
  }
  let has_crashed = false;
  /** @param {string} message */
  function crash(message) {
    if (has_crashed) return;
    has_crashed = true;
    // Answers that are still on their way are lost with the worker.
    die(new LoupeError("crashed", message));
    onCrash(message);
  }
  // A worker whose script cannot be loaded answers nothing; the event has no message then.
  worker.addEventListener("error", ({ message = "" }) => {
    if (message.includes(CRASHED)) crash(message);
    else die(new LoupeError("unexpected", `The engine's worker stopped: ${message || "its script could not be loaded"}`));
  });

  /** @template T @param {Promise<import("./outcome.js").Outcome<T>>} call @returns {Promise<T>} */
  async function answer(call) {
    // A promise of its own for each call: one that is raced with all of them would keep every answer.
    const outcome = await /** @type {typeof call} */ (new Promise((resolve, reject) => {
      if (dead) return reject(dead);
      const settled = () => waiting.delete(reject);
      waiting.add(reject);
      call.then(resolve, reject).finally(settled);
    }));
    if (!outcome.ok && outcome.code === "crashed") crash(outcome.message);
    return valueOf(outcome);
  }
  let n_jobs = 0;

  /** @template T @param {AbortSignal} signal @param {(job: number) => Promise<import("./outcome.js").Outcome<T>>} start @returns {Promise<T>} */
  async function cancellable(signal, start) {
    if (signal.aborted) throw new LoupeError("aborted", "Cancelled.");
    const job = n_jobs++;
    const cancel = () => void remote.cancel(job);
    signal.addEventListener("abort", cancel);
    try {
      return await answer(start(job));
    } finally {
      signal.removeEventListener("abort", cancel);
    }
  }

  void remote.begin({
    engine_url: new URL("loupe/loupe.js", document.baseURI).href,
    bundled_url: new URL("models/tales/", document.baseURI).href,
    hub: hubOfPage(),
  });

  return {
    /**
     * @param {Source} source
     * @param {{ precision: "f16" | "f32", keep: boolean, signal: AbortSignal, onStep: (step: Step) => void }} options
     * @returns {Promise<InUseFacts & { refusal: import("./opening.js").Refusal | null }>}
     */
    load: (source, { precision, keep, signal, onStep }) =>
      cancellable(signal, (job) => remote.load(job, source, { precision, keep }, Comlink.proxy(onStep))),

    /** The model in use, if there is one. @returns {Promise<InUseFacts | null>} */
    current: () => answer(remote.current()),

    /** @param {string} config @param {{ precision: "f16" | "f32", trial: boolean }} options @returns {Promise<Plan>} */
    plan: (config, { precision, trial }) => answer(remote.plan(config, precision, trial)),

    /** @param {import("./address.js").Address} address @param {{ signal: AbortSignal, onStep: (step: Step) => void }} options */
    lookUp: (address, { signal, onStep }) =>
      cancellable(signal, (job) => remote.lookUp(job, address, Comlink.proxy(onStep))),

    /** @returns {Promise<import("./store.js").Kept[]>} */
    list: () => answer(remote.list()),

    /** @param {string} key @returns {Promise<void>} */
    remove: (key) => answer(remote.remove(key)),

    /**
     * @param {string | Uint32Array} text_or_ids
     * @param {{ asked: import("./reading.js").Asked, track: number[], is_second: boolean, signal: AbortSignal, onBlock: (end: number) => void }} options
     * @returns {Promise<import("./reading.js").PlainReading>}
     */
    read: (text_or_ids, { asked, track, is_second, signal, onBlock }) =>
      cancellable(signal, (job) => remote.read(job, text_or_ids, { asked, track, is_second }, Comlink.proxy(onBlock))),

    /**
     * @param {number} serial @param {number[]} ids @param {{ position: number } | { tap: number }} line @param {AbortSignal} signal
     * @returns {Promise<import("./reading.js").Track[]>}
     */
    trace: (serial, ids, line, signal) => cancellable(signal, (job) => remote.trace(job, serial, ids, line)),

    /**
     * @param {number} first @param {number} second serials of two readings @param {[number, number][]} columns
     * @param {Uint32Array[]} targets @param {AbortSignal} signal
     * @returns {Promise<import("./comparison.js").Divergences>}
     */
    compare: (first, second, columns, targets, signal) => cancellable(signal, (job) => remote.compare(job, first, second, columns, targets)),

    /** The second text's reading is no longer needed. */
    closeSecond: () => void remote.closeSecond(),

    /** @param {number[]} ids @returns {Promise<number[]>} */
    norms: (ids) => cancellable(new AbortController().signal, (job) => remote.norms(job, ids)),

    /**
     * Asks the engine's atlas.
     * @param {string} name of its method @param {unknown[]} args @param {object} options
     * @param {{ signal: AbortSignal, onProgress: (progress: { done: number }) => void }} watch
     * @returns {Promise<any>}
     */
    atlas: (name, args, options, { signal, onProgress }) =>
      cancellable(signal, (job) => remote.atlas(job, name, args, options, Comlink.proxy(onProgress))),

    /** Every token of the model in use. @param {AbortSignal} signal */
    vocabulary: (signal) => cancellable(signal, (job) => remote.vocabulary(job)),

    /** @param {number[]} ids @returns {Promise<import("./reading.js").Token[]>} */
    tokens: (ids) => answer(remote.tokens(ids)),

    /** @param {string} text @returns {Promise<import("./reading.js").Token[]>} */
    encode: (text) => answer(remote.encode(text)),

    /** @param {string} text @returns {Promise<Uint32Array>} */
    ids: (text) => answer(remote.ids(text)),

    /** @param {string} text @returns {Promise<number>} */
    count: (text) => answer(remote.count(text)),

    /** @param {string} text @param {number} n @param {"first" | "last"} which @returns {Promise<{ ids: Uint32Array, text: string }>} */
    keep: (text, n, which) => answer(remote.keep(text, n, which)),

    /** Ends the worker; whatever is still asked of it fails. */
    close() {
      worker.terminate();
      die(new LoupeError("aborted", "The engine was closed."));
    },
  };
}
