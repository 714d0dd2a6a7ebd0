/**
 * The atlas' questions to the engine. Each is asked once per model and its answer remembered; callers of the same
 * question share one job, which is cancelled when none of them waits any longer or the model changes.
 */
import { LoupeError } from "../engine/errors.ts";
import type { Engine } from "../engine/client.ts";
import type {
  AtlasAnswer,
  AtlasArguments,
  AtlasMethod,
  AtlasOptions,
  Causes,
  Tokens,
  Watch,
} from "../engine/protocol.ts";
import type { Facts } from "../lib/model.ts";

export type { Watch };
export type Channels = AtlasAnswer<"channels">;
export type Gains = AtlasAnswer<"gains">[number];
export type Circuits = AtlasAnswer<"circuits">;
export type Spectrum = AtlasAnswer<"spectrum">;
export type Components = AtlasAnswer<"components">;
export type Correlations = AtlasAnswer<"correlations">;
export type ZeroOptions = AtlasOptions<"zero_layer">;
export type ZeroLayer = AtlasAnswer<"zero_layer">;
export type Ranked = AtlasAnswer<"next_tokens">;
export type Vocabulary = Tokens & { startsWithSpace: (id: number) => boolean };
export type Queries = ReturnType<typeof createQueries>;

/** Answers beyond this many bytes push out the oldest ones. */
const MAX_BYTES = 192 << 20;
/** So many directions of the singular value decomposition are shown. */
export const N_DIRECTIONS = 16;
const SPACE = 0x20;

function bytesOf(value: unknown): number {
  if (ArrayBuffer.isView(value)) return value.byteLength;
  if (Array.isArray(value)) return value.reduce((sum: number, each) => sum + bytesOf(each), 0);
  return value && typeof value === "object" ? bytesOf(Object.values(value)) : 16;
}

const serials: WeakMap<object, number> = new WeakMap();
let n_serials = 0;
/** A number for each array. */
function serialOf(of: object) {
  const serial = serials.get(of) ?? ++n_serials;
  serials.set(of, serial);
  return serial;
}

const aborted = () => new LoupeError("aborted", "Cancelled.");

type Start<T> = (watch: Required<Watch>) => Promise<T>;

/** One question under way, or its answer. */
class Job<T> {
  readonly controller = new AbortController();
  readonly listeners = new Set<(progress: { done: number }) => void>();
  readonly answer: Promise<T>;
  waiting = 0;
  done = 0;
  bytes = 0;
  is_over = false;

  constructor(start: Start<T>) {
    this.answer = start({
      signal: this.controller.signal,
      onProgress: (progress) => {
        this.done = progress.done;
        this.listeners.forEach((listener) => listener(progress));
      },
    });
    this.answer.catch(() => {});
  }

  async wait({ signal, onProgress }: Watch): Promise<T> {
    if (signal?.aborted) throw aborted();
    this.waiting++;
    if (onProgress) this.listeners.add(onProgress);
    if (onProgress && this.done > 0) onProgress({ done: this.done });
    let stop: () => void = () => {};
    const stopped = new Promise<never>((_, reject) => {
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

export function createQueries(engine: () => Engine) {
  let facts: Facts = {};
  /** By question. */
  let jobs = new Map<string, Job<unknown>>();

  /** @param keeps whether the answer is remembered */
  function once<T>(key: string, start: Start<T>, watch: Watch = {}, keeps: boolean = true): Promise<T> {
    // Nobody would be there to stop it.
    if (watch.signal?.aborted) return Promise.reject(aborted());
    // A key stands for one question, so its job has that question's answer.
    let job = jobs.get(key) as Job<T> | undefined;
    if (!job || job.controller.signal.aborted) {
      const mine: Job<T> = (job = new Job(start));
      const of = jobs;
      of.set(key, mine);
      mine.answer.then(
        (answer) => {
          mine.is_over = true;
          mine.bytes = bytesOf(answer);
          if (!keeps && of.get(key) === mine) of.delete(key);
          trim(of);
        },
        () => {
          mine.is_over = true;
          if (of.get(key) === mine) of.delete(key);
        },
      );
    }
    return job.wait(watch);
  }

  function trim(of: Map<string, Job<unknown>>) {
    let bytes = [...of.values()].reduce((sum, job) => sum + job.bytes, 0);
    for (const [key, job] of of) {
      if (bytes <= MAX_BYTES) return;
      if (!job.is_over || job.waiting > 0) continue;
      of.delete(key);
      bytes -= job.bytes;
    }
  }

  /** @param key where the arguments are too long to be one */
  const atlas = <M extends AtlasMethod>(
    name: M,
    args: AtlasArguments<M>,
    options: AtlasOptions<M>,
    watch?: Watch,
    key: string = JSON.stringify([args, options]),
    keeps: boolean = true,
  ) =>
    once(
      `${name} ${key}`,
      ({ signal, onProgress }) => engine().atlas(name, args, options, { signal, onProgress }),
      watch,
      keeps,
    );

  const vocabulary = (): Promise<Vocabulary> =>
    once("vocabulary", async ({ signal }) => {
      const { shown, bytes, ends } = await engine().vocabulary(signal);
      return {
        shown,
        bytes,
        ends,
        startsWithSpace: (id: number) => {
          const from = id > 0 ? ends[id - 1] : 0;
          return from < ends[id] && bytes[from] === SPACE;
        },
      };
    });

  return {
    /** What the engine says of the model in use. */
    get facts() {
      return facts;
    },

    /** Whether the model has this: a file may hold only a part. */
    has: (what: "wte" | "wpe" | "norms") =>
      facts.partial !== true || (what === "norms" ? Number(facts.n_norms) > 0 : facts[`has_${what}`] === true),

    /** Another model: what was known of the last one is forgotten, what is under way cancelled. */
    model(now: Facts) {
      const before = jobs;
      [facts, jobs] = [now, new Map<string, Job<unknown>>()];
      for (const job of before.values()) job.controller.abort();
    },

    channels: (watch?: Watch): Promise<Channels> => atlas("channels", [], {}, watch),
    gains: (watch?: Watch): Promise<Gains[]> => atlas("gains", [], {}, watch),
    circuits: (watch?: Watch): Promise<Circuits> => atlas("circuits", [], {}, watch),
    norms: (watch?: Watch): Promise<Float32Array> => atlas("norms", [], {}, watch),
    channel: (c: number, watch?: Watch): Promise<Float32Array> => atlas("channel", [c], {}, watch),
    /** wpe, row by row. */
    positions: (watch?: Watch): Promise<Float32Array> => atlas("positions", [], {}, watch),
    /** Rows of wte, at most 4,096. Not remembered: all of them together would push out everything else. */
    rows: (ids: Uint32Array | number[], watch?: Watch): Promise<Float32Array> =>
      atlas("rows", [Uint32Array.from(ids)], {}, watch, Array.from(ids).join(), false),
    spectrum: (watch?: Watch): Promise<Spectrum> =>
      atlas("spectrum", [Math.min(N_DIRECTIONS, Number(facts.n_embd) || N_DIRECTIONS)], {}, watch),
    components: (n: number, iterations: number, watch?: Watch): Promise<Components> =>
      atlas("components", [n], { iterations }, watch),
    /** With numbers of one's own, which are told apart by their array. */
    correlations: (
      { channel, counts = null }: { channel: number; counts?: Uint32Array | Float64Array | null },
      watch?: Watch,
    ): Promise<Correlations> =>
      atlas("correlations", [], { channel, counts }, watch, `${channel} ${counts ? serialOf(counts) : ""}`),
    zero_layer: ({ norm = "none", position = null, step = 1 }: ZeroOptions, watch?: Watch): Promise<ZeroLayer> =>
      atlas("zero_layer", [], { norm, position, step }, watch),
    next_tokens: (
      id: number,
      {
        k = 20,
        norm = "none",
        position = null,
      }: { k?: number; norm?: "none" | "plain" | "affine"; position?: number | null } = {},
      watch?: Watch,
    ): Promise<Ranked> => atlas("next_tokens", [id], { k, norm, position }, watch),
    neighbours: (
      id: number,
      { k = 20, by = "cosine" }: { k?: number; by?: "cosine" | "dot" } = {},
      watch?: Watch,
    ): Promise<Ranked> => atlas("neighbours", [id], { k, by }, watch),
    /** A reading with other weights, which replaces the run of the tab Causes. */
    edited: (question: Causes["edit"][0], watch: Required<Watch>) => engine().causes("edit", question, watch),
    vocabulary,
    /** The tokens of a text. */
    encode: async (text: string): Promise<number[]> => Array.from(await engine().ids(text)),
    /** The same for a long text. */
    ids: (text: string): Promise<Uint32Array> => engine().ids(text),
  };
}
