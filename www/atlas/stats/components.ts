/** What a factorisation with loadings that are not negative says: which tokens a component has, and what a token is made of. Pure. */

export type Strong = { id: number; loading: number };

/** A component by its tokens. */
export type Component = {
  /** the strongest first */
  tokens: Strong[];
  /** of the sum of squares of the embedding, by itself; the shares of all of them do not add up to what they explain together */
  share: number;
  /** tokens of which no component has more */
  n_strongest: number;
  /** how many of those begin with a space */
  n_spaced: number;
};

/** Two operations for each token, component and channel, twice an iteration: E · Fᵀ and Gᵀ · E. */
export const flopOf = (n_tokens: number, n_channels: number, n: number, iterations: number) =>
  4 * n_tokens * n_channels * n * iterations;

/** The largest loadings, the lower id of equals first. */
function strongest(loadings: Float32Array, k: number): Strong[] {
  const found: Strong[] = [];
  for (let id = 0; id < loadings.length; id++) {
    const loading = loadings[id];
    if (!(loading > (found.length < k ? 0 : found[k - 1].loading))) continue;
    const at = found.findIndex((other) => other.loading < loading);
    found.splice(at < 0 ? found.length : at, 0, { id, loading });
    if (found.length > k) found.pop();
  }
  return found;
}

/**
 * @param tokens loadings, component by component
 * @param squares the sum of squares of the embedding
 */
export function componentsOf(
  tokens: Float32Array,
  {
    n,
    k,
    squares,
    startsWithSpace,
  }: { n: number; k: number; squares: number; startsWithSpace: (id: number) => boolean },
): Component[] {
  const n_tokens = tokens.length / n;
  const of = (i: number) => tokens.subarray(i * n_tokens, (i + 1) * n_tokens);
  const [n_strongest, n_spaced] = [new Uint32Array(n), new Uint32Array(n)];
  for (let id = 0; id < n_tokens; id++) {
    let best = 0;
    for (let i = 1; i < n; i++) if (tokens[i * n_tokens + id] > tokens[best * n_tokens + id]) best = i;
    n_strongest[best]++;
    n_spaced[best] += Number(startsWithSpace(id));
  }
  return Array.from({ length: n }, (_, i) => ({
    tokens: strongest(of(i), k),
    share: of(i).reduce((sum, loading) => sum + loading * loading, 0) / squares,
    n_strongest: n_strongest[i],
    n_spaced: n_spaced[i],
  }));
}

/** The components that a token has most of. */
export function partsOf(
  tokens: Float32Array,
  n: number,
  id: number,
  k: number,
): { component: number; loading: number }[] {
  const n_tokens = tokens.length / n;
  const loadings = Float32Array.from({ length: n }, (_, i) => tokens[i * n_tokens + id]);
  return strongest(loadings, k).map(({ id: component, loading }) => ({ component, loading }));
}
