/** Which part of the token matrix is seen, and where its cells stand on the canvas. Pure. */
import { cellAt, fitted, isWhole, panned, placeOf, rates, resized, seen, windowed, zoomed } from "./axis.ts";
import { samplesOf, strideFor } from "../stats/orders.ts";
import type { Axis } from "./axis.ts";

/** places in the two orders */
export type Place = { token: number; channel: number };
/** `transposed`: tokens run down instead of to the right; sizes are those of the canvas */
export type Window = { transposed: boolean; width: number; height: number; tokens: Axis; channels: Axis };
/** from where to where */
export type Part = { tokens: [number, number]; channels: [number, number] };

/** The largest cells, in pixels: wide enough for a number, high enough for a line of text. */
const MAX_WIDE = 46;
const MAX_HIGH = 18;
/** What a label takes of its axis; a cell that large has its own. */
export const ROOM = { upright: 13, tilted: 15, number: 11 };
/** What is right of the grid. */
export const EDGE = 14;

/** Which tokens are drawn: every stride-th place. */
export function drawnOf({ tokens }: { tokens: Axis }) {
  const { start, end } = seen(tokens);
  const stride = strideFor(end - start, tokens.length);
  return { stride, places: samplesOf(start, end, stride) };
}

/** Whether each token drawn has room for its name. */
export const isNamed = (window: { transposed: boolean; tokens: Axis }) =>
  window.tokens.size * drawnOf(window).stride >= (window.transposed ? ROOM.upright : ROOM.tilted);

/** The cells' part of the canvas: tokens with their names need more room beside it than numbers. */
export function gridOf(window: Window) {
  const { transposed, width, height } = window;
  const [left, bottom] = transposed ? [width < 500 ? 84 : 112, 42] : [46, isNamed(window) ? 86 : 42];
  const top = 26;
  return { left, top, width: Math.max(20, width - left - EDGE), height: Math.max(20, height - top - bottom) };
}

export const NOTHING: Window = {
  transposed: false,
  width: 0,
  height: 0,
  tokens: fitted(1, 1, 1),
  channels: fitted(1, 1, 1),
};

/** The same part on another canvas; all of it for other axes. */
export function fit(
  before: Window,
  {
    transposed,
    width,
    height,
    n_tokens,
    n_channels,
  }: { transposed: boolean; width: number; height: number; n_tokens: number; n_channels: number },
): Window {
  const grid = gridOf({ ...before, transposed, width, height });
  const is_turned = before.transposed !== transposed;
  const axis = (old: Axis, n: number, is_across: boolean) => {
    const [length, max] = is_across ? [grid.width, MAX_WIDE] : [grid.height, MAX_HIGH];
    return old.n === n && !is_turned
      ? resized({ ...old, max_size: Math.max(max, length / n) }, length)
      : fitted(n, length, max);
  };
  return {
    transposed,
    width,
    height,
    tokens: axis(before.tokens, n_tokens, !transposed),
    channels: axis(before.channels, n_channels, transposed),
  };
}

/** Along the tokens and along the channels. */
const turned = <T>({ transposed }: { transposed: boolean }, x: T, y: T): [T, T] => (transposed ? [y, x] : [x, y]);

/** The cell drawn at a point of the canvas. */
export function placeAt(window: Window, x: number, y: number): Place | null {
  const { left, top } = gridOf(window);
  const [along, beside] = turned(window, x - left, y - top);
  const [token, channel] = [cellAt(window.tokens, along), cellAt(window.channels, beside)];
  return token === null || channel === null ? null : { token: token - (token % drawnOf(window).stride), channel };
}

/** The middle of a cell on the canvas. */
export function middleOf(window: Window, { token, channel }: Place): [number, number] {
  const { left, top } = gridOf(window);
  const { tokens, channels } = window;
  const [x, y] = turned(
    window,
    placeOf(tokens, token) + tokens.size / 2,
    placeOf(channels, channel) + channels.size / 2,
  );
  return [left + x, top + y];
}

/**
 * Zooms about a point of the canvas. Left of and below the grid only one axis zooms.
 */
export function zoomAt(window: Window, factor: number, [x, y]: [number, number]): Window {
  const { left, top, width, height } = gridOf(window);
  const [is_across, is_down] = [x >= left, y <= top + height];
  const [tokens_move, channels_move] = turned(window, is_across, is_down);
  const [along, beside] = turned(
    window,
    Math.min(Math.max(0, x - left), width),
    Math.min(Math.max(0, y - top), height),
  );
  const [rate_tokens, rate_channels] = rates(window.tokens, window.channels);
  return {
    ...window,
    tokens: tokens_move ? zoomed(window.tokens, factor ** rate_tokens, along) : window.tokens,
    channels: channels_move ? zoomed(window.channels, factor ** rate_channels, beside) : window.channels,
  };
}

/** `dx` and `dy` are pixels. */
export function panBy(window: Window, dx: number, dy: number): Window {
  const [along, beside] = turned(window, dx, dy);
  return { ...window, tokens: panned(window.tokens, along), channels: panned(window.channels, beside) };
}

export const whole = (window: Window): Window => ({
  ...window,
  tokens: zoomed(window.tokens, 0, 0),
  channels: zoomed(window.channels, 0, 0),
});

export const isAll = ({ tokens, channels }: Window) => isWhole(tokens) && isWhole(channels);

export const toPart = (window: Window, { tokens, channels }: Part): Window => ({
  ...window,
  tokens: windowed(window.tokens, ...tokens),
  channels: windowed(window.channels, ...channels),
});

export function partOf({ tokens, channels }: Window): Part {
  const [t, c] = [seen(tokens), seen(channels)];
  return { tokens: [t.start, t.end], channels: [c.start, c.end] };
}

/** The cell drawn in the middle of what is seen. */
export function central(window: Window): Place {
  const { tokens, channels } = partOf(window);
  const { stride } = drawnOf(window);
  const middle = Math.floor((tokens[0] + tokens[1]) / 2);
  return { token: middle - (middle % stride), channel: Math.floor((channels[0] + channels[1]) / 2) };
}

/** Some cells on, no further than the last ones. */
export function stepFrom(window: Window, from: Place, dx: number, dy: number): Place {
  const [dt, dc] = turned(window, dx, dy);
  const held = (value: number, n: number) => Math.min(n - 1, Math.max(0, value));
  const { stride } = drawnOf(window);
  const token = held(from.token + dt * stride, window.tokens.n);
  return { token: token - (token % stride), channel: held(from.channel + dc, window.channels.n) };
}

/** Moved just so far that the place is seen. */
export function reveal(window: Window, place: Place): Window {
  const into = (axis: Axis, cell: number) => {
    const at = placeOf(axis, cell);
    if (at < 0) return panned(axis, -at);
    const over = at + axis.size - axis.length;
    return over > 0 ? panned(axis, -over) : axis;
  };
  return { ...window, tokens: into(window.tokens, place.token), channels: into(window.channels, place.channel) };
}
