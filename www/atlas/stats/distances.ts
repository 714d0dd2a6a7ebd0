/** How far each embedding is from the mean of all: the rows go by in pieces, so that wte is never held whole. */
import type { Watch } from "../../engine/protocol.ts";

const PIECE = 4096;

export async function distancesToMean(
  mean: Float32Array,
  n_tokens: number,
  rows: (ids: Uint32Array, watch: Watch) => Promise<Float32Array>,
  { signal, onProgress }: Watch,
): Promise<Float32Array> {
  const n = mean.length;
  const out = new Float32Array(n_tokens);
  for (let from = 0; from < n_tokens; from += PIECE) {
    const ids = Uint32Array.from({ length: Math.min(PIECE, n_tokens - from) }, (_, i) => from + i);
    const values = await rows(ids, { signal });
    for (let i = 0; i < ids.length; i++) {
      let sum = 0;
      for (let c = 0; c < n; c++) sum += (values[i * n + c] - mean[c]) ** 2;
      out[from + i] = Math.sqrt(sum);
    }
    onProgress?.({ done: (from + ids.length) / n_tokens });
  }
  return out;
}
