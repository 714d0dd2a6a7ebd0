/** The engine's worker: downloads start here, the device is driven from here, and only plain data leaves. */
import * as Comlink from "comlink";
import { LoupeError, codeOf, outcomeOf } from "./engine/errors.ts";
import { answerBuffers, buffersOf, plainReading, plainToken, plainTrack } from "./engine/reading-transfer.ts";
import { vocabularyOf } from "./engine/vocabulary.ts";
import { TOP_K } from "./reading/reading.ts";
import { helpersFor, startHelpers, type Helpers } from "./engine/helpers.ts";
import { compareWithStored } from "./sources/stored-reading.ts";
import { lookUp } from "./sources/hub.ts";
import { loadModel } from "./sources/load.ts";
import { listKept, removeKept } from "./sources/model-store.ts";
import type { Atlas, Loupe } from "../src/web/types.d.ts";
import type { Live } from "./engine/causes.ts";
import type { Lenses } from "./engine/evidence.ts";
import type { AtlasAnswer, EngineApi, Settings, Step } from "./engine/protocol.ts";
import { nameOfAdapter } from "./lib/model.ts";
import type { Facts, InUse, ModelInUse } from "./lib/model.ts";
import type { Asked, Part, Track } from "./reading/reading.ts";

/** The engine's module, which is not part of the bundle. */
type EngineModule = { default: () => Promise<unknown>; Loupe: typeof Loupe };

const STEP_MS = 100;
/** As many tokens as the engine follows in one call. */
const MAX_TRACED = 64;

let settings: Settings;
/** Tells the page that the device is lost. */
let loseWith: (message: string) => void = () => {};
/** the engine, once somebody has asked for it */
let opened: Promise<Loupe> | null = null;
/** the same, once it is there */
let loupe: Loupe | null = null;
let in_use: InUse | null = null;
/** Whether the model in use can encode a text. */
let has_tokenizer = true;

/** The engine's newest readings, by what they are of: tokens are traced in them, and they are compared. */
const live: Live = new Map();
let n_readings = 0;
/** Lenses and probes that are open; they belong to the model in use. */
const lenses: Lenses = new Map();

/** The job that checks the device. */
let checking: number | null = null;
/** Loads under way. */
let n_loads = 0;

/** What is under way and can be cancelled, by the page's job number. */
const jobs: Map<number, AbortController> = new Map();

/** Imports and starts the engine, which is not part of the bundle so that articles can embed it too. */
function engine() {
  const { engine_url, device, tuning } = settings;
  opened ??= importEngine(engine_url)
    .then((module) => module.Loupe.open({ device }))
    .then((open) => {
      if (tuning?.adapter === nameOfAdapter(plainFacts(open.adapter))) open.tuning = tuning.tuning;
      void open.lost().then(({ message }) => loseWith(message));
      return (loupe = open);
    });
  return opened;
}

/** Errors: `network`. */
async function importEngine(url: string) {
  try {
    const module = (await import(/* @vite-ignore */ url)) as EngineModule;
    await module.default();
    return module;
  } catch (error) {
    throw new LoupeError("network", `The engine could not be loaded from ${url}: ${(error as Error).message}`);
  }
}

/** The engine with a model; it was asked for when the worker began. Errors: `not-found`. */
function started() {
  if (!loupe) throw new LoupeError("not-found", "no model is loaded yet");
  return loupe;
}

/** @param listener the page's function that is called meanwhile; its channel is closed afterwards */
async function cancellable<T>(job: number, step: (signal: AbortSignal) => T | Promise<T>, listener?: unknown) {
  // A check can wait, what a person asks for need not.
  if (checking !== null && checking !== job) jobs.get(checking)?.abort();
  const controller = new AbortController();
  jobs.set(job, controller);
  const outcome = await outcomeOf(() => step(controller.signal));
  jobs.delete(job);
  (listener as Comlink.ProxyMethods | undefined)?.[Comlink.releaseProxy]();
  return outcome;
}

/** Passes on what must not be missed at once, and anything else ten times a second. */
function throttled<T>(listener: (value: T) => void, isUrgent: (value: T, last: T | null) => boolean) {
  let [last, at]: [T | null, number] = [null, 0];
  return (value: T) => {
    if (!isUrgent(value, last) && performance.now() - at < STEP_MS) return;
    [last, at] = [value, performance.now()];
    listener(value);
  };
}

/** What the bar says has changed, or it counts the seconds until another attempt. */
const isNewStep = (step: Step, last: Step | null) => step.step !== last?.step || step.step === "wait";

const END_OF_TEXT = "<|endoftext|>";

/** The tokens of a text; of one for a model without a tokenizer, the ids that it lists. Errors: `no-tokenizer`. */
function idsOf(engine: Loupe, text: string) {
  if (has_tokenizer) return engine.encode(text);
  const pieces = text.split(/[\s,;[\]]+/).filter(Boolean);
  const bad = pieces.find((piece) => !/^\d{1,9}$/.test(piece));
  if (bad !== undefined)
    throw new LoupeError(
      "no-tokenizer",
      `This model has no tokenizer. Enter token ids separated by spaces, such as 464 3290 318. “${bad.slice(0, 40)}” is not a token id.`,
    );
  return Uint32Array.from(pieces, Number);
}

/** The token that stands between documents; null where the tokenizer has none. */
function endOfText(engine: Loupe) {
  if (!has_tokenizer) return null;
  try {
    const ids = engine.encode(END_OF_TEXT);
    return ids.length === 1 ? ids[0] : null;
  } catch {
    // An added token that the model itself does not have.
    return null;
  }
}

/** What of a text is read: as much of it as fits, behind the token that a person may want before it. */
function readable(engine: Loupe, text: string, { kept, with_end_token }: Part) {
  const all = idsOf(engine, text);
  const first = with_end_token ? endOfText(engine) : null;
  const before = first === null ? [] : [first];
  const room = Number(engine.model?.n_ctx ?? Infinity) - before.length;
  const ids = all.length <= room ? all : kept === "first" ? all.subarray(0, room) : all.subarray(all.length - room);
  // A text without tokens stays one, so that it is said to be empty.
  return { ids: ids.length === 0 ? ids : Uint32Array.of(...before, ...ids), n_text: all.length, n_read: ids.length };
}

/** The model in use; null if there is none. */
function current(): ModelInUse | null {
  if (!loupe?.model || !in_use) return null;
  has_tokenizer = hasTokenizer(loupe);
  const of_text = { has_tokenizer, has_end_token: endOfText(loupe) !== null };
  return { model: { ...plainFacts(loupe.model), ...of_text }, adapter: factsOf(loupe), in_use };
}

/** The adapter, and what was measured of it. */
const factsOf = ({ adapter, tuning }: Loupe) => ({ ...plainFacts(adapter), tuning: tuning ?? "" });

function hasTokenizer(engine: Loupe) {
  try {
    engine.encode("a");
    return true;
  } catch (error) {
    return codeOf(error) !== "no-tokenizer";
  }
}

/** The workers that share the readings of the model in use. */
let helpers: Helpers | null = null;
let n_shared = 0;

/** On the CPU, other cores read some positions of each reading; without them the engine reads all by itself. */
async function shareReadings(of: Loupe) {
  const serial = ++n_shared;
  helpers?.end();
  helpers = null;
  const model = of.model;
  if (of.adapter.backend !== "cpu" || !model || model.partial) return;
  const n = helpersFor(model.n_embd, model.vocab_size ?? 0, navigator.hardwareConcurrency);
  if (n === 0) return;
  // Another model may come meanwhile: these helpers have another decoder.
  const isCurrent = () => serial === n_shared;
  const started = await startHelpers(of, settings.engine_url, n, isCurrent).catch(() => null);
  if (isCurrent()) helpers = started;
}

/** Frees a reading that could be traced. */
function forgetReading(which: string) {
  live.get(which)?.reading.free();
  live.delete(which);
}

function forgetLenses() {
  lenses.forEach((lens) => lens.free());
  lenses.clear();
}

/** What was asked for as the engine takes it. Errors: `not-found` for a lens that is no longer open. */
function engineOptions({ lens, ...asked }: Asked) {
  if (!lens) return asked;
  const found = lenses.get(lens);
  if (!found) throw new LoupeError("not-found", `The lens “${lens}” is no longer open.`);
  return { ...asked, lens: found };
}

const forgetReadings = () => [...live.keys()].forEach(forgetReading);

/** A reading that is still there. */
function liveReading(serial: number) {
  const found = [...live.values()].find((each) => each.serial === serial);
  if (!found) throw new LoupeError("aborted", "This reading is no longer there.");
  return found.reading;
}

/** Questions to the atlas and of causes: each holds on to the model that it was asked of. */
const questions: Map<number, Promise<unknown>> = new Map();

/** Releases everything that keeps the model in use in the device's memory. */
async function letGo() {
  forgetReadings();
  for (const job of questions.keys()) jobs.get(job)?.abort();
  await Promise.all(questions.values());
}

/** A question to the atlas of the model in use, which is held no longer than that. */
async function question<T>(job: number, ask: (atlas: Atlas, signal: AbortSignal) => Promise<T>, listener?: unknown) {
  const asked = cancellable(
    job,
    async (signal) => {
      const atlas = started().atlas();
      try {
        return await ask(atlas, signal);
      } finally {
        atlas.free();
      }
    },
    listener,
  );
  questions.set(job, asked);
  const outcome = await asked;
  questions.delete(job);
  return outcome;
}

const api: EngineApi = {
  begin(given, onLost) {
    settings = given;
    engine().catch(() => {});
    loseWith = onLost;
  },

  load: (job, source, { precision, keep }, onStep) =>
    cancellable(
      job,
      async (signal) => {
        const before = in_use;
        const how = {
          places: settings,
          precision,
          keep,
          in_use: before,
          signal,
          onStep: throttled(onStep, isNewStep),
          letGo,
        };
        n_loads++;
        try {
          const { in_use: now, refusal } = await loadModel(engine(), source, how);
          in_use = now;
          forgetReadings();
          forgetLenses();
          void shareReadings(await engine());
          return { ...(current() as ModelInUse), refusal };
        } catch (error) {
          if (before && loupe && !loupe.model) {
            in_use = null;
            const { signal } = new AbortController();
            const again = { ...how, precision: before.precision, keep: false, in_use: null, signal };
            in_use = await loadModel(engine(), before.source, again).then(
              (result) => result.in_use,
              () => null,
            );
            if (in_use) void shareReadings(loupe);
          }
          throw error;
        } finally {
          n_loads--;
        }
      },
      onStep,
    ),

  current: () => outcomeOf(current),

  plan: (config, precision, trial) => outcomeOf(async () => (await engine()).plan({ config, precision, trial })),

  check: async (job) => {
    checking = job;
    const outcome = await cancellable(job, async (signal) => {
      // A load puts another model in the place of the one that is checked.
      const of = in_use;
      if (n_loads > 0) throw new LoupeError("aborted", "A model is being opened.");
      const loupe = await engine();
      const check = await loupe.check({ signal });
      if (of?.source.kind !== "bundled") return { ...check, stored: null };
      const url = `${settings.bundled_url}reading.json`;
      const stored = await compareWithStored(loupe, url, signal).catch((error: unknown) => {
        if (codeOf(error) === "aborted") throw error;
        return (error as Error).message;
      });
      if (of !== in_use) throw new LoupeError("aborted", "Another model was opened.");
      return { ...check, stored };
    });
    if (checking === job) checking = null;
    return outcome;
  },

  lookUp: (job, address, onStep) =>
    cancellable(
      job,
      async (signal) => {
        const onWait = (wait: { ms: number; reason: string }) => onStep({ step: "wait", ...wait });
        const { id, revision, config, bytes, weights, format } = await lookUp(settings.hub, address, {
          signal,
          onWait,
        });
        return { id, revision, config, bytes, n_files: weights.length, format };
      },
      onStep,
    ),

  list: () => outcomeOf(listKept),

  remove: (key) => outcomeOf(() => removeKept(key)),

  async read(job, text, { asked, part, track, is_second }, onBlock) {
    const outcome = await cancellable(
      job,
      async (signal) => {
        const start = performance.now();
        // What helpers still read of it is of no use then.
        signal.addEventListener("abort", () => helpers?.drop());
        const { ids, n_text, n_read } = readable(started(), text, part);
        const reading = await started().read(ids, {
          ...engineOptions(asked),
          track,
          top_k: TOP_K,
          signal,
          onBlock: ({ end, reading }) => {
            reading.free();
            onBlock(end);
          },
        });
        const serial = n_readings++;
        const tracked_tokens = track.map((id) => started().token(id));
        const plain = plainReading(reading, {
          asked,
          track,
          tracked_tokens,
          serial,
          n_text,
          n_read,
          kept: part.kept,
          read_ms: performance.now() - start,
        });
        const which = is_second ? "second" : "first";
        forgetReading(which);
        live.set(which, { serial, reading });
        return plain;
      },
      onBlock,
    );
    return outcome.ok ? Comlink.transfer(outcome, buffersOf(outcome.value)) : outcome;
  },

  trace: (job, serial, ids, line) =>
    cancellable(job, async (signal) => {
      const tracks: Track[] = [];
      for (let from = 0; from < ids.length; from += MAX_TRACED) {
        const some = await liveReading(serial).trace(ids.slice(from, from + MAX_TRACED), { ...line, signal });
        tracks.push(...some.map(plainTrack));
      }
      return tracks;
    }),

  async compare(job, first, second, columns, targets) {
    const outcome = await cancellable(job, async (signal) =>
      started().compare(liveReading(first), liveReading(second), { columns, targets, signal }),
    );
    return outcome.ok ? Comlink.transfer(outcome, answerBuffers(outcome.value)) : outcome;
  },

  closeSecond: () => forgetReading("second"),

  norms: (job, ids) =>
    question(job, async (atlas, signal) => {
      const norms = await atlas.norms({ signal });
      return ids.map((id) => norms[id]);
    }),

  async atlas(job, method, before, options, onProgress) {
    const outcome = await question(
      job,
      (atlas, signal) => {
        const ask = atlas[method] as (...args: unknown[]) => Promise<AtlasAnswer<typeof method>>;
        return ask.call(atlas, ...before, {
          ...options,
          signal,
          onProgress: throttled(onProgress, ({ done }) => done >= 1),
        });
      },
      onProgress,
    );
    return outcome.ok ? Comlink.transfer(outcome, answerBuffers(outcome.value)) : outcome;
  },

  async causes(job, method, question, onProgress) {
    const asked = cancellable(
      job,
      async (signal) => {
        const { askCauses } = await import("./engine/causes.ts");
        const page = {
          loupe: started(),
          live,
          liveReading,
          engineOptions,
          serial: () => n_readings++,
          forget: forgetReading,
        };
        return askCauses(method, question, { ...page, signal, onProgress });
      },
      onProgress,
    );
    questions.set(job, asked);
    const outcome = await asked;
    questions.delete(job);
    return outcome.ok ? Comlink.transfer(outcome, answerBuffers(outcome.value)) : outcome;
  },

  async evidence(job, method, question, onProgress) {
    const asked = cancellable(
      job,
      async (signal) => {
        const { askEvidence } = await import("./engine/evidence.ts");
        const page = { loupe: started(), lenses, hub: settings.hub, liveReading };
        return askEvidence(method, question, { ...page, signal, onProgress });
      },
      onProgress,
    );
    questions.set(job, asked);
    const outcome = await asked;
    questions.delete(job);
    return outcome.ok ? Comlink.transfer(outcome, answerBuffers(outcome.value)) : outcome;
  },

  async vocabulary(job) {
    const outcome = await cancellable(job, async (signal) => vocabularyOf(started(), signal));
    return outcome.ok ? Comlink.transfer(outcome, answerBuffers(outcome.value)) : outcome;
  },

  tokens: (ids) => outcomeOf(() => ids.map((id) => plainToken(started().token(id)))),

  encode: (text) => outcomeOf(() => Array.from(started().encode(text), (id) => plainToken(started().token(id)))),

  cancel: (job) => jobs.get(job)?.abort(),

  ids: (text) => outcomeOf(() => started().encode(text)),
};

/** The plain values of an engine object, whose fields may be getters. */
function plainFacts(of: object) {
  const facts = of as Record<string, unknown>;
  const plain: Facts = {};
  for (const key in facts) {
    const value = facts[key];
    if (typeof value === "string" || typeof value === "number" || typeof value === "boolean") plain[key] = value;
  }
  return plain;
}

Comlink.expose(api);
