// @ts-check
/* global TextDecoder */
/** The weights of a model, in Node and in a page. */

/** @typedef {{ shape: number[], values: Float32Array<ArrayBuffer> }} Weight */

/**
 * The tensors of a file in f16 or f32, as f32, by their names without `transformer.`.
 * @param {Uint8Array<ArrayBufferLike>} weights
 * @returns {Map<string, Weight>}
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
