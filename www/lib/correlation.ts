/** How two quantities go together. Pure. */

/** NaN where one of them does not vary. */
function pearsonOf(xs: ArrayLike<number>, ys: ArrayLike<number>) {
  const n = xs.length;
  let [x_mean, y_mean] = [0, 0];
  for (let i = 0; i < n; i++) [x_mean, y_mean] = [x_mean + xs[i] / n, y_mean + ys[i] / n];
  let [xy, xx, yy] = [0, 0, 0];
  for (let i = 0; i < n; i++) {
    const [x, y] = [xs[i] - x_mean, ys[i] - y_mean];
    [xy, xx, yy] = [xy + x * y, xx + x * x, yy + y * y];
  }
  return xy / Math.sqrt(xx * yy);
}

/** Equal values share their mean rank. @param values finite */
function ranksOf(values: number[]) {
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b]);
  const ranks = new Float64Array(values.length);
  for (let from = 0, end = 0; from < order.length; from = end) {
    while (end < order.length && values[order[end]] === values[order[from]]) end++;
    for (let i = from; i < end; i++) ranks[order[i]] = (from + end - 1) / 2;
  }
  return ranks;
}

/** Pearson's r and Spearman's ρ over the `n` pairs in which both are numbers. */
export function correlationOf(xs: ArrayLike<number>, ys: ArrayLike<number>) {
  const both = Array.from(xs, (_, i) => i).filter((i) => Number.isFinite(xs[i]) && Number.isFinite(ys[i]));
  const [x, y] = [both.map((i) => xs[i]), both.map((i) => ys[i])];
  return { pearson: pearsonOf(x, y), spearman: pearsonOf(ranksOf(x), ranksOf(y)), n: both.length };
}

/** The 95 % interval of Spearman's ρ over `n` pairs that do not depend on each other (Bonett and Wright 2000). */
export function spearmanInterval(rho: number, n: number) {
  if (n < 4) return { low: NaN, high: NaN };
  const half = 1.96 * Math.sqrt((1 + (rho * rho) / 2) / (n - 3));
  return { low: Math.tanh(Math.atanh(rho) - half), high: Math.tanh(Math.atanh(rho) + half) };
}

export function cosineOf(a: ArrayLike<number>, b: ArrayLike<number>) {
  let [ab, aa, bb] = [0, 0, 0];
  for (let i = 0; i < a.length; i++) [ab, aa, bb] = [ab + a[i] * b[i], aa + a[i] ** 2, bb + b[i] ** 2];
  return ab / Math.sqrt(aa * bb);
}
