/** One frame of the token matrix: its pixels, and the marks around them. Pure. */
import { rgb } from "d3-color";
import { ticks } from "d3-array";
import { swatch } from "../../graphics/colormaps.ts";
import { decimal } from "../../lib/format.ts";
import { placeOf, seen } from "./axis.ts";
import { EDGE, ROOM, drawnOf, gridOf } from "./viewport.ts";
import { coarser } from "../stats/orders.ts";
import type { Theme } from "../../graphics/colormaps.ts";
import { textMark } from "../../graphics/marks.ts";
import type { Mark, Palette, TextMark } from "../../graphics/marks.ts";
import type { Axis } from "./axis.ts";
import type { Place, Window } from "./viewport.ts";

export interface Shown {
  /** the token at each place */
  token_order: Uint32Array;
  channel_order: Uint32Array;
  row: (id: number) => Float32Array | undefined;
  /** what the ends of the colours stand for */
  limit: number;
  theme: Theme;
  palette: Palette;
  shown: (id: number) => string;
  /** what stands at a place where there is no room for every token */
  tokenTick: (place: number) => string;
  channelTick: (place: number) => string;
  token_title: string;
  channel_title: string;
  /** places of selected tokens */
  token_marks: number[];
  channel_mark: number | null;
  cursor: Place | null;
}
export type Frame = Shown & Window;

const LABEL_SIZE = 11;

/** Colours as a canvas holds them. */
const known_colours: Partial<Record<Theme, Uint32Array>> = {};

function coloursOf(theme: Theme) {
  known_colours[theme] ??= Uint32Array.from({ length: 256 }, (_, i) => {
    const { r, g, b } = rgb(swatch("diverging", theme, i / 255).css);
    return (255 << 24) | (b << 16) | (g << 8) | r;
  });
  return known_colours[theme];
}

/** @param limit 0…1, a half at zero */
const strength = (value: number, limit: number) => Math.min(1, Math.max(0, 0.5 + value / limit / 2));

/**
 * The colours of the cells seen, one pixel a cell; tokens that are not there yet are stood in for by coarser ones.
 * @returns what it is in pixels of the picture
 */
export function pixelsOf(frame: Frame): {
  width: number;
  height: number;
  pixels: Uint32Array;
  x: number;
  y: number;
  across: number;
  down: number;
} {
  const { tokens, channels, token_order, channel_order, row, limit, theme, transposed } = frame;
  const { stride, places } = drawnOf(frame);
  const { start, end } = seen(channels);
  const colours = coloursOf(theme);
  const has = (place: number) => row(token_order[place]) !== undefined;
  const [n, m] = [places.length, end - start];
  const pixels = new Uint32Array(n * m);
  places.forEach((place, i) => {
    const near = coarser(place, stride, has);
    const values = near === null ? undefined : row(token_order[near]);
    if (!values) return;
    for (let j = 0; j < m; j++) {
      const colour = colours[Math.round(strength(values[channel_order[start + j]], limit) * 255)];
      pixels[transposed ? i * m + j : j * n + i] = colour;
    }
  });
  const along = { from: placeOf(tokens, places[0] ?? 0), length: n * stride * tokens.size };
  const beside = { from: placeOf(channels, start), length: m * channels.size };
  return transposed
    ? { width: m, height: n, pixels, x: beside.from, y: along.from, across: beside.length, down: along.length }
    : { width: n, height: m, pixels, x: along.from, y: beside.from, across: along.length, down: beside.length };
}

const text = (mark: Pick<TextMark, "x" | "y" | "text" | "fill"> & Partial<TextMark>): Mark =>
  textMark({ size: LABEL_SIZE, mono: false, ...mark });

/**
 * Where labels stand along an axis: one at every cell if there is room, else round places.
 * @param apart pixels between ticks
 */
function labelled(axis: Axis, places: number[], stride: number, room: number, apart: number) {
  if (axis.size * stride >= room) return { is_every: true, places };
  const { start, end } = seen(axis);
  const round = ticks(start, end - 1, Math.max(2, axis.length / apart)).filter(Number.isInteger);
  return { is_every: false, places: round };
}

/** Texts and marks around the grid and on it, in pixels of the whole picture. */
export function marksOf(frame: Frame): Mark[] {
  const { left, top, width, height } = gridOf(frame);
  const { tokens, channels, token_order, channel_order, transposed, palette } = frame;
  const { stride, places } = drawnOf(frame);
  const channel_seen = seen(channels);
  const channel_places = Array.from(
    { length: channel_seen.end - channel_seen.start },
    (_, i) => channel_seen.start + i,
  );
  /**
   * Middle of a cell along its axis.
   * @param n cells
   */
  const middle = (axis: Axis, place: number, n: number = 1) => placeOf(axis, place) + (axis.size * n) / 2;
  const inside = (axis: Axis, at: number) => at >= 0 && at <= axis.length;
  const marks: Mark[] = [];

  const of_tokens = labelled(tokens, places, stride, transposed ? ROOM.upright : ROOM.tilted, transposed ? 48 : 84);
  const marked = new Set(frame.token_marks);
  for (const place of of_tokens.places) {
    const at = middle(tokens, place, of_tokens.is_every ? stride : 1);
    if (!inside(tokens, at)) continue;
    const is_token = of_tokens.is_every;
    const label = is_token ? frame.shown(token_order[place]) : frame.tokenTick(place);
    const how = {
      text: label,
      mono: is_token,
      bold: is_token && marked.has(place),
      fill: is_token ? (marked.has(place) ? palette.accent : palette.ink) : palette.muted,
    };
    if (transposed) marks.push(text({ ...how, x: left - 8, y: top + at, align: "right", max_width: left - 14 }));
    else if (is_token)
      marks.push(text({ ...how, x: left + at + 3, y: top + height + 9, align: "right", tilt: true, max_width: 84 }));
    else
      marks.push(
        text({
          ...how,
          x: Math.min(left + at, left + width + EDGE - 3.2 * label.length),
          y: top + height + 14,
          align: "center",
        }),
      );
  }
  const of_channels = labelled(channels, channel_places, 1, transposed ? 30 : ROOM.number, transposed ? 64 : 44);
  for (const place of of_channels.places) {
    const at = middle(channels, place);
    if (!inside(channels, at)) continue;
    const is_marked = of_channels.is_every && place === frame.channel_mark;
    const how = {
      text: of_channels.is_every ? String(channel_order[place]) : frame.channelTick(place),
      bold: is_marked,
      fill: is_marked ? palette.accent : palette.muted,
    };
    marks.push(
      transposed
        ? text({ ...how, x: left + at, y: top + height + 14, align: "center" })
        : text({ ...how, x: left - 7, y: top + at, align: "right" }),
    );
  }
  const [across, down] = transposed
    ? [frame.channel_title, frame.token_title]
    : [frame.token_title, frame.channel_title];
  marks.push(text({ x: 2, y: 9, text: `${down} ↓`, fill: palette.muted, max_width: left + width / 2 }));
  marks.push(
    text({
      x: left + width,
      y: top + height + (transposed || !of_tokens.is_every ? 34 : 78),
      text: `${across} →`,
      fill: palette.muted,
      align: "right",
      max_width: width,
    }),
  );

  marks.push({
    kind: "clip",
    x: left,
    y: top,
    width,
    height,
    marks: [...values(frame, { left, top }, places, channel_places, stride), ...outlines(frame, { left, top }, stride)],
  });
  marks.push(...arrows(frame, { left, top, width }, stride));
  return marks;
}

/** Numbers, where a cell has room for one. */
function values(
  { tokens, channels, token_order, channel_order, row, limit, theme, transposed }: Frame,
  { left, top }: { left: number; top: number },
  places: number[],
  channel_places: number[],
  stride: number,
): Mark[] {
  const [wide, high] = transposed ? [channels.size, tokens.size] : [tokens.size, channels.size];
  if (stride > 1 || wide < 36 || high < 12) return [];
  return places.flatMap((place) => {
    const of = row(token_order[place]);
    if (!of) return [];
    return channel_places.map((channel_place) => {
      const value = of[channel_order[channel_place]];
      const [a, b] = [placeOf(tokens, place) + tokens.size / 2, placeOf(channels, channel_place) + channels.size / 2];
      return text({
        x: left + (transposed ? b : a),
        y: top + (transposed ? a : b),
        text: decimal(value),
        size: 10,
        align: "center",
        fill: swatch("diverging", theme, strength(value, limit)).ink,
      });
    });
  });
}

/** Frames around selected columns and rows, and around the cell under the cursor. */
function outlines(
  { tokens, channels, transposed, token_marks, channel_mark, cursor, palette }: Frame,
  { left, top }: { left: number; top: number },
  stride: number,
): Mark[] {
  /** @param along tokens */
  const frame = (
    along: { from: number; length: number },
    beside: { from: number; length: number },
    stroke: string,
    line: number,
  ): Mark => ({
    kind: "rect",
    r: 1,
    stroke,
    line,
    ...(transposed
      ? { x: left + beside.from, y: top + along.from, width: beside.length, height: along.length }
      : { x: left + along.from, y: top + beside.from, width: along.length, height: beside.length }),
  });
  // On cells of a colour near its own, a line needs one of the page's around it.
  const framed = (along: { from: number; length: number }, beside: { from: number; length: number }) => [
    frame(along, beside, palette.surface, 3.5),
    frame(along, beside, palette.accent, 1.5),
  ];
  const token = (place: number) => ({ from: placeOf(tokens, place - (place % stride)), length: tokens.size * stride });
  const channel = (place: number) => ({ from: placeOf(channels, place), length: channels.size });
  const marks: Mark[] = [];
  if (tokens.size * stride >= 4)
    for (const place of token_marks) marks.push(...framed(token(place), { from: -2, length: channels.length + 4 }));
  if (channel_mark !== null && channels.size >= 4)
    marks.push(...framed({ from: -2, length: tokens.length + 4 }, channel(channel_mark)));
  if (cursor) {
    const [a, b] = [token(cursor.token), channel(cursor.channel)];
    // A cell of less than a few pixels could not be seen under its frame.
    const grown = ({ from, length }: { from: number; length: number }) => ({
      from: from - Math.max(0, 5 - length) / 2,
      length: Math.max(5, length),
    });
    marks.push(frame(grown(a), grown(b), palette.surface, 3), frame(grown(a), grown(b), palette.ink, 1.5));
  }
  return marks;
}

/** What is selected, pointed at from the edges; as many as there are pixels. */
function arrows(
  { tokens, channels, transposed, token_marks, channel_mark, palette }: Frame,
  { left, top, width }: { left: number; top: number; width: number },
  stride: number,
): Mark[] {
  const at_tokens = new Set(
    token_marks
      .map((place) => Math.round(placeOf(tokens, place - (place % stride)) + (tokens.size * stride) / 2))
      .filter((at) => at >= 0 && at <= tokens.length),
  );
  const dot = (x: number, y: number) => ({ kind: "dot", x, y, r: 2.5, fill: palette.accent }) as Mark;
  const marks = [...at_tokens].map((at) => (transposed ? dot(left + width + 6, top + at) : dot(left + at, top - 5)));
  if (channel_mark === null) return marks;
  const at = placeOf(channels, channel_mark) + channels.size / 2;
  if (at >= 0 && at <= channels.length)
    marks.push(transposed ? dot(left + at, top - 5) : dot(left + width + 6, top + at));
  return marks;
}
