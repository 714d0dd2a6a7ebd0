/** Files that a person chose ─▶ the parts of one model, or a clear word on what is missing. */
import { LoupeError } from "../engine/errors.ts";
import { FORMATS, formatOf, numbered, shardsOf } from "./weights.ts";
import type { Tokenizer } from "./hub.ts";
import type { Format } from "./weights.ts";

const depth = ({ webkitRelativePath }: File) => webkitRelativePath.split("/").length;

/**
 * Without a config they are a partial model, for the atlas; so are those of a whole one if that is asked for.
 * Errors: `not-found` for what is missing, `bad-header`.
 */
export async function sortFiles(
  files: File[],
  wants_part: boolean = false,
): Promise<{ config: string | null; tokenizer: Tokenizer | null; weights: File[]; is_part: boolean }> {
  /** By name; of two with the same name the one nearer to the top. */
  const by_name: Map<string, File> = new Map();
  for (const file of files.toSorted((a, b) => depth(b) - depth(a))) by_name.set(file.name, file);

  const namesOf = (format: Format) => [...by_name.keys()].filter((name) => formatOf(name) === format).sort();
  /** The files of a format, if all of them may be there: the whole one, or those of its index. */
  const complete = await Promise.all(
    FORMATS.map(async (format) => {
      if (by_name.has(format.whole)) return { format, wanted: [format.whole] };
      const index = by_name.get(format.index);
      if (!index) return null;
      return { format, wanted: shardsOf(await index.text(), format.index, format) };
    }),
  );
  const isThere = (each: { wanted: string[] } | null) => each?.wanted.every((name) => by_name.has(name));
  const by_index = complete.find(isThere) ?? complete.find((each) => each !== null);
  const format = by_index?.format ?? FORMATS.find((each) => namesOf(each).length > 0) ?? FORMATS[0];
  const found = namesOf(format);
  const wanted = by_index?.wanted ?? (found.length > 0 ? numbered(found) : [format.whole]);
  const is_older = !by_name.has("tokenizer.json") && by_name.has("vocab.json") && by_name.has("merges.txt");
  const is_part = wants_part || (!by_name.has("config.json") && found.length > 0);
  const text = (name: string) => (by_name.get(name) as File).text();
  // A model without one reads ids.
  const tokenizer = is_older
    ? { vocab: await text("vocab.json"), merges: await text("merges.txt") }
    : by_name.has("tokenizer.json")
      ? await text("tokenizer.json")
      : null;
  if (is_part) {
    const there = (by_index ? wanted : found).filter((name) => by_name.has(name));
    return {
      config: by_name.has("config.json") ? await text("config.json") : null,
      tokenizer,
      weights: there.map((name) => by_name.get(name) as File),
      is_part,
    };
  }
  const missing = ["config.json", ...wanted].filter((name) => !by_name.has(name));
  if (missing.length > 0) {
    const names = missing.length === 1 ? missing[0] : `${missing.slice(0, -1).join(", ")} and ${missing.at(-1)}`;
    throw new LoupeError(
      "not-found",
      `These files lack ${names}. A model is config.json, tokenizer.json (or vocab.json and merges.txt) and model.safetensors or pytorch_model.bin, or its shards with their index. A file of weights by itself opens in the atlas.`,
    );
  }
  const weights = wanted.map((name) => by_name.get(name) as File);
  return { config: await text("config.json"), tokenizer, weights, is_part };
}

/** The same for the same files, without reading all of them. */
export async function filesKey(config: string, weights: File[]) {
  const facts = weights.map(({ name, size, lastModified }) => `${name} ${size} ${lastModified}`);
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode([config, ...facts].join("\n")));
  const hex = Array.from(new Uint8Array(digest).slice(0, 8), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return `files-${hex}`;
}
