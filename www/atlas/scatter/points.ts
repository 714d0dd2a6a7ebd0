/** Many points of few colours, as pixels and as paths. */

/** Above these numbers points are small squares: circles would cost most of the time. */
const MANY = 4000;

/** Radius of a point. */
export const radiusOf = (n: number) => (n > 20_000 ? 1 : n > MANY ? 1.25 : n > 600 ? 2 : n > 100 ? 2.6 : 3.4);

/** Opacity of a point: crowds of them shade into each other. */
export const opacityOf = (n: number) => (n > 20_000 ? 0.45 : n > MANY ? 0.6 : n > 600 ? 0.65 : 0.8);

/**
 * The points of each colour.
 * @param of which colour each has; null: all the first
 */
export function groupsOf(of: Uint8Array | null, n_colours: number, n: number): Uint32Array[] {
  const groups: number[][] = Array.from({ length: Math.max(1, n_colours) }, () => []);
  for (let i = 0; i < n; i++) groups[of ? of[i] : 0]?.push(i);
  return groups.map((group) => Uint32Array.from(group));
}

/** `xs` and `ys` are pixels; NaN for a point that is not in the picture. */
export function paintPoints(
  ctx: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D,
  xs: Float64Array,
  ys: Float64Array,
  groups: Uint32Array[],
  css: string[],
  { left, top, right, bottom }: { left: number; top: number; right: number; bottom: number },
  { radius, opacity }: { radius: number; opacity: number },
) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, right - left, bottom - top);
  ctx.clip();
  ctx.globalAlpha = opacity;
  const is_square = radius < 1.4;
  groups.forEach((group, g) => {
    ctx.fillStyle = css[g];
    for (const i of group) {
      const [x, y] = [xs[i], ys[i]];
      if (!(x > left - radius && x < right + radius && y > top - radius && y < bottom + radius)) continue;
      if (is_square) {
        ctx.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
      } else {
        ctx.beginPath();
        ctx.arc(x, y, radius, 0, 2 * Math.PI);
        ctx.fill();
      }
    }
  });
  ctx.restore();
}

/** A tenth of a pixel is finer than anybody sees. */
const n1 = (value: number) => Math.round(value * 10) / 10;

/** One path a colour: a stroke of no length with a round cap is a point. */
export const pathsOf = (
  xs: Float64Array,
  ys: Float64Array,
  groups: Uint32Array[],
  css: string[],
  { left, top, right, bottom }: { left: number; top: number; right: number; bottom: number },
  { radius, opacity }: { radius: number; opacity: number },
) =>
  groups
    .map((group, g) => {
      let path = "";
      for (const i of group) {
        if (xs[i] >= left && xs[i] <= right && ys[i] >= top && ys[i] <= bottom) path += `M${n1(xs[i])} ${n1(ys[i])}h0`;
      }
      return (
        path &&
        `<path d="${path}" fill="none" stroke="${css[g]}" stroke-opacity="${opacity}" stroke-width="${2 * radius}" stroke-linecap="round"/>`
      );
    })
    .filter(Boolean)
    .join("\n");
