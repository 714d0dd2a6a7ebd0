/**
 * Whether an answer is still wanted: each `begin` makes all earlier ones stale.
 */
export function createLatest() {
  let n = 0;
  return {
    begin() {
      const mine = ++n;
      return () => mine === n;
    },
  };
}
