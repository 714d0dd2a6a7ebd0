/** The main thread's side of the engine: one worker, calls that throw a LoupeError, jobs that can be cancelled. */
import * as Comlink from "comlink";
import worker_url from "../worker.ts?worker&url";
import { ENDED, LoupeError, valueOf } from "./errors.ts";
import { startWorker } from "./start-worker.ts";
import type { Outcome } from "./errors.ts";
import type { Asked, Part, PlainReading, Token, Track } from "../reading/reading.ts";
import type { Divergences } from "../reading/comparison.ts";
import type {
  AtlasAnswer,
  AtlasArguments,
  AtlasMethod,
  AtlasOptions,
  Causes,
  CausesMethod,
  Evidence,
  EvidenceMethod,
  EvidenceProgress,
  Checked,
  EngineApi,
  Hub,
  Kept,
  Plan,
  Progress,
  Refusal,
  Settings,
  Step,
} from "./protocol.ts";
import type { Address, ModelInUse, Source } from "../lib/model.ts";

export type Engine = ReturnType<typeof startEngine>;

/** How the message of a crash begins, in src/web/guard.js. */
const CRASHED = "The engine crashed";

/** Where downloads come from is said once, in index.html. */
function hubOfPage(): Hub {
  const meta = document.querySelector<HTMLMetaElement>('meta[name="loupe-hub"]');
  return {
    base: (meta?.content ?? "https://huggingface.co").replace(/\/+$/, ""),
    retry_ms: Number(meta?.dataset.retryMs ?? 1000),
    stall_ms: Number(meta?.dataset.stallMs ?? 60_000),
  };
}

/**
 * Starts a worker. It holds no model yet; `load` fills it, `close` ends it.
 * @param how what it computes on, and what was measured of that
 * @param onEnd called once when the engine in the worker has crashed or lost its device: every call of it fails from then on
 */
export function startEngine(
  how: Pick<Settings, "device" | "tuning">,
  onEnd: (message: string, code: string) => void = () => {},
) {
  const worker = startWorker(new URL(worker_url, document.baseURI).href);
  const remote: Comlink.Remote<EngineApi> = Comlink.wrap(worker);
  /** How every call that waits for an answer is rejected. */
  const waiting: Set<(error: LoupeError) => void> = new Set();
  /** Why the worker answers no more. */
  let dead: LoupeError | null = null;
  function die(error: LoupeError) {
    dead ??= error;
    for (const reject of waiting) reject(error);
    waiting.clear();
  }
  let has_ended = false;
  function end(message: string, code: string) {
    if (has_ended || dead) return;
    has_ended = true;
    // Answers that are still on their way are lost with the worker.
    die(new LoupeError(code, message));
    onEnd(message, code);
  }
  let has_answered = false;
  // A worker whose script cannot be loaded answers nothing; the event has no message then. What throws later leaves the
  // worker in an unknown state, as a crash of the engine does.
  worker.addEventListener("error", ({ message = "" }) => {
    const words = `The engine's worker stopped: ${message || "its script could not be loaded"}`;
    if (message.includes(CRASHED)) end(message, "crashed");
    else if (has_answered) end(words, "crashed");
    else die(new LoupeError("unexpected", words));
  });

  async function answer<T>(call: Promise<Outcome<T>>): Promise<T> {
    // A promise of its own for each call: one that is raced with all of them would keep every answer.
    const outcome = await new Promise<Outcome<T>>((resolve, reject) => {
      if (dead) return reject(dead);
      const settled = () => waiting.delete(reject);
      waiting.add(reject);
      call.then(resolve, reject).finally(settled);
    });
    has_answered = true;
    if (!outcome.ok && ENDED.includes(outcome.code)) end(outcome.message, outcome.code);
    return valueOf(outcome);
  }
  let n_jobs = 0;

  async function cancellable<T>(signal: AbortSignal, start: (job: number) => Promise<Outcome<T>>): Promise<T> {
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

  void remote.begin(
    {
      engine_url: new URL("loupe/loupe.js", document.baseURI).href,
      bundled_url: new URL("models/tales/", document.baseURI).href,
      ...how,
      hub: hubOfPage(),
    },
    Comlink.proxy((message) => end(message, "device-lost")),
  );

  return {
    load: (
      source: Source,
      {
        precision,
        keep,
        signal,
        onStep,
      }: { precision: "f16" | "f32"; keep: boolean; signal: AbortSignal; onStep: (step: Step) => void },
    ): Promise<ModelInUse & { refusal: Refusal | null }> =>
      cancellable(signal, (job) => remote.load(job, source, { precision, keep }, Comlink.proxy(onStep))),

    /** The model in use, if there is one. */
    current: (): Promise<ModelInUse | null> => answer(remote.current()),

    plan: (config: string, { precision, trial }: { precision: "f16" | "f32"; trial: boolean }): Promise<Plan> =>
      answer(remote.plan(config, precision, trial)),

    /** Compares the GPU with the CPU; any other job stops it. */
    check: (signal: AbortSignal): Promise<Checked> => cancellable(signal, (job) => remote.check(job)),

    lookUp: (address: Address, { signal, onStep }: { signal: AbortSignal; onStep: (step: Step) => void }) =>
      cancellable(signal, (job) => remote.lookUp(job, address, Comlink.proxy(onStep))),

    list: (): Promise<Kept[]> => answer(remote.list()),

    remove: (key: string): Promise<void> => answer(remote.remove(key)),

    read: (
      text: string,
      {
        asked,
        part,
        track,
        is_second,
        signal,
        onBlock,
      }: {
        asked: Asked;
        part: Part;
        track: number[];
        is_second: boolean;
        signal: AbortSignal;
        onBlock: (end: number) => void;
      },
    ): Promise<PlainReading> =>
      cancellable(signal, (job) => remote.read(job, text, { asked, part, track, is_second }, Comlink.proxy(onBlock))),

    trace: (
      serial: number,
      ids: number[],
      line: { position: number } | { tap: number },
      signal: AbortSignal,
    ): Promise<Track[]> => cancellable(signal, (job) => remote.trace(job, serial, ids, line)),

    /** How two readings differ, by their serials. */
    compare: (
      first: number,
      second: number,
      columns: [number, number][],
      targets: Uint32Array[],
      signal: AbortSignal,
    ): Promise<Divergences> => cancellable(signal, (job) => remote.compare(job, first, second, columns, targets)),

    /** The second text's reading is no longer needed. */
    closeSecond: () => void remote.closeSecond(),

    norms: (ids: number[]): Promise<number[]> =>
      cancellable(new AbortController().signal, (job) => remote.norms(job, ids)),

    /** Asks the engine's atlas: a method, its arguments before the options, and the options. */
    atlas: <M extends AtlasMethod>(
      method: M,
      before: AtlasArguments<M>,
      options: AtlasOptions<M>,
      { signal, onProgress }: { signal: AbortSignal; onProgress: (progress: Progress) => void },
    ): Promise<AtlasAnswer<M>> => {
      // Comlink's types of a remote call lose the type parameter.
      const ask = remote.atlas as unknown as EngineApi["atlas"];
      return cancellable(signal, (job) => ask(job, method, before, options, Comlink.proxy(onProgress)));
    },

    /** A question of the tab of causes. */
    causes: <M extends CausesMethod>(
      method: M,
      question: Causes[M][0],
      { signal, onProgress = () => {} }: { signal: AbortSignal; onProgress?: (progress: Progress) => void },
    ): Promise<Causes[M][1]> => {
      const ask = remote.causes as unknown as EngineApi["causes"];
      return cancellable(signal, (job) => ask(job, method, question, Comlink.proxy(onProgress)));
    },

    /** A question of the tab of evidence. */
    evidence: <M extends EvidenceMethod>(
      method: M,
      question: Evidence[M][0],
      { signal, onProgress = () => {} }: { signal: AbortSignal; onProgress?: (progress: EvidenceProgress) => void },
    ): Promise<Evidence[M][1]> => {
      const ask = remote.evidence as unknown as EngineApi["evidence"];
      return cancellable(signal, (job) => ask(job, method, question, Comlink.proxy(onProgress)));
    },

    /** Every token of the model in use. */
    vocabulary: (signal: AbortSignal) => cancellable(signal, (job) => remote.vocabulary(job)),

    tokens: (ids: number[]): Promise<Token[]> => answer(remote.tokens(ids)),

    encode: (text: string): Promise<Token[]> => answer(remote.encode(text)),

    ids: (text: string): Promise<Uint32Array> => answer(remote.ids(text)),

    /** Ends the worker; whatever is still asked of it fails. */
    close() {
      worker.terminate();
      die(new LoupeError("aborted", "The engine was closed."));
    },
  };
}
