// @ts-check
/** The engine's worker: downloads start here, the GPU is driven from here, and only plain data leaves. */
import * as Comlink from "comlink";
import { LoupeError, outcomeOf } from "./outcome.js";
import { lookUp } from "./hub.js";
import { openModel } from "./opening.js";
import { answerBuffers, buffersOf, plainReading, plainToken, plainTrack } from "./plain.js";
import { TOP_K } from "./reading.js";
import { listKept, removeKept } from "./store.js";
import { vocabularyOf } from "./vocabulary.js";

/** @typedef {import("./gather.js").Places & { engine_url: string }} Settings */
/** @typedef {Record<string, string | number | boolean>} Facts */
/** @typedef {{ n_layer: number, n_embd: number, n_ctx: number, parameters: number, file_bytes: number, kept_bytes: number, gpu_bytes: number, fits: boolean | null, problem: string | null }} Plan */
/** @typedef {{ model: Facts, adapter: Facts, in_use: import("./opening.js").InUse }} InUseFacts */

const STEP_MS = 100;
/** As many tokens as the engine follows in one call. */
const MAX_TRACED = 64;

/** @type {Settings} */
let settings;
/** @type {Promise<any> | null} the engine's Loupe, once somebody has asked for it */
let opened = null;
/** @type {any} the same, once it is there */
let loupe = null;
/** @type {import("./opening.js").InUse | null} */
let in_use = null;

/** The engine's newest readings of the page's two texts: tokens are traced in them, and they are compared. @type {Map<"first" | "second", { serial: number, reading: any }>} */
const live = new Map();
let n_readings = 0;

/** What is under way and can be cancelled, by the page's job number. @type {Map<number, AbortController>} */
const jobs = new Map();

/** Imports and starts the engine, which is not part of the bundle so that articles can embed it too. */
function engine() {
  const { engine_url } = settings;
  opened ??= import(/* @vite-ignore */ engine_url)
    .then(async (module) => (await module.default(), module))
    .catch((error) => {
      throw new LoupeError("network", `The engine could not be loaded from ${engine_url}: ${error.message}`);
    })
    .then(async (module) => (loupe = await module.Loupe.open()));
  return opened;
}

/** @template T @param {number} job @param {(signal: AbortSignal) => T | Promise<T>} step */
async function cancellable(job, step) {
  const controller = new AbortController();
  jobs.set(job, controller);
  const outcome = await outcomeOf(() => step(controller.signal));
  jobs.delete(job);
  return outcome;
}

/** Passes on what changes what the bar says at once, and numbers ten times a second. @param {(step: import("./opening.js").Step) => void} onStep */
function seldom(onStep) {
  let [last, at] = ["", 0];
  return (/** @type {import("./opening.js").Step} */ step) => {
    if (step.step === last && step.step !== "wait" && performance.now() - at < STEP_MS) return;
    [last, at] = [step.step, performance.now()];
    onStep(step);
  };
}

/** Ten times a second, and the end. @param {(progress: { done: number }) => void} onProgress */
function rarely(onProgress) {
  let at = 0;
  return (/** @type {{ done: number }} */ { done }) => {
    if (done < 1 && performance.now() - at < STEP_MS) return;
    at = performance.now();
    onProgress({ done });
  };
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

/** The model in use; null if there is none. @returns {InUseFacts | null} */
const current = () =>
  loupe?.model && in_use ? { model: plainFacts(loupe.model), adapter: plainFacts(loupe.adapter), in_use } : null;

/** Frees a reading that could be traced. @param {"first" | "second"} which */
function forgetReading(which) {
  live.get(which)?.reading.free();
  live.delete(which);
}

function forgetReadings() {
  forgetReading("first");
  forgetReading("second");
}

/** A reading that is still there. @param {number} serial */
function liveReading(serial) {
  const found = [...live.values()].find((each) => each.serial === serial);
  if (!found) throw new LoupeError("aborted", "This reading is no longer there.");
  return found.reading;
}

/** Questions to the atlas: each holds on to the model that it was asked of. @type {Map<number, Promise<unknown>>} */
const questions = new Map();

/** Releases everything that keeps the model in use on the GPU. */
async function letGo() {
  forgetReadings();
  for (const job of questions.keys()) jobs.get(job)?.abort();
  await Promise.all(questions.values());
}

/**
 * A question to the atlas of the model in use, which is held no longer than that.
 * @template T @param {number} job @param {(atlas: any, signal: AbortSignal) => Promise<T>} ask
 */
async function question(job, ask) {
  const asked = cancellable(job, async (signal) => {
    const atlas = loupe.atlas();
    try {
      return await ask(atlas, signal);
    } finally {
      atlas.free();
    }
  });
  questions.set(job, asked);
  const outcome = await asked;
  questions.delete(job);
  return outcome;
}

const api = {
  /** Says where things are, and starts the engine. @param {Settings} given */
  begin: (given) => {
    settings = given;
    engine().catch(() => {});
  },

  /**
   * Opens a model. If that fails, the one in use stays, or is opened again if it was released.
   * @param {number} job
   * @param {import("./gather.js").Source} source
   * @param {{ precision: "f16" | "f32", keep: boolean }} how
   * @param {(step: import("./opening.js").Step) => void} onStep
   */
  load: (job, source, { precision, keep }, onStep) => cancellable(job, async (signal) => {
    const before = in_use;
    const how = { places: settings, precision, keep, in_use: before, signal, onStep: seldom(onStep), letGo };
    try {
      const { in_use: now, refusal } = await openModel(engine(), source, how);
      in_use = now;
      forgetReadings();
      return { ...(/** @type {InUseFacts} */ (current())), refusal };
    } catch (error) {
      if (before && loupe && !loupe.model) {
        in_use = null;
        const again = { ...how, precision: before.precision, keep: false, in_use: null, signal: new AbortController().signal };
        in_use = await openModel(engine(), before.source, again).then((result) => result.in_use, () => null);
      }
      throw error;
    }
  }),

  /** The model in use, or null. */
  current: () => outcomeOf(current),

  /** What a model costs. @param {string} config @param {"f16" | "f32"} precision @param {boolean} trial */
  plan: (config, precision, trial) => outcomeOf(async () => {
    /** @type {Plan} */
    const plan = await (await engine()).plan({ config, precision, trial });
    return plan;
  }),

  /**
   * What the hub has of a model.
   * @param {number} job @param {import("./address.js").Address} address
   * @param {(step: import("./opening.js").Step) => void} onStep
   */
  lookUp: (job, address, onStep) => cancellable(job, async (signal) => {
    const { id, revision, config, bytes, weights, format } = await lookUp(settings.hub, address, {
      signal,
      onWait: (wait) => onStep({ step: "wait", ...wait }),
    });
    return { id, revision, config, bytes, n_files: weights.length, format };
  }),

  /** What is kept in this browser. */
  list: () => outcomeOf(listKept),

  /** @param {string} key */
  remove: (key) => outcomeOf(() => removeKept(key)),

  /**
   * Reads a text or ids. What comes back is transferred, not copied.
   * @param {number} job the page's number for this reading, for `cancel`
   * @param {string | Uint32Array} text_or_ids
   * @param {{ asked: import("./reading.js").Asked, track: number[], is_second: boolean }} options
   * @param {(end: number) => void} onBlock called with the number of positions read so far
   */
  read: async (job, text_or_ids, { asked, track, is_second }, onBlock) => {
    const outcome = await cancellable(job, async (signal) => {
      const start = performance.now();
      const reading = await loupe.read(text_or_ids, {
        ...asked,
        track,
        top_k: TOP_K,
        signal,
        onBlock: (/** @type {{ end: number, reading: { free(): void } }} */ { end, reading }) => {
          reading.free();
          onBlock(end);
        },
      });
      const serial = n_readings++;
      const tracked_tokens = track.map((/** @type {number} */ id) => loupe.token(id));
      const plain = plainReading(reading, { asked, track, tracked_tokens, serial, read_ms: performance.now() - start });
      const which = is_second ? "second" : "first";
      forgetReading(which);
      live.set(which, { serial, reading });
      return plain;
    });
    return outcome.ok ? Comlink.transfer(outcome, buffersOf(outcome.value)) : outcome;
  },

  /**
   * Follows tokens along one position or one row of a reading, without reading again.
   * @param {number} job @param {number} serial of the reading; one that is no longer there is `aborted`
   * @param {number[]} ids @param {{ position: number } | { tap: number }} line
   */
  trace: (job, serial, ids, line) => cancellable(job, async (signal) => {
    /** @type {import("./reading.js").Track[]} */
    const tracks = [];
    for (let from = 0; from < ids.length; from += MAX_TRACED) {
      const some = await liveReading(serial).trace(ids.slice(from, from + MAX_TRACED), { ...line, signal });
      tracks.push(...some.map(plainTrack));
    }
    return tracks;
  }),

  /**
   * How two readings differ; one that is no longer there is `aborted`.
   * @param {number} job @param {number} first @param {number} second their serials
   * @param {[number, number][]} columns @param {Uint32Array[]} targets
   */
  compare: async (job, first, second, columns, targets) => {
    const outcome = await cancellable(job, async (signal) => {
      /** @type {import("./comparison.js").Divergences} */
      const found = await loupe.compare(liveReading(first), liveReading(second), { columns, targets, signal });
      return found;
    });
    return outcome.ok ? Comlink.transfer(outcome, answerBuffers(outcome.value)) : outcome;
  },

  /** The second text is closed. */
  closeSecond: () => forgetReading("second"),

  /** The length of each of these tokens' embedding. @param {number} job @param {number[]} ids */
  norms: (job, ids) => question(job, async (atlas, signal) => {
    /** @type {Float32Array} */
    const norms = await atlas.norms({ signal });
    return ids.map((id) => norms[id]);
  }),

  /**
   * A question to the atlas; the arrays of the answer are transferred.
   * @param {number} job @param {string} name of the atlas' method @param {unknown[]} args @param {object} options
   * @param {(progress: { done: number }) => void} onProgress
   */
  atlas: async (job, name, args, options, onProgress) => {
    const outcome = await question(job, (atlas, signal) => atlas[name](...args, { ...options, signal, onProgress: rarely(onProgress) }));
    /** @type {any} */ (onProgress)[Comlink.releaseProxy]();
    return outcome.ok ? Comlink.transfer(outcome, answerBuffers(outcome.value)) : outcome;
  },

  /** Every token of the model in use: as it is shown, and its bytes, one after the other. @param {number} job */
  vocabulary: async (job) => {
    const outcome = await cancellable(job, async (signal) => vocabularyOf(loupe, signal));
    return outcome.ok ? Comlink.transfer(outcome, answerBuffers(outcome.value)) : outcome;
  },

  /** Tokens by their ids. @param {number[]} ids */
  tokens: (ids) => outcomeOf(() => ids.map((id) => plainToken(loupe.token(id)))),

  /** The tokens of a text. @param {string} text */
  encode: (text) => outcomeOf(() => Array.from(loupe.encode(text), (id) => plainToken(loupe.token(id)))),

  /** Stops a job; one that is already over is no longer known, which is fine. @param {number} job */
  cancel: (job) => jobs.get(job)?.abort(),

  /** The ids of a text's tokens, and nothing else of them. @param {string} text */
  ids: (text) => outcomeOf(() => /** @type {Uint32Array} */ (loupe.encode(text))),

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
  /** @type {Facts} */
  const plain = {};
  for (const key in facts) {
    const value = facts[key];
    if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") plain[key] = value;
  }
  return plain;
}

/** @typedef {typeof api} EngineApi */

Comlink.expose(api);
