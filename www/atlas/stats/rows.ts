/** The rows of wte, which go by in pieces, so that it is never held whole. */
import type { Watch } from "../../engine/protocol.ts";

/** As many rows as the engine gives at once. */
const PIECE = 4096;

export type AskRows = (ids: Uint32Array, watch: Watch) => Promise<Float32Array>;

/** Visits the row of each token in turn. A row is gone after its visit. */
export async function eachRow(
  n_tokens: number,
  rows: AskRows,
  { signal, onProgress }: Watch,
  visit: (row: Float32Array, id: number) => void,
) {
  for (let from = 0; from < n_tokens; from += PIECE) {
    const ids = Uint32Array.from({ length: Math.min(PIECE, n_tokens - from) }, (_, i) => from + i);
    const values = await rows(ids, { signal });
    const n = values.length / ids.length;
    ids.forEach((id, i) => visit(values.subarray(i * n, (i + 1) * n), id));
    onProgress?.({ done: (from + ids.length) / n_tokens });
  }
}
