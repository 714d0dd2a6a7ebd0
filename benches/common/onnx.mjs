// @ts-check
/** GPT-2 with the logit lens as an ONNX graph: what a reading computes, as well as ONNX Runtime can be asked for it. */
import { createRequire } from "node:module";
import { TOP } from "./numbers.mjs";
import { tensors } from "./tensors.mjs";

/** The names of the nodes that sort, which WebGPU is told to leave to the CPU. */
export const SORTS = ["sort_groups", "sort_picked"];
/** Tokens of a group of which only the largest logit is sorted first. */
const GROUP = 32;
/** The logit of a token that is there only to fill a group. */
const NONE = -1e30;

/**
 * The graph for texts of a number of tokens. Its input is `ids` [T+1], the text and one more token, the next of the last.
 * Its outputs, with N = L+1 rows, are those of `Sums` in numbers.mjs: `cross` on the CPU, `pairs` on a GPU.
 *
 * The forms for a GPU were chosen for 4 blocks, 256 channels and 8,192 tokens, 16 positions, on Chromium's adapter in
 * software. All together were 4 s, 3 s without any list of the largest. In place of the products and sums of `pairs`, the
 * matrix product of `cross` was 1 s more: it has a few rows, and sums the whole vocabulary in one workgroup. TopK of
 * the whole vocabulary was 2 s more; of the groups with consecutive tokens 1.8 s; of those with tokens far apart, for which
 * no workgroup has to share a maximum, 0.5 to 1.5 s, and 0.3 s with what is left sorted on the CPU, which is
 * 10 groups of a row. Gemm with the unembedding as it is was 1.3 s; MatMul or Gemm of its transpose 2.5 s.
 * @param {import("./models.mjs").Model} model
 * @param {number} t
 * @returns {Uint8Array}
 */
export function onnx({ config, weights }, t, is_gpu = false) {
  const { onnx: proto } = createRequire(new URL("../peers/", import.meta.url))("onnx-proto");
  const { n_layer, n_embd: c, n_head, vocab_size, layer_norm_epsilon: epsilon } = JSON.parse(config);
  const d = c / n_head;
  const n = n_layer + 1;
  const FLOAT = proto.TensorProto.DataType.FLOAT;
  const INT64 = proto.TensorProto.DataType.INT64;
  const { INT, FLOAT: REAL, INTS, STRING } = proto.AttributeProto.AttributeType;
  /** @type {object[]} */
  const node = [];
  /** @type {object[]} */
  const initializer = [];

  /**
   * @param {number[]} shape
   * @param {Float32Array | BigInt64Array} values
   */
  const constant = (shape, values, name = `c${initializer.length}`) => {
    const dataType = values instanceof Float32Array ? FLOAT : INT64;
    const rawData = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    initializer.push({ name, dims: shape, dataType, rawData });
    return name;
  };
  const whole = (/** @type {number[]} */ values) => constant([values.length], BigInt64Array.from(values, BigInt));
  const real = (/** @type {number} */ value) => constant([], Float32Array.of(value));

  /**
   * Adds a node and answers the names of its outputs.
   * @param {string} opType
   * @param {string[]} input
   * @param {Record<string, number | number[] | string>} given
   * @param {string[]} output
   */
  const nodes = (opType, input, given, output, name = "") => {
    const attribute = Object.entries(given).map(([name, value]) =>
      Array.isArray(value)
        ? { name, type: INTS, ints: value }
        : typeof value === "string"
          ? { name, type: STRING, s: new TextEncoder().encode(value) }
          : name === "epsilon"
            ? { name, type: REAL, f: value }
            : { name, type: INT, i: value },
    );
    node.push({ opType, input, output, attribute, name });
    return output;
  };
  /**
   * @param {string} opType
   * @param {string[]} input
   * @param {Record<string, number | number[] | string>} given
   */
  const op = (opType, input, given = {}) => nodes(opType, input, given, [`n${node.length}`])[0];
  const reshape = (/** @type {string} */ x, /** @type {number[]} */ shape) => op("Reshape", [x, whole(shape)]);
  const sum = (/** @type {string} */ x) => op("ReduceSum", [x, whole([2])], { keepdims: 1 });
  /** @param {[string, string]} xs */
  const multiply = (...xs) => op("Mul", xs);
  /** @param {[string, string]} xs */
  const subtract = (...xs) => op("Sub", xs);

  const found = tensors(weights);
  /**
   * The tensor of a name, with rows of zeros after it up to a number of them.
   * @param {string} name
   * @param {number} least
   */
  const weight = (name, least = 0) => {
    const tensor = found.get(name);
    if (!tensor) throw new Error(`the file has no ${name}`);
    const [rows, ...others] = tensor.shape;
    if (rows >= least) return constant(tensor.shape, tensor.values, name);
    const values = new Float32Array((tensor.values.length / rows) * least);
    values.set(tensor.values);
    return constant([least, ...others], values, name);
  };
  /**
   * @param {string} x
   * @param {string} name
   */
  const norm = (x, name) =>
    op("LayerNormalization", [x, weight(`${name}.weight`), weight(`${name}.bias`)], { axis: -1, epsilon });
  /**
   * @param {string} x
   * @param {string} name
   */
  const linear = (x, name) => op("Gemm", [x, weight(`${name}.weight`), weight(`${name}.bias`)]);
  const heads = (/** @type {string} */ x) => op("Transpose", [reshape(x, [t, n_head, d])], { perm: [1, 0, 2] });

  const mask = Float32Array.from({ length: t * t }, (_, i) => (i % t > Math.floor(i / t) ? -1e30 : 0));
  const causal = constant([1, t, t], mask);
  const scale = real(1 / Math.sqrt(d));
  // On a GPU the groups of tokens are whole ones.
  const v = is_gpu ? Math.ceil(vocab_size / GROUP) * GROUP : vocab_size;
  const wte = weight("wte.weight", v);
  const input = op("Slice", ["ids", whole([0]), whole([t]), whole([0])]);
  const next = op("Slice", ["ids", whole([1]), whole([t + 1]), whole([0])]);
  const positions = op("Slice", [weight("wpe.weight"), whole([0]), whole([t]), whole([0])]);
  let x = op("Add", [op("Gather", [wte, input], { axis: 0 }), positions]);
  const rows = [x];
  for (let i = 0; i < n_layer; i++) {
    const qkv = linear(norm(x, `h.${i}.ln_1`), `h.${i}.attn.c_attn`);
    const [q, k, v] = nodes("Split", [qkv, whole([c, c, c])], { axis: 1 }, [`q${i}`, `k${i}`, `v${i}`]);
    const keys = op("Transpose", [reshape(k, [t, n_head, d])], { perm: [1, 2, 0] });
    const scores = op("Add", [op("Mul", [op("MatMul", [heads(q), keys]), scale]), causal]);
    const mixed = op("MatMul", [op("Softmax", [scores], { axis: -1 }), heads(v)]);
    const joined = reshape(op("Transpose", [mixed], { perm: [1, 0, 2] }), [t, c]);
    x = op("Add", [x, linear(joined, `h.${i}.attn.c_proj`)]);
    const inner = op("Gelu", [linear(norm(x, `h.${i}.ln_2`), `h.${i}.mlp.c_fc`)], { approximate: "tanh" });
    x = op("Add", [x, linear(inner, `h.${i}.mlp.c_proj`)]);
    rows.push(x);
  }

  // The lens, with the rows of a position side by side.
  const stacked = op(
    "Concat",
    rows.map((row) => reshape(row, [t, 1, c])),
    { axis: 1 },
  );
  const decoded = reshape(norm(stacked, "ln_f"), [t * n, c]);
  /** @type {string} */
  let logits;
  if (is_gpu) {
    const filler = constant(
      [v],
      Float32Array.from({ length: v }, (_, i) => (i < vocab_size ? 0 : NONE)),
    );
    logits = reshape(op("Gemm", [decoded, wte, filler], { transB: 1 }), [t, n, v]);
    // The largest groups hold the largest tokens. The tokens of a group are v / GROUP apart.
    const of_group = v / GROUP;
    const groups = reshape(logits, [t * n, GROUP, of_group]);
    const maxima = op("ReduceMax", [groups, whole([1])], { keepdims: 0 });
    const best = nodes("TopK", [maxima, whole([TOP])], { axis: 1 }, ["best_values", "best"], SORTS[0])[1];
    const chosen = op("Expand", [reshape(best, [t * n, 1, TOP]), whole([t * n, GROUP, TOP])]);
    const picked = reshape(op("GatherElements", [groups, chosen], { axis: 2 }), [t * n, GROUP * TOP]);
    const [values, at] = nodes("TopK", [picked, whole([TOP])], { axis: 1 }, ["values", "at"], SORTS[1]);
    const place = op("Div", [at, whole([TOP])]);
    const group = op("GatherElements", [best, subtract(at, multiply(place, whole([TOP])))], { axis: 1 });
    const ids = op("Add", [multiply(place, whole([of_group])), group]);
    nodes("Reshape", [values, whole([t, n, TOP])], {}, ["top_values"]);
    nodes("Reshape", [ids, whole([t, n, TOP])], {}, ["top_ids"]);
    // Logits far below zero must not vanish.
    const most = op("ReduceMax", [reshape(maxima, [t, n, of_group]), whole([2])], { keepdims: 1 });
    const shifted = subtract(logits, most);
    const powers = op("Exp", [shifted]);
    const total = sum(powers);
    const log_total = op("Log", [total]);
    nodes("Add", [log_total, most], {}, ["logsumexp"]);
    const p = op("Div", [powers, total]);
    const log_p = subtract(shifted, log_total);
    /** @type {(of: string, row: number) => string} */
    const row = (of, row) => op("Slice", [of, whole([row]), whole([row + 1]), whole([1])]);
    const [last_p, last_log_p, first_p, first_log_p] = [n - 1, 0].flatMap((i) => [row(p, i), row(log_p, i)]);
    const products = [
      multiply(p, log_p),
      multiply(last_p, log_p),
      multiply(p, last_log_p),
      multiply(first_p, log_p),
      multiply(p, first_log_p),
    ];
    nodes("Concat", products.map(sum), { axis: 2 }, ["pairs"]);
  } else {
    logits = reshape(op("Gemm", [decoded, wte], { transB: 1 }), [t, n, v]);
    nodes("TopK", [logits, whole([TOP])], { axis: 2 }, ["top_values", "top_ids"]);
    const lse = nodes("ReduceLogSumExp", [logits, whole([2])], { keepdims: 1 }, ["logsumexp"])[0];
    const log_p = subtract(logits, lse);
    nodes("MatMul", [op("Exp", [log_p]), op("Transpose", [log_p], { perm: [0, 2, 1] })], {}, ["cross"]);
  }
  const final = op("Slice", ["top_ids", whole([n - 1, 0]), whole([n, 1]), whole([1, 2])]);
  const expanded = (/** @type {string} */ ids) => op("Expand", [ids, whole([t, n, 1])]);
  const each = [final, reshape(input, [t, 1, 1]), reshape(next, [t, 1, 1])].map(expanded);
  const own = each.map((ids) => op("GatherElements", [logits, ids], { axis: 2 }));
  const above = own.map((logit) => sum(op("Cast", [op("Greater", [logits, logit])], { to: FLOAT })));
  nodes("Concat", own, { axis: 2 }, ["own"]);
  nodes("Concat", above, { axis: 2 }, ["above"]);

  /**
   * @param {string} name
   * @param {number} elemType
   * @param {number[]} shape
   */
  const value = (name, elemType, shape) => ({
    name,
    type: { tensorType: { elemType, shape: { dim: shape.map((size) => ({ dimValue: size })) } } },
  });
  const output = [
    value("top_values", FLOAT, [t, n, TOP]),
    value("top_ids", INT64, [t, n, TOP]),
    value("logsumexp", FLOAT, [t, n, 1]),
    is_gpu ? value("pairs", FLOAT, [t, n, 5]) : value("cross", FLOAT, [t, n, n]),
    value("own", FLOAT, [t, n, 3]),
    value("above", FLOAT, [t, n, 3]),
  ];
  const graph = { name: "lens", node, initializer, input: [value("ids", INT64, [t + 1])], output };
  const made = { irVersion: 9, opsetImport: [{ domain: "", version: 20 }], graph };
  return proto.ModelProto.encode(made).finish();
}
