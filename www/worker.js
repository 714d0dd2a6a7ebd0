// @ts-check
/** The engine's worker: downloads start here, the GPU is driven from here, and only plain data leaves. */
import * as Comlink from "comlink";
import { fetchModel } from "./download.js";
import { LoupeError, outcomeOf } from "./outcome.js";
import { buffersOf, plainReading } from "./plain.js";

/** @type {any} the engine's Loupe, once it is open and holds a model */
let loupe = null;

/** Readings under way, by the page's job number. @type {Map<number, AbortController>} */
const jobs = new Map();

/** Imports and starts the engine, which is not part of the bundle so that articles can embed it too. @param {string} engine_url */
async function openEngine(engine_url) {
  const engine = await import(/* @vite-ignore */ engine_url)
    .then(async (module) => (await module.default(), module))
    .catch((error) => {
      throw new LoupeError("network", `The engine could not be loaded from ${engine_url}: ${error.message}`);
    });
  return engine.Loupe.open();
}

/** The bytes of these tokens as text; a character cut in half becomes U+FFFD. @param {Uint32Array} ids */
function textOf(ids) {
  const pieces = Array.from(ids, (id) => loupe.token(id).bytes);
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let offset = 0;
  for (const piece of pieces) {
    bytes.set(piece, offset);
    offset += piece.length;
  }
  return new TextDecoder().decode(bytes);
}

const api = {
  /**
   * Opens the engine and loads a model folder.
   * @param {{ engine_url: string, model_url: string, precision: "f16" | "f32" }} what
   * @param {(progress: { received: number, total: number | undefined, tensor: string }) => void} onProgress
   */
  load: ({ engine_url, model_url, precision }, onProgress) => outcomeOf(async () => {
    const downloads = new AbortController();
    try {
      const [opened, files] = await Promise.all([openEngine(engine_url), fetchModel(model_url, downloads.signal)]);
      await opened.load({
        config: files.config,
        tokenizer: files.tokenizer,
        weights: files.weights,
        precision,
        onProgress: (/** @type {any} */ { received, total, tensor }) =>
          onProgress({ received, total: total ?? files.weights_bytes, tensor }),
      });
      loupe = opened;
      return { model: plainFacts(loupe.model), adapter: plainFacts(loupe.adapter) };
    } catch (error) {
      downloads.abort();
      throw error;
    }
  }),

  /**
   * Reads a text or ids. What comes back is transferred, not copied.
   * @param {number} job the page's number for this reading, for `cancel`
   * @param {string | Uint32Array} text_or_ids
   * @param {(end: number) => void} onBlock called with the number of positions read so far
   */
  read: async (job, text_or_ids, onBlock) => {
    const controller = new AbortController();
    jobs.set(job, controller);
    const outcome = await outcomeOf(async () => {
      const start = performance.now();
      const reading = await loupe.read(text_or_ids, {
        top_k: 10,
        signal: controller.signal,
        onBlock: (/** @type {{ end: number, reading: { free(): void } }} */ { end, reading }) => {
          reading.free();
          onBlock(end);
        },
      });
      const plain = plainReading(reading, performance.now() - start);
      reading.free();
      return plain;
    });
    jobs.delete(job);
    return outcome.ok ? Comlink.transfer(outcome, buffersOf(outcome.value)) : outcome;
  },

  /** Stops a reading; one that is already over is no longer known, which is fine. @param {number} job */
  cancel: (job) => jobs.get(job)?.abort(),

  /** How many tokens a text has. @param {string} text */
  count: (text) => outcomeOf(() => loupe.encode(text).length),

  /**
   * The first or the last n tokens of a text, as ids and as text.
   * @param {string} text @param {number} n @param {"first" | "last"} which
   */
  keep: (text, n, which) => outcomeOf(() => {
    /** @type {Uint32Array} */
    const ids = loupe.encode(text);
    const kept = which === "first" ? ids.slice(0, n) : ids.slice(Math.max(0, ids.length - n));
    return { ids: kept, text: textOf(kept) };
  }),
};

/** The plain values of an engine object, whose fields may be getters. @param {Record<string, unknown>} facts */
function plainFacts(facts) {
  /** @type {Record<string, string | number | boolean>} */
  const plain = {};
  for (const key in facts) {
    const value = facts[key];
    if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") plain[key] = value;
  }
  return plain;
}

/** @typedef {typeof api} EngineApi */

Comlink.expose(api);
