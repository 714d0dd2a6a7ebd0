/** Where the numbers of a log axis stand. Pure. */

/** A number is about as high as this, with its room. */
const ROOM_PX = 14;

/** Multiples of powers of ten between two numbers, of each `every`-th decade. */
export function decadeTicks(low: number, high: number, leads: number[], every: number) {
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    if (power % every === 0) ticks.push(...leads.map((lead) => Number(`${lead}e${power}`)));
  }
  return ticks.filter((value) => value >= low && value <= high);
}

/**
 * 1, 2 and 5 of each decade; fewer where they would run into each other, more where the axis has hardly one of them.
 * @param px the axis is long
 */
export function logTicks(low: number, high: number, px: number) {
  const decade = px / Math.log10(high / low);
  const inside = (leads: number[], every = 1) => decadeTicks(low, high, leads, every);
  const fits = (ticks: number[]) => ticks.slice(1).every((tick, i) => decade * Math.log10(tick / ticks[i]) >= ROOM_PX);
  const usual = inside([1, 2, 5]);
  if (usual.length > 2) return fits(usual) ? usual : inside([1], Math.ceil(ROOM_PX / decade));
  const finer = [
    [1, 1.5, 2, 3, 4, 5, 6, 8],
    [1, 2, 3, 4, 5, 6, 7, 8, 9],
    Array.from({ length: 90 }, (_, i) => (i + 10) / 10),
  ]
    .map((leads) => inside(leads))
    .filter(fits);
  return finer.find((found) => found.length > 1) ?? [...finer, usual].find((found) => found.length > 0) ?? [];
}
