// @ts-check
/** GPT-2 with the logit lens as an ONNX graph: what a reading computes, as well as ONNX Runtime can be asked for it. */
import { createRequire } from "node:module";
import { tensors } from "./models.mjs";

/**
 * The graph for texts of a number of tokens. Its input is `ids` [T+1], the text and one more token, the next of the last.
 * Its outputs, with N = L+1 rows: `top_values` and `top_ids` [T, N, 10]; `logsumexp` [T, N, 1]; `cross` [T, N, N], the
 * sums Σ p·ln q of the distributions p of a row and q of another, of which entropies and KL divergences are differences;
 * `own` [T, N, 3], the logits of the final top-1 token, the input token and the next token, and `above` [T, N, 3], how
 * many tokens have a greater logit.
 * @param {import("./models.mjs").Model} model
 * @param {number} t
 * @returns {Uint8Array}
 */
export function onnx({ config, weights }, t) {
  const { onnx: proto } = createRequire(new URL("../peers/", import.meta.url))("onnx-proto");
  const { n_layer, n_embd: c, n_head, layer_norm_epsilon: epsilon } = JSON.parse(config);
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
  const nodes = (opType, input, given, output) => {
    const attribute = Object.entries(given).map(([name, value]) =>
      Array.isArray(value)
        ? { name, type: INTS, ints: value }
        : typeof value === "string"
          ? { name, type: STRING, s: new TextEncoder().encode(value) }
          : name === "epsilon"
            ? { name, type: REAL, f: value }
            : { name, type: INT, i: value },
    );
    node.push({ opType, input, output, attribute });
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

  const found = tensors(weights);
  const weight = (/** @type {string} */ name) => {
    const tensor = found.get(name);
    if (!tensor) throw new Error(`the file has no ${name}`);
    return constant(tensor.shape, tensor.values, name);
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
  const wte = weight("wte.weight");
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
  const v = JSON.parse(config).vocab_size;
  const logits = reshape(op("Gemm", [decoded, wte], { transB: 1 }), [t, n, v]);
  nodes("TopK", [logits, whole([10])], { axis: 2 }, ["top_values", "top_ids"]);
  const lse = nodes("ReduceLogSumExp", [logits, whole([2])], { keepdims: 1 }, ["logsumexp"])[0];
  const logp = op("Sub", [logits, lse]);
  nodes("MatMul", [op("Exp", [logp]), op("Transpose", [logp], { perm: [0, 2, 1] })], {}, ["cross"]);
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
    value("top_values", FLOAT, [t, n, 10]),
    value("top_ids", INT64, [t, n, 10]),
    value("logsumexp", FLOAT, [t, n, 1]),
    value("cross", FLOAT, [t, n, n]),
    value("own", FLOAT, [t, n, 3]),
    value("above", FLOAT, [t, n, 3]),
  ];
  const graph = { name: "lens", node, initializer, input: [value("ids", INT64, [t + 1])], output };
  const made = { irVersion: 9, opsetImport: [{ domain: "", version: 20 }], graph };
  return proto.ModelProto.encode(made).finish();
}
