// @ts-check
/** A reading by TensorFlow.js on WebGPU, in a page: one operation after the other, with one array read back. */
import { TOP, unpacked } from "./numbers.mjs";
import { tensors } from "./tensors.mjs";

/** Tokens of a group of which only the largest logit is looked at first. */
const GROUP = 32;
/** The logit of a token that is there only to fill a group. */
const NONE = -1e30;

/**
 * Opens a model for texts of a number of tokens.
 *
 * The forms were chosen for 4 blocks, 256 channels and 8,192 tokens, 16 positions, on Chromium's adapter in software, where
 * a reading took 4.6 to 5.8 s; some of the times below were taken while other work doubled that, and are ratios. With a transposed copy of the
 * unembedding a reading without a list took 0.84 of one with the unembedding transposed at each product. topk of the
 * whole vocabulary took 1.09 of a list by maxima of groups; topk of the groups was 9 s in all. Products with five
 * distributions are 0.1 of it. Small tensors on the device too (WEBGPU_CPU_FORWARD off), more commands at once
 * (WEBGPU_DEFERRED_SUBMIT_BATCH_SIZE) and another program for matrices made no clear difference.
 * @param {{ n_layer: number, n_embd: number, n_head: number, vocab_size: number, layer_norm_epsilon: number }} config
 * @param {Uint8Array} bytes
 * @param {number} t
 * @returns {Promise<(ids: Uint32Array) => Promise<import("./numbers.mjs").Sums>>}
 */
export async function open({ n_layer, n_embd: c, n_head, vocab_size, layer_norm_epsilon: epsilon }, bytes, t) {
  // The addresses are the server's, not a file's. The second module registers the device with the first.
  const [tf_js, webgpu_js] = ["/tfjs-core/tf-core.fesm.min.js", "/tfjs-backend-webgpu/tf-backend-webgpu.fesm.min.js"];
  const tf = await import(tf_js);
  await import(webgpu_js);
  if (!(await tf.setBackend("webgpu"))) throw new Error("TensorFlow.js finds no WebGPU");
  await tf.ready();
  const n = n_layer + 1;
  const d = c / n_head;
  const of_group = Math.ceil(vocab_size / GROUP);
  const v = of_group * GROUP;

  /** @type {Map<string, any>} */
  const weights = new Map();
  for (const [name, { shape, values }] of tensors(bytes)) {
    if (/\.attn\.(masked_)?bias$|^lm_head/.test(name)) continue;
    const padded = name === "wte.weight" ? new Float32Array(v * c) : values;
    padded.set(values);
    weights.set(name, tf.tensor(padded, name === "wte.weight" ? [v, c] : shape, "float32"));
  }
  const filler = tf.tensor1d(Float32Array.from({ length: v }, (_, i) => (i < vocab_size ? 0 : NONE)));
  const mask = tf.tensor(
    Float32Array.from({ length: t * t }, (_, i) => (i % t > Math.floor(i / t) ? NONE : 0)),
    [1, t, t],
  );
  const unembedding = tf.transpose(weights.get("wte.weight"));
  const [group_size, group_count] = [GROUP, of_group].map((size) => tf.scalar(size, "int32"));
  const scale = tf.scalar(1 / Math.sqrt(d));
  const [half, one, cubic, root] = [0.5, 1, 0.044715, Math.sqrt(2 / Math.PI)].map((value) => tf.scalar(value));
  const columns = [of_group, TOP * GROUP].map((size) => tf.reshape(tf.range(0, size, 1, "int32"), [1, size]));

  /** @param {any} x */
  const gelu = (x) =>
    tf.mul(tf.mul(x, half), tf.add(tf.tanh(tf.mul(tf.add(x, tf.mul(tf.mul(tf.square(x), x), cubic)), root)), one));
  /**
   * @param {any} x
   * @param {string} name
   */
  const norm = (x, name) => {
    const centred = tf.sub(x, tf.mean(x, -1, true));
    const variance = tf.mean(tf.square(centred), -1, true);
    const scaled = tf.mul(tf.mul(centred, tf.rsqrt(tf.add(variance, epsilon))), weights.get(`${name}.weight`));
    return tf.add(scaled, weights.get(`${name}.bias`));
  };
  /**
   * @param {any} x
   * @param {string} name
   */
  const linear = (x, name) =>
    tf.fused.matMul({ a: x, b: weights.get(`${name}.weight`), bias: weights.get(`${name}.bias`) });

  /**
   * The largest values of each line and their columns.
   * @param {any} lines
   * @param {any} columns
   */
  const largest = (lines, columns) => {
    const [values, at] = [[], []].map((none) => /** @type {any[]} */ (none));
    for (let i = 0; i < TOP; i++) {
      values.push(tf.max(lines, 1, true));
      at.push(tf.reshape(tf.argMax(lines, 1), [lines.shape[0], 1]));
      if (i + 1 < TOP) lines = tf.where(tf.equal(columns, at[i]), 2 * NONE, lines);
    }
    return [tf.concat(values, 1), tf.concat(at, 1)];
  };

  /** @param {any} ids */
  const read = (ids) => {
    const input = tf.slice(ids, [0], [t]);
    const next = tf.slice(ids, [1], [t]);
    const wte = weights.get("wte.weight");
    let x = tf.add(tf.gather(wte, input), tf.slice(weights.get("wpe.weight"), [0, 0], [t, c]));
    const rows = [x];
    for (let i = 0; i < n_layer; i++) {
      const qkv = tf.reshape(linear(norm(x, `h.${i}.ln_1`), `h.${i}.attn.c_attn`), [t, 3 * n_head, d]);
      const heads = tf.transpose(qkv, [1, 0, 2]);
      const [q, k, values] = tf.split(heads, 3, 0);
      const scores = tf.add(tf.mul(tf.matMul(q, k, false, true), scale), mask);
      const mixed = tf.reshape(tf.transpose(tf.matMul(tf.softmax(scores), values), [1, 0, 2]), [t, c]);
      x = tf.add(x, linear(mixed, `h.${i}.attn.c_proj`));
      x = tf.add(x, linear(gelu(linear(norm(x, `h.${i}.ln_2`), `h.${i}.mlp.c_fc`)), `h.${i}.mlp.c_proj`));
      rows.push(x);
    }

    // The lens, with the rows of a position side by side.
    const decoded = tf.reshape(norm(tf.stack(rows, 1), "ln_f"), [t * n, c]);
    const flat = tf.fused.matMul({ a: decoded, b: unembedding, bias: filler });
    const logits = tf.reshape(flat, [t, n, v]);
    // The largest groups hold the largest tokens. The tokens of a group are v / GROUP apart.
    const groups = tf.reshape(flat, [t * n, GROUP, of_group]);
    const maxima = tf.max(groups, 1);
    const best = largest(maxima, columns[0])[1];
    const picked = tf.reshape(tf.gather(tf.transpose(groups, [0, 2, 1]), best, 1, 1), [t * n, TOP * GROUP]);
    const [values, at] = largest(picked, columns[1]);
    const chosen = tf.floorDiv(at, group_size);
    const place = tf.sub(at, tf.mul(chosen, group_size));
    const top_ids = tf.add(tf.mul(place, group_count), tf.gather(best, chosen, 1, 1));

    const most = tf.reshape(tf.max(maxima, 1, true), [t, n, 1]);
    const shifted = tf.sub(logits, most);
    const powers = tf.exp(shifted);
    const total = tf.sum(powers, -1, true);
    const log_total = tf.log(total);
    const log_p = tf.sub(shifted, log_total);
    const p = tf.div(powers, total);
    const row = (/** @type {any} */ of, /** @type {number} */ i) => tf.slice(of, [0, i, 0], [t, 1, v]);
    const products = [
      [p, log_p],
      [row(p, n - 1), log_p],
      [p, row(log_p, n - 1)],
      [row(p, 0), log_p],
      [p, row(log_p, 0)],
    ];
    const pairs = products.map(([a, b]) => tf.sum(tf.mul(a, b), -1, true));
    const ids_of = tf.reshape(top_ids, [t, n, TOP]);
    const each = [
      tf.slice(ids_of, [0, n - 1, 0], [t, 1, 1]),
      tf.reshape(input, [t, 1, 1]),
      tf.reshape(next, [t, 1, 1]),
    ];
    const own = each.map((ids) => tf.gather(logits, tf.tile(ids, [1, n, 1]), 2, 2));
    const above = own.map((logit) => tf.sum(tf.cast(tf.greater(logits, logit), "float32"), -1, true));
    const listed = [tf.reshape(values, [t, n, TOP]), tf.cast(ids_of, "float32")];
    // Everything is read back as one array.
    return tf.concat([...listed, tf.add(log_total, most), ...pairs, ...own, ...above], 2);
  };
  return async (ids) => {
    const packed = tf.tidy(() => read(tf.tensor1d(Int32Array.from(ids), "int32")));
    const found = await packed.data();
    packed.dispose();
    return unpacked(found, n * t);
  };
}
