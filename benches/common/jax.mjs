// @ts-check
/** A reading by jax-js on WebGPU, in a page: one compiled function of the ids and the weights. */
import { TOP, unpacked } from "./numbers.mjs";
import { tensors } from "./tensors.mjs";

/** Tokens of a group of which only the largest logit is looked at first. */
const GROUP = 64;
/** The logit of a token that is there only to fill a group. */
const NONE = -1e30;

/**
 * Opens a model for texts of a number of tokens. An array is used up by what takes it, unless it is passed as `.ref`.
 *
 * The forms were chosen for 4 blocks, 256 channels and 8,192 tokens, 16 positions, on Chromium's adapter in software, where
 * they are 0.7 to 1.2 s. The package's topK sorts: of the whole vocabulary it was 28 s, of groups of 32 tokens and then of
 * 10 groups 0.3 to 0.6 s more than without a list, while a maximum, taken 10 times, is within the noise. Groups of 16 to 64 tokens
 * make no clear difference, and neither does a transposed copy of the unembedding.
 * @param {{ n_layer: number, n_embd: number, n_head: number, vocab_size: number, layer_norm_epsilon: number }} config
 * @param {Uint8Array} bytes
 * @param {number} t
 * @returns {Promise<(ids: Uint32Array) => Promise<import("./numbers.mjs").Sums>>}
 */
export async function open({ n_layer, n_embd: c, n_head, vocab_size, layer_norm_epsilon: epsilon }, bytes, t) {
  // The address is the server's, not a file's.
  const jax_js = "/jax/index.js";
  const { blockUntilReady, defaultDevice, init, jit, nn, numpy: np } = await import(jax_js);
  if (!(await init("webgpu")).includes("webgpu")) throw new Error("jax-js finds no WebGPU");
  defaultDevice("webgpu");
  const n = n_layer + 1;
  const of_group = Math.ceil(vocab_size / GROUP);
  const v = of_group * GROUP;

  /** @type {Record<string, any>} */
  const weights = {};
  for (const [name, { shape, values }] of tensors(bytes)) {
    if (/\.attn\.(masked_)?bias$|^lm_head/.test(name)) continue;
    if (name === "wte.weight") {
      const padded = new Float32Array(v * c);
      padded.set(values);
      weights[name] = np.array(padded, { shape: [v, c] });
    } else weights[name] = np.array(values, { shape });
  }
  weights.filler = np.array(Float32Array.from({ length: v }, (_, i) => (i < vocab_size ? 0 : NONE)));
  await blockUntilReady(weights);

  const read = jit((/** @type {any} */ ids, /** @type {Record<string, any>} */ w) => {
    /**
     * @param {any} x
     * @param {string} name
     */
    const norm = (x, name) =>
      nn.standardize(x, -1, { epsilon }).mul(w[`${name}.weight`].ref).add(w[`${name}.bias`].ref);
    /**
     * @param {any} x
     * @param {string} name
     */
    const linear = (x, name) => np.matmul(x, w[`${name}.weight`].ref).add(w[`${name}.bias`].ref);

    /**
     * The largest values of each line and their columns.
     * @param {any} lines
     */
    const largest = (lines) => {
      const columns = np.arange(lines.shape[1]).reshape([1, lines.shape[1]]);
      const [values, at] = [[], []].map((none) => /** @type {any[]} */ (none));
      for (let i = 0; i < TOP; i++) {
        values.push(np.max(lines.ref, 1, { keepdims: true }));
        at.push(np.argmax(lines.ref, 1, { keepdims: true }));
        lines = np.where(columns.ref.equal(at[i].ref), 2 * NONE, lines);
      }
      lines.dispose();
      columns.dispose();
      return [np.concatenate(values, 1), np.concatenate(at, 1).astype(np.int32)];
    };

    const input = ids.ref.slice([0, t]);
    const next = ids.slice([1, t + 1]);
    let x = np.take(w["wte.weight"].ref, input.ref, 0).add(w["wpe.weight"].ref.slice([0, t]));
    const rows = [x.ref];
    for (let i = 0; i < n_layer; i++) {
      const qkv = linear(norm(x.ref, `h.${i}.ln_1`), `h.${i}.attn.c_attn`).reshape([t, 3, n_head, c / n_head]);
      const [q, k] = [0, 1].map((i) => qkv.ref.slice([], i));
      const mixed = nn.dotProductAttention(q, k, qkv.slice([], 2), { isCausal: true }).reshape([t, c]);
      x = x.add(linear(mixed, `h.${i}.attn.c_proj`));
      const inner = nn.gelu(linear(norm(x.ref, `h.${i}.ln_2`), `h.${i}.mlp.c_fc`));
      x = x.add(linear(inner, `h.${i}.mlp.c_proj`));
      rows.push(x.ref);
    }
    x.dispose();

    // The lens, with the rows of a position side by side.
    const decoded = norm(np.stack(rows, 1), "ln_f").reshape([t * n, c]);
    const logits = np.matmul(decoded, w["wte.weight"].ref.transpose()).add(w.filler.ref).reshape([t, n, v]);
    // The largest groups hold the largest tokens. The tokens of a group are v / GROUP apart.
    const groups = logits.ref.reshape([t * n, GROUP, of_group]);
    const maxima = np.max(groups.ref, 1);
    const best = largest(maxima.ref)[1];
    const chosen = np.broadcastTo(best.ref.reshape([t * n, 1, TOP]), [t * n, GROUP, TOP]);
    const picked = np.takeAlongAxis(groups, chosen, 2).reshape([t * n, GROUP * TOP]);
    const [values, at] = largest(picked);
    const group = np.takeAlongAxis(best, at.ref.mod(TOP), 1);
    const top_ids = np.floorDivide(at, TOP).mul(of_group).add(group).reshape([t, n, TOP]);

    const most = np.max(maxima, 1, { keepdims: true }).reshape([t, n, 1]);
    const shifted = logits.ref.sub(most.ref);
    const log_total = np.log(np.sum(np.exp(shifted.ref), -1, { keepdims: true }));
    const log_p = shifted.sub(log_total.ref);
    const p = np.exp(log_p.ref);
    const row = (/** @type {any} */ of, /** @type {number} */ i) => of.ref.slice([], [i, i + 1]);
    const products = [
      p.ref.mul(log_p.ref),
      row(p, n - 1).mul(log_p.ref),
      p.ref.mul(row(log_p, n - 1)),
      row(p, 0).mul(log_p.ref),
      p.ref.mul(row(log_p, 0)),
    ];
    p.dispose();
    log_p.dispose();
    const pairs = products.map((product) => np.sum(product, -1, { keepdims: true }));
    const final = top_ids.ref.slice([], [n - 1, n], [0, 1]);
    const each = [final, input.reshape([t, 1, 1]), next.reshape([t, 1, 1])];
    const own = each.map((ids) => np.takeAlongAxis(logits.ref, np.broadcastTo(ids, [t, n, 1]), 2));
    const above = own.map((logit) => np.sum(logits.ref.greater(logit.ref).astype(np.float32), -1, { keepdims: true }));
    logits.dispose();
    for (const weight of Object.values(w)) weight.dispose();
    // Everything is read back as one array.
    return np.concatenate(
      [values.reshape([t, n, TOP]), top_ids.astype(np.float32), log_total.add(most), ...pairs, ...own, ...above],
      2,
    );
  });
  return async (ids) => {
    const kept = Object.fromEntries(Object.entries(weights).map(([name, weight]) => [name, weight.ref]));
    return unpacked(await read(np.array(Int32Array.from(ids)), kept).data(), n * t);
  };
}
