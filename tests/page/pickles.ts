/** A CTRL as its repository on the hub holds it: the files, and the shape apart from the width. */
import { readFileSync } from "node:fs";
import type { Folder } from "./checkpoints.ts";

/** A matrix that is stored column by column, or the rows as they are. */
export type View = { name: string; shape: number[]; strides: number[]; storage: number };

const [N_LAYER, N_HEAD, C, DFF, V] = [48, 16, 32, 64, 246_534];
const TOKENS = "tests/golden/ctrl_tokens";

const raw = (...bytes: number[]) => Buffer.from(bytes);
const text = (text: string) => {
  const bytes = Buffer.from(text);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([Buffer.from("X"), length, bytes]);
};
const integer = (n: number) => {
  const bytes = Buffer.alloc(5, "J");
  bytes.writeInt32LE(n, 1);
  return bytes;
};
const tuple = (...parts: Buffer[]) => Buffer.concat([Buffer.from("("), ...parts, Buffer.from("t")]);
const global = (module: string, name: string) => Buffer.from(`c${module}\n${name}\n`);
const dictionary = () => Buffer.concat([global("collections", "OrderedDict"), Buffer.from(")R")]);
const pickle = (...parts: Buffer[]) => Buffer.concat([raw(0x80, 2), ...parts, Buffer.from(".")]);

/**
 * The stream that torch.save wrote before version 1.6.
 * @param storages of single-precision numbers
 */
function oldStream(views: View[], storages: Buffer[]) {
  const size = (i: number) => storages[i].length / 4;
  const entries = views.flatMap(({ name, shape, strides, storage }) => [
    text(name),
    global("torch._utils", "_rebuild_tensor_v2"),
    tuple(
      Buffer.concat([
        tuple(
          text("storage"),
          global("torch", "FloatStorage"),
          text(String(storage)),
          text("cpu"),
          integer(size(storage)),
          Buffer.from("N"),
        ),
        Buffer.from("Q"),
      ]),
      integer(0),
      tuple(...shape.map(integer)),
      tuple(...strides.map(integer)),
      raw(0x89),
      dictionary(),
    ),
    Buffer.from("R"),
  ]);
  const count = (i: number) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(size(i)));
    return bytes;
  };
  return Buffer.concat([
    pickle(raw(0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19)),
    pickle(integer(1001)),
    pickle(Buffer.from("}"), text("little_endian"), raw(0x88), Buffer.from("s")),
    pickle(dictionary(), Buffer.from("("), ...entries, Buffer.from("u")),
    pickle(Buffer.from("]("), ...storages.map((_, i) => text(String(i))), Buffer.from("e")),
    ...storages.flatMap((bytes, i) => [count(i), bytes]),
  ]);
}

/** Numbers that look random and are the same in every run. */
function noise(n: number, scale: number, middle: number = 0) {
  const bytes = Buffer.alloc(4 * n);
  let seed = n;
  for (let i = 0; i < n; i++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
    bytes.writeFloatLE(middle + scale * (seed / 2 ** 31 - 1), 4 * i);
  }
  return bytes;
}

/** Every Linear is transposed, as a conversion from TensorFlow leaves it, and the head is the embedding. */
function weights() {
  const views: View[] = [];
  const storages: Buffer[] = [];
  const vector = (name: string, n: number, middle = 0) => {
    views.push({ name, shape: [n], strides: [1], storage: storages.length });
    storages.push(noise(n, 0.1, middle));
  };
  const linear = (name: string, n_out: number, n_in: number) => {
    views.push({ name: `${name}.weight`, shape: [n_out, n_in], strides: [1, n_out], storage: storages.length });
    storages.push(noise(n_out * n_in, 1 / Math.sqrt(n_in)));
    vector(`${name}.bias`, n_out);
  };
  const norm = (name: string) => (vector(`${name}.weight`, C, 1), vector(`${name}.bias`, C));
  for (let i = 0; i < N_LAYER; i++) {
    const block = `transformer.h.${i}`;
    for (const part of ["Wq", "Wk", "Wv", "dense"]) linear(`${block}.multi_head_attention.${part}`, C, C);
    linear(`${block}.ffn.0`, DFF, C);
    linear(`${block}.ffn.2`, C, DFF);
    norm(`${block}.layernorm1`);
    norm(`${block}.layernorm2`);
  }
  norm("transformer.layernorm");
  const embedding = { shape: [V, C], strides: [C, 1], storage: storages.length };
  views.push({ name: "transformer.w.weight", ...embedding }, { name: "lm_head.weight", ...embedding });
  storages.push(noise(V * C, 0.2));
  vector("lm_head.bias", V);
  return oldStream(views, storages);
}

export function ctrlOfTheHub(): Folder {
  const vocab = JSON.parse(readFileSync(`${TOKENS}/vocab.json`, "utf8"));
  for (let id = Object.keys(vocab).length; id < V; id++) vocab[`word${id}`] = id;
  // An old config: it names neither its model type nor its class.
  const config = {
    n_layer: N_LAYER,
    n_head: N_HEAD,
    n_embd: C,
    dff: DFF,
    n_positions: 50_000,
    n_ctx: 512,
    vocab_size: V,
    layer_norm_epsilon: 1e-6,
  };
  return {
    "config.json": Buffer.from(JSON.stringify(config)),
    "merges.txt": readFileSync(`${TOKENS}/merges.txt`),
    "vocab.json": Buffer.from(JSON.stringify(vocab)),
    "pytorch_model.bin": weights(),
  };
}
