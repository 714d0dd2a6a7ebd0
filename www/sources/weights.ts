/** The names that files of weights have, by format, in the order in which the formats are looked for. */
import { LoupeError } from "../engine/errors.ts";

export interface Format {
  name: string;
  /** the file that has everything */
  whole: string;
  /** of the shards */
  index: string;
  extension: RegExp;
}

export const FORMATS: Format[] = [
  {
    name: "safetensors",
    whole: "model.safetensors",
    index: "model.safetensors.index.json",
    extension: /\.safetensors$/,
  },
  { name: "PyTorch", whole: "pytorch_model.bin", index: "pytorch_model.bin.index.json", extension: /\.(bin|pt|pth)$/ },
];

/** A name that an index may state: a file beside it. */
const PLAIN = /^[\w.-]+$/;
/** What trainers put beside the weights. */
const NO_WEIGHTS = /^(training_args|optimizer|scheduler|scaler|rng_state.*)\.(bin|pt|pth)$/;
const NUMBERED = /^(.*)-(\d{5})-of-(\d{5})(\.[a-z]+)$/;

/** The format of a file of weights, by its name. */
export const formatOf = (name: string) =>
  FORMATS.find(({ extension }) => extension.test(name) && !NO_WEIGHTS.test(name)) ?? null;

/** The distinct files that an index of shards names, in the order of their names. */
export function shardsOf(text: string, what: string, format: Format) {
  let names: string[] = [];
  try {
    names = [...new Set(Object.values((JSON.parse(text) as { weight_map: object }).weight_map).map(String))].sort();
  } catch {
    /* reported below */
  }
  if (names.length === 0 || !names.every((name) => PLAIN.test(name) && format.extension.test(name))) {
    throw new LoupeError("bad-header", `${what} is not an index of ${format.name} files.`);
  }
  return names;
}

/** All shards of the numbered file among these; the names themselves if none is numbered. */
export function numbered(names: string[]) {
  const [, stem, , count, extension] = names.map((name) => NUMBERED.exec(name)).find(Boolean) ?? [];
  if (stem === undefined) return names;
  return Array.from(
    { length: Number(count) },
    (_, i) => `${stem}-${String(i + 1).padStart(5, "0")}-of-${count}${extension}`,
  );
}
