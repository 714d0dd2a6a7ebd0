/** Where the points of a cloud are: on its axes, under the zoom, near a place, in a rectangle. No drawing. */
import { quadtree } from "d3-quadtree";
import { zoomIdentity } from "d3-zoom";
import { scaleFor } from "../../graphics/axes.ts";
import { extentOf } from "../../lib/extent.ts";
import { groupsOf } from "./points.ts";
import type { Quadtree } from "d3-quadtree";
import type { ZoomTransform } from "d3-zoom";
import type { ScatterData } from "./types.ts";
import type { Frame, Scale } from "../../graphics/axes.ts";
import type { Box } from "./interactions.ts";

export type Places = ReturnType<typeof createPlaces>;

const isUsable = (value: number, kind: string | undefined) => Number.isFinite(value) && (kind !== "log" || value > 0);

/** What the axis has to span: the points, what of the line over them is not faint, and the origin where it is marked. */
function spanOf({ over, has_origin }: ScatterData, along: "x" | "y", points: ArrayLike<number>, kind?: string) {
  const line = Array.from(over?.[along] ?? []).slice(over?.n_faint ?? 0);
  const all = [...Array.from(points), ...line, ...(has_origin ? [0] : [])];
  return extentOf(Float64Array.from(all, (value) => (isUsable(value, kind) ? value : NaN)));
}

export function createPlaces() {
  let data: ScatterData | null = null;
  let frame: Frame = { left: 0, top: 0, right: 0, bottom: 0, width: 0, height: 0 };
  /** before zooming */
  let scales: { x: Scale; y: Scale } = { x: scaleFor("linear", [0, 1], [0, 1]), y: scaleFor("linear", [0, 1], [0, 1]) };
  let transform = zoomIdentity;
  /** classes that are switched off */
  let hidden: Set<number> = new Set();
  /** Places in pixels before zooming, and after; NaN: it has none. */
  let [base_x, base_y] = [new Float64Array(0), new Float64Array(0)];
  let [xs, ys] = [base_x, base_y];
  /** of each colour */
  let groups: Uint32Array[] = [];
  /** the points of an id: several series may show the same channel */
  let points_of: Map<number, number[]> = new Map();
  let tree: Quadtree<number> | null = null;
  let n_left_out = 0;

  const idOf = (i: number) => (data?.ids ? data.ids[i] : i);
  const classOf = (i: number) =>
    data?.colours && "classes" in data.colours && data.colours.of ? data.colours.of[i] : 0;
  const isVisible = (i: number) => !Number.isNaN(base_x[i]) && !hidden.has(classOf(i));
  const isInside = (i: number, box: Box = frame) =>
    xs[i] >= box.left && xs[i] <= box.right && ys[i] >= box.top && ys[i] <= box.bottom && isVisible(i);

  function zoomed() {
    for (let i = 0; i < xs.length; i++) {
      xs[i] = transform.applyX(base_x[i]);
      ys[i] = transform.applyY(base_y[i]);
    }
  }

  function place() {
    if (!data || frame.width === 0) return;
    const { x, y, x_kind = "linear", y_kind = "linear", x_extent, y_extent } = data;
    const { left, right, top, bottom } = frame;
    scales = {
      x: scaleFor(x_kind, x_extent ?? spanOf(data, "x", x, x_kind), [left, right]),
      y: scaleFor(y_kind, y_extent ?? spanOf(data, "y", y, y_kind), [bottom, top]),
    };
    const held = (at: number, low: number, high: number) => Math.min(high, Math.max(low, at));
    [base_x, base_y, xs, ys] = Array.from({ length: 4 }, () => new Float64Array(x.length).fill(NaN));
    n_left_out = 0;
    for (let i = 0; i < x.length; i++) {
      if (!isUsable(x[i], x_kind) || !isUsable(y[i], y_kind)) {
        n_left_out++;
        continue;
      }
      base_x[i] = held(scales.x(x[i]), left, right);
      base_y[i] = held(scales.y(y[i]), top, bottom);
    }
    tree = null;
    zoomed();
  }

  return {
    /** @param colour_of the colour of each point, by its index */
    show(now: ScatterData, colour_of: Uint8Array | null, n_colours: number) {
      data = now;
      groups = groupsOf(colour_of, n_colours, now.x.length);
      points_of = new Map();
      for (let i = 0; i < now.x.length; i++) {
        const known = points_of.get(idOf(i));
        if (known) known.push(i);
        else points_of.set(idOf(i), [i]);
      }
      place();
    },

    resize(now: Frame) {
      frame = now;
      place();
    },

    zoom(now: ZoomTransform) {
      transform = now;
      zoomed();
    },

    hide(classes: Iterable<number>) {
      hidden = new Set(classes);
      tree = null;
    },

    /** The axes as they are zoomed. */
    scales: () => ({ x: transform.rescaleX(scales.x), y: transform.rescaleY(scales.y) }),
    /** The points of each colour that are not switched off. */
    groups: () => groups.map((group, g) => (hidden.has(g) ? new Uint32Array(0) : group)),
    pointsOf: (id: number) => points_of.get(id) ?? [],
    idOf,
    isInside,
    data: () => data,
    frame: () => frame,
    places: () => ({ xs, ys }),
    hidden: () => hidden,
    n: () => xs.length,
    nLeftOut: () => n_left_out,
    scale: () => transform.k,
    isEmpty: () => data === null || frame.width === 0,

    /**
     * The point next to a place, if one is near.
     * @param reach in pixels
     */
    nearest(x: number, y: number, reach: number) {
      tree ??= quadtree(
        Array.from(base_x.keys()).filter(isVisible),
        (i) => base_x[i],
        (i) => base_y[i],
      );
      return tree.find(...transform.invert([x, y]), reach / transform.k) ?? null;
    },

    /** The middle of these points, or of all in sight; without any, of the frame. */
    middle(chosen: number[]): [number, number] {
      const from = chosen.length > 0 ? chosen : Array.from(xs.keys()).filter((i) => isInside(i));
      if (from.length === 0) return [(frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2];
      const mean = (at: Float64Array) => from.reduce((sum, i) => sum + at[i], 0) / from.length;
      return [mean(xs), mean(ys)];
    },

    /** Every point in a rectangle. */
    within: (box: Box) => Array.from(xs.keys()).filter((i) => isInside(i, box)),

    /** All points in sight; none if they are too many to be told apart. */
    few(most: number) {
      const found = [];
      for (let i = 0; i < xs.length && found.length <= most; i++) if (isInside(i)) found.push(i);
      return found.length <= most ? found : [];
    },

    /**
     * The next point in a direction, those off to the side counted as farther away.
     * @param from a point; null: the middle
     */
    ahead(from: number | null, dx: number, dy: number) {
      const [x0, y0] =
        from === null ? [(frame.left + frame.right) / 2, (frame.top + frame.bottom) / 2] : [xs[from], ys[from]];
      let best: number | null = null;
      let least = Infinity;
      for (let i = 0; i < xs.length; i++) {
        if (!isInside(i)) continue;
        const [x, y] = [xs[i] - x0, ys[i] - y0];
        const ahead = x * dx + y * dy;
        const cost = ahead + 2 * (Math.abs(x * dy) + Math.abs(y * dx));
        if (ahead > 0.5 && cost < least) [best, least] = [i, cost];
      }
      return best;
    },

    /** What brings these points into sight, with room around them. */
    around(indexes: number[]) {
      const there = indexes.filter((i) => !Number.isNaN(base_x[i]));
      if (there.length === 0) return zoomIdentity;
      const [[x0, x1], [y0, y1]] = [extentOf(there.map((i) => base_x[i])), extentOf(there.map((i) => base_y[i]))];
      const { left, top, right, bottom } = frame;
      const k = 0.8 * Math.min((right - left) / Math.max(x1 - x0, 1e-3), (bottom - top) / Math.max(y1 - y0, 1e-3));
      return zoomIdentity
        .translate((left + right) / 2, (top + bottom) / 2)
        .scale(Math.min(1000, Math.max(1, k)))
        .translate(-(x0 + x1) / 2, -(y0 + y1) / 2);
    },
  };
}
