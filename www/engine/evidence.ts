/** Worker side of the tab of evidence: lenses, fits, probes, corpora. Loaded with the first question. */
import { LoupeError } from "./errors.ts";
import { plainToken } from "./reading-transfer.ts";
import { stepsOf } from "../reading/depth.ts";
import { END_OF_TEXT, documentCutter, documentsOf } from "../reading/documents.ts";
import type { CorpusPart, Edit, Lens, Loupe, Reading } from "../../src/web/types.d.ts";
import type { Evidence, EvidenceMethod, EvidenceProgress, Extremes, Hub, LensEntry } from "./protocol.ts";

/** Lenses that are open, by name. */
export type Lenses = Map<string, Lens>;

interface Page {
  loupe: Loupe;
  lenses: Lenses;
  hub: Hub;
  liveReading: (serial: number) => Reading;
  signal: AbortSignal;
  onProgress: (progress: EvidenceProgress) => void;
}

/** Windows that are listed as the hardest, and as the easiest. */
const N_EXTREMES = 3;
/** Tokens of a window that may be listed; of small windows half of one. */
const MIN_TOKENS = 16;
/** How many bytes of files are read for one fit. */
const MAX_FIT_BYTES = 8 << 20;

/** Keeps a lens under a name that no other one has. Its digest tells a file from others; a fit is not made again. */
function shelve(wanted: string, lens: Lens, lenses: Lenses): LensEntry {
  let name = wanted;
  for (let n = 2; lenses.has(name); n++) name = `${wanted} (${n})`;
  lenses.set(name, lens);
  const { card } = lens;
  return { name, card, id: card.sha256 ?? crypto.randomUUID() };
}

function lensNamed(name: string | null, { lenses }: Page) {
  if (name === null || name === "") return null;
  const found = lenses.get(name);
  if (!found) throw new LoupeError("not-found", `The lens “${name}” is no longer open.`);
  return found;
}

/** The text of a file, piece by piece. */
async function* textOf(file: Blob): AsyncGenerator<string> {
  const reader = file.stream().pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    void reader.cancel().catch(() => {});
  }
}

/** Whether a file has tokens between its documents. */
async function hasEndTokens(file: Blob) {
  let tail = "";
  for await (const piece of textOf(file)) {
    tail += piece;
    if (tail.includes(END_OF_TEXT)) return true;
    tail = tail.slice(-END_OF_TEXT.length);
  }
  return false;
}

/** Documents of texts and files, one after the other; no file is in memory as a whole. */
async function* documents(texts: string[], files: Blob[], onBytes: (bytes: number) => void = () => {}) {
  let taken = 0;
  const count = (piece: string) => onBytes((taken += new Blob([piece]).size));
  for (const text of texts)
    for (const document of documentsOf(text)) {
      yield document;
      count(document);
    }
  for (const file of files) {
    const cutter = documentCutter(await hasEndTokens(file));
    for await (const piece of textOf(file)) {
      for (const document of cutter.push(piece)) {
        yield document;
        count(document);
      }
    }
    yield* cutter.end();
  }
}

/** The first few of some windows and one more, in that order. */
const among = (
  windows: CorpusPart["last"][],
  one: CorpusPart["last"],
  order: (a: CorpusPart["last"], b: CorpusPart["last"]) => number,
) => (Number.isFinite(one.loss) ? [...windows, one].toSorted(order).slice(0, N_EXTREMES) : windows);

/** The reading of a text that the page shows, made again without disturbing the one from which the next one starts. */
const again = (serial: number, page: Page, options: Parameters<Loupe["read"]>[1] = {}) =>
  page.loupe.read(
    Uint32Array.from(page.liveReading(serial).tokens, ({ id }) => id),
    { aside: true, signal: page.signal, ...options },
  );

const METHODS: { [M in EvidenceMethod]: (question: Evidence[M][0], page: Page) => Promise<Evidence[M][1]> } = {
  async open({ name, file, config, kind }, page) {
    const { loupe, lenses, signal } = page;
    const lens = await loupe.lens({ file, config, kind: kind ?? undefined, source: `the file ${name}`, signal });
    return shelve(name, lens, lenses);
  },

  async download({ name, path, sha256, licence, kind }, page) {
    const { loupe, lenses, hub, signal, onProgress } = page;
    const url = `${hub.base}/${path}`;
    const response = await fetch(url, { signal }).catch((error: unknown) => {
      if (signal.aborted) throw error;
      throw new LoupeError("network", `${url} cannot be reached: ${(error as Error).message}.`);
    });
    if (!response.ok || !response.body)
      throw new LoupeError("network", `${url} answered with ${response.status} ${response.statusText}.`);
    const total = Number(response.headers.get("content-length"));
    let received = 0;
    const counted = response.body.pipeThrough(
      new TransformStream<Uint8Array, Uint8Array>({
        transform(piece, to) {
          received += piece.byteLength;
          if (total > 0) onProgress({ done: Math.min(1, received / total) });
          to.enqueue(piece);
        },
      }),
    );
    const lens = await loupe.lens({ file: counted, kind, sha256, source: url, licence, signal });
    return shelve(name, lens, lenses);
  },

  async fit({ name, texts, files, target, held_out, refine }, page) {
    const { loupe, lenses, signal, onProgress } = page;
    const all: string[] = [];
    let chars = 0;
    for await (const document of documents(texts, files)) {
      all.push(document);
      chars += document.length;
      if (chars > MAX_FIT_BYTES)
        throw new LoupeError("bad-option", "texts: expected at most 8 MB for a fit, got more. Use a part of them.");
    }
    const lens = await loupe.fit({ texts: all, target, held_out, refine, signal, onProgress });
    return shelve(name, lens, lenses);
  },

  close({ name }, { lenses }) {
    lenses.get(name)?.free();
    lenses.delete(name);
    return Promise.resolve(null);
  },

  export: async ({ name }, page) => (await lensNamed(name, page)?.export()) ?? new Uint8Array(),

  async difference({ serial, a, b, norm }, page) {
    const { loupe, signal } = page;
    const readings: Reading[] = [];
    try {
      for (const name of [a, b])
        readings.push(await again(serial, page, { lens: lensNamed(name, page), norm, top_k: 1 }));
      const [first, second] = readings;
      const { kl, kl_reverse, js } = await loupe.compare(first, second, { signal });
      const agrees = Uint8Array.from(first.top_ids, (id, cell) => Number(id === second.top_ids[cell]));
      return { taps: [...first.taps], tokens: first.tokens.map(plainToken), kl, kl_reverse, js, agrees };
    } finally {
      readings.forEach((reading) => reading.free());
    }
  },

  async kept({ serial, probe, seed }, page) {
    const { signal } = page;
    const reading = await again(serial, page, { top_k: 1 });
    try {
      const n = reading.n_tokens;
      const lens = lensNamed(probe, page);
      const found = lens ? await reading.recover(lens, { signal }) : null;
      const own = await reading.alone({ signal });
      // The same tokens at other positions, so that the control has the same frequencies.
      const ids = Array.from(reading.tokens, ({ id }) => id);
      const shift = 1 + (seed % Math.max(1, n - 1));
      const control = await reading.alone({ control: ids.map((_, i) => ids[(i + shift) % n]), signal });
      const streams: Float32Array[] = [];
      for (const tap of reading.taps) streams.push(await reading.stream({ tap, signal }));
      return {
        taps: [...reading.taps],
        recovered: found?.rank ?? null,
        alone: own.kl,
        control: control.kl,
        control_ids: Uint32Array.from(ids, (_, i) => ids[(i + shift) % n]),
        steps: stepsOf(streams, n),
      };
    } finally {
      reading.free();
    }
  },

  async corpus({ texts, files, window, stride, lens, edits, classes, state, limit, before }, page) {
    const { loupe, signal, onProgress } = page;
    const options = { window, stride, lens: lensNamed(lens, page), edits: edits as Edit[], classes, state, signal };
    let last: CorpusPart | null = null;
    let extremes: Extremes = before;
    let bytes = 0;
    let shown_at = -Infinity;
    for await (const part of loupe.corpus(
      documents(texts, files, (taken) => void (bytes = taken)),
      options,
    )) {
      last = part;
      // A short one says little of itself.
      if (part.last.n >= Math.min(window / 2, MIN_TOKENS))
        extremes = {
          hardest: among(extremes.hardest, part.last, (a, b) => b.loss - a.loss),
          easiest: among(extremes.easiest, part.last, (a, b) => a.loss - b.loss),
        };
      // A person sees it grow four times a second.
      if (performance.now() - shown_at > 250) {
        shown_at = performance.now();
        onProgress({ done: NaN, part, extremes, bytes });
      }
      if (limit !== null && part.windows >= limit) break;
    }
    return { part: last, extremes };
  },

  async window({ texts, files, text, start, n }, page) {
    let at = 0;
    for await (const document of documents(texts, files)) {
      if (at++ < text) continue;
      const ids = page.loupe.encode(document);
      return Array.from(ids.subarray(start, start + n), (id) => plainToken(page.loupe.token(id)));
    }
    return [];
  },
};

export function askEvidence<M extends EvidenceMethod>(method: M, question: Evidence[M][0], page: Page) {
  const ask = METHODS[method] as (question: Evidence[M][0], page: Page) => Promise<Evidence[M][1]>;
  return ask(question, page);
}
