// @ts-check
/** The models that the benchmarks of a page read. */
import { readFileSync } from "node:fs";
import { TextDecoder } from "node:util";

/** @typedef {{ config: string, weights: Uint8Array }} Model config.json and model.safetensors */

/**
 * A model of a folder, or random weights in f16 of a GPT-2 with `L,C,V`: so many blocks, channels and tokens.
 * @param {string} name
 * @returns {Model}
 */
export function model(name) {
  if (/^\d+,\d+,\d+$/.test(name)) return random(name.split(",").map(Number));
  const { buffer, byteOffset, byteLength } = readFileSync(`${name}/model.safetensors`);
  const weights = new Uint8Array(buffer, byteOffset, byteLength);
  return { config: readFileSync(`${name}/config.json`, "utf8"), weights };
}

/**
 * @param {number[]} shape
 * @returns {Model}
 */
function random([n_layer, c, v]) {
  const n_ctx = 256;
  const block = (/** @type {number} */ i) => ({
    [`h.${i}.ln_1.weight`]: [c],
    [`h.${i}.ln_1.bias`]: [c],
    [`h.${i}.attn.c_attn.weight`]: [c, 3 * c],
    [`h.${i}.attn.c_attn.bias`]: [3 * c],
    [`h.${i}.attn.c_proj.weight`]: [c, c],
    [`h.${i}.attn.c_proj.bias`]: [c],
    [`h.${i}.ln_2.weight`]: [c],
    [`h.${i}.ln_2.bias`]: [c],
    [`h.${i}.mlp.c_fc.weight`]: [c, 4 * c],
    [`h.${i}.mlp.c_fc.bias`]: [4 * c],
    [`h.${i}.mlp.c_proj.weight`]: [4 * c, c],
    [`h.${i}.mlp.c_proj.bias`]: [c],
  });
  const shapes = Object.assign(
    { "wte.weight": [v, c], "wpe.weight": [n_ctx, c], "ln_f.weight": [c], "ln_f.bias": [c] },
    ...Array.from({ length: n_layer }, (_, i) => block(i)),
  );
  /** @type {Record<string, object>} */
  const header = {};
  let end = 0;
  for (const [name, shape] of Object.entries(shapes)) {
    const start = end;
    end += 2 * shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1);
    header[name] = { dtype: "F16", shape, data_offsets: [start, end] };
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const weights = new Uint8Array(8 + json.length + end);
  new DataView(weights.buffer).setUint32(0, json.length, true);
  weights.set(json, 8);
  const view = new DataView(weights.buffer, 8 + json.length);
  // Halves of both signs between 2^-6 and 2^-5.
  for (let i = 0, x = 1; i < end; i += 2) {
    x = (x * 48271) % 2147483647;
    view.setUint16(i, 0x2400 | (x & 0x83ff), true);
  }
  const names = { n_layer, n_embd: c, vocab_size: v, n_head: c / 64, n_ctx, n_positions: n_ctx };
  return { config: JSON.stringify({ model_type: "gpt2", layer_norm_epsilon: 1e-5, ...names }), weights };
}

/**
 * The tensors of a file in f16 or f32, as f32, by their names without `transformer.`.
 * @param {Uint8Array} weights
 * @returns {Map<string, { shape: number[], values: Float32Array }>}
 */
export function tensors(weights) {
  const view = new DataView(weights.buffer, weights.byteOffset, weights.byteLength);
  const start = 8 + Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(weights.subarray(8, start)));
  const halves = Float32Array.from({ length: 1 << 16 }, (_, bits) => half(bits));
  const found = new Map();
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    if (dtype !== "F16" && dtype !== "F32") throw new Error(`${name} is ${dtype}, not F16 or F32`);
    const bytes = weights.slice(start + data_offsets[0], start + data_offsets[1]);
    const values =
      dtype === "F16"
        ? Float32Array.from(new Uint16Array(bytes.buffer), (bits) => halves[bits])
        : new Float32Array(bytes.buffer);
    found.set(name.replace(/^transformer\./, ""), { shape, values });
  }
  return found;
}

/** @param {number} bits */
function half(bits) {
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  const size = exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25);
  return (bits >> 15 ? -1 : 1) * (exponent === 31 ? (fraction ? NaN : Infinity) : size);
}
