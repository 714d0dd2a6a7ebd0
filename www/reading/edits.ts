/**
 * Edits of a run as the page and its links have them: as in the engine's API, but that a text takes the place of a
 * reading, and tokens or two streams that of a vector. What they are in words, and which cells they can change. Pure.
 */
import type { PlainReading } from "./reading.ts";

/** The first and the second text. */
export type TextName = "a" | "b";
/** A stream of one text. */
export type Spot = { text: TextName; position: number };
type Place = { at: string; head?: number; positions?: number[] };
export type PatchEdit = Place & { from: { text: TextName; at?: string; positions?: number[] } };
export type AblationEdit = Place & { to: "zero" | { mean: TextName } };
/** `tokens`: the direction from the second to the first, or from the mean of the vocabulary. */
export type SteeringEdit = Place & {
  add: { tokens: number[] } | { plus: Spot; minus: Spot };
  /** times the vector; for tokens the vector has the length of the mean stream there */
  scale: number;
};
export type WeightsEdit = { weights: string; channel?: number; scale?: number; smooth?: number };
export type PageEdit = PatchEdit | AblationEdit | SteeringEdit | WeightsEdit;
/** A run of one of the texts, and what is changed in it. */
export type EditedRun = { of: TextName; edits: PageEdit[] };

export const NO_EDITS: EditedRun = { of: "b", edits: [] };
/** A run may have so many. */
const MAX_EDITS = 1024;
const MAX_POSITIONS = 4096;

const SITE = /^(input|h\.\d{1,3}(\.(attn|attn_out|mlp_out))?)$/;
const WEIGHTS = /^(h\.\d{1,3}\.ln_[12]|ln_f|embed|unembed|wpe)$/;

type Loose = Record<string, unknown>;
const isObject = (value: unknown): value is Loose =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isCount = (value: unknown, most = 1e7) => Number.isInteger(value) && Number(value) >= 0 && Number(value) <= most;
const isText = (value: unknown) => value === "a" || value === "b";
const isName = (names: RegExp) => (value: unknown) => typeof value === "string" && names.test(value);
const isNumber = (value: unknown) => typeof value === "number" && Number.isFinite(value);
const optional = (value: unknown, is: (value: unknown) => boolean) => value === undefined || is(value);
const arePositions = (value: unknown) =>
  Array.isArray(value) && value.length > 0 && value.length <= MAX_POSITIONS && value.every((each) => isCount(each));
const hasOnly = (value: Loose, names: string[]) => Object.keys(value).every((name) => names.includes(name));
const isSpot = (value: unknown) => isObject(value) && isText(value.text) && isCount(value.position);

function isEdit(value: unknown): value is PageEdit {
  if (!isObject(value)) return false;
  if ("weights" in value)
    return (
      hasOnly(value, ["weights", "channel", "scale", "smooth"]) &&
      isName(WEIGHTS)(value.weights) &&
      optional(value.channel, isCount) &&
      optional(value.scale, isNumber) &&
      optional(value.smooth, isNumber) &&
      (value.scale === undefined) !== (value.smooth === undefined)
    );
  if (!isName(SITE)(value.at) || !optional(value.head, isCount) || !optional(value.positions, arePositions))
    return false;
  const { from, to, add } = value;
  if (from !== undefined)
    return (
      hasOnly(value, ["at", "head", "positions", "from"]) &&
      isObject(from) &&
      hasOnly(from, ["text", "at", "positions"]) &&
      isText(from.text) &&
      optional(from.at, isName(SITE)) &&
      optional(from.positions, arePositions)
    );
  if (to !== undefined)
    return hasOnly(value, ["at", "head", "positions", "to"]) && (to === "zero" || (isObject(to) && isText(to.mean)));
  return (
    hasOnly(value, ["at", "head", "positions", "add", "scale"]) &&
    isNumber(value.scale) &&
    isObject(add) &&
    ("tokens" in add
      ? Array.isArray(add.tokens) &&
        add.tokens.length >= 1 &&
        add.tokens.length <= 2 &&
        add.tokens.every((id) => isCount(id))
      : isSpot(add.plus) && isSpot(add.minus))
  );
}

/** The edits that a link has; null if they cannot be read. */
export function parseEdits(text: string): EditedRun | null {
  try {
    const found = JSON.parse(text) as unknown;
    if (!isObject(found) || !isText(found.of) || !Array.isArray(found.edits)) return null;
    const { edits } = found;
    if (edits.length > MAX_EDITS || !edits.every(isEdit)) return null;
    return { of: found.of, edits };
  } catch {
    return null;
  }
}

/** As they stand in an address; empty for none. */
export const formatEdits = (run: EditedRun) => (run.edits.length === 0 ? "" : JSON.stringify(run));

/** Positions as they are typed: `3, 5-7`; empty for all. */
export const positionsText = (positions: number[] | undefined) =>
  runsOf(positions ?? [])
    .map(([start, end]) => (start === end ? String(start) : `${start}-${end}`))
    .join(", ");

function runsOf(positions: number[]) {
  const runs: [number, number][] = [];
  for (const position of positions) {
    const last = runs.at(-1);
    if (last && position === last[1] + 1) last[1] = position;
    else runs.push([position, position]);
  }
  return runs;
}

/** Errors: a RangeError that says what to type. */
export function parsePositions(text: string): number[] | undefined {
  const parts = text.split(",").flatMap((part) => part.trim() || []);
  if (parts.length === 0) return undefined;
  const positions = parts.flatMap((part) => {
    const [, start, end] = /^(\d{1,5})(?:\s*[-–]\s*(\d{1,5}))?$/.exec(part) ?? [];
    const [from, to] = [Number(start), Number(end ?? start)];
    if (start === undefined || to < from || to - from >= MAX_POSITIONS)
      throw new RangeError(`positions: expected numbers such as 3, 5-7, got “${part}”.`);
    return Array.from({ length: to - from + 1 }, (_, i) => from + i);
  });
  if (positions.length > MAX_POSITIONS) throw new RangeError(`positions: expected at most ${MAX_POSITIONS}.`);
  return positions;
}

/** Whether an edit names neither a text nor positions of one, so that it can be made of any: of weights, or to zero everywhere. */
export const suitsAnyText = (edit: PageEdit) =>
  "weights" in edit || ("to" in edit && edit.to === "zero" && edit.positions === undefined);

const NAMES = { a: "text A", b: "text B" };
const atWords = (positions: number[] | undefined) =>
  positions === undefined ? "all positions" : `position${positions.length > 1 ? "s" : ""} ${positionsText(positions)}`;

/** @param name of a token */
export function editWords(edit: PageEdit, name: (id: number) => string): string {
  if ("weights" in edit) {
    const { weights, channel, scale, smooth } = edit;
    const what = `${weights}${channel === undefined ? "" : ` channel ${channel}`}`;
    return smooth === undefined ? `${what} × ${scale}` : `${what} smoothed over σ = ${smooth} positions`;
  }
  const place = `${edit.at}${edit.head === undefined ? "" : ` head ${edit.head}`}, ${atWords(edit.positions)}`;
  if ("from" in edit) {
    const { text, at, positions } = edit.from;
    const elsewhere = [at && at !== edit.at ? at : "", positions ? atWords(positions) : ""].filter(Boolean).join(", ");
    return `${place} ← ${NAMES[text]}${elsewhere ? `, ${elsewhere}` : ""}`;
  }
  if ("to" in edit) return `${place} ← ${edit.to === "zero" ? "zero" : `its mean over ${NAMES[edit.to.mean]}`}`;
  const { add, scale } = edit;
  const vector =
    "tokens" in add
      ? `${name(add.tokens[0])} − ${add.tokens.length > 1 ? name(add.tokens[1]) : "mean token"}`
      : `${NAMES[add.plus.text]} at ${add.plus.position} − ${NAMES[add.minus.text]} at ${add.minus.position}`;
  return `${place} + ${scale} · (${vector})`;
}

/** How many halves of blocks stand before what a row or a site shows; the row itself is behind them. */
export function depthOf(name: string) {
  const [, block, half] = /^h\.(\d+)(?:\.(\w+))?$/.exec(name) ?? [];
  if (block === undefined) return 0;
  return 2 * Number(block) + (half === "attn" || half === "attn_out" || half === "ln_1" ? 1 : 2);
}

/** Whether weights act in the decoder too, and so on every row: the last norm, the unembedding, halves that it borrows. */
function isInDecoder(weights: string, decoder: string[]) {
  const [, block, norm] = /^(h\.\d+)\.ln_([12])$/.exec(weights) ?? [];
  if (block === undefined) return weights === "ln_f" || weights === "unembed";
  return decoder.includes(block) || decoder.includes(`${block}.${norm === "1" ? "attn" : "mlp"}`);
}

/** The first row and the first position that an edit reaches. */
function reachOf(edit: PageEdit, decoder: string[]) {
  if ("weights" in edit) return { depth: isInDecoder(edit.weights, decoder) ? 0 : depthOf(edit.weights), position: 0 };
  return { depth: depthOf(edit.at), position: edit.positions ? Math.min(...edit.positions) : 0 };
}

/** [N·T] which cells a run's edits can change: those above one of them, from its first position on. */
export function coneOf(
  { taps, n_tokens, asked }: Pick<PlainReading, "taps" | "n_tokens" | "asked">,
  edits: PageEdit[],
): boolean[] {
  const reaches = edits.map((edit) => reachOf(edit, asked.decoder));
  return taps.flatMap((tap) =>
    Array.from({ length: n_tokens }, (_, position) =>
      reaches.some((reach) => depthOf(tap) >= reach.depth && position >= reach.position),
    ),
  );
}

/** What compares a cell with the final row of its position. */
const OF_FINAL = ["kl_final", "kl_final_reverse", "logit_final", "prob_final", "rank_final"];

/** The numbers of a run outside the cone of its edits: how many cells there are, and how many have another number. */
export function outsideOf(base: PlainReading, edited: PlainReading, edits: PageEdit[]) {
  const cone = coneOf(base, edits);
  const first = Math.min(...edits.map((edit) => reachOf(edit, base.asked.decoder).position));
  let [cells, changed] = [0, 0];
  cone.forEach((is_inside, i) => {
    if (is_inside) return;
    cells++;
    const is_before = i % base.n_tokens < first;
    const is_same = Object.entries(base.stats).every(
      ([name, values]) => (!is_before && OF_FINAL.includes(name)) || Object.is(values[i], edited.stats[name][i]),
    );
    const top = [i * base.top_k, (i + 1) * base.top_k] as const;
    const ids = edited.top_ids.subarray(...top);
    const logits = edited.top_logits.subarray(...top);
    const has_same_top =
      base.top_ids.subarray(...top).every((id, k) => id === ids[k]) &&
      base.top_logits.subarray(...top).every((logit, k) => Object.is(logit, logits[k]));
    if (!is_same || !has_same_top) changed++;
  });
  return { cells, changed };
}

/** Whether all numbers of two readings are the same. */
export const isSameReading = (a: PlainReading, b: PlainReading) =>
  Object.entries(a.stats).every(([name, values]) => values.every((value, i) => Object.is(value, b.stats[name][i]))) &&
  a.top_ids.every((id, i) => id === b.top_ids[i]) &&
  a.top_logits.every((logit, i) => Object.is(logit, b.top_logits[i]));

/** A channel of the model is scaled: the edit replaces an earlier one of the same weights and channel. */
export const withWeights = (edits: PageEdit[], edit: WeightsEdit): PageEdit[] => [
  ...edits.filter(
    (each) =>
      !(
        "weights" in each &&
        each.weights === edit.weights &&
        each.channel === edit.channel &&
        each.smooth === undefined
      ),
  ),
  ...(edit.scale === 1 ? [] : [edit]),
];
