/**
 * Opening and reading, in time. One model is opened at once, beside the one in use, which can be read meanwhile. The
 * newest text wins: it cancels the older reading, whose answer is then ignored, whatever it is.
 */
import { alignedColumns, comparisonOf, targetsOf } from "../reading/comparison.ts";
import { ENDED, codeOf } from "../engine/errors.ts";
import { areAlike } from "../reading/reading.ts";
import type { Asked, Part, PlainReading } from "../reading/reading.ts";
import type { Engine } from "../engine/client.ts";
import type { Refusal, Step } from "../engine/protocol.ts";
import type { ModelInUse, Source } from "../lib/model.ts";

export type How = { precision: "f16" | "f32"; keep: boolean };
export type Failure = { code: string; message: string };

const DEBOUNCE_MS = 150;

/** With these no other model would open either. */
const NO_DEVICE = ["no-webgpu", "no-adapter", "gpu-refused", "unexpected"];

export function createSession(
  startEngine: (onEnd: (message: string, code: string) => void) => Engine,
  on: {
    /** the text to read once a model is there */
    text: () => string;
    /** how to read */
    options: () => { asked: Asked; part: Part; track: number[] };
    /** `is_first`: there is none to read with meanwhile */
    opening: (source: Source, is_first: boolean) => void;
    step: (step: Step) => void;
    opened: (facts: ModelInUse, refusal: Refusal | null, source: Source) => void;
    /** another model is in use or about to be */
    notOpened: (failure: Failure, source: Source, how: How) => void;
    busy: () => void;
    block: (end: number) => void;
    reading: (reading: PlainReading, text: string) => void | Promise<void>;
    /** nothing can be read */
    failure: (code: string, message: string, loading: boolean) => void;
    /** the engine has crashed or lost its device, and the model in use is gone with it */
    ended: (message: string, code: string) => void;
  },
) {
  let engine: Engine | null = null;
  let is_fresh = false;
  let loaded = false;
  /** The model that readings are made with. */
  let model: ModelInUse | null = null;
  /** What is to be read: the newest text. */
  let wanted: string | null = null;
  let pause: ReturnType<typeof setTimeout> | undefined;
  let reading = new AbortController();
  let second = new AbortController();
  let opening: AbortController | null = null;
  /** Whether a text is still to be read by whatever model comes. */
  let missed = false;

  const failureOf = (error: unknown): Failure => ({ code: codeOf(error), message: (error as Error).message });

  /** The engine that runs, or a fresh one. */
  function theEngine() {
    if (!engine) {
      const started = startEngine((message, code) => ended(started, message, code));
      [engine, is_fresh] = [started, true];
    }
    return engine;
  }

  /** Closes an engine that answers no more; one that was opening a model is replaced where that fails. */
  function ended(which: Engine, message: string, code: string) {
    which.close();
    if (engine !== which) return;
    reading.abort();
    [engine, loaded] = [null, false];
    if (!opening) on.ended(message, code);
  }

  async function readNow(text: string) {
    wanted = text;
    clearTimeout(pause);
    reading.abort();
    // What is compared with an older text need not be waited for.
    second.abort();
    if (!loaded) return;
    const mine = (reading = new AbortController());
    const { signal } = mine;
    const made_with = model;
    if (text.length === 0) return on.failure("empty", "", false);
    on.busy();
    try {
      const engine = theEngine();
      const onBlock = (end: number) => signal.aborted || on.block(end);
      const fresh = await engine.read(text, {
        ...on.options(),
        is_second: false,
        signal,
        onBlock: (end) => void onBlock(end),
      });
      if (!signal.aborted) await on.reading({ ...fresh, model: made_with }, text);
    } catch (error) {
      const { code, message } = failureOf(error);
      if (signal.aborted || code === "aborted") return;
      // The old model has made way, and the new one is not there yet: the text is read when one is.
      if (opening && code === "not-found") missed = true;
      else on.failure(code, message, false);
    }
  }

  /**
   * Opens a model in the engine that runs. Returns why it did not, if another one may; null where there is no more to
   * do.
   */
  async function load(source: Source, how: How): Promise<Failure | null> {
    const [started, mine] = [theEngine(), new AbortController()];
    [opening, is_fresh] = [mine, false];
    on.opening(source, !loaded);
    const isCurrent = () => engine === started && opening === mine;
    try {
      const onStep = (step: Step) => void (isCurrent() && on.step(step));
      const { refusal, ...facts } = await started.load(source, { ...how, signal: mine.signal, onStep });
      if (!isCurrent()) return null;
      [opening, loaded, missed, model] = [null, true, false, facts];
      // What is still being read is read with the old model.
      reading.abort();
      second.abort();
      on.opened(facts, refusal, source);
      await readNow(on.text());
      return null;
    } catch (error) {
      if (opening === mine && ENDED.includes(codeOf(error))) {
        [opening, missed] = [null, false];
        return failureOf(error);
      }
      if (!isCurrent()) return null;
      loaded = (await started.current().catch(() => null)) !== null;
      if (!isCurrent()) return null;
      opening = null;
      if (loaded && missed) void readNow(on.text());
      missed = false;
      return mine.signal.aborted ? { code: "aborted", message: "" } : failureOf(error);
    }
  }

  return {
    /** A second text under the same options, and how it differs from the first one; null if it was overtaken. */
    async compare(text: string, first: PlainReading) {
      second.abort();
      if (!loaded) return null;
      const { signal } = (second = new AbortController());
      const made_with = model;
      const engine = theEngine();
      try {
        const plain = await engine.read(text, { ...on.options(), is_second: true, signal, onBlock: () => {} });
        const fresh = { ...plain, model: made_with };
        // The options may have changed while it was read: then the first text is read again, and this one with it.
        if (signal.aborted || !areAlike(first, fresh)) return null;
        const columns = alignedColumns(first, fresh);
        const found = await engine.compare(first.serial, fresh.serial, columns, targetsOf(first, columns), signal);
        return signal.aborted ? null : comparisonOf(first, fresh, columns, found);
      } catch (error) {
        if (signal.aborted || codeOf(error) === "aborted") return null;
        throw error;
      }
    },

    /** The second text is closed. */
    closeSecond() {
      second.abort();
      if (loaded) theEngine().closeSecond();
    },

    /** Starts over with a fresh engine and opens a model; where that fails, the bundled one. */
    async start(source: Source, how: How) {
      reading.abort();
      second.abort();
      loaded = false;
      if (!is_fresh) {
        engine?.close();
        engine = null;
      }
      const failure = await load(source, how);
      if (!failure) return;
      // Another engine may find the device well; the page counts the losses.
      if (failure.code === "device-lost") return on.ended(failure.message, failure.code);
      if (source.kind === "bundled" || NO_DEVICE.includes(failure.code))
        return on.failure(failure.code, failure.message, true);
      on.notOpened(failure, source, how);
      const fallback = await load({ kind: "bundled" }, how);
      if (fallback) on.failure(fallback.code, fallback.message, true);
    },

    /** Opens another model; should it fail, the one in use stays. */
    async open(source: Source, how: How) {
      if (opening) return;
      const had_one = loaded;
      const failure = await load(source, how);
      if (!failure) return;
      on.notOpened(failure, source, how);
      if (!had_one || loaded) return;
      if (ENDED.includes(failure.code)) on.ended(failure.message, failure.code);
      else on.failure(failure.code, failure.message, true);
    },

    cancel: () => opening?.abort(),

    isOpening: () => opening !== null,

    readNow,

    /** Reads once typing pauses. */
    readSoon(text: string) {
      wanted = text;
      clearTimeout(pause);
      pause = setTimeout(readNow, DEBOUNCE_MS, text);
    },

    /** Reads what is wanted once more, because the options have changed: the newest text, even if it still waits. */
    readAgain: async () => (wanted === null ? undefined : readNow(wanted)),

    engine: theEngine,

    /** The engine with a model, if there is one; none is started. */
    running: () => (loaded ? engine : null),

    /** Closes the engine, whatever it does: the next one may compute on something else. */
    close() {
      reading.abort();
      second.abort();
      engine?.close();
      [engine, is_fresh, loaded, opening] = [null, false, false, null];
    },
  };
}
