// @ts-check
/**
 * The atlas' questions to the engine. Each is asked once per model and its answer remembered; callers of the same
 * question share one job, which is cancelled when none of them waits any longer or the model changes.
 */
import { LoupeError } from "../outcome.js";

/** @typedef {import("../engine.js").Engine} Engine */
/** @typedef {{ signal?: AbortSignal, onProgress?: (progress: { done: number }) => void }} Watch */
/** @typedef {{ wte_mean: Float32Array, wte_std: Float32Array, wpe_mean: Float32Array, wpe_std: Float32Array }} Channels */
/** @typedef {{ name: string, weight: Float32Array, bias: Float32Array }} Gains */
/** @typedef {{ singular_values: Float32Array, directions: Float32Array, tokens: Float32Array, cosine_with_mean: Float32Array }} Spectrum */
/** @typedef {{ names: string[], pearson: number[], spearman: number[] }} Correlations */
/** @typedef {{ norm?: "none" | "plain" | "affine", position?: number | null, step?: number }} ZeroOptions */
/** @typedef {{ argmax: Uint32Array, logit: Float32Array, self_logit: Float32Array }} ZeroLayer */
/** @typedef {{ ids: Uint32Array, values: Float32Array }} Ranked */
/** @typedef {{ shown: string[], bytes: Uint8Array, ends: Uint32Array, starts_with_space: (id: number) => boolean }} Vocabulary */
/** @typedef {ReturnType<typeof createAsk>} Ask */

/** Answers beyond this many bytes push out the oldest ones. */
const MAX_BYTES = 192 << 20;
/** So many directions of the singular value decomposition are shown. */
export const N_DIRECTIONS = 16;
const SPACE = 0x20;

/** @param {unknown} value @returns {number} */
function bytesOf(value) {
  if (ArrayBuffer.isView(value)) return value.byteLength;
  if (Array.isArray(value)) return value.reduce((sum, each) => sum + bytesOf(each), 0);
  return value && typeof value === "object" ? bytesOf(Object.values(value)) : 16;
}

/** @type {WeakMap<object, number>} */
const serials = new WeakMap();
let n_serials = 0;
/** A number for each array. @param {object} of */
function serialOf(of) {
  const serial = serials.get(of) ?? ++n_serials;
  serials.set(of, serial);
  return serial;
}

const aborted = () => new LoupeError("aborted", "Cancelled.");

/** One question under way, or its answer. */
class Job {
  /** @param {(watch: { signal: AbortSignal, onProgress: (progress: { done: number }) => void }) => Promise<any>} start */
  constructor(start) {
    this.controller = new AbortController();
    this.waiting = 0;
    this.done = 0;
    this.bytes = 0;
    this.is_over = false;
    /** @type {Set<(progress: { done: number }) => void>} */
    this.listeners = new Set();
    this.answer = start({
      signal: this.controller.signal,
      onProgress: (progress) => {
        this.done = progress.done;
        this.listeners.forEach((listener) => listener(progress));
      },
    });
    this.answer.catch(() => {});
  }

  /** @param {Watch} watch @returns {Promise<any>} */
  async wait({ signal, onProgress }) {
    if (signal?.aborted) throw aborted();
    this.waiting++;
    if (onProgress) this.listeners.add(onProgress);
    if (onProgress && this.done > 0) onProgress({ done: this.done });
    /** @type {() => void} */
    let stop = () => {};
    const stopped = new Promise((_, reject) => {
      stop = () => reject(aborted());
      signal?.addEventListener("abort", stop);
      this.controller.signal.addEventListener("abort", stop);
    });
    try {
      return await Promise.race([this.answer, stopped]);
    } finally {
      signal?.removeEventListener("abort", stop);
      this.controller.signal.removeEventListener("abort", stop);
      if (onProgress) this.listeners.delete(onProgress);
      this.waiting--;
      if (this.waiting === 0 && !this.is_over) this.controller.abort();
    }
  }
}

/** @param {() => Engine} engine */
export function createAsk(engine) {
  /** @type {import("../engine.js").Facts} */
  let facts = {};
  /** By question. @type {Map<string, Job>} */
  let jobs = new Map();

  /** @param {string} key @param {ConstructorParameters<typeof Job>[0]} start @param {Watch} [watch] @param {boolean} [keeps] whether the answer is remembered */
  function once(key, start, watch = {}, keeps = true) {
    // Nobody would be there to stop it.
    if (watch.signal?.aborted) return Promise.reject(aborted());
    let job = jobs.get(key);
    if (!job || job.controller.signal.aborted) {
      const mine = (job = new Job(start));
      const of = jobs;
      of.set(key, mine);
      mine.answer.then((answer) => {
        mine.is_over = true;
        mine.bytes = bytesOf(answer);
        if (!keeps && of.get(key) === mine) of.delete(key);
        trim(of);
      }, () => {
        mine.is_over = true;
        if (of.get(key) === mine) of.delete(key);
      });
    }
    return job.wait(watch);
  }

  /** @param {Map<string, Job>} of */
  function trim(of) {
    let bytes = [...of.values()].reduce((sum, job) => sum + job.bytes, 0);
    for (const [key, job] of of) {
      if (bytes <= MAX_BYTES) return;
      if (!job.is_over || job.waiting > 0) continue;
      of.delete(key);
      bytes -= job.bytes;
    }
  }

  /**
   * @param {string} name of the engine's method @param {unknown[]} args @param {object} options @param {Watch} [watch]
   * @param {string} [key] where the arguments are too long to be one @param {boolean} [keeps]
   */
  const atlas = (name, args, options, watch, key = JSON.stringify([args, options]), keeps = true) =>
    once(`${name} ${key}`, ({ signal, onProgress }) => engine().atlas(name, args, options, { signal, onProgress }), watch, keeps);

  /** @returns {Promise<Vocabulary>} */
  const vocabulary = () => once("vocabulary", async ({ signal }) => {
    const { shown, bytes, ends } = await engine().vocabulary(signal);
    return { shown, bytes, ends, starts_with_space: (/** @type {number} */ id) => {
      const from = id > 0 ? ends[id - 1] : 0;
      return from < ends[id] && bytes[from] === SPACE;
    } };
  });

  return {
    /** What the engine says of the model in use. */
    get facts() {
      return facts;
    },

    /** Whether the model has this: a file may hold only a part. @param {"wte" | "wpe" | "norms"} what */
    has: (what) => facts.partial !== true || (what === "norms" ? Number(facts.n_norms) > 0 : facts[`has_${what}`] === true),

    /** Another model: what was known of the last one is forgotten, what is under way cancelled. @param {import("../engine.js").Facts} now */
    model(now) {
      const before = jobs;
      [facts, jobs] = [now, new Map()];
      for (const job of before.values()) job.controller.abort();
    },

    /** @param {Watch} [watch] @returns {Promise<Channels>} */
    channels: (watch) => atlas("channels", [], {}, watch),
    /** @param {Watch} [watch] @returns {Promise<Gains[]>} */
    gains: (watch) => atlas("gains", [], {}, watch),
    /** @param {Watch} [watch] @returns {Promise<Float32Array>} */
    norms: (watch) => atlas("norms", [], {}, watch),
    /** @param {number} c @param {Watch} [watch] @returns {Promise<Float32Array>} */
    channel: (c, watch) => atlas("channel", [c], {}, watch),
    /** wpe, row by row. @param {Watch} [watch] @returns {Promise<Float32Array>} */
    positions: (watch) => atlas("positions", [], {}, watch),
    /** Rows of wte, at most 4,096. Not remembered: all of them together would push out everything else. @param {Uint32Array | number[]} ids @param {Watch} [watch] @returns {Promise<Float32Array>} */
    rows: (ids, watch) => atlas("rows", [Uint32Array.from(ids)], {}, watch, Array.from(ids).join(), false),
    /** @param {Watch} [watch] @returns {Promise<Spectrum>} */
    spectrum: (watch) => atlas("spectrum", [Math.min(N_DIRECTIONS, Number(facts.n_embd) || N_DIRECTIONS)], {}, watch),
    /** With numbers of one's own, which are told apart by their array. @param {{ channel: number, counts?: Uint32Array | Float64Array | null }} options @param {Watch} [watch] @returns {Promise<Correlations>} */
    correlations: ({ channel, counts = null }, watch) => atlas("correlations", [], { channel, counts }, watch, `${channel} ${counts ? serialOf(counts) : ""}`),
    /** @param {ZeroOptions} options @param {Watch} [watch] @returns {Promise<ZeroLayer>} */
    zero_layer: ({ norm = "none", position = null, step = 1 }, watch) => atlas("zero_layer", [], { norm, position, step }, watch),
    /** @param {number} id @param {{ k?: number, norm?: "none" | "plain" | "affine", position?: number | null }} [options] @param {Watch} [watch] @returns {Promise<Ranked>} */
    next_tokens: (id, { k = 20, norm = "none", position = null } = {}, watch) => atlas("next_tokens", [id], { k, norm, position }, watch),
    /** @param {number} id @param {{ k?: number, by?: "cosine" | "dot" }} [options] @param {Watch} [watch] @returns {Promise<Ranked>} */
    neighbours: (id, { k = 20, by = "cosine" } = {}, watch) => atlas("neighbours", [id], { k, by }, watch),
    vocabulary,
    /** The tokens of a text. @param {string} text @returns {Promise<number[]>} */
    encode: async (text) => Array.from(await engine().ids(text)),
    /** The same for a long text. @param {string} text @returns {Promise<Uint32Array>} */
    ids: (text) => engine().ids(text),
  };
}
