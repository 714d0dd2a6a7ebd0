/** Opens a model in the engine, beside the one in use, and keeps it on the way if that is wanted and possible. */
import { resolveSource } from "./resolve.ts";
import type { Loupe } from "../../src/web/types.d.ts";
import { codeOf } from "../engine/errors.ts";
import { throwIfAborted } from "./retry.ts";
import { findKept, openWriter } from "./model-store.ts";
import type { ModelFiles, Places } from "./resolve.ts";
import type { InUse, Source } from "../lib/model.ts";
import type { Refusal, Step } from "../engine/protocol.ts";

const refusalOf = (error: unknown): Refusal => {
  const { name, message } = error as Error;
  return { name: name ?? "Error", message: message ?? String(error) };
};

/** Whether a model can be had again without the network. */
async function canReopen(in_use: InUse | null) {
  if (!in_use) return false;
  const { source } = in_use;
  if (source.kind === "bundled") return true;
  return source.kind === "kept" && (await findKept(source.key))?.about.state === "whole";
}

async function placeFor(loupe: Loupe, parts: ModelFiles) {
  const { place, name, config, tokenizer, precision, total } = parts;
  if (!place || config === null || tokenizer === null) return null;
  const { kept_bytes, parameters } = await loupe.plan({ config, precision });
  return openWriter(
    place.key,
    {
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
    },
    { config, tokenizer },
  );
}

/** @param opening the engine, which may still be on its way */
export async function loadModel(
  opening: Promise<Loupe>,
  source: Source,
  {
    places,
    precision,
    keep,
    in_use,
    signal,
    onStep,
    letGo,
  }: {
    places: Places;
    precision: "f16" | "f32";
    keep: boolean;
    in_use: InUse | null;
    signal: AbortSignal;
    onStep: (step: Step) => void;
    /** of what holds on to the model in use: a reading that can be traced, questions to the atlas */
    letGo: () => Promise<void>;
  },
): Promise<{ in_use: InUse; refusal: Refusal | null }> {
  const downloads = new AbortController();
  const watch = {
    signal: AbortSignal.any([signal, downloads.signal]),
    onWait: (wait: { ms: number; reason: string }) => onStep({ step: "wait", ...wait }),
  };
  if (source.kind === "hub" || source.kind === "kept") onStep({ step: "look-up" });
  const gathering = resolveSource(source, places, precision, watch);
  const [loupe, parts] = await Promise.all([opening, gathering]).catch((error) => {
    downloads.abort();
    throw error;
  });
  throwIfAborted(signal);
  const { name, config, tokenizer, weights, verb, address, place } = parts;
  let refusal: Refusal | null = null;
  const shelf =
    keep && place
      ? await placeFor(loupe, parts).catch((error: { code?: unknown }) => {
          // A model that the engine cannot take has a code; a store that refuses has none, and stops nothing.
          if (typeof error.code === "string") throw error;
          refusal = refusalOf(error);
          return null;
        })
      : null;
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
      onProgress: ({ received, total, tensor }) => {
        total ??= parts.total ?? null;
        has_come = true;
        onStep(
          received >= (total ?? Infinity)
            ? { step: "prepare", name }
            : { step: "load", verb, name, received, total, tensor },
        );
      },
    });
    refusal ??= keep_error ?? null;
    if (kept && shelf)
      await shelf.finish(kept).then(
        () => (is_kept = true),
        (error) => (refusal = refusalOf(error)),
      );
    if (!is_kept) await shelf?.drop();
  } catch (error) {
    // A download is worth going on with; files are still where they came from, and what is wrong stays wrong.
    const has_some = has_come || shelf?.goes_on === true;
    const is_worth_it = has_some && source.kind !== "files" && codeOf(error) !== "corrupt";
    await (is_worth_it ? shelf?.leave() : shelf?.drop());
    throw error;
  }
  const key = is_kept ? place?.key : parts.kept;
  const reopened = key ? ({ kind: "kept", key } as Source) : source;
  return { in_use: { source: reopened, name, precision: parts.precision, address }, refusal };
}
