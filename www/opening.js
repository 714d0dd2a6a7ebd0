// @ts-check
/** Opens a model in the engine, beside the one in use, and keeps it on the way if that is wanted and possible. */
import { gather } from "./gather.js";
import { codeOf } from "./outcome.js";
import { throwIfAborted } from "./patience.js";
import { findKept, startKeeping } from "./store.js";

/** @typedef {import("./gather.js").Source} Source */
/** @typedef {import("./gather.js").Parts} Parts */

/**
 * How an opening goes on, for the bar.
 * @typedef {{ step: "look-up" }
 *   | { step: "load", verb: string, name: string, received: number, total: number | null, tensor: string }
 *   | { step: "wait", ms: number, reason: string }
 *   | { step: "prepare", name: string }} Step
 */

/** Why a loaded model is not kept: the platform's name for it, and its words. @typedef {{ name: string, message: string }} Refusal */

/** What is in use, and how to come by it again. @typedef {{ source: Source, name: string, precision: "f16" | "f32", address: { id: string, revision: string } | null }} InUse */

/** @param {unknown} error @returns {Refusal} */
const refusalOf = (error) => {
  const { name, message } = /** @type {Error} */ (error);
  return { name: name ?? "Error", message: message ?? String(error) };
};

/** Whether a model can be had again without the network. @param {InUse | null} in_use */
async function canReopen(in_use) {
  if (!in_use) return false;
  const { source } = in_use;
  if (source.kind === "bundled") return true;
  return source.kind === "kept" && (await findKept(source.key))?.about.state === "whole";
}

/** @param {any} loupe @param {Parts} parts */
async function placeFor(loupe, parts) {
  const { place, name, config, tokenizer, precision, total } = parts;
  if (!place || config === null || tokenizer === null) return null;
  const { kept_bytes, parameters } = await loupe.plan({ config, precision });
  return startKeeping(place.key, {
    version: 1,
    state: "partial",
    name,
    source: place.source,
    precision,
    parameters,
    source_bytes: total ?? null,
    bytes: kept_bytes,
    sha256: null,
    changed_at: new Date().toISOString(),
  }, { config, tokenizer });
}

/**
 * @param {Promise<any>} opening the engine, which may still be on its way
 * @param {Source} source
 * @param {object} how
 * @param {import("./gather.js").Places} how.places
 * @param {"f16" | "f32"} how.precision
 * @param {boolean} how.keep
 * @param {InUse | null} how.in_use
 * @param {AbortSignal} how.signal
 * @param {(step: Step) => void} how.onStep
 * @param {() => Promise<void>} how.letGo of what holds on to the model in use: a reading that can be traced, questions to the atlas
 * @returns {Promise<{ in_use: InUse, refusal: Refusal | null }>}
 */
export async function openModel(opening, source, { places, precision, keep, in_use, signal, onStep, letGo }) {
  const downloads = new AbortController();
  const watch = { signal: AbortSignal.any([signal, downloads.signal]), onWait: (/** @type {{ ms: number, reason: string }} */ wait) => onStep({ step: "wait", ...wait }) };
  if (source.kind === "hub" || source.kind === "kept") onStep({ step: "look-up" });
  const gathering = gather(source, places, precision, watch);
  const [loupe, parts] = await Promise.all([opening, gathering]).catch((error) => {
    downloads.abort();
    throw error;
  });
  throwIfAborted(signal);
  const { name, config, tokenizer, weights, verb, address, place } = parts;
  /** @type {Refusal | null} */
  let refusal = null;
  const shelf = keep && place ? await placeFor(loupe, parts).catch((error) => {
    // A model that the engine cannot take has a code; a store that refuses has none, and stops nothing.
    if (typeof error.code === "string") throw error;
    refusal = refusalOf(error);
    return null;
  }) : null;
  let [is_kept, has_come] = [false, false];
  try {
    const release = await canReopen(in_use);
    if (release && config !== null) {
      const { fits } = await loupe.plan({ config, precision: parts.precision, trial: true });
      if (!fits) await letGo();
    }
    const { kept, keep_error } = await loupe.load({
      config,
      tokenizer,
      weights,
      precision: parts.precision,
      partial: parts.is_part ?? false,
      total: parts.total,
      keep: shelf?.file ?? null,
      release,
      signal,
      onProgress: (/** @type {any} */ { received, total, tensor }) => {
        total ??= parts.total ?? null;
        has_come = true;
        onStep(received >= (total ?? Infinity) ? { step: "prepare", name } : { step: "load", verb, name, received, total, tensor });
      },
    });
    refusal ??= keep_error ?? null;
    if (kept && shelf) await shelf.finish(kept).then(() => (is_kept = true), (error) => (refusal = refusalOf(error)));
    if (!is_kept) await shelf?.drop();
  } catch (error) {
    // A download is worth going on with; files are still where they came from, and what is wrong stays wrong.
    const has_some = has_come || shelf?.goes_on === true;
    const is_worth_it = has_some && source.kind !== "files" && codeOf(error) !== "corrupt";
    await (is_worth_it ? shelf?.leave() : shelf?.drop());
    throw error;
  }
  const key = is_kept ? place?.key : parts.kept;
  const reopened = key ? /** @type {Source} */ ({ kind: "kept", key }) : source;
  return { in_use: { source: reopened, name, precision: parts.precision, address }, refusal };
}
