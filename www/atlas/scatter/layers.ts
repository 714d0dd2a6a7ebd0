/** A cloud as pixels and as SVG: axes, points and the line over them below; what is selected, pointed at and named above. */
import { SANS, MONO, paint } from "../../graphics/canvas.ts";
import { readPalette } from "../../graphics/theme.ts";
import { escaped, innerOf } from "../../graphics/svg.ts";
import { axesOf } from "../../graphics/axes.ts";
import { resolved, shades } from "../../graphics/css-colours.ts";
import { placed } from "./labels.ts";
import { opacityOf, paintPoints, pathsOf, radiusOf } from "./points.ts";
import type { ScatterData } from "./types.ts";
import type { Box } from "./interactions.ts";
import type { Places } from "./point-index.ts";

/** what a layer is drawn from */
export type Cloud = { places: Places; home: Element; is_small: boolean; is_mono: boolean };
export type Marks = { chosen: Set<number>; hovered: number | null; name: (i: number) => string };
export type Context = CanvasRenderingContext2D;

const MAX_NAMES = 70;
/** More selected points than these have a layer of their own. */
const MANY_CHOSEN = 2000;
/** With more points than these in sight, their names would only be a clutter. */
const MAX_NAMED = 400;
const NAMES_FROM_ZOOM = 1.5;
const SMALL_LINE = 1;
const LINE = 1.6;
let ruler: Context | null = null;

/** The colours of the points' groups. */
function coloursOf({ places, home }: Cloud): string[] {
  const colours = places.data()?.colours;
  if (!colours) return [resolved(home, "var(--series-0)")];
  return "classes" in colours ? colours.classes.map(({ css }) => resolved(home, css)) : shades();
}

/** All that the lower layer has. */
function lower(cloud: Cloud) {
  const { places, home, is_small } = cloud;
  const { x_kind = "linear", y_kind = "linear", x_label, y_label, over, has_origin } = places.data() as ScatterData;
  const { x, y } = places.scales();
  const palette = { ...readPalette(), line: resolved(home, "var(--line)") };
  const grows = Math.min(2, places.scale() ** 0.2);
  return {
    axes: axesOf({ x, y, x_kind, y_kind, x_label, y_label, frame: places.frame(), palette, is_small }),
    css: coloursOf(cloud),
    ...partsOf(
      Array.from(over?.x ?? [], (value, i) => [x(value), y(over?.y[i] ?? NaN)]),
      over?.n_faint ?? 0,
    ),
    origin: has_origin && !is_small ? [x(0), y(0)] : null,
    line_css: over ? resolved(home, over.css) : "",
    ends: over?.ends && !is_small ? over.ends : [],
    line_width: is_small ? SMALL_LINE : LINE,
    palette,
    look: {
      radius: radiusOf(places.n()) * (is_small ? 0.72 : 1) * grows,
      opacity: Math.min(1, opacityOf(places.n()) * places.scale() ** 0.15),
    },
  };
}

/** A line in two parts, the faint one up to where the other begins. */
function partsOf(line: number[][], n_faint: number) {
  const drawn = (part: number[][]) => part.filter(([a, b]) => Number.isFinite(a) && Number.isFinite(b));
  return { faint: drawn(n_faint > 0 ? line.slice(0, n_faint + 1) : []), line: drawn(line.slice(n_faint)) };
}

const FAINT = 0.3;
/** Half the width of the plus sign at the origin. */
const ORIGIN_ARM = 6;

const originPath = ([x, y]: number[]) =>
  `M${x - ORIGIN_ARM} ${y}H${x + ORIGIN_ARM}M${x} ${y - ORIGIN_ARM}V${y + ORIGIN_ARM}`;

export function paintLower(ctx: Context, cloud: Cloud) {
  const { places } = cloud;
  const { axes, css, line, faint, line_css, line_width, ends, palette, look, origin } = lower(cloud);
  const { left, top, right, bottom } = places.frame();
  const { xs, ys } = places.places();
  paint(ctx, axes);
  paintPoints(ctx, xs, ys, places.groups(), css, places.frame(), look);
  if (line.length === 0 && !origin) return;
  ctx.save();
  ctx.beginPath();
  ctx.rect(left, top, right - left, bottom - top);
  ctx.clip();
  if (origin) {
    Object.assign(ctx, { strokeStyle: palette.ink, lineWidth: 1.5 });
    ctx.stroke(new Path2D(originPath(origin)));
  }
  Object.assign(ctx, { strokeStyle: line_css, lineWidth: line_width, lineJoin: "round" });
  for (const [part, alpha] of [
    [faint, FAINT],
    [line, 1],
  ] as const) {
    ctx.beginPath();
    part.forEach(([a, b], i) => (i === 0 ? ctx.moveTo(a, b) : ctx.lineTo(a, b)));
    ctx.globalAlpha = alpha;
    ctx.stroke();
  }
  Object.assign(ctx, { font: `12px ${SANS}`, textBaseline: "middle", fillStyle: line_css });
  endsOf(line, ends, places.frame()).forEach(({ x, y, text, at_x }) => {
    ctx.beginPath();
    ctx.arc(x, y, END_RADIUS, 0, 2 * Math.PI);
    ctx.fill();
    Object.assign(ctx, { strokeStyle: palette.surface, lineWidth: 3, textAlign: at_x < x ? "right" : "left" });
    ctx.strokeText(text, at_x, y);
    ctx.fillText(text, at_x, y);
  });
  ctx.restore();
}

const END_RADIUS = 3.5;

/** Where the names of a line's ends stand: beside them, on the side that has the room. */
const endsOf = (line: number[][], names: string[], { left, right }: { left: number; right: number }) =>
  line.length === 0
    ? []
    : names.map((text, i) => {
        const [x, y] = line[i === 0 ? 0 : line.length - 1];
        return { x, y, text, at_x: x > (left + right) / 2 ? x - 8 : x + 8 };
      });

/** The names that there is room for, the more important ones first. */
function namesOf({ places, is_small, is_mono }: Cloud, { chosen, hovered, name }: Marks) {
  const { xs, ys } = places.places();
  const labelled = (places.data()?.labelled ?? []).filter((i) => places.isInside(i)).slice(0, MAX_NAMED);
  const others = places.scale() > NAMES_FROM_ZOOM ? places.few(MAX_NAMED) : [];
  const wanted = [
    ...(hovered === null ? [] : [hovered]),
    ...[...chosen].slice(0, MAX_NAMES),
    ...labelled,
    ...others,
  ].filter((i) => places.isInside(i));
  // One name for the points of several series that show the same channel.
  const named = [...new Map(wanted.toReversed().map((i) => [places.idOf(i), i])).values()].reverse();
  ruler ??= document.createElement("canvas").getContext("2d") as Context;
  ruler.font = `${is_small ? 11 : 12}px ${is_mono ? MONO : SANS}`;
  const measured = named.map((i) => ({
    i,
    x: xs[i],
    y: ys[i],
    text: name(i),
    width: (ruler as Context).measureText(name(i)).width,
  }));
  const { left, top, right, bottom } = places.frame();
  return placed(
    measured,
    is_small ? { left, top: top - 4, right: right + 4, bottom } : { left, top, right, bottom },
  ).slice(0, MAX_NAMES);
}

const chosenRadius = ({ places, is_small }: Cloud) => Math.max(2.5, radiusOf(places.n()) + 1.6) * (is_small ? 0.9 : 1);

/** So that tens of thousands are not painted at every move of the pointer. */
const layers: WeakMap<Set<number>, HTMLCanvasElement> = new WeakMap();

/** The selected points as they were painted when they were found. */
function layerOf(chosen: Set<number>, like: Context, cloud: Cloud) {
  const known = layers.get(chosen);
  if (known) return known;
  const layer = document.createElement("canvas");
  [layer.width, layer.height] = [like.canvas.width, like.canvas.height];
  layers.set(chosen, layer);
  const ctx = layer.getContext("2d") as Context;
  ctx.setTransform(like.getTransform());
  const { accent, surface } = readPalette();
  const { xs, ys } = cloud.places.places();
  // The rim first and outside of the fill: so many would else be nothing but rims.
  const radius = chosenRadius(cloud) - 0.5;
  ctx.beginPath();
  for (const i of chosen) {
    ctx.moveTo(xs[i] + radius, ys[i]);
    ctx.arc(xs[i], ys[i], radius, 0, 2 * Math.PI);
  }
  Object.assign(ctx, { fillStyle: accent, strokeStyle: surface, lineWidth: 2 });
  ctx.stroke();
  ctx.fill();
  return layer;
}

/** @param layer of the same size */
function paintLayer(ctx: Context, layer: HTMLCanvasElement) {
  ctx.save();
  ctx.resetTransform();
  ctx.drawImage(layer, 0, 0);
  ctx.restore();
}

/** @param box that is being drawn */
export function paintUpper(ctx: Context, cloud: Cloud, marks: Marks, box: Box | null) {
  const { places, is_small, is_mono } = cloud;
  const { xs, ys } = places.places();
  const { ink, muted, accent, surface } = readPalette();
  const dot = (i: number, fill: string) => {
    ctx.beginPath();
    ctx.arc(xs[i], ys[i], chosenRadius(cloud), 0, 2 * Math.PI);
    Object.assign(ctx, { fillStyle: fill, strokeStyle: surface, lineWidth: 1 });
    ctx.fill();
    ctx.stroke();
  };
  if (marks.chosen.size > MANY_CHOSEN) paintLayer(ctx, layerOf(marks.chosen, ctx, cloud));
  else for (const i of marks.chosen) dot(i, accent);
  if (marks.hovered !== null) dot(marks.hovered, ink);
  Object.assign(ctx, {
    font: `${is_small ? 11 : 12}px ${is_mono ? MONO : SANS}`,
    textBaseline: "middle",
    strokeStyle: surface,
    lineWidth: 3,
    lineJoin: "round",
  });
  for (const { i, text, at_x, at_y } of namesOf(cloud, marks)) {
    ctx.strokeText(text, at_x, at_y);
    ctx.fillStyle = i === marks.hovered ? ink : marks.chosen.has(i) ? accent : muted;
    ctx.fillText(text, at_x, at_y);
  }
  if (!box) return;
  const sides = [box.left, box.top, box.right - box.left, box.bottom - box.top] as const;
  Object.assign(ctx, { strokeStyle: accent, lineWidth: 1, fillStyle: accent });
  ctx.strokeRect(...sides);
  ctx.globalAlpha = 0.1;
  ctx.fillRect(...sides);
  ctx.globalAlpha = 1;
}

/** Both layers as the inside of an SVG of the cloud's size. */
export function insideOf(cloud: Cloud, marks: Marks) {
  const { places, is_small, is_mono } = cloud;
  const { axes, css, line, faint, line_css, line_width, ends, palette, look, origin } = lower(cloud);
  const { left, top, right, bottom } = places.frame();
  const { xs, ys } = places.places();
  // An SVG of its own cuts off what lies beyond the axes.
  const window = `x="${left}" y="${top}" width="${right - left}" height="${bottom - top}" viewBox="${left} ${top} ${right - left} ${bottom - top}"`;
  const pathOf = (part: number[][], opacity: number) =>
    part.length > 0
      ? `<path d="M${part.map(([a, b]) => `${a.toFixed(1)} ${b.toFixed(1)}`).join("L")}" fill="none" stroke="${line_css}" stroke-opacity="${opacity}" stroke-width="${line_width}" stroke-linejoin="round"/>`
      : "";
  return [
    innerOf(axes),
    `<svg ${window}>`,
    pathsOf(xs, ys, places.groups(), css, places.frame(), look),
    origin ? `<path class="origin" d="${originPath(origin)}" stroke="${palette.ink}" stroke-width="1.5"/>` : "",
    pathOf(faint, FAINT),
    pathOf(line, 1),
    ...endsOf(line, ends, places.frame()).map(
      ({ x, y, text, at_x }) =>
        `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="${END_RADIUS}" fill="${line_css}"/><text x="${at_x.toFixed(1)}" y="${y.toFixed(1)}" dy=".35em" font-size="12" text-anchor="${at_x < x ? "end" : "start"}" fill="${line_css}" stroke="${palette.surface}" stroke-width="3" stroke-linejoin="round" paint-order="stroke">${escaped(text)}</text>`,
    ),
    pathsOf(xs, ys, [Uint32Array.from(marks.chosen)], [palette.accent], places.frame(), {
      radius: chosenRadius(cloud),
      opacity: 1,
    }),
    "</svg>",
    ...namesOf(cloud, { ...marks, hovered: null }).map(
      ({ i, text, at_x, at_y }) =>
        `<text x="${at_x.toFixed(1)}" y="${at_y.toFixed(1)}" dy=".35em" font-size="${is_small ? 11 : 12}"${is_mono ? ` font-family="${escaped(MONO)}"` : ""} fill="${marks.chosen.has(i) ? palette.accent : palette.muted}" stroke="${palette.surface}" stroke-width="3" stroke-linejoin="round" paint-order="stroke" xml:space="preserve">${escaped(text)}</text>`,
    ),
  ]
    .filter(Boolean)
    .join("\n");
}
