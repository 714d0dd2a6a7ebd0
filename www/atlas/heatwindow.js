// @ts-check
/** Which part of the token matrix is seen, and where its cells stand on the canvas. Pure. */
import { cellAt, fitted, isWhole, panned, placeOf, rates, resized, seen, windowed, zoomed } from "./camera.js";
import { samplesOf, strideFor } from "./orders.js";

/** @typedef {import("./camera.js").Axis} Axis */
/** @typedef {{ token: number, channel: number }} Place places in the two orders */
/** @typedef {{ transposed: boolean, width: number, height: number, tokens: Axis, channels: Axis }} Window `transposed`: tokens run down instead of to the right; sizes are those of the canvas */
/** @typedef {{ tokens: [number, number], channels: [number, number] }} Part from where to where */

/** The largest cells, in pixels: wide enough for a number, high enough for a line of text. */
const MAX_WIDE = 46;
const MAX_HIGH = 18;
/** What a label takes of its axis; a cell that large has its own. */
export const ROOM = { upright: 13, tilted: 15, number: 11 };
/** What is right of the grid. */
export const EDGE = 14;

/** Which tokens are drawn: every stride-th place. @param {{ tokens: Axis }} window */
export function drawnOf({ tokens }) {
  const { start, end } = seen(tokens);
  const stride = strideFor(end - start, tokens.length);
  return { stride, places: samplesOf(start, end, stride) };
}

/** Whether each token drawn has room for its name. @param {{ transposed: boolean, tokens: Axis }} window */
export const isNamed = (window) => window.tokens.size * drawnOf(window).stride >= (window.transposed ? ROOM.upright : ROOM.tilted);

/** The cells' part of the canvas: tokens with their names need more room beside it than numbers. @param {Window} window */
export function gridOf(window) {
  const { transposed, width, height } = window;
  const [left, bottom] = transposed ? [width < 500 ? 84 : 112, 42] : [46, isNamed(window) ? 86 : 42];
  const top = 26;
  return { left, top, width: Math.max(20, width - left - EDGE), height: Math.max(20, height - top - bottom) };
}

/** @type {Window} */
export const NOTHING = { transposed: false, width: 0, height: 0, tokens: fitted(1, 1, 1), channels: fitted(1, 1, 1) };

/**
 * The same part on another canvas; all of it for other axes.
 * @param {Window} before @param {{ transposed: boolean, width: number, height: number, n_tokens: number, n_channels: number }} now
 * @returns {Window}
 */
export function fit(before, { transposed, width, height, n_tokens, n_channels }) {
  const grid = gridOf({ ...before, transposed, width, height });
  const is_turned = before.transposed !== transposed;
  const axis = (/** @type {Axis} */ old, /** @type {number} */ n, /** @type {boolean} */ is_across) => {
    const [length, max] = is_across ? [grid.width, MAX_WIDE] : [grid.height, MAX_HIGH];
    return old.n === n && !is_turned ? resized({ ...old, max_size: Math.max(max, length / n) }, length) : fitted(n, length, max);
  };
  return { transposed, width, height, tokens: axis(before.tokens, n_tokens, !transposed), channels: axis(before.channels, n_channels, transposed) };
}

/** Along the tokens and along the channels. @template T @param {{ transposed: boolean }} window @param {T} x @param {T} y @returns {[T, T]} */
const turned = ({ transposed }, x, y) => (transposed ? [y, x] : [x, y]);

/** The cell drawn at a point of the canvas. @param {Window} window @param {number} x @param {number} y @returns {Place | null} */
export function placeAt(window, x, y) {
  const { left, top } = gridOf(window);
  const [along, beside] = turned(window, x - left, y - top);
  const [token, channel] = [cellAt(window.tokens, along), cellAt(window.channels, beside)];
  return token === null || channel === null ? null : { token: token - (token % drawnOf(window).stride), channel };
}

/** The middle of a cell on the canvas. @param {Window} window @param {Place} place @returns {[number, number]} */
export function middleOf(window, { token, channel }) {
  const { left, top } = gridOf(window);
  const { tokens, channels } = window;
  const [x, y] = turned(window, placeOf(tokens, token) + tokens.size / 2, placeOf(channels, channel) + channels.size / 2);
  return [left + x, top + y];
}

/** Left of and below the grid only one axis zooms. @param {Window} window @param {number} factor @param {[number, number]} at on the canvas @returns {Window} */
export function zoomAt(window, factor, [x, y]) {
  const { left, top, width, height } = gridOf(window);
  const [is_across, is_down] = [x >= left, y <= top + height];
  const [tokens_move, channels_move] = turned(window, is_across, is_down);
  const [along, beside] = turned(window, Math.min(Math.max(0, x - left), width), Math.min(Math.max(0, y - top), height));
  const [rate_tokens, rate_channels] = rates(window.tokens, window.channels);
  return {
    ...window,
    tokens: tokens_move ? zoomed(window.tokens, factor ** rate_tokens, along) : window.tokens,
    channels: channels_move ? zoomed(window.channels, factor ** rate_channels, beside) : window.channels,
  };
}

/** @param {Window} window @param {number} dx @param {number} dy pixels @returns {Window} */
export function panBy(window, dx, dy) {
  const [along, beside] = turned(window, dx, dy);
  return { ...window, tokens: panned(window.tokens, along), channels: panned(window.channels, beside) };
}

/** @param {Window} window @returns {Window} */
export const whole = (window) => ({ ...window, tokens: zoomed(window.tokens, 0, 0), channels: zoomed(window.channels, 0, 0) });

/** @param {Window} window */
export const isAll = ({ tokens, channels }) => isWhole(tokens) && isWhole(channels);

/** @param {Window} window @param {Part} part @returns {Window} */
export const toPart = (window, { tokens, channels }) => ({ ...window, tokens: windowed(window.tokens, ...tokens), channels: windowed(window.channels, ...channels) });

/** @param {Window} window @returns {Part} */
export function partOf({ tokens, channels }) {
  const [t, c] = [seen(tokens), seen(channels)];
  return { tokens: [t.start, t.end], channels: [c.start, c.end] };
}

/** The cell drawn in the middle of what is seen. @param {Window} window @returns {Place} */
export function central(window) {
  const { tokens, channels } = partOf(window);
  const { stride } = drawnOf(window);
  const middle = Math.floor((tokens[0] + tokens[1]) / 2);
  return { token: middle - (middle % stride), channel: Math.floor((channels[0] + channels[1]) / 2) };
}

/** Some cells on, no further than the last ones. @param {Window} window @param {Place} from @param {number} dx @param {number} dy @returns {Place} */
export function stepFrom(window, from, dx, dy) {
  const [dt, dc] = turned(window, dx, dy);
  const held = (/** @type {number} */ value, /** @type {number} */ n) => Math.min(n - 1, Math.max(0, value));
  const { stride } = drawnOf(window);
  const token = held(from.token + dt * stride, window.tokens.n);
  return { token: token - (token % stride), channel: held(from.channel + dc, window.channels.n) };
}

/** Moved just so far that the place is seen. @param {Window} window @param {Place} place @returns {Window} */
export function reveal(window, place) {
  const into = (/** @type {Axis} */ axis, /** @type {number} */ cell) => {
    const at = placeOf(axis, cell);
    if (at < 0) return panned(axis, -at);
    const over = at + axis.size - axis.length;
    return over > 0 ? panned(axis, -over) : axis;
  };
  return { ...window, tokens: into(window.tokens, place.token), channels: into(window.channels, place.channel) };
}
