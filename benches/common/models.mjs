// @ts-check
/** The models that the benchmarks of a page read. */
import { readFileSync } from "node:fs";
import { Buffer } from "node:buffer";
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
