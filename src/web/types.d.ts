/**
 * Every failure of the engine: branch on `code`, show `message`. What a source's `open()` or a callback throws rejects the promise
 * unchanged; a stream that fails is `network`, unless its error is a LoupeError.
 *
 * - `no-webgpu`: the browser has no WebGPU. `no-adapter`: no adapter offers WebGPU's default limits. Both only with `device: "gpu"`.
 * - `device-lost`: the GPU or its driver stopped; open a new Loupe. `crashed`: the wasm trapped, and every call of the module fails;
 *   open a new engine in a fresh worker, or reload the page.
 * - `gpu-refused`: the device or its driver refused a shader or a command of this call.
 * - `out-of-memory`: the device has too little memory, or the results of a reading would exceed 512 MiB.
 * - `bad-config`, `bad-tokenizer`, `bad-option`: a value is not what was expected. `unsupported-model`: Loupe does not run such a model.
 * - `bad-header`: not a valid file of weights. `missing-tensor`: the files, or the partial model, lack a tensor, or the files are too
 *   short for the config. `bad-shape`: a tensor has another shape than the config says. `bad-dtype`: an element type other than F32,
 *   F16 or BF16, or a value beyond f16. `truncated`: a file ended early. `corrupt`: a digest differs, or a weight is not finite.
 * - `no-tokenizer`: a text was given without a tokenizer. `empty`: no tokens. `bad-text`: a lone surrogate. `too-long`: more tokens than
 *   n_ctx. `bad-token`: an id outside the vocabulary.
 * - `network`: a download failed. `not-found`: no model is loaded, the model was replaced, or the object was freed. `aborted`: cancelled.
 */
export interface LoupeError extends Error {
  name: "LoupeError";
  code:
    | "no-webgpu"
    | "no-adapter"
    | "device-lost"
    | "gpu-refused"
    | "out-of-memory"
    | "crashed"
    | "bad-config"
    | "unsupported-model"
    | "bad-header"
    | "missing-tensor"
    | "bad-shape"
    | "bad-dtype"
    | "truncated"
    | "bad-tokenizer"
    | "no-tokenizer"
    | "empty"
    | "bad-text"
    | "too-long"
    | "bad-token"
    | "bad-option"
    | "network"
    | "not-found"
    | "corrupt"
    | "aborted";
  /** With `too-long`: tokens of the text. */
  n_tokens?: number;
  /** With `too-long`: tokens that fit. */
  n_ctx?: number;
}

export interface Token {
  id: number;
  /** The token's bytes as text; bytes that are not UTF-8 by themselves become U+FFFD. */
  text: string;
  bytes: Uint8Array;
  /** A form in which every character is visible: "␣the", "↵", "‹E2 80›"; "#id" without a tokenizer. */
  shown: string;
}

/** Of a partial model, a value that neither its tensors nor a config give is null. */
export interface Model {
  family: string | null;
  n_layer: number;
  n_head: number | null;
  n_embd: number;
  n_ctx: number | null;
  vocab_size: number | null;
  parameters: number | null;
  /** Whether the model is partial (see LoadOptions.partial): the atlas shows what it has, and no text can be read. */
  partial: boolean;
  has_wte: boolean;
  has_wpe: boolean;
  /** Number of LayerNorms; 2·n_layer + 1 of a whole model. */
  n_norms: number;
  precision: "f16" | "f32";
  /** Bytes of the weights on the GPU. */
  gpu_bytes: number;
  /** Tensors of the files that the model does not use. */
  extra_tensors: string[];
}

export interface OpenOptions {
  /**
   * What to compute on. `auto`, the default, takes a GPU, or the CPU where there is none or only one in software; `gpu` takes that too.
   * The CPU uses the thread of the caller and hands it back every 30 ms.
   */
  device?: "auto" | "gpu" | "cpu";
}

export interface Adapter {
  backend: "webgpu" | "cpu";
  /** Why it is the CPU; empty for a GPU. */
  why: string;
  vendor: string;
  architecture: string;
  device: string;
  description: string;
  /** Whether it is a software adapter. */
  fallback: boolean;
  /** Some limits of the adapter, for information: the device is opened with WebGPU's default limits, and those decide which models fit. */
  limits: Record<string, number>;
}

/** Positions of a block on their way to another engine; plain data, whose arrays can be transferred. */
export interface Share {
  rows: Float32Array;
  n_taps: number;
  n: number;
  targets: Uint32Array;
  top_k: number;
  norm: string;
}

/** What comes back of them. */
export interface Folded {
  merged: Float32Array;
  target_logits: Float32Array;
  top: Float32Array;
}

/** What a check found. A difference is relative to the numbers themselves or, where they are small, to their root mean square. */
export interface Check {
  /** Whether no difference exceeds 0.001. */
  passed: boolean;
  /** The largest difference. */
  largest: number;
  /**
   * Empty for a CPU. Times are of all dispatches of the kernel: on the GPU each with its round trip, on the CPU only of
   * the part of them that was repeated.
   */
  kernels: {
    kernel: string;
    dispatches: number;
    numbers: number;
    difference: number;
    is_wrong: boolean;
    gpu_ms: number;
    cpu_ms: number;
  }[];
}

export interface Progress {
  /** Bytes received of the files, including those of an earlier load. */
  received: number;
  /** Bytes of all files, null while unknown. */
  total: number | null;
  /** The tensor that is being received. */
  tensor: string;
}

/** A file of weights that can be opened at any byte, and that is verified against its digest if that is known. */
export interface WeightsSource {
  /**
   * The bytes from `from` to the end. Called with 0, and again with the byte at which an earlier load is resumed. Of a PyTorch file
   * in the zip format whose `bytes` are known, the end, the directory and the pickle are opened as well, while the first stream is still open; each of
   * these streams is cancelled once its part has been read. The buffers of the pieces are detached once they have been read.
   */
  open(from: number): ReadableStream<Uint8Array> | Promise<ReadableStream<Uint8Array>>;
  /** SHA-256 of the whole file, 64 hexadecimal digits; a file with another digest is `corrupt`. */
  sha256?: string | null;
  /**
   * Length of the whole file. With it, the directory at the end of a PyTorch file is read first: a file that is cut is
   * `truncated` at once, and its entries may have any order.
   */
  bytes?: number | null;
}

/** A place that keeps bytes, such as a `FileSystemSyncAccessHandle`. */
export interface Keep {
  read(into: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  getSize(): number;
  truncate(bytes: number): void;
  flush(): void;
}

export interface LoadOptions {
  /** Text of config.json; optional with `partial`. */
  config?: string | null;
  /**
   * Text of tokenizer.json, or the texts of vocab.json and merges.txt, which CTRL and older models have. With null, read()
   * takes ids only.
   */
  tokenizer?: string | { vocab: string; merges: string } | null;
  /**
   * One model.safetensors or pytorch_model.bin, or its shards. The content tells the format, not the name. Of a PyTorch file,
   * only what tensors need is interpreted; anything else in its pickles is `unsupported-model`, and nothing is run. Where
   * tensors are not contiguous, or overlap, their storage is put in order in memory, up to 48 MiB; a larger one is
   * `unsupported-model`.
   */
  weights: ReadableStream<Uint8Array> | WeightsSource | (ReadableStream<Uint8Array> | WeightsSource)[];
  /** How 2-D weights are stored on the GPU; "f16" by default. */
  precision?: "f16" | "f32";
  /** Bytes of all files, if known. A header that announces more than twice as much is `truncated`. */
  total?: number;
  /**
   * Where to keep the model while it is received: a standard safetensors file in the stored precision, valid and verified
   * once `load` resolves. If it holds a copy, partial or whole, that an earlier load made of the same files, and every
   * source can be opened at any byte, the tensors of that copy are not downloaded again. A copy of other files is replaced.
   * With `sha256`, the copy must record the same one; without it, files of the same length and header count as the same.
   */
  keep?: Keep | null;
  /**
   * For the atlas only: loads wte, wpe and the LayerNorms as far as the files have them, and needs no config. A call that
   * needs an absent tensor is `missing-tensor`. With `keep` it is `bad-option`.
   */
  partial?: boolean;
  /**
   * Release the model in use if the GPU has too little memory for both; without it that is `out-of-memory`. Ignored
   * with `partial`.
   */
  release?: boolean;
  onProgress?: (progress: Progress) => void;
  signal?: AbortSignal;
}

/** The copy that was to be kept; both are null without `keep`. */
export interface LoadResult {
  /** Its length, and the SHA-256 of its data section, which follows the header: not the digest of the whole file that `WeightsSource` takes. */
  kept: { bytes: number; sha256: string } | null;
  /** Why it was not kept, for example "QuotaExceededError"; the model is loaded nevertheless. */
  keep_error: { name: string; message: string } | null;
}

export interface PlanOptions {
  /** Text of config.json. */
  config: string;
  /** "f16" by default. */
  precision?: "f16" | "f32";
  /** Whether to allocate the memory on the GPU and release it; false by default. */
  trial?: boolean;
}

/** What a model requires. */
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
  /** False if a tensor exceeds a limit of the device or the trial failed, true if the trial succeeded, null without a trial. */
  fits: boolean | null;
  /** Why it does not fit. */
  problem: string | null;
}

/**
 * Where activations are edited: a tap (`input`, `h.6`, `h.6.attn`: the stream is changed before anything later reads it, and the row
 * shows it) or a contribution (`h.6.attn_out`, `h.6.mlp_out`: changed before it is added). With `head`, only that head's part of
 * `attn_out`, which has none of the output's bias. Taps need not be rows of a reading.
 */
export interface EditPlace {
  at: string;
  head?: number;
  /** All positions if absent. */
  positions?: number[];
}

/** What stands there becomes what stood in another reading of this model, or elsewhere; the same place and positions unless others are given. */
export interface Patch extends EditPlace {
  from: { reading: Reading; at?: string; positions?: number[] };
}

/** A contribution is removed, or becomes its mean over all positions of a reading. */
export interface Ablation extends EditPlace {
  to: "zero" | { mean: Reading };
}

/** A vector of n_embd numbers is added, times `scale`, which is 1 if absent. */
export interface Steering extends EditPlace {
  add: Float32Array | number[];
  scale?: number;
}

/**
 * Changes weights for this reading only. Of a norm (`h.3.ln_1`, `h.3.ln_2`, `ln_f`) the output is multiplied in that channel, gain and
 * bias alike; `embed` is the embedding as it is looked up, `unembed` as it makes logits. `wpe` is multiplied in one channel or in all,
 * or smoothed over positions by a Gaussian of that standard deviation; CTRL has none.
 */
export type Surgery =
  | { weights: string; channel: number; scale: number }
  | { weights: "wpe"; channel?: number; scale: number }
  | { weights: "wpe"; channel?: number; smooth: number };

export type Edit = Patch | Ablation | Steering | Surgery;

export interface ReadOptions {
  /** "affine" (default): ln_f by the row's own statistics; "plain": without gain and bias; "none". */
  norm?: "affine" | "plain" | "none";
  /** Also read the stream between the halves of each block: "h.0.attn" is the stream after block 0's attention. */
  subblocks?: boolean;
  /**
   * Read "input", then what each half adds to the stream ("h.0.attn_out", "h.0.mlp_out", …), then the final row. Overrides
   * `subblocks`; with `decoder` it is `bad-option`.
   */
  contributions?: boolean;
  /**
   * Blocks, or halves of blocks, that belong to the decoder, in the model's order: "h.11", "h.11.attn", "h.11.mlp". Every
   * row passes them before norm and unembedding; rows that already contain them are left out.
   */
  decoder?: string[];
  /** Tokens listed per cell, 1 to 20; 10 by default. */
  top_k?: number;
  /** At most 64 token ids to follow at every cell. */
  track?: number[] | Uint32Array;
  /**
   * Edits of the run, applied in order. Computed anew is only what they change, from the reading still kept that shares most with it;
   * cells above an edit, and before its first position, keep their bits, but for what compares them with the final row.
   */
  edits?: Edit[];
  /** Maps rows of the stream before the norm; without it, or null, the logit lens. With contributions or a decoder it is `bad-option`. */
  lens?: Lens | null;
  /**
   * With `"alone"`, every row is also compared with what the model says of each token alone, at its own position; the reading has the
   * statistics `kl_alone` and `kl_alone_reverse` then. Every row is decoded a second time for that.
   */
  references?: "alone"[];
  /** Whether the next reading starts from the one before this, and not from this one; false by default. */
  aside?: boolean;
  signal?: AbortSignal;
  /**
   * Called with each finished block of positions [start, end). Its reading has the statistics of these positions only, and its
   * trace() is `bad-option`; free it when done. An exception that the callback throws ends the reading and rejects the promise.
   */
  onBlock?: (block: { start: number; end: number; reading: Reading }) => void;
}

/** Logarithms are natural, so the unit is nats; rank 1 is best. README.md defines each statistic. */
export type Statistic =
  | "logsumexp"
  | "entropy"
  | "logit_final"
  | "prob_final"
  | "rank_final"
  | "logprob_input"
  | "rank_input"
  | "logprob_next"
  | "rank_next"
  | "kl_final"
  | "kl_final_reverse"
  | "kl_input"
  | "kl_input_reverse"
  | "kl_alone"
  | "kl_alone_reverse";

export interface Track {
  id: number;
  logit: Float32Array;
  logprob: Float32Array;
  rank: Float32Array;
}

/**
 * Every array is tap-major: (tap, position) is at tap * n_tokens + position. A reading keeps its residual stream on the GPU, but
 * not the model: once that has been replaced or freed, trace() is `not-found`.
 */
export class Reading {
  private constructor();
  readonly tokens: Token[];
  /**
   * Names of the rows, in order: "input", "h.0", …, where h.i is the output of block i; with `subblocks` also "h.0.attn"; with
   * `contributions` "h.0.attn_out", "h.0.mlp_out".
   */
  readonly taps: string[];
  readonly n_tokens: number;
  /** Tells a complete reading from every other one. */
  readonly key: number;
  /** The edits of its run as plain data, in which a reading is `{ ids, edits? }`. */
  readonly edits: object[];
  readonly top_k: number;
  /** Whether the last row is the model's own output under this norm. */
  readonly final_is_model: boolean;
  /** `bad-option` for an unknown name, and for `kl_alone` and `kl_alone_reverse` where `references` did not ask for them. [N·T] */
  stat(name: Statistic): Float32Array;
  /** [N·T·K], best first; 4294967295 in cells that are not finite. */
  readonly top_ids: Uint32Array;
  readonly top_logits: Float32Array;
  /** The distinct tokens of top_ids, by ascending id. */
  readonly top_tokens: Token[];
  /** `bad-option` for a token that was not in `track`. */
  tracked(id: number): Track;
  /** Cells with a logit that is not finite, normally none: their statistics are NaN, their ranks 0. `tap` is the name of the row. */
  readonly not_finite: { tap: string; position: number }[];
  /** 1 to 64 tokens at one position over the rows, or in one row (`tap`, an index into `taps`) over the positions, from the kept residual stream. */
  trace(
    ids: number[] | Uint32Array,
    line: ({ position: number } | { tap: number }) & { signal?: AbortSignal },
  ): Promise<Track[]>;
  /**
   * Sets of tokens over the whole vocabulary, 1 to 16, from the kept residual stream: the summed probability of each and the rank of its
   * best member.
   */
  sets(
    sets: (number[] | Uint32Array)[],
    options?: { signal?: AbortSignal; onProgress?: (progress: { done: number }) => void },
  ): Promise<SetScores[]>;
  /**
   * What each component of the run adds to logit(a) − logit(b) at a cell, or to logit(a) minus the mean over the vocabulary, by the cell's
   * own mean and variance: `wte`, `wpe`, `h.i.attn.j` (head j, with its share of the value bias), `h.i.attn.bias`, `h.i.mlp`, `edit.k` for
   * each edit that replaces or adds something there, `ln_f.bias`, `unembed.bias`; only what lies at or below the row. `tap` is the name of
   * a row of the stream. A reading with a borrowed decoder is `bad-option`.
   */
  attribute(options: {
    tap: string;
    position: number;
    tokens: number[] | Uint32Array;
    signal?: AbortSignal;
  }): Promise<Attribution>;
  /**
   * The weights with which a head attends to each position up to this one, or without `head` those of each head of the block; of a head
   * they sum to 1. [heads·(position + 1)]
   */
  attention(options: { block: number; head?: number; position: number; signal?: AbortSignal }): Promise<Float32Array>;
  /** What a head, or each head of a block, adds at a cell from each position; the sum is the head's component. [heads·(position + 1)] */
  sources(options: {
    block: number;
    head?: number;
    tap: string;
    position: number;
    tokens: number[] | Uint32Array;
    signal?: AbortSignal;
  }): Promise<Float32Array>;
  /**
   * What each hidden unit of a block's MLP adds at a cell; with what the output's bias adds they sum to the component `h.i.mlp`.
   * [n_inner]
   */
  neurons(options: {
    block: number;
    tap: string;
    position: number;
    tokens: number[] | Uint32Array;
    signal?: AbortSignal;
  }): Promise<Float32Array>;
  /**
   * The k tokens (10 by default, 100 at most) whose logits a component raises most, and those that it lowers most, each with the change against
   * the mean over the vocabulary: what `attribute` says of that component and that token alone.
   */
  promoted(options: {
    component: string;
    tap: string;
    position: number;
    k?: number;
    signal?: AbortSignal;
  }): Promise<{ promoted: RankedTokens; suppressed: RankedTokens }>;
  /**
   * The log-probabilities (nats) of the true next tokens when, from block `first` on, later positions read other keys and values of each
   * earlier position: those of (1 − alpha) · stream + alpha · a token's embedding, made as long as the stream. `tokens` are the true next ones
   * unless given, one for each position but the last. No position sees its own. A reading with edits is `bad-option`. [T − 1]
   */
  memory(options: {
    first: number;
    alpha: number;
    tokens?: number[] | Uint32Array;
    signal?: AbortSignal;
  }): Promise<Float32Array>;
  /**
   * Which token each row still holds: the row of wte that is nearest to what the probe (a fit on `input`) reconstructs, and the rank of the
   * true token by that distance. A row without a map has 4294967295 and a rank of 0. [N·T]
   */
  recover(probe: Lens, options?: { signal?: AbortSignal }): Promise<{ ids: Uint32Array; rank: Float32Array }>;
  /**
   * How far the rows are from what the model says of each token alone at its position: KL(alone ‖ row) and KL(row ‖ alone) in nats [N·T],
   * and the token on top of each guess [T]. `control` has other tokens to be read alone, one for each position. A reading with a borrowed
   * decoder is `bad-option`.
   */
  alone(options?: {
    control?: number[] | Uint32Array;
    signal?: AbortSignal;
  }): Promise<{ kl: Float32Array; kl_reverse: Float32Array; ids: Uint32Array }>;
  /** The residual stream at a cell, or of all positions; `tap` is the name of a row of it. [n_embd], or [T·n_embd] */
  stream(options: { tap: string; position?: number; signal?: AbortSignal }): Promise<Float32Array>;
  free(): void;
}

/** How good a map is on the tokens that were held out. */
export interface HeldOut {
  /** Of a lens: mean KL(final ‖ row), nats. */
  kl?: number;
  /** Of a lens: the share of positions at which row and final have the same top-1. */
  agreement?: number;
  /** Of a probe: 1 − Σ‖y − ŷ‖² / Σ‖y − ȳ‖². */
  r2?: number;
  /** Of a probe: the share of positions whose token has the embedding nearest to the reconstruction. */
  recovered?: number;
}

/** What is known of a lens. */
export interface LensCard {
  kind: "tuned" | "jacobian" | "affine" | "fitted";
  /** What a fit predicts; with `input` it is a probe. */
  target: "final" | "input" | null;
  /** Whether the maps predict the normalised final stream, so that ln_f adds gain and bias only. */
  normalised: boolean;
  source: string | null;
  licence: string | null;
  /** Of the file that it was opened from. */
  sha256: string | null;
  bytes: number | null;
  n_embd: number;
  n_layer: number | null;
  /** Rows that have a map, by depth; all others are read by the logit lens. */
  taps: string[];
  /** Tokens that it was fitted on. */
  n_tokens: number | null;
  n_held_out: number | null;
  /** Passes of the refinement by KL; 0 for none. */
  refined: number;
  /** By row: the ridge, relative to the mean variance of the row's channels. */
  ridge: Record<string, number>;
  /** By row. */
  held_out: Record<string, HeldOut>;
}

/** An affine map for rows of the stream, before the norm; or a probe, which reconstructs the input. */
export class Lens {
  private constructor();
  readonly card: LensCard;
  /** Tells it from every other one. */
  readonly key: number;
  /** y = x · W + b for a row vector x; null for a row that is read by the logit lens. */
  map(tap: string): Promise<{ weight: Float32Array; bias: Float32Array } | null>;
  /** A safetensors file with `lens.<row>.weight` [C, C] and `lens.<row>.bias` [C] and the card, which opens again as this lens. */
  export(): Promise<Uint8Array>;
  free(): void;
}

export interface LensOptions {
  /** What the file has to be; by default what it is. */
  kind?: "tuned" | "jacobian" | "affine";
  /** A .pt or .safetensors file; the content tells the format. Nothing in it is run. */
  file: Blob | Uint8Array | ReadableStream<Uint8Array> | WeightsSource;
  /** Text of the config.json beside a tuned lens, which must agree with the file and the model. */
  config?: string | null;
  /** SHA-256 that the whole file must have. */
  sha256?: string | null;
  /** For the card: where it is from, and its licence. */
  source?: string | null;
  licence?: string | null;
  signal?: AbortSignal;
}

export interface FitOptions extends Watch {
  /** Texts or arrays of ids. Position 0 of each is left out; what is longer than n_ctx is cut into parts. */
  texts: (string | number[] | Uint32Array)[];
  /** What each row is to predict: the final stream, normalised without gain (a lens, the default), or the embedding of its token (a probe). */
  target?: "final" | "input";
  /** Relative to the mean variance of a row's channels; of several, the best on held-out tokens for each row. [1e-4, 1e-3, 1e-2] by default. */
  ridge?: number | number[];
  /** The share of the tokens, at the end, that are held out; 0.1 by default. With 0, the first ridge is used. */
  held_out?: number;
  /**
   * Passes over the texts that refine the maps of a lens by KL(final ‖ row) itself, at most 200; 0 by default. The maps that are best on what
   * is held out are kept; with nothing held out, the last ones.
   */
  refine?: number;
}

export interface CorpusOptions {
  /** Tokens of a window; n_ctx by default. */
  window?: number;
  /** Tokens from one window to the next; the window by default. */
  stride?: number;
  norm?: "affine" | "plain" | "none";
  subblocks?: boolean;
  lens?: Lens | null;
  edits?: Edit[];
  /** A class of each token of the vocabulary: the sums are kept apart by that of the next token as well. [V] */
  classes?: Uint8Array;
  /** The `state` of an earlier part with the same options: what it has of the same texts is not read again. */
  state?: string | null;
  signal?: AbortSignal;
}

/** A mean over positions, and its 95 % interval with windows as clusters: NaN with one window. */
export interface CorpusMean {
  mean: number;
  low: number;
  high: number;
}

/** One row over the positions scored so far. Nats. */
export interface CorpusRow {
  tap: string;
  /** Positions: each whose next token is in the window, once. */
  n: number;
  /** −ln p of the true next token. */
  loss: CorpusMean;
  /** KL(final ‖ row). */
  kl: CorpusMean;
  entropy: CorpusMean;
  /** Share of positions at which the row has the final top-1 on top. */
  agreement: CorpusMean;
  /** Share of positions that have it from this row on. */
  settled: CorpusMean;
}

export interface CorpusPart {
  rows: CorpusRow[];
  /** The same by class of the next token. */
  classes: CorpusRow[][];
  windows: number;
  /** Positions that were left out, because a logit is not finite there. */
  not_finite: number;
  /** The window read last: its text, its first token in it, its tokens, and the mean loss of its last row. */
  last: { text: number; start: number; n: number; loss: number };
  /** For `CorpusOptions.state`. */
  state: string;
}

/** A set of tokens at every cell; NaN, and a rank of 0, where a logit is not finite. [N·T] each. */
export interface SetScores {
  prob: Float32Array;
  /** 1 is best. */
  rank: Float32Array;
}

/** The strongest first. */
export interface RankedTokens {
  ids: Uint32Array;
  /** Logits. */
  values: Float32Array;
}

/** In logits. */
export interface Attribution {
  components: { name: string; value: number }[];
  /** Of all components. */
  sum: number;
  /** The logit difference of the cell, which the components sum to. */
  shown: number;
}

export interface CompareOptions {
  /** Pairs of positions; by default each position that both readings have. */
  columns?: [number, number][];
  /** Up to 64 lists of one token for each column, 4294967295 for none: each token is scored in both readings. */
  targets?: (number[] | Uint32Array)[];
  signal?: AbortSignal;
}

/** A token at every row and column, tap-major; NaN and a rank of 0 where there is none. [N·columns] each. */
export interface Scores {
  logit: Float32Array;
  /** Nats. */
  logprob: Float32Array;
  rank: Float32Array;
}

/** How two readings differ, tap-major; divergences are in nats, and NaN where a logit is not finite. [N·columns] each. */
export interface Comparison {
  /** KL(a ‖ b). */
  kl: Float32Array;
  /** KL(b ‖ a). */
  kl_reverse: Float32Array;
  /** Jensen–Shannon, at most ln 2. */
  js: Float32Array;
  /** For each list of targets, its tokens' scores in either reading. */
  targets: { a: Scores; b: Scores }[];
}

/**
 * Two readings of equal length, without edits, and what is patched from one into the other, one activation in each run: what each block
 * reads (`stream`), what its attention or its MLP adds, at each position; or what each head adds, at all positions.
 */
export interface SweepOptions {
  clean: Reading;
  corrupt: Reading;
  what: "stream" | "attn_out" | "mlp_out" | "heads";
  /** `denoise` (default): activations of `clean` in the corrupt run; `noise`: the other way round. */
  direction?: "denoise" | "noise";
  /** m = logit(plus) − logit(minus) of the model's output at a position, the last if absent. */
  metric: { plus: number; minus: number; position?: number };
  signal?: AbortSignal;
  /** The share of the work that is done, 0 to 1. */
  onProgress?: (progress: { done: number }) => void;
}

export interface Sweep {
  /** (m − m_corrupt) / (m_clean − m_corrupt), row by row: 0 as in the corrupt run, 1 as in the clean one. [rows·columns] */
  values: Float32Array;
  /** What each row patches: `input`, `h.0`, …; `h.0.attn_out`, …; `h.0.mlp_out`, …. */
  rows: string[];
  /** Positions, or heads. */
  columns: number;
  /** m of the clean and of the corrupt reading. */
  clean: number;
  corrupt: number;
}

/** How the caller follows and stops a long call. Queued readings run between its steps. */
export interface Watch {
  signal?: AbortSignal;
  /** The share of the work that is done, 0 to 1. */
  onProgress?: (progress: { done: number }) => void;
}

export interface LayerNormGains {
  /** "h.0.ln_1", "h.0.ln_2", …, "ln_f". */
  name: string;
  weight: Float32Array;
  bias: Float32Array;
}

/**
 * What the weights show without any text; standard deviations are population ones. An Atlas does not keep the model on the GPU: once
 * that has been replaced or freed, its calls are `not-found`.
 */
export class Atlas {
  private constructor();
  /** [C] each; empty where a partial model lacks the embedding. */
  channels(
    watch?: Watch,
  ): Promise<{ wte_mean: Float32Array; wte_std: Float32Array; wpe_mean: Float32Array; wpe_std: Float32Array }>;
  /** In the order of the pass, ln_f last. */
  gains(watch?: Watch): Promise<LayerNormGains[]>;
  /**
   * How strongly each part of a block reads and writes each channel, row by row: `names` are the parts of a block, `q.0`, … `k.0`, … `v.0`, …
   * `o.0`, … of the heads, `in` and `out` of the MLP. Reading is |gain of the LayerNorm before| times the norm of the channel's weights into
   * the part, writing the norm of the part's weights into the channel. Every weight of the blocks is read back. [L·names·C]
   */
  circuits(watch?: Watch): Promise<{ names: string[]; strengths: Float32Array }>;
  /** Norm of each token's embedding. [V] */
  norms(watch?: Watch): Promise<Float32Array>;
  /** That channel of wte. [V] */
  channel(channel: number, watch?: Watch): Promise<Float32Array>;
  /** The embeddings of at most 4,096 tokens. [n·C] */
  rows(ids: number[] | Uint32Array, watch?: Watch): Promise<Float32Array>;
  /** wpe. [n_ctx·C] */
  positions(watch?: Watch): Promise<Float32Array>;
  /** n directions of the uncentred SVD of wte: singular values [C], directions [n·C], wte · directionᵀ [n·V], cosine with the mean [n]. n·V is at most 2^24. The eigenproblem is solved once per model. */
  spectrum(
    n: number,
    watch?: Watch,
  ): Promise<{
    singular_values: Float32Array;
    directions: Float32Array;
    tokens: Float32Array;
    cosine_with_mean: Float32Array;
  }>;
  /**
   * wte ≈ tokensᵀ · directions, with tokens that are not negative (semi-nonnegative factorisation): unit directions [n·C], loadings [n·V], the
   * component with the largest sum of squares first, and the share of wte's sum of squares that is explained after each iteration. n·V is at
   * most 2^24; 100 iterations by default, 1,000 at most. The start depends on nothing but the shape.
   */
  components(
    n: number,
    options?: { iterations?: number } & Watch,
  ): Promise<{ directions: Float32Array; tokens: Float32Array; explained: Float32Array }>;
  /** [m·m] each, row by row: of the channel, the norm, svd 0, the token id and, if given, the counts [V] (any numbers). */
  correlations(
    options: { channel: number; counts?: number[] | Uint32Array | Float32Array | Float64Array | null } & Watch,
  ): Promise<{ names: string[]; pearson: number[]; spearman: number[] }>;
  /**
   * The arg-max of every token's row of wte·wteᵀ, with wpe and ln_f if asked; 4294967295 and NaN for a row that is not finite. `norm` is "none" by default, unlike in `read`; without `position` no
   * position embedding is added; `step` is 1 by default. [V], or every step-th token.
   */
  zero_layer(
    options?: { norm?: "affine" | "plain" | "none"; position?: number | null; step?: number } & Watch,
  ): Promise<{
    argmax: Uint32Array;
    logit: Float32Array;
    self_logit: Float32Array;
  }>;
  /** The k largest logits of that row for one token; k is 20 by default. For `norm` and `position` see `zero_layer`. */
  next_tokens(
    id: number,
    options?: { k?: number; norm?: "affine" | "plain" | "none"; position?: number | null } & Watch,
  ): Promise<{
    ids: Uint32Array;
    values: Float32Array;
  }>;
  /** The nearest tokens, including the token itself, by cosine (default) or dot product, with its value; k is 20 by default. */
  neighbours(
    id: number,
    options?: { k?: number; by?: "cosine" | "dot" } & Watch,
  ): Promise<{ ids: Uint32Array; values: Float32Array }>;
  free(): void;
}

/**
 * One device with at most one model, and two during a load. Calls that need the device are queued and run in the order in which they
 * were made; long calls of the atlas let queued calls run between their steps.
 */
export class Loupe {
  private constructor();
  static open(options?: OpenOptions): Promise<Loupe>;
  readonly adapter: Adapter;
  /**
   * How kernels are cut into workgroups; no result depends on it. On a GPU the first load measures that, for up to 0.2 s besides what compiling takes,
   * unless a text of an earlier measurement on the same adapter was set before, or `"off"` for forms that need none; an adapter in software
   * has forms without a measurement. Null before the measurement, and to measure again. What another version wrote is measured again.
   */
  tuning: string | null;
  /**
   * Exact counts of what the device was given since it was opened, and the bytes of its tensors: now, and the most since the last call.
   * On a CPU there are no bind groups.
   */
  counters(): {
    dispatches: number;
    bind_groups: number;
    read_bytes: number;
    bytes: number;
    peak_bytes: number;
    /** how long it took to give this work to a GPU */
    encoding_ms: number;
  };
  /**
   * Resolves with a `device-lost` error as soon as the device is lost, without any call; never for a CPU. Every later call fails with it: open
   * another Loupe.
   */
  lost(): Promise<LoupeError>;
  /** undefined before the first load, and during a load that released the old model. */
  readonly model: Model | undefined;
  /** Readings of the model in use run meanwhile; it stays if the load fails (but see `release`). */
  load(options: LoadOptions): Promise<LoadResult>;
  /** What a model of this config requires, and with `trial` whether the GPU has the memory for it beside the one in use. */
  plan(options: PlanOptions): Promise<Plan>;
  /**
   * Passes a copy of the decoder of the model in use (ln_f and unembedding) to the callback: a header, then pieces of bytes. Another engine
   * takes them by `receive_decoder` and `receive`, and can then `fold`.
   */
  send_decoder(callback: (piece: string | Uint8Array) => void): Promise<void>;
  receive_decoder(header: string): Promise<void>;
  /** True once the copy is complete and in use. */
  receive(bytes: Uint8Array): boolean;
  /**
   * Shares readings with other engines, such as those of other workers, until another model is in use. Each function is given positions of a
   * block and answers with a promise of what `fold` of its engine returns; positions of one that fails are read here. The numbers have the
   * same bits with and without helpers.
   */
  share(helpers: ((share: Share) => Promise<Folded>)[]): void;
  fold(share: Share, options?: { signal?: AbortSignal | null }): Promise<Folded>;
  /**
   * Reads a short text on the GPU and repeats every step of it on the CPU, from the GPU's own inputs; of a step with much work its first or
   * its last part. No more than 24 MiB of weights are read back at once. On a CPU there is nothing to compare.
   */
  check(options?: { signal?: AbortSignal | null }): Promise<Check>;
  /** The atlas of the model in use; throws `not-found` before the first load. */
  atlas(): Atlas;
  /** Throws `not-found` before the first load. */
  encode(text: string): Uint32Array;
  /** Throws `not-found` before the first load. */
  token(id: number): Token;
  read(textOrIds: string | number[] | Uint32Array, options?: ReadOptions): Promise<Reading>;
  /**
   * How far two readings of the model in use are apart, at position i of `a` and position j of `b` for each [i, j] of
   * `columns`, from their kept residual streams. Both need the same rows, norm and decoder.
   */
  compare(a: Reading, b: Reading, options?: CompareOptions): Promise<Comparison>;
  /**
   * Where one run gets its answer from: patches one activation after the other from one reading into another. Tokens in whose logits the
   * two readings do not differ are `bad-option`. Later calls wait for it.
   */
  sweep(options: SweepOptions): Promise<Sweep>;
  /**
   * The direction of the stream that raises the logit of the first token over that of the second or, of one token, over the mean of the
   * vocabulary: the difference of their unembeddings times the gain of ln_f, centred. A vector to add in an edit. [n_embd]
   */
  direction(tokens: number[] | Uint32Array, options?: { signal?: AbortSignal }): Promise<Float32Array>;
  /**
   * Opens a lens of the kinds that are published: tuned (layer i maps the input of block i), Jacobian (layer l maps the output of block
   * l), or what `export` wrote. One that is no lens, or of another model than that in use, is refused; without a model, at the first reading.
   */
  lens(options: LensOptions): Promise<Lens>;
  /**
   * Fits an affine map for each row by ridge regression, in closed form, from texts: a lens, or with `target: "input"` a probe. Other calls
   * run between its texts; a load meanwhile is `not-found`.
   */
  fit(options: FitOptions): Promise<Lens>;
  /**
   * Reads many texts window by window and yields the sums so far after each window; memory does not grow with the texts. A text that is
   * long is best passed in parts. Other calls run between the windows; breaking off the loop ends it.
   */
  corpus(
    texts: Iterable<string | number[] | Uint32Array> | AsyncIterable<string | number[] | Uint32Array>,
    options?: CorpusOptions,
  ): AsyncGenerator<CorpusPart, void, undefined>;
  free(): void;
}
