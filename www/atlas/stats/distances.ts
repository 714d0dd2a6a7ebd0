/** How far each embedding is from the mean of all. */
import { eachRow } from "./rows.ts";
import type { Watch } from "../../engine/protocol.ts";
import type { AskRows } from "./rows.ts";

export async function distancesToMean(
  mean: Float32Array,
  n_tokens: number,
  rows: AskRows,
  watch: Watch,
): Promise<Float32Array> {
  const out = new Float32Array(n_tokens);
  await eachRow(n_tokens, rows, watch, (row, id) => {
    let sum = 0;
    for (let c = 0; c < mean.length; c++) sum += (row[c] - mean[c]) ** 2;
    out[id] = Math.sqrt(sum);
  });
  return out;
}
