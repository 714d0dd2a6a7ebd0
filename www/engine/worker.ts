/** The engine's worker: downloads start here, the GPU is driven from here, and only plain data leaves. */
import * as Comlink from "comlink";
import { LoupeError, outcomeOf } from "./errors.ts";
import { lookUp } from "../sources/hub.ts";
import { openModel } from "../sources/load.ts";
import { answerBuffers, buffersOf, plainReading, plainToken, plainTrack } from "./reading-transfer.ts";
import { TOP_K } from "../reading/reading.ts";
import { listKept, removeKept } from "../sources/model-store.ts";
import { vocabularyOf } from "./vocabulary.ts";
import type { InUse, Step } from "../sources/load.ts";
import type { Places, Source } from "../sources/resolve.ts";
import type { Address } from "../sources/hub-address.ts";
import type { Asked, Track } from "../reading/reading.ts";
import type { Divergences } from "../reading/comparison.ts";

export type Settings = Places & { engine_url: string };
export type Facts = Record<string, string | number | boolean>;
export type Plan = {
  n_layer: number;
  n_embd: number;
  n_ctx: number;
  parameters: number;
  file_bytes: number;
  kept_bytes: number;
  gpu_bytes: number;
  fits: boolean | null;
  problem: string | null;
};
export type InUseFacts = { model: Facts; adapter: Facts; in_use: InUse };

const STEP_MS = 100;
/** As many tokens as the engine follows in one call. */
const MAX_TRACED = 64;

let settings: Settings;
/** the engine's Loupe, once somebody has asked for it */
let opened: Promise<any> | null = null;
/** the same, once it is there */
let loupe: any = null;
let in_use: InUse | null = null;

/** The engine's newest readings of the page's two texts: tokens are traced in them, and they are compared. */
const live: Map<"first" | "second", { serial: number; reading: any }> = new Map();
let n_readings = 0;

/** What is under way and can be cancelled, by the page's job number. */
const jobs: Map<number, AbortController> = new Map();

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

async function cancellable<T>(job: number, step: (signal: AbortSignal) => T | Promise<T>) {
  const controller = new AbortController();
  jobs.set(job, controller);
  const outcome = await outcomeOf(() => step(controller.signal));
  jobs.delete(job);
  return outcome;
}

/** Passes on what changes what the bar says at once, and numbers ten times a second. */
function seldom(onStep: (step: Step) => void) {
  let [last, at] = ["", 0];
  return (step: Step) => {
    if (step.step === last && step.step !== "wait" && performance.now() - at < STEP_MS) return;
    [last, at] = [step.step, performance.now()];
    onStep(step);
  };
}

/** Ten times a second, and the end. */
function rarely(onProgress: (progress: { done: number }) => void) {
  let at = 0;
  return ({ done }: { done: number }) => {
    if (done < 1 && performance.now() - at < STEP_MS) return;
    at = performance.now();
    onProgress({ done });
  };
}

/** The bytes of these tokens as text; a character cut in half becomes U+FFFD. */
function textOf(ids: Uint32Array) {
  const pieces = Array.from(ids, (id) => loupe.token(id).bytes);
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  let offset = 0;
  for (const piece of pieces) {
    bytes.set(piece, offset);
    offset += piece.length;
  }
  return new TextDecoder().decode(bytes);
}

/** The model in use; null if there is none. */
const current = (): InUseFacts | null =>
  loupe?.model && in_use ? { model: plainFacts(loupe.model), adapter: plainFacts(loupe.adapter), in_use } : null;

/** Frees a reading that could be traced. */
function forgetReading(which: "first" | "second") {
  live.get(which)?.reading.free();
  live.delete(which);
}

function forgetReadings() {
  forgetReading("first");
  forgetReading("second");
}

/** A reading that is still there. */
function liveReading(serial: number) {
  const found = [...live.values()].find((each) => each.serial === serial);
  if (!found) throw new LoupeError("aborted", "This reading is no longer there.");
  return found.reading;
}

/** Questions to the atlas: each holds on to the model that it was asked of. */
const questions: Map<number, Promise<unknown>> = new Map();

/** Releases everything that keeps the model in use on the GPU. */
async function letGo() {
  forgetReadings();
  for (const job of questions.keys()) jobs.get(job)?.abort();
  await Promise.all(questions.values());
}

/** A question to the atlas of the model in use, which is held no longer than that. */
async function question<T>(job: number, ask: (atlas: any, signal: AbortSignal) => Promise<T>) {
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
  /** Says where things are, and starts the engine. */
  begin: (given: Settings) => {
    settings = given;
    engine().catch(() => {});
  },

  /** Opens a model. If that fails, the one in use stays, or is opened again if it was released. */
  load: (
    job: number,
    source: Source,
    { precision, keep }: { precision: "f16" | "f32"; keep: boolean },
    onStep: (step: Step) => void,
  ) =>
    cancellable(job, async (signal) => {
      const before = in_use;
      const how = { places: settings, precision, keep, in_use: before, signal, onStep: seldom(onStep), letGo };
      try {
        const { in_use: now, refusal } = await openModel(engine(), source, how);
        in_use = now;
        forgetReadings();
        return { ...(current() as InUseFacts), refusal };
      } catch (error) {
        if (before && loupe && !loupe.model) {
          in_use = null;
          const again = {
            ...how,
            precision: before.precision,
            keep: false,
            in_use: null,
            signal: new AbortController().signal,
          };
          in_use = await openModel(engine(), before.source, again).then(
            (result) => result.in_use,
            () => null,
          );
        }
        throw error;
      }
    }),

  /** The model in use, or null. */
  current: () => outcomeOf(current),

  /** What a model costs. */
  plan: (config: string, precision: "f16" | "f32", trial: boolean) =>
    outcomeOf(async () => {
      const plan: Plan = await (await engine()).plan({ config, precision, trial });
      return plan;
    }),

  /** What the hub has of a model. */
  lookUp: (job: number, address: Address, onStep: (step: Step) => void) =>
    cancellable(job, async (signal) => {
      const { id, revision, config, bytes, weights, format } = await lookUp(settings.hub, address, {
        signal,
        onWait: (wait) => onStep({ step: "wait", ...wait }),
      });
      return { id, revision, config, bytes, n_files: weights.length, format };
    }),

  /** What is kept in this browser. */
  list: () => outcomeOf(listKept),

  remove: (key: string) => outcomeOf(() => removeKept(key)),

  /**
   * Reads a text or ids. What comes back is transferred, not copied.
   * @param job the page's number for this reading, for `cancel`
   * @param onBlock called with the number of positions read so far
   */
  read: async (
    job: number,
    text_or_ids: string | Uint32Array,
    { asked, track, is_second }: { asked: Asked; track: number[]; is_second: boolean },
    onBlock: (end: number) => void,
  ) => {
    const outcome = await cancellable(job, async (signal) => {
      const start = performance.now();
      const reading = await loupe.read(text_or_ids, {
        ...asked,
        track,
        top_k: TOP_K,
        signal,
        onBlock: ({ end, reading }: { end: number; reading: { free(): void } }) => {
          reading.free();
          onBlock(end);
        },
      });
      const serial = n_readings++;
      const tracked_tokens = track.map((id: number) => loupe.token(id));
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
   * @param serial of the reading; one that is no longer there is `aborted`
   */
  trace: (job: number, serial: number, ids: number[], line: { position: number } | { tap: number }) =>
    cancellable(job, async (signal) => {
      const tracks: Track[] = [];
      for (let from = 0; from < ids.length; from += MAX_TRACED) {
        const some = await liveReading(serial).trace(ids.slice(from, from + MAX_TRACED), { ...line, signal });
        tracks.push(...some.map(plainTrack));
      }
      return tracks;
    }),

  /**
   * How two readings differ; one that is no longer there is `aborted`.
   * @param second their serials
   */
  compare: async (job: number, first: number, second: number, columns: [number, number][], targets: Uint32Array[]) => {
    const outcome = await cancellable(job, async (signal) => {
      const found: Divergences = await loupe.compare(liveReading(first), liveReading(second), {
        columns,
        targets,
        signal,
      });
      return found;
    });
    return outcome.ok ? Comlink.transfer(outcome, answerBuffers(outcome.value)) : outcome;
  },

  /** The second text is closed. */
  closeSecond: () => forgetReading("second"),

  /** The length of each of these tokens' embedding. */
  norms: (job: number, ids: number[]) =>
    question(job, async (atlas, signal) => {
      const norms: Float32Array = await atlas.norms({ signal });
      return ids.map((id) => norms[id]);
    }),

  /**
   * A question to the atlas; the arrays of the answer are transferred.
   * @param name of the atlas' method
   */
  atlas: async (
    job: number,
    name: string,
    args: unknown[],
    options: object,
    onProgress: (progress: { done: number }) => void,
  ) => {
    const outcome = await question(job, (atlas, signal) =>
      atlas[name](...args, { ...options, signal, onProgress: rarely(onProgress) }),
    );
    (onProgress as any)[Comlink.releaseProxy]();
    return outcome.ok ? Comlink.transfer(outcome, answerBuffers(outcome.value)) : outcome;
  },

  /** Every token of the model in use: as it is shown, and its bytes, one after the other. */
  vocabulary: async (job: number) => {
    const outcome = await cancellable(job, async (signal) => vocabularyOf(loupe, signal));
    return outcome.ok ? Comlink.transfer(outcome, answerBuffers(outcome.value)) : outcome;
  },

  /** Tokens by their ids. */
  tokens: (ids: number[]) => outcomeOf(() => ids.map((id) => plainToken(loupe.token(id)))),

  /** The tokens of a text. */
  encode: (text: string) => outcomeOf(() => Array.from(loupe.encode(text), (id) => plainToken(loupe.token(id)))),

  /** Stops a job; one that is already over is no longer known, which is fine. */
  cancel: (job: number) => jobs.get(job)?.abort(),

  /** The ids of a text's tokens, and nothing else of them. */
  ids: (text: string) => outcomeOf(() => loupe.encode(text) as Uint32Array),

  /** How many tokens a text has. */
  count: (text: string) => outcomeOf(() => loupe.encode(text).length),

  /** The first or the last n tokens of a text, as ids and as text. */
  keep: (text: string, n: number, which: "first" | "last") =>
    outcomeOf(() => {
      const ids: Uint32Array = loupe.encode(text);
      const kept = which === "first" ? ids.slice(0, n) : ids.slice(Math.max(0, ids.length - n));
      return { ids: kept, text: textOf(kept) };
    }),
};

/** The plain values of an engine object, whose fields may be getters. */
function plainFacts(facts: Record<string, unknown>) {
  const plain: Facts = {};
  for (const key in facts) {
    const value = facts[key];
    if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") plain[key] = value;
  }
  return plain;
}

export type EngineApi = typeof api;

Comlink.expose(api);
