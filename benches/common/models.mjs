// @ts-check
/** The models that the benchmarks of a page read. */
import { readFileSync } from "node:fs";
import { Buffer } from "node:buffer";
import { TextDecoder } from "node:util";
import { createJiti } from "jiti";

/** @type {typeof import("../../www/bench/synthetic.ts")} */
const { configOf, shapeOf, weightsOf } = await createJiti(import.meta.url).import("../../www/bench/synthetic.ts");

/** @typedef {{ config: string, weights: Uint8Array }} Model config.json and model.safetensors */

/**
 * A model of a folder, or random weights in f16 of a GPT-2 with `L,C,V`: so many blocks, channels and tokens.
 * @param {string} name
 * @returns {Promise<Model>}
 */
export async function model(name) {
  if (/^\d+,\d+,\d+$/.test(name)) return random(name);
  const { buffer, byteOffset, byteLength } = readFileSync(`${name}/model.safetensors`);
  const weights = new Uint8Array(buffer, byteOffset, byteLength);
  return { config: readFileSync(`${name}/config.json`, "utf8"), weights };
}

/**
 * The benchmark's page makes the same.
 * @param {string} name
 * @returns {Promise<Model>}
 */
async function random(name) {
  const shape = shapeOf(name);
  if (!shape) throw new Error(`${name} is no shape L,C,V with channels that are a multiple of 64`);
  const pieces = [];
  for await (const piece of weightsOf(shape)) pieces.push(piece);
  return { config: configOf(shape), weights: new Uint8Array(Buffer.concat(pieces)) };
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
