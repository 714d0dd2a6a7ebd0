/** A GPT-2 of random numbers, made while it is read: config.json, and model.safetensors as a stream. */

export interface Shape {
  n_layer: number;
  n_embd: number;
  vocab_size: number;
  n_ctx: number;
}

/** Bytes of a piece of the stream. */
const PIECE = 4 << 20;

/** The shape that "blocks,channels,tokens" names; null for another text. Heads have 64 channels. */
export function shapeOf(text: string): Shape | null {
  const numbers = /^(\d{1,3}),(\d{2,5}),(\d{2,6})$/.exec(text)?.slice(1).map(Number);
  if (!numbers) return null;
  const [n_layer, n_embd, vocab_size] = numbers;
  return n_layer > 0 && n_embd > 0 && n_embd % 64 === 0 ? { n_layer, n_embd, vocab_size, n_ctx: 1024 } : null;
}

export const configOf = ({ n_layer, n_embd, vocab_size, n_ctx }: Shape) =>
  JSON.stringify({
    model_type: "gpt2",
    n_layer,
    n_embd,
    n_head: n_embd / 64,
    n_ctx,
    n_positions: n_ctx,
    vocab_size,
    layer_norm_epsilon: 1e-5,
  });

/** The tensors of a file, in its order. */
function tensorsOf({ n_layer, n_embd: c, vocab_size, n_ctx }: Shape): [name: string, shape: number[]][] {
  const block = (i: number): [string, number[]][] => [
    [`h.${i}.ln_1.weight`, [c]],
    [`h.${i}.ln_1.bias`, [c]],
    [`h.${i}.attn.c_attn.weight`, [c, 3 * c]],
    [`h.${i}.attn.c_attn.bias`, [3 * c]],
    [`h.${i}.attn.c_proj.weight`, [c, c]],
    [`h.${i}.attn.c_proj.bias`, [c]],
    [`h.${i}.ln_2.weight`, [c]],
    [`h.${i}.ln_2.bias`, [c]],
    [`h.${i}.mlp.c_fc.weight`, [c, 4 * c]],
    [`h.${i}.mlp.c_fc.bias`, [4 * c]],
    [`h.${i}.mlp.c_proj.weight`, [4 * c, c]],
    [`h.${i}.mlp.c_proj.bias`, [c]],
  ];
  return [
    ["wte.weight", [vocab_size, c]],
    ["wpe.weight", [n_ctx, c]],
    ...Array.from({ length: n_layer }, (_, i) => block(i)).flat(),
    ["ln_f.weight", [c]],
    ["ln_f.bias", [c]],
  ];
}

/** The whole file in f16: halves of both signs between 2^-6 and 2^-5. */
export function weightsOf(shape: Shape): ReadableStream<Uint8Array> {
  let end = 0;
  const header = Object.fromEntries(
    tensorsOf(shape).map(([name, shape]) => {
      const start = end;
      end += 2 * shape.reduce((a, b) => a * b, 1);
      return [name, { dtype: "F16", shape, data_offsets: [start, end] }];
    }),
  );
  const json = new TextEncoder().encode(JSON.stringify(header));
  const first = new Uint8Array(8 + json.length);
  new DataView(first.buffer).setUint32(0, json.length, true);
  first.set(json, 8);
  let [left, seed] = [end, 1];
  return new ReadableStream({
    start: (controller) => controller.enqueue(first),
    pull(controller) {
      const halves = new Uint16Array(Math.min(PIECE, left) / 2);
      for (let i = 0; i < halves.length; i++) {
        seed = (seed * 48_271) % 2_147_483_647;
        halves[i] = 0x2400 | (seed & 0x83ff);
      }
      left -= halves.byteLength;
      controller.enqueue(new Uint8Array(halves.buffer));
      if (left === 0) controller.close();
    },
  });
}

/** Token ids that are alike in no two texts. */
export const idsOf = (n: number, first: number, { vocab_size }: Shape) =>
  Uint32Array.from({ length: n }, (_, i) => (first * 7919 + i * 104_729) % vocab_size);

/** Multiplications and additions of a reading: the matrix products, attention, and the unembedding of every row. */
export function flopsOf({ n_layer, n_embd, vocab_size }: Shape, n: number) {
  const forward = 2 * n * 12 * n_layer * n_embd ** 2 + 2 * n_layer * n_embd * n * (n + 1);
  return forward + 2 * n * (n_layer + 1) * n_embd * vocab_size;
}
