// @ts-check
/** The numbers of readings, and how far those of two devices are apart. */

/** @typedef {Record<string, Float32Array>} Numbers Numbers of a reading, by row and position */

/**
 * What a peer reads back, with the rows of a position side by side: `top_values` and `top_ids` [T, N, 10]; `logsumexp`
 * [T, N]; `own` [T, N, 3], the logits of the final top-1 token, the input token and the next token; and `above` [T, N, 3],
 * how many tokens have a greater logit. Entropies and KL divergences are differences of sums Σ p·ln q: either `cross`
 * [T, N, N] has those of the distributions p of a row and q of another, or `pairs` [T, N, 5] those of a row and itself,
 * of the final row and a row, of a row and the final one, of the first row and a row, and of a row and the first one.
 * @typedef {{ top_values: ArrayLike<number>, top_ids: ArrayLike<number | bigint>, logsumexp: ArrayLike<number>,
 *   cross?: ArrayLike<number>, pairs?: ArrayLike<number>, own: ArrayLike<number>, above: ArrayLike<number> }} Sums
 */

/** The largest tokens of a row that are listed. */
export const TOP = 10;
/** As far as real numbers may be apart. Units: nats, or of a logit. */
const REAL = 2e-3;
/** As far as ranks may be apart: tokens with nearly equal logits change places. */
const RANK = 3;

/**
 * The numbers of sums.
 * @param {Sums} sums
 * @param {number} n Rows
 * @param {number} t Positions
 * @returns {Numbers}
 */
export function numbersOf({ top_values, top_ids, logsumexp, cross, pairs, own, above }, n, t) {
  /**
   * @param {ArrayLike<number | bigint>} from
   * @param {number} width
   * @param {(at: (i: number) => number, row: number) => number} value
   */
  const fill = (from, width, value) => {
    const values = new Float32Array(n * t);
    for (let row = 0; row < n; row++)
      for (let position = 0; position < t; position++)
        values[row * t + position] = value((i) => Number(from[position * n * width + i]), row);
    return values;
  };
  const lse = fill(logsumexp, 1, (at, row) => at(row));
  /**
   * Σ p·ln q of two rows; -1 is each row.
   * @param {number} of
   * @param {number} to
   */
  const sum = (of, to) => {
    if (cross) return fill(cross, n, (at, row) => at((of < 0 ? row : of) * n + (to < 0 ? row : to)));
    if (!pairs) throw new Error("a peer has neither cross nor pairs");
    if (of >= 0 && of === to) return fill(pairs, 5, (at) => at(of * 5));
    const which = of === n - 1 ? 1 : to === n - 1 ? 2 : of === 0 ? 3 : to === 0 ? 4 : 0;
    return fill(pairs, 5, (at, row) => at(row * 5 + which));
  };
  /**
   * @param {number} of
   * @param {number} to
   */
  const divergence = (of, to) => {
    const others = sum(of, to);
    return sum(of, of).map((own, i) => own - others[i]);
  };
  const logits = [0, 1, 2].map((i) => fill(own, 3, (at, row) => at(row * 3 + i)));
  const ranks = [0, 1, 2].map((i) => fill(above, 3, (at, row) => at(row * 3 + i) + 1));
  /** @param {ArrayLike<number | bigint>} from */
  const listed = (from) => {
    const values = new Float32Array(n * t * TOP);
    for (let row = 0; row < n; row++)
      for (let position = 0; position < t; position++)
        for (let i = 0; i < TOP; i++)
          values[(row * t + position) * TOP + i] = Number(from[(position * n + row) * TOP + i]);
    return values;
  };
  return {
    logsumexp: lse,
    entropy: sum(-1, -1).map((own) => -own),
    kl_final: divergence(n - 1, -1),
    kl_final_reverse: divergence(-1, n - 1),
    kl_input: divergence(0, -1),
    kl_input_reverse: divergence(-1, 0),
    logit_final: logits[0],
    rank_final: ranks[0],
    logprob_input: logits[1].map((logit, i) => logit - lse[i]),
    rank_input: ranks[1],
    logprob_next: logits[2].map((logit, i) => logit - lse[i]),
    rank_next: ranks[2],
    top_logits: listed(top_values),
    top_ids: listed(top_ids),
  };
}

/**
 * The sums that are read back as one array, with those of a cell side by side: the listed logits, their ids, `logsumexp`,
 * `pairs`, `own` and `above`.
 * @param {Float32Array} packed
 * @param {number} cells
 * @returns {Sums}
 */
export function unpacked(packed, cells) {
  const width = packed.length / cells;
  let start = 0;
  const part = (/** @type {number} */ size) => {
    const from = start;
    start += size;
    return Float32Array.from(
      { length: cells * size },
      (_, i) => packed[Math.floor(i / size) * width + from + (i % size)],
    );
  };
  const [top_values, top_ids, logsumexp, pairs, own, above] = [TOP, TOP, 1, 5, 3, 3].map(part);
  return { top_values, top_ids, logsumexp, pairs, own, above };
}

/**
 * How many of the listed ids are not in the other list, but for those whose logit is nearly equal to the last one there;
 * and those that are listed with another logit.
 * @param {Numbers} a
 * @param {Numbers} b
 */
function otherIds(a, b) {
  let others = 0;
  for (let start = 0; start < a.top_ids.length; start += TOP) {
    const ids = a.top_ids.subarray(start, start + TOP);
    for (let i = 0; i < TOP; i++) {
      const found = ids.indexOf(b.top_ids[start + i]);
      const logit = a.top_logits[start + (found < 0 ? TOP - 1 : found)];
      if (!(Math.abs(logit - b.top_logits[start + i]) <= REAL)) others++;
    }
  }
  return others;
}

/**
 * The largest difference of each statistic; of ids, the number of wrong ones. What is not a number is apart without limit.
 * @param {Numbers} a
 * @param {Numbers} b
 * @param {number} t
 * @returns {Record<string, number>}
 */
export function differences(a, b, t) {
  return Object.fromEntries(
    Object.entries(a).map(([name, values]) => {
      if (name === "top_ids") return [name, otherIds(a, b)];
      let most = 0;
      for (const [i, value] of values.entries()) {
        // A reading has no next token at the last position.
        if (name.endsWith("_next") && (i + 1) % t === 0) continue;
        const apart = Math.abs(value - b[name][i]);
        most = Math.max(most, Number.isNaN(apart) ? Infinity : apart);
      }
      return [name, most];
    }),
  );
}

/**
 * As far as a statistic may be apart.
 * @param {string} name
 */
export const limitOf = (name) => (name === "top_ids" ? 0 : name.startsWith("rank_") ? RANK : REAL);
