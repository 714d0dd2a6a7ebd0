/** What one pass over wte says of the tokens' overlap with the positions, and of the space before a token. */
import { eachRow } from "./rows.ts";
import type { Watch } from "../../engine/protocol.ts";
import type { AskRows } from "./rows.ts";

export type Overlap = {
  /** of each token: the share of its embedding's squared length in the heavy channels; NaN without length */
  shares: Float32Array;
  mean: Float64Array;
  /** the mean of the tokens that begin with a space, minus that of the others; NaN where there are none of one kind */
  space: Float64Array;
  n_spaced: number;
};

/** @param heavy which channels are position-heavy */
export async function overlapOf(
  heavy: Uint8Array,
  isSpaced: (id: number) => boolean,
  n_tokens: number,
  rows: AskRows,
  watch: Watch,
): Promise<Overlap> {
  const n = heavy.length;
  const shares = new Float32Array(n_tokens);
  const [spaced, others] = [new Float64Array(n), new Float64Array(n)];
  let n_spaced = 0;
  await eachRow(n_tokens, rows, watch, (row, id) => {
    const is_spaced = isSpaced(id);
    n_spaced += Number(is_spaced);
    const sum = is_spaced ? spaced : others;
    let [inside, all] = [0, 0];
    for (let c = 0; c < n; c++) {
      const square = row[c] * row[c];
      all += square;
      if (heavy[c]) inside += square;
      sum[c] += row[c];
    }
    shares[id] = inside / all;
  });
  return {
    shares,
    mean: spaced.map((sum, c) => (sum + others[c]) / n_tokens),
    space: spaced.map((sum, c) => sum / n_spaced - others[c] / (n_tokens - n_spaced)),
    n_spaced,
  };
}
