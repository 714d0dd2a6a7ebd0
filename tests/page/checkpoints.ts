/** Small models for the fake hub, made from the bundled one: whole, in shards, wider, or with something wrong. */
import { readFileSync } from "node:fs";

export type Tensor = { name: string; dtype: string; shape: number[]; bytes: Buffer };
export type Folder = Record<string, Buffer>;

const TALES = "www/public/models/tales";
const read = (name: string) => readFileSync(`${TALES}/${name}`);

export function tensorsOf(file: Buffer): Tensor[] {
  const start = 8 + Number(file.readBigUInt64LE(0));
  const { __metadata__, ...header } = JSON.parse(file.subarray(8, start).toString());
  const tensors: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> = header;
  return Object.entries(tensors).map(
    ([
      name,
      {
        dtype,
        shape,
        data_offsets: [from, to],
      },
    ]) => ({
      name,
      dtype,
      shape,
      bytes: file.subarray(start + from, start + to),
    }),
  );
}

export function fileOf(tensors: Tensor[]) {
  let at = 0;
  const header = Object.fromEntries(
    tensors.map(({ name, dtype, shape, bytes }) => {
      const data_offsets = [at, (at += bytes.length)];
      return [name, { dtype, shape, data_offsets }];
    }),
  );
  const text = JSON.stringify(header);
  const padded = Buffer.from(text + " ".repeat((8 - (text.length % 8)) % 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(padded.length));
  return Buffer.concat([length, padded, ...tensors.map(({ bytes }) => bytes)]);
}

/** @param bits of a half-precision number */
function half(bits: number) {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  return sign * (exponent === 0 ? fraction * 2 ** -24 : 2 ** (exponent - 15) * (1 + fraction / 1024));
}

/** The numbers of a tensor in F16 or F32. */
export const numbersOf = ({ dtype, bytes }: Tensor): Float64Array =>
  dtype === "F16"
    ? Float64Array.from({ length: bytes.length / 2 }, (_, i) => half(bytes.readUInt16LE(2 * i)))
    : Float64Array.from({ length: bytes.length / 4 }, (_, i) => bytes.readFloatLE(4 * i));

export const tales = (): Folder => ({
  "config.json": read("config.json"),
  "tokenizer.json": read("tokenizer.json"),
  "model.safetensors": read("model.safetensors"),
});

/** The same tokenizer in the two files that older models have. */
export function talesOfOld(): Folder {
  const { "tokenizer.json": whole, ...rest } = tales();
  const { vocab, merges } = JSON.parse(whole.toString()).model;
  const lines = ["#version: 0.2", ...merges.map((pair: [string, string]) => pair.join(" ")), ""];
  return { ...rest, "vocab.json": Buffer.from(JSON.stringify(vocab)), "merges.txt": Buffer.from(lines.join("\n")) };
}

/** The same tensors in files of their own. */
export function talesInShards(n: number): Folder {
  const { "model.safetensors": whole, ...rest } = tales();
  const tensors = tensorsOf(whole);
  const per_shard = Math.ceil(tensors.length / n);
  const folder: Folder = { ...rest };
  const weight_map: Record<string, string> = {};
  for (let i = 0; i < n; i++) {
    const name = `model-${String(i + 1).padStart(5, "0")}-of-${String(n).padStart(5, "0")}.safetensors`;
    const part = tensors.slice(i * per_shard, (i + 1) * per_shard);
    for (const tensor of part) weight_map[tensor.name] = name;
    folder[name] = fileOf(part);
  }
  folder["model.safetensors.index.json"] = Buffer.from(JSON.stringify({ metadata: {}, weight_map }));
  return folder;
}

/** One weight beyond what f16 can say. */
export function talesBeyondF16(): Folder {
  const folder = tales();
  const tensors = tensorsOf(folder["model.safetensors"]).map((tensor) => {
    if (!tensor.name.endsWith("h.3.mlp.c_fc.weight")) return tensor;
    const bytes = Buffer.alloc(tensor.bytes.length * 2);
    bytes.writeFloatLE(1e6, 0);
    return { ...tensor, dtype: "F32", bytes };
  });
  return { ...folder, "model.safetensors": fileOf(tensors) };
}

/**
 * One channel overflows single precision from the output of block 5 on, at position 6 only; from block 6 on attention
 * carries that to every later position. Both tensors are finite.
 */
export function talesThatOverflows(): Folder {
  const HUGE = 3e38;
  const folder = tales();
  const tensors = tensorsOf(folder["model.safetensors"]).map((tensor) => {
    const index = tensor.name.endsWith("wpe.weight") ? 6 * 192 : 0;
    if (index === 0 && !tensor.name.endsWith("h.5.mlp.c_proj.bias")) return tensor;
    const bytes = Buffer.alloc(tensor.bytes.length * 2);
    numbersOf(tensor).forEach((value, i) => bytes.writeFloatLE(i === index ? HUGE : value, 4 * i));
    return { ...tensor, dtype: "F32", bytes };
  });
  return { ...folder, "model.safetensors": fileOf(tensors) };
}

/** A wider model of the same vocabulary, large enough to be killed in the middle; its weights are noise. */
export function wide(): Folder {
  const [n_layer, n_embd, n_head] = [6, 640, 8];
  const folder = tales();
  const config = { ...JSON.parse(folder["config.json"].toString()), n_layer, n_embd, n_head };
  const shapes = Object.fromEntries(tensorsOf(folder["model.safetensors"]).map(({ name, shape }) => [name, shape]));
  let seed = 1;
  const tensors = Object.entries(shapes)
    .filter(([name]) => !/h\.[67]\./.test(name))
    .map(([name, shape]) => {
      const wider = shape.map((n) => (n % 192 === 0 ? (n / 192) * n_embd : n));
      const bytes = Buffer.alloc(wider.reduce((product, n) => product * n, 2));
      for (let i = 0; i + 4 <= bytes.length; i += 4) {
        seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
        // Two halves of about 0.02 each, signs and mantissas from the seed.
        bytes.writeUInt32LE(((seed & 0x83ff83ff) | 0x24002400) >>> 0, i);
      }
      return { name, dtype: "F16", shape: wider, bytes };
    });
  return { ...folder, "config.json": Buffer.from(JSON.stringify(config)), "model.safetensors": fileOf(tensors) };
}
