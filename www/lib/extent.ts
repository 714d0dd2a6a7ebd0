/** The least and the greatest finite number; [0, 1] if there is none. */
export function extentOf(values: ArrayLike<number>): [number, number] {
  let [least, most] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) continue;
    if (values[i] < least) least = values[i];
    if (values[i] > most) most = values[i];
  }
  return least <= most ? [least, most] : [0, 1];
}
