/** Names beside points where there is room for them. Pure. */

/** a point and how wide its name is */
export type Wanted = { x: number; y: number; width: number };

const HEIGHT = 14;
const GAP = 5;

/**
 * The names that fit, the earlier ones first: right of the point, else left of it, else above or below.
 * @param wanted by importance
 * @returns the name's left edge and its middle
 */
export function placed<W extends Wanted>(
  wanted: W[],
  { left, top, right, bottom }: { left: number; top: number; right: number; bottom: number },
): (W & { at_x: number; at_y: number })[] {
  const taken: { x: number; y: number; width: number }[] = [];
  const isFree = (x: number, y: number, width: number) =>
    x >= left &&
    x + width <= right &&
    y - HEIGHT / 2 >= top &&
    y + HEIGHT / 2 <= bottom &&
    taken.every((other) => x + width < other.x || other.x + other.width < x || Math.abs(y - other.y) >= HEIGHT);
  return wanted.flatMap((each) => {
    const { x, y, width } = each;
    const places = [
      [x + GAP, y],
      [x - GAP - width, y],
      [x - width / 2, y - HEIGHT],
      [x - width / 2, y + HEIGHT],
    ];
    const found = places.find(([at_x, at_y]) => isFree(at_x, at_y, width));
    if (!found) return [];
    taken.push({ x: found[0], y: found[1], width });
    return [{ ...each, at_x: found[0], at_y: found[1] }];
  });
}
