/** What crosses between the page and the worker: plain data, and the calls of the worker. Types only. */
import type {
  Atlas,
  Attribution,
  Check,
  CorpusPart,
  LayerNormGains,
  LensCard,
  Plan,
  SetScores,
  Sweep,
  SweepOptions,
  Watch,
} from "../../src/web/types.d.ts";
import type { Address, DeviceChoice, ModelInUse, Precision, Source } from "../lib/model.ts";
import type { Divergences } from "../reading/comparison.ts";
import type { Steps } from "../reading/depth.ts";
import type { PageEdit } from "../reading/edits.ts";
import type { Asked, Part, PlainReading, Token, Track } from "../reading/reading.ts";
import type { Outcome } from "./errors.ts";

export type { Check, CorpusPart, LayerNormGains, LensCard, Plan, Watch };

/** What came of a comparison with a stored reading. */
export interface StoredCheck {
  /** who made it */
  source: string;
  /** how many numbers were compared */
  numbers: number;
  /** the largest difference, in nats */
  largest: number;
}

/**
 * What a check found; `stored` is null for a model other than the bundled one, and a text says why the comparison could
 * not be made.
 */
export type Checked = Check & { stored: StoredCheck | string | null };

/** The hub that models are downloaded from. */
export interface Hub {
  /** its address, without a slash at the end */
  base: string;
  /** the first wait before another attempt */
  retry_ms: number;
  /** how long no byte may come */
  stall_ms: number;
}

/** Where things are. */
export interface Settings {
  engine_url: string;
  bundled_url: string;
  device: DeviceChoice;
  /** what was measured on an adapter of that name */
  tuning: { adapter: string; tuning: string } | null;
  hub: Hub;
}

/** How an opening goes on, for the bar. */
export type Step =
  | { step: "look-up" }
  | { step: "load"; verb: string; name: string; received: number; total: number | null; tensor: string }
  | { step: "wait"; ms: number; reason: string }
  | { step: "prepare"; name: string };

/** Why a loaded model is not kept: the platform's name for it, and its words. */
export type Refusal = { name: string; message: string };

export interface HubOrigin extends Address {
  kind: "hub";
  commit: string | null;
  /** of the weights, where there is no commit */
  etags: (string | null)[];
}

export type FilesOrigin = { kind: "files"; names: string[] };

/** What about.json of a kept model says. */
export interface About {
  version: 1;
  state: "partial" | "whole";
  name: string;
  source: HubOrigin | FilesOrigin;
  precision: Precision;
  parameters: number;
  /** of the files that it is made from */
  source_bytes: number | null;
  /** of the kept weights: planned while partial */
  bytes: number;
  /** of the kept weights' data, once whole */
  sha256: string | null;
  /** ISO date */
  changed_at: string;
}

/** `bytes`: on the disk now. */
export type Kept = { key: string; about: About; config: string | null; bytes: number };

/** What the hub has of a model. */
export interface Found extends Address {
  config: string;
  bytes: number | null;
  n_files: number;
  format: string;
}

export type Line = { position: number } | { tap: number };

export type Progress = { done: number };

/** A method of the engine's atlas. */
export type AtlasMethod = Exclude<keyof Atlas, "free">;

/** How the caller follows and stops a call of the atlas; the page passes both on its own ways. */
type Watched = "signal" | "onProgress";

/** The arguments of a method before its options. */
export type AtlasArguments<M extends AtlasMethod> =
  Required<Parameters<Atlas[M]>> extends [...infer Before, unknown] ? Before : never;

/** The options of a method, without what watches it. */
export type AtlasOptions<M extends AtlasMethod> =
  Required<Parameters<Atlas[M]>> extends [...unknown[], infer Options] ? Omit<Options, Watched> : never;

export type AtlasAnswer<M extends AtlasMethod> = Awaited<ReturnType<Atlas[M]>>;

/** Every token of a model: as it is shown, and its bytes, one after the other; `ends` says where each one ends. */
export type Tokens = { shown: string[]; bytes: Uint8Array; ends: Uint32Array };

/** A cell, and one token or two, of a reading that is still there. */
export type CellQuestion = { serial: number; tap: string; position: number; tokens: number[] };

/**
 * Questions of the tab of causes, and what answers them. Readings are named by their serials; one that is no longer
 * there is `aborted`.
 */
export interface Causes {
  /**
   * Runs a text again with edits. `role`: the run that is shown, or the one that it is compared with; each replaces the
   * one before. `texts`: the serials of both texts' readings.
   */
  edit: [
    {
      role: "edited" | "against";
      base: number;
      texts: { a: number; b: number | null };
      edits: PageEdit[];
      track: number[];
      asked: Asked;
    },
    PlainReading,
  ];
  /** A run that is no longer looked at. */
  close: [{ role: "edited" | "against" }, null];
  attribute: [CellQuestion, Attribution];
  /** The weights with which each head of a block attends to each position up to this one. [H·(position + 1)] */
  attention: [{ serial: number; block: number; position: number }, Float32Array];
  /** What each head of a block adds at a cell from each position. [H·(position + 1)] */
  sources: [CellQuestion & { block: number }, Float32Array];
  /** What each hidden unit of a block's MLP adds at a cell. [n_inner] */
  neurons: [CellQuestion & { block: number }, Float32Array];
  /** The tokens that a component raises and lowers most. */
  promoted: [
    { serial: number; tap: string; position: number; component: string },
    { promoted: TokenValue[]; suppressed: TokenValue[] },
  ];
  /**
   * Random tokens, twice the same `n`: how much each head attends, from the second time, to the token behind the first
   * time, and to the token before. [L·H] each
   */
  induction: [{ n: number; seed: number }, { induction: Float32Array; previous: Float32Array }];
  /**
   * The log-probabilities of the true next tokens with other keys and values of earlier positions, for each first block
   * and each alpha: with the true next tokens, and with random ones. [T − 1] each
   */
  memory: [
    { serial: number; firsts: number[]; alphas: number[]; seed: number },
    { own: Float32Array; runs: { first: number; alpha: number; truth: Float32Array; control: Float32Array }[] },
  ];
  /** Sets of tokens at every cell. [N·T] each */
  sets: [{ serial: number; sets: Uint32Array[] }, SetScores[]];
  sweep: [{ clean: number; corrupt: number } & Pick<SweepOptions, "what" | "direction" | "metric">, Sweep];
}
export type CausesMethod = keyof Causes;
export type TokenValue = { id: number; shown: string; value: number };

/** A lens that is open, or a probe. */
export type LensEntry = { name: string; card: LensCard; /** tells it from others, also of the same name */ id: string };

/** Texts that a person gave, and files that are read where they are. */
type Texts = { texts: string[]; files: Blob[] };

/** Windows of a corpus, by the loss of its last row: the hardest first, and the easiest first. */
export type Extremes = { hardest: CorpusPart["last"][]; easiest: CorpusPart["last"][] };

/** What a long question reports: its share, which is NaN where nobody knows it, and what a corpus has so far. */
export type EvidenceProgress = Progress & {
  part?: CorpusPart;
  extremes?: Extremes;
  /** of the texts, taken so far */ bytes?: number;
};

/** Questions of the tab of evidence, and what answers them. A lens is named; "" or null is the logit lens. */
export interface Evidence {
  open: [{ name: string; file: Blob; config: string | null; kind: "tuned" | "jacobian" | "affine" | null }, LensEntry];
  /** From the hub. `path`: the address without that of the hub. */
  download: [
    { name: string; path: string; sha256: string | null; licence: string; kind: "tuned" | "jacobian" },
    LensEntry,
  ];
  fit: [Texts & { name: string; target: "final" | "input"; held_out: number; refine: number }, LensEntry];
  close: [{ name: string }, null];
  /** A safetensors file. */
  export: [{ name: string }, Uint8Array];
  /** The text of a reading under two lenses. [N·T] each */
  difference: [
    { serial: number; a: string; b: string; norm: Asked["norm"] },
    {
      taps: string[];
      tokens: Token[];
      kl: Float32Array;
      kl_reverse: Float32Array;
      js: Float32Array;
      agrees: Uint8Array;
    },
  ];
  /**
   * What of the input a text's rows keep: the rank of the true token by the probe's distance (null without a probe), the
   * distance from what each token says alone, the same of other tokens, and how the stream changes from row to row. [N·T]
   */
  kept: [
    { serial: number; probe: string | null; seed: number },
    {
      taps: string[];
      recovered: Float32Array | null;
      alone: Float32Array;
      control: Float32Array;
      /** the tokens of the control */
      control_ids: Uint32Array;
      steps: Steps;
    },
  ];
  /** Sums over windows; `onProgress` has them as they grow. `limit`: windows after which it stops. */
  corpus: [
    Texts & {
      window: number;
      stride: number;
      lens: string;
      edits: object[];
      classes: Uint8Array | undefined;
      state: string | null;
      limit: number | null;
      /** of the windows before */
      before: Extremes;
    },
    { part: CorpusPart | null; extremes: Extremes },
  ];
  /** The tokens of a window. */
  window: [Texts & { text: number; start: number; n: number }, Token[]];
}
export type EvidenceMethod = keyof Evidence;

type Answer<T> = Promise<Outcome<T>>;

/** The calls of the worker. `job` is the page's number for a call, for `cancel`. */
export interface EngineApi {
  /** Says where things are, and starts the engine; `onLost` is called when its device is lost. */
  begin(settings: Settings, onLost: (message: string) => void): void;
  /** Opens a model. If that fails, the one in use stays, or is opened again if it was released. */
  load(
    job: number,
    source: Source,
    how: { precision: Precision; keep: boolean },
    onStep: (step: Step) => void,
  ): Answer<ModelInUse & { refusal: Refusal | null }>;
  current(): Answer<ModelInUse | null>;
  /** What a model costs. */
  plan(config: string, precision: Precision, trial: boolean): Answer<Plan>;
  /**
   * Compares the GPU with the CPU, and a reading of the bundled model with a stored one. Any other job stops it: then
   * it is `aborted`.
   */
  check(job: number): Answer<Checked>;
  lookUp(job: number, address: Address, onStep: (step: Step) => void): Answer<Found>;
  /** What is kept in this browser. */
  list(): Answer<Kept[]>;
  remove(key: string): Answer<void>;
  /**
   * Reads a text, or for a model without a tokenizer the ids that it lists; `onBlock` is called with the number of
   * positions read so far.
   */
  read(
    job: number,
    text: string,
    options: { asked: Asked; part: Part; track: number[]; is_second: boolean },
    onBlock: (end: number) => void,
  ): Answer<PlainReading>;
  /** Follows tokens along one position or one row of a reading; one that is no longer there is `aborted`. */
  trace(job: number, serial: number, ids: number[], line: Line): Answer<Track[]>;
  /** How two readings differ; one that is no longer there is `aborted`. */
  compare(
    job: number,
    first: number,
    second: number,
    columns: [number, number][],
    targets: Uint32Array[],
  ): Answer<Divergences>;
  /** The second text is closed. */
  closeSecond(): void;
  /** The length of each of these tokens' embedding. */
  norms(job: number, ids: number[]): Answer<number[]>;
  /** A question to the atlas. */
  atlas<M extends AtlasMethod>(
    job: number,
    method: M,
    before: AtlasArguments<M>,
    options: AtlasOptions<M>,
    onProgress: (progress: Progress) => void,
  ): Answer<AtlasAnswer<M>>;
  /** A question of the tab of causes. */
  causes<M extends CausesMethod>(
    job: number,
    method: M,
    question: Causes[M][0],
    onProgress: (progress: Progress) => void,
  ): Answer<Causes[M][1]>;
  /** A question of the tab of evidence. */
  evidence<M extends EvidenceMethod>(
    job: number,
    method: M,
    question: Evidence[M][0],
    onProgress: (progress: EvidenceProgress) => void,
  ): Answer<Evidence[M][1]>;
  vocabulary(job: number): Answer<Tokens>;
  tokens(ids: number[]): Answer<Token[]>;
  /** The tokens of a text. */
  encode(text: string): Answer<Token[]>;
  /** The ids of a text's tokens, and nothing else of them. */
  ids(text: string): Answer<Uint32Array>;
  /** Stops a job; one that is already over is no longer known, which is fine. */
  cancel(job: number): void;
}
