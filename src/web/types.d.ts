/** Every failure: branch on `code`, show `message`. */
export interface LoupeError extends Error {
  name: "LoupeError";
  code:
    | "no-webgpu" | "no-adapter" | "device-lost" | "out-of-memory"
    | "bad-config" | "unsupported-model" | "bad-header" | "missing-tensor" | "bad-shape" | "bad-dtype" | "truncated"
    | "bad-tokenizer" | "no-tokenizer" | "empty" | "bad-text" | "too-long" | "bad-token" | "bad-option"
    | "network" | "not-found" | "corrupt" | "aborted";
  /** With `too-long`: tokens of the text. */
  n_tokens?: number;
  /** With `too-long`: tokens that fit. */
  n_ctx?: number;
}

export interface Token {
  id: number;
  /** The token's bytes as text; bytes that are no UTF-8 by themselves become U+FFFD. */
  text: string;
  bytes: Uint8Array;
  /** A form in which nothing is invisible: "␣the", "↵", "‹E2 80›"; "#id" without a tokenizer. */
  shown: string;
}

/** Of a part of a model, null is what neither its tensors nor a config tell. */
export interface Model {
  family: string | null;
  n_layer: number;
  n_head: number | null;
  n_embd: number;
  n_ctx: number | null;
  vocab_size: number | null;
  parameters: number | null;
  /** Whether only a part was loaded (see LoadOptions.partial): the atlas shows what there is, and nothing can be read. */
  partial: boolean;
  has_wte: boolean;
  has_wpe: boolean;
  /** LayerNorms that are there, 2·n_layer + 1 of a whole model. */
  n_norms: number;
  precision: "f16" | "f32";
  /** Bytes of the weights on the GPU. */
  gpu_bytes: number;
  /** Tensors of the files that the model has no use for. */
  extra_tensors: string[];
}

export interface Adapter {
  vendor: string;
  architecture: string;
  device: string;
  description: string;
  /** Whether it is a software adapter. */
  fallback: boolean;
  limits: Record<string, number>;
}

export interface Progress {
  /** Bytes of the files, those of an earlier load included. */
  received: number;
  /** Bytes of all files, null while unknown. */
  total: number | null;
  /** The tensor that is coming in. */
  tensor: string;
}

/** A file of weights that can be opened at any byte, and that is held to its digest. */
export interface WeightsSource {
  /**
   * The bytes from `from` to the end. Called with 0, and once more where an earlier load left off. The pieces are
   * taken over: once read, their buffers are given back (detached).
   */
  open(from: number): ReadableStream<Uint8Array> | Promise<ReadableStream<Uint8Array>>;
  /** SHA-256 of the whole file, 64 hexadecimal digits; another one is `corrupt`. */
  sha256?: string | null;
}

/** A place that keeps bytes: `FileSystemSyncAccessHandle` is one. */
export interface Keep {
  read(into: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  getSize(): number;
  truncate(bytes: number): void;
  flush(): void;
}

export interface LoadOptions {
  /** Text of config.json; only `partial` can do without. */
  config?: string | null;
  /**
   * Text of tokenizer.json, or those of vocab.json and merges.txt, as CTRL and older models have them; or null: then
   * read() takes ids only.
   */
  tokenizer?: string | { vocab: string; merges: string } | null;
  /** One model.safetensors, or its shards. */
  weights: ReadableStream<Uint8Array> | WeightsSource | (ReadableStream<Uint8Array> | WeightsSource)[];
  /** How 2-D weights are stored on the GPU; "f16" by default. */
  precision?: "f16" | "f32";
  /** Bytes of all files, if known; one file tells by itself. */
  total?: number;
  /**
   * Where to keep the model while it comes in: a standard safetensors file in the stored precision, valid and
   * verified once `load` says so. If it holds the beginning that an earlier load of the same files left, and
   * every source can be opened at any byte, its tensors are not downloaded again.
   */
  keep?: Keep | null;
  /**
   * For the atlas only: takes of the files what there is of wte, wpe and the LayerNorms, and needs no config. What asks
   * for an absent tensor is `missing-tensor`. Not with `keep`.
   */
  partial?: boolean;
  /**
   * Let go of the model in use if there is no room for both; otherwise that is `out-of-memory`. Not for `partial`,
   * whose room is known only when it comes.
   */
  release?: boolean;
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
}

/** What became of the copy that was to be kept; both null if there was to be none. */
export interface Keeping {
  kept: { bytes: number; sha256: string } | null;
  /** Why it was not kept, e.g. "QuotaExceededError"; the model is loaded all the same. */
  keep_error: { name: string; message: string } | null;
}

export interface PlanOptions {
  config: string;
  precision?: "f16" | "f32";
  /** Whether to try it out: to take the room on the GPU and give it back. */
  trial?: boolean;
}

/** What a model takes. */
export interface Plan {
  family: string;
  n_layer: number;
  n_head: number;
  n_embd: number;
  n_ctx: number;
  vocab_size: number;
  parameters: number;
  /** A single-precision file with its masks, as Hugging Face publishes GPT-2. */
  file_bytes: number;
  /** A kept copy, in this precision. */
  kept_bytes: number;
  /** The weights on the GPU. */
  gpu_bytes: number;
  /** null: not tried. */
  fits: boolean | null;
  /** Why it does not. */
  problem: string | null;
}

export interface ReadOptions {
  /** "affine" (default): ln_f by the row's own statistics; "plain": without gain and bias; "none". */
  norm?: "affine" | "plain" | "none";
  /** Rows between the halves of each block as well: "h.0.attn" is the stream after block 0's attention. */
  subblocks?: boolean;
  /** Instead of the stream, what each half adds to it: "h.0.attn_out", "h.0.mlp_out", …; then the final row. */
  contributions?: boolean;
  /**
   * Parts of the model that belong to the decoder, in the model's order: "h.11", "h.11.attn", "h.11.mlp". Every row
   * runs through them before norm and unembedding; rows that already have them are left out.
   */
  decoder?: string[];
  /** Tokens listed per cell, 1 to 20; 10 by default. */
  top_k?: number;
  /** At most 64 token ids to follow at every cell. */
  track?: number[] | Uint32Array;
  signal?: AbortSignal;
  /** A finished block of positions [start, end). Its reading cannot trace. */
  onBlock?: (block: { start: number; end: number; reading: Reading }) => void;
}

/** Natural logarithms, so nats; rank 1 is best; README.md says what each means. */
export type Statistic =
  | "logsumexp" | "entropy" | "logit_final" | "prob_final" | "rank_final"
  | "logprob_input" | "rank_input" | "logprob_next" | "rank_next"
  | "kl_final" | "kl_final_reverse" | "kl_input" | "kl_input_reverse";

export interface Track {
  id: number;
  logit: Float32Array;
  logprob: Float32Array;
  rank: Float32Array;
}

/** Every array is tap-major: (tap, position) is at tap * n_tokens + position. */
export class Reading {
  private constructor();
  readonly tokens: Token[];
  /** "input", then "h.0", …: h.i is the output of block i. */
  readonly taps: string[];
  readonly n_tokens: number;
  readonly top_k: number;
  /** Whether the last row is the model's own output under this norm. */
  readonly final_is_model: boolean;
  stat(name: Statistic): Float32Array;
  /** [N·T·K], best first. */
  readonly top_ids: Uint32Array;
  readonly top_logits: Float32Array;
  /** The distinct tokens of top_ids, by rising id. */
  readonly top_tokens: Token[];
  tracked(id: number): Track;
  /** Any tokens at one position over the taps, or at one tap over the positions, without a second pass. */
  trace(
    ids: number[] | Uint32Array,
    line: ({ position: number } | { tap: number }) & { signal?: AbortSignal },
  ): Promise<Track[]>;
  free(): void;
}

/** How a long call is watched and stopped. Readings go on between its steps. */
export interface Watch {
  signal?: AbortSignal;
  /** How much is done, 0 to 1. */
  onProgress?: (progress: { done: number }) => void;
}

export interface LayerNormGains {
  /** "h.0.ln_1", "h.0.ln_2", …, "ln_f". */
  name: string;
  weight: Float32Array;
  bias: Float32Array;
}

/** The weights by themselves; standard deviations are population ones. */
export class Atlas {
  private constructor();
  /** [C] each; of a part of a model, empty where the embedding is absent. */
  channels(watch?: Watch): Promise<{ wte_mean: Float32Array; wte_std: Float32Array; wpe_mean: Float32Array; wpe_std: Float32Array }>;
  /** In the order of the pass, ln_f last. */
  gains(watch?: Watch): Promise<LayerNormGains[]>;
  /** Length of each token's embedding. [V] */
  norms(watch?: Watch): Promise<Float32Array>;
  /** That channel of wte. [V] */
  channel(channel: number, watch?: Watch): Promise<Float32Array>;
  /** The embeddings of at most 4,096 tokens. [n·C] */
  rows(ids: number[] | Uint32Array, watch?: Watch): Promise<Float32Array>;
  /** wpe. [n_ctx·C] */
  positions(watch?: Watch): Promise<Float32Array>;
  /** Solved once for a model, then kept. Uncentred SVD of wte: singular values [C], directions [n·C], wte · directionᵀ [n·V], cosine with the mean [n]. */
  spectrum(n: number, watch?: Watch): Promise<{
    singular_values: Float32Array; directions: Float32Array; tokens: Float32Array; cosine_with_mean: Float32Array;
  }>;
  /** [m·m] each, row by row: the channel, the length, svd 0, the token id, and the counts [V] (any numbers) if they are given. */
  correlations(options: { channel: number; counts?: number[] | Uint32Array | Float32Array | Float64Array | null } & Watch): Promise<{ names: string[]; pearson: number[]; spearman: number[] }>;
  /** The arg-max of every token's row of wte·wteᵀ; behind wpe and ln_f if asked. [V], or every step-th token. */
  zero_layer(options?: { norm?: "affine" | "plain" | "none"; position?: number | null; step?: number } & Watch): Promise<{
    argmax: Uint32Array; logit: Float32Array; self_logit: Float32Array;
  }>;
  /** The k largest logits of the same for one token; k is 20 by default. */
  next_tokens(id: number, options?: { k?: number; norm?: "affine" | "plain" | "none"; position?: number | null } & Watch): Promise<{
    ids: Uint32Array; values: Float32Array;
  }>;
  /** The nearest tokens, itself included; k is 20 by default. */
  neighbours(id: number, options?: { k?: number; by?: "cosine" | "dot" } & Watch): Promise<{ ids: Uint32Array; values: Float32Array }>;
  free(): void;
}

/** One device with at most one model, and for a moment two. Calls that need the device run one after the other, in the order they came; long ones of the atlas let others go first between their steps. */
export class Loupe {
  private constructor();
  static open(): Promise<Loupe>;
  readonly adapter: Adapter;
  /** undefined before the first load, and while a load that the old model made way for has not ended. */
  readonly model: Model | undefined;
  /** Readings of the model in use go on meanwhile; it stays if this fails (but see `release`). */
  load(options: LoadOptions): Promise<Keeping>;
  /** What a model of this config takes, and whether there is room for it beside the one in use. */
  plan(options: PlanOptions): Promise<Plan>;
  /** What the weights of the model in use say by themselves. */
  atlas(): Atlas;
  encode(text: string): Uint32Array;
  token(id: number): Token;
  read(textOrIds: string | number[] | Uint32Array, options?: ReadOptions): Promise<Reading>;
  free(): void;
}
