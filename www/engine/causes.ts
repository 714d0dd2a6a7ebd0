/** Worker side of the tab of causes: edited runs, sweeps, attribution. Loaded with the first question. */
import { LoupeError } from "./errors.ts";
import { plainReading } from "./reading-transfer.ts";
import { TOP_K } from "../reading/reading.ts";
import type { Edit, Loupe, RankedTokens, Reading, ReadOptions } from "../../src/web/types.d.ts";
import type { PageEdit, TextName } from "../reading/edits.ts";
import type { Asked } from "../reading/reading.ts";
import type { Causes, CausesMethod, Progress } from "./protocol.ts";

/** The engine's newest readings, by what they are of: `first` and `second` text, `edited` and `against`. */
export type Live = Map<string, { serial: number; reading: Reading }>;

interface Page {
  loupe: Loupe;
  live: Live;
  /** Errors: `aborted`, if it is no longer there. */
  liveReading: (serial: number) => Reading;
  /** What was asked for as the engine takes it. */
  engineOptions: (asked: Asked) => ReadOptions;
  /** a number for another reading */
  serial: () => number;
  forget: (which: string) => void;
  signal: AbortSignal;
  onProgress: (progress: Progress) => void;
}

/** Tokens on each side of what a component promotes. */
const N_PROMOTED = 8;

/** Numbers from 0 to 1, the same for a seed (mulberry32). */
function randomOf(seed: number) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const lengthOf = (vector: Float32Array) => Math.hypot(...vector);

/** An edit as the engine takes it: texts become readings, and what is added becomes a vector. */
async function engineEdit(edit: PageEdit, of: (text: TextName) => Reading, base: Reading, page: Page) {
  const { loupe, signal } = page;
  if ("weights" in edit) return edit as Edit;
  if ("from" in edit) {
    const { text, ...where } = edit.from;
    return { ...edit, from: { ...where, reading: of(text) } };
  }
  if ("to" in edit) return { ...edit, to: edit.to === "zero" ? edit.to : { mean: of(edit.to.mean) } };
  const { add, ...place } = edit;
  const tap = tapOf(edit.at);
  if (!("tokens" in add)) {
    const [plus, minus] = await Promise.all(
      [add.plus, add.minus].map(({ text, position }) => streamOf(of(text), { tap, position }, page)),
    );
    return { ...place, add: plus.map((value, i) => value - minus[i]) };
  }
  const direction = await loupe.direction(add.tokens, { signal });
  const streams = await streamOf(base, { tap }, page);
  // As long as the stream is on average where it is added.
  const positions = edit.positions ?? Array.from({ length: base.n_tokens }, (_, position) => position);
  const width = direction.length;
  const lengths = positions.map((position) => lengthOf(streams.subarray(position * width, (position + 1) * width)));
  const factor = lengths.reduce((sum, each) => sum + each, 0) / lengths.length / (lengthOf(direction) || 1);
  return { ...place, add: direction.map((value) => value * factor) };
}

/** The stream behind a block, also of a reading that shows no rows of it. */
async function streamOf(of: Reading, at: { tap: string; position?: number }, { loupe, signal }: Page) {
  if (of.taps.includes(at.tap)) return of.stream({ ...at, signal });
  const ids = Uint32Array.from(of.tokens, ({ id }) => id);
  const plain = await loupe.read(ids, { top_k: 1, aside: true, signal });
  try {
    return await plain.stream({ ...at, signal });
  } finally {
    plain.free();
  }
}

/** The output of the block that a place is in. */
const tapOf = (at: string) => at.split(".").slice(0, 2).join(".");

const METHODS: { [M in CausesMethod]: (question: Causes[M][0], page: Page) => Promise<Causes[M][1]> } = {
  async edit({ role, base: base_serial, texts, edits, track, asked }, page) {
    const { loupe, live, liveReading, signal } = page;
    const start = performance.now();
    const base = liveReading(base_serial);
    const of = (text: TextName) => {
      const serial = texts[text];
      if (serial === null) throw new LoupeError("bad-option", "This edit needs text B, which is not there.");
      return liveReading(serial);
    };
    const resolved: Edit[] = [];
    for (const edit of edits) resolved.push(await engineEdit(edit, of, base, page));
    const ids = Uint32Array.from(base.tokens, ({ id }) => id);
    const reading = await loupe.read(ids, {
      ...page.engineOptions(asked),
      track,
      top_k: TOP_K,
      signal,
      aside: true,
      edits: resolved,
    });
    const serial = page.serial();
    page.forget(role);
    live.set(role, { serial, reading });
    return plainReading(reading, {
      asked,
      track,
      tracked_tokens: track.map((id) => loupe.token(id)),
      serial,
      n_text: ids.length,
      n_read: ids.length,
      kept: "first",
      read_ms: performance.now() - start,
    });
  },

  close({ role }, { forget }) {
    forget(role);
    return Promise.resolve(null);
  },

  attribute: async ({ serial, ...question }, { liveReading, signal }) =>
    liveReading(serial).attribute({ ...question, signal }),

  attention: async ({ serial, ...question }, { liveReading, signal }) =>
    liveReading(serial).attention({ ...question, signal }),

  sources: async ({ serial, ...question }, { liveReading, signal }) =>
    liveReading(serial).sources({ ...question, signal }),

  neurons: async ({ serial, ...question }, { liveReading, signal }) =>
    liveReading(serial).neurons({ ...question, signal }),

  async promoted({ serial, ...question }, { loupe, liveReading, signal }) {
    const { promoted, suppressed } = await liveReading(serial).promoted({ ...question, k: N_PROMOTED, signal });
    const named = ({ ids, values }: RankedTokens) =>
      Array.from(ids, (id, i) => ({ id, shown: loupe.token(id).shown, value: values[i] }));
    return { promoted: named(promoted), suppressed: named(suppressed) };
  },

  async induction({ n, seed }, { loupe, signal, onProgress }) {
    const { n_layer = 0, n_head, vocab_size } = loupe.model ?? {};
    if (!n_head || !vocab_size) throw new LoupeError("missing-tensor", "A partial model has no heads.");
    const random = randomOf(seed);
    const once = Array.from({ length: n }, () => Math.floor(random() * vocab_size));
    const reading = await loupe.read([...once, ...once], { top_k: 1, signal, aside: true });
    try {
      const [induction, previous] = [new Float32Array(n_layer * n_head), new Float32Array(n_layer * n_head)];
      for (let block = 0; block < n_layer; block++) {
        // Each position of the second time looks for what stood behind its token the first time.
        for (let position = n; position < 2 * n; position++) {
          const weights = await reading.attention({ block, position, signal });
          for (let head = 0; head < n_head; head++) {
            const row = weights.subarray(head * (position + 1), (head + 1) * (position + 1));
            induction[block * n_head + head] += row[position - n + 1] / n;
            previous[block * n_head + head] += row[position - 1] / n;
          }
          onProgress({ done: (block + (position - n + 1) / n) / n_layer });
        }
      }
      return { induction, previous };
    } finally {
      reading.free();
    }
  },

  async memory({ serial, firsts, alphas, seed }, { loupe, liveReading, signal, onProgress }) {
    const reading = liveReading(serial);
    const random = randomOf(seed);
    const n_vocab = loupe.model?.vocab_size ?? 1;
    const tokens = Uint32Array.from({ length: reading.n_tokens - 1 }, () => Math.floor(random() * n_vocab));
    const own = await reading.memory({ first: firsts[0], alpha: 0, signal });
    const runs = [];
    for (const first of firsts) {
      for (const alpha of alphas) {
        const truth = await reading.memory({ first, alpha, signal });
        const control = await reading.memory({ first, alpha, tokens, signal });
        runs.push({ first, alpha, truth, control });
        onProgress({ done: runs.length / (firsts.length * alphas.length) });
      }
    }
    return { own, runs };
  },

  sets: async ({ serial, sets }, { liveReading, signal, onProgress }) =>
    liveReading(serial).sets(sets, { signal, onProgress }),

  sweep: async ({ clean, corrupt, ...options }, { loupe, liveReading, signal, onProgress }) =>
    loupe.sweep({ ...options, clean: liveReading(clean), corrupt: liveReading(corrupt), signal, onProgress }),
};

export const askCauses = <M extends CausesMethod>(method: M, question: Causes[M][0], page: Page) =>
  METHODS[method](question, page);
