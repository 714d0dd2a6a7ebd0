// @ts-check
/** Pearson's correlation, for what the engine is not asked about. Pure. */

/** NaN if one of them is constant. @param {ArrayLike<number>} xs @param {ArrayLike<number>} ys */
export function pearson(xs, ys) {
  const n = xs.length;
  let [mean_x, mean_y] = [0, 0];
  for (let i = 0; i < n; i++) {
    mean_x += xs[i] / n;
    mean_y += ys[i] / n;
  }
  let [xx, yy, xy] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const [x, y] = [xs[i] - mean_x, ys[i] - mean_y];
    xx += x * x;
    yy += y * y;
    xy += x * y;
  }
  return xx > 0 && yy > 0 ? xy / Math.sqrt(xx * yy) : NaN;
}

/** The table with one of its variables replaced, all rows and columns. @param {ArrayLike<number>} table @param {number} which @param {ArrayLike<number>[]} variables */
export function withVariable(table, which, variables) {
  const m = variables.length;
  const out = Float64Array.from(table);
  for (let j = 0; j < m; j++) {
    const r = j === which ? 1 : pearson(variables[which], variables[j]);
    out[which * m + j] = r;
    out[j * m + which] = r;
  }
  return out;
}
