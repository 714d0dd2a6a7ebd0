// @ts-check
/**
 * The token matrix's canvas: it draws what is seen, asks for the rows that are missing, and turns wheel, fingers, keys
 * and clicks into places. Tokens and channels each zoom at their own rate, so that both come to single cells together.
 */
import { pointers, select } from "d3-selection";
import { zoom, zoomIdentity } from "d3-zoom";
import { element } from "../dom.js";
import { cut, fontOf, paint } from "../paint.js";
import { readPalette } from "../palette.js";
import { innerOf } from "../svg.js";
import { cellAt, fitted, isWhole, panned, placeOf, rates, resized, seen, windowed, zoomed } from "./camera.js";
import { themeNow } from "./colours.js";
import { drawnOf, marginsOf, marksOf, pixelsOf } from "./heatframe.js";
import { drawsItself } from "./sheet.js";

/** @typedef {import("./heatframe.js").Frame} Frame */
/** @typedef {Omit<Frame, "tokens" | "channels" | "palette" | "theme" | "cursor" | "row">} Content what is shown, apart from which part of it */
/** @typedef {{ token: number, channel: number }} Place places in the two orders */

/** The largest cells, in pixels: a token's with its number, a channel's with its name. */
const MAX_CELL = { token: 46, channel: 18 };
const ASK_MS = 120;
const STEP_FACTOR = 1.6;

/**
 * @param {object} page
 * @param {import("./rowstore.js").RowStore} page.store
 * @param {(ids: number[]) => void} page.need rows that the picture lacks; `refresh` when they are there
 * @param {(place: Place | null, is_key: boolean) => void} page.hover
 * @param {(place: Place, is_more: boolean) => void} page.choose
 * @param {(part: { tokens: [number, number], channels: [number, number] } | null, stride: number) => void} page.moved null: everything is seen
 */
export function createHeat(page) {
  const canvas = element("canvas", "heat");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-roledescription", "heatmap");
  const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const pixels_canvas = document.createElement("canvas");
  /** @type {Content | null} */
  let content = null;
  /** @type {import("./camera.js").Axis} */
  let tokens = fitted(1, 1, 1);
  let channels = fitted(1, 1, 1);
  /** @type {Place | null} */
  let cursor = null;
  let is_waiting = false;
  let asking = 0;
  let telling = 0;
  let n_frames = 0;

  const margins = () => marginsOf({ transposed: content?.transposed ?? false, tokens }, canvas.clientWidth);

  /** @returns {Frame | null} */
  function frame() {
    if (!content) return null;
    const theme = themeNow();
    return { ...content, tokens, channels, cursor, theme, palette: readPalette(), row: page.store.get };
  }

  /** Both axes on the room there is; the same cells stay in sight. */
  function fit() {
    if (!content) return;
    const { left, right, top, bottom } = margins();
    const [width, height] = [Math.max(20, canvas.clientWidth - left - right), Math.max(20, canvas.clientHeight - top - bottom)];
    const [along, beside] = content.transposed ? [height, width] : [width, height];
    const { token, channel } = content.transposed ? { token: MAX_CELL.channel, channel: MAX_CELL.token } : MAX_CELL;
    const axis = (/** @type {import("./camera.js").Axis} */ before, /** @type {number} */ n, /** @type {number} */ length, /** @type {number} */ max) =>
      before.n === n ? resized({ ...before, max_size: Math.max(max, length / n) }, length) : fitted(n, length, max);
    tokens = axis(tokens, content.token_order.length, along, token);
    channels = axis(channels, content.channel_order.length, beside, channel);
  }

  function draw() {
    is_waiting = false;
    // Names of tokens come and go with the zoom, and the grid gives way to them.
    fit();
    const now = frame();
    if (!now || canvas.clientWidth === 0) return;
    n_frames++;
    const ratio = devicePixelRatio;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, width, height);
    const { left, top } = margins();
    const part = toCanvas(now);
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, ...sizeOfGrid());
    ctx.clip();
    // Cells that share a pixel are averaged; larger ones keep their edges.
    ctx.imageSmoothingEnabled = part.across < part.width || part.down < part.height;
    ctx.drawImage(pixels_canvas, left + part.x, top + part.y, part.across, part.down);
    ctx.restore();
    paint(ctx, marksOf(now, margins()));
  }

  /** @returns {[number, number]} */
  const sizeOfGrid = () => (content?.transposed ? [channels.length, tokens.length] : [tokens.length, channels.length]);

  /** The cells as a small picture of one pixel each. @param {Frame} now */
  function toCanvas(now) {
    const part = pixelsOf(now);
    [pixels_canvas.width, pixels_canvas.height] = [Math.max(1, part.width), Math.max(1, part.height)];
    if (part.width > 0 && part.height > 0) {
      const image = new ImageData(new Uint8ClampedArray(/** @type {ArrayBuffer} */ (part.pixels.buffer)), part.width, part.height);
      /** @type {CanvasRenderingContext2D} */ (pixels_canvas.getContext("2d")).putImageData(image, 0, 0);
    }
    return part;
  }

  function refresh() {
    if (is_waiting) return;
    is_waiting = true;
    requestAnimationFrame(draw);
  }

  /** The picture has moved: draw it, and a moment later ask for what it lacks and say where it is. */
  function moved() {
    refresh();
    clearTimeout(asking);
    asking = setTimeout(ask, ASK_MS);
    clearTimeout(telling);
    telling = setTimeout(tell, 2 * ASK_MS);
  }

  function ask() {
    const now = frame();
    if (!now) return;
    const ids = drawnOf(now).places.map((place) => now.token_order[place]);
    page.need(page.store.missing(ids));
  }

  function tell() {
    const now = frame();
    if (!now) return;
    const [t, c] = [seen(tokens), seen(channels)];
    page.moved(isWhole(tokens) && isWhole(channels) ? null : { tokens: [t.start, t.end], channels: [c.start, c.end] }, drawnOf(now).stride);
  }

  /** @param {number} x @param {number} y pixels of the canvas @returns {Place | null} */
  function placeAt(x, y) {
    const now = frame();
    if (!now) return null;
    const { left, top } = margins();
    const [along, beside] = now.transposed ? [y - top, x - left] : [x - left, y - top];
    const [token, channel] = [cellAt(tokens, along), cellAt(channels, beside)];
    if (token === null || channel === null) return null;
    return { token: token - (token % drawnOf(now).stride), channel };
  }

  /** @param {number} factor @param {[number, number]} at pixels of the canvas; left of or below the grid only one axis zooms */
  function zoomAt(factor, [x, y]) {
    const { left, top } = margins();
    const [width, height] = sizeOfGrid();
    const in_x = x >= left;
    const in_y = y <= top + height;
    const [rate_tokens, rate_channels] = rates(tokens, channels);
    const is_both = in_x && in_y;
    const [at_x, at_y] = [Math.min(Math.max(0, x - left), width), Math.min(Math.max(0, y - top), height)];
    const [along, beside] = content?.transposed ? [at_y, at_x] : [at_x, at_y];
    const moves_x = is_both || in_x;
    const [moves_tokens, moves_channels] = content?.transposed ? [is_both || in_y, moves_x] : [moves_x, is_both || in_y];
    if (moves_tokens) tokens = zoomed(tokens, factor ** rate_tokens, along);
    if (moves_channels) channels = zoomed(channels, factor ** rate_channels, beside);
    moved();
  }

  /** @param {number} dx @param {number} dy */
  function panBy(dx, dy) {
    const [along, beside] = content?.transposed ? [dy, dx] : [dx, dy];
    tokens = panned(tokens, along);
    channels = panned(channels, beside);
    moved();
  }

  let last = zoomIdentity;
  const gesture = zoom()
    .filter((event) => {
      // As in the clouds: a page that stops scrolling under the pointer is a nuisance.
      if (event.type === "wheel") return event.ctrlKey || event.metaKey || document.activeElement === canvas;
      if (event.touches) return event.touches.length > 1;
      return event.button === 0 && !event.shiftKey && !event.ctrlKey && !event.metaKey;
    })
    .on("zoom", (event) => {
      const { k, x, y } = event.transform;
      if (!event.sourceEvent) return;
      const at = pointers(event.sourceEvent, canvas);
      const [mean_x, mean_y] = [0, 1].map((i) => at.reduce((sum, point) => sum + point[i], 0) / Math.max(1, at.length));
      if (k !== last.k) zoomAt(k / last.k, [mean_x, mean_y]);
      else panBy(x - last.x, y - last.y);
      last = event.transform;
    })
    .on("end", () => {
      // Only changes count: what the gesture has gathered begins anew, so that it never comes to a limit of its own.
      last = zoomIdentity;
      /** @type {any} */ (canvas).__zoom = zoomIdentity;
    });
  const zoomable = /** @type {import("d3-selection").Selection<HTMLCanvasElement, unknown, null, undefined>} */ (select(canvas));
  zoomable.call(/** @type {any} */ (gesture)).on("dblclick.zoom", null);

  canvas.addEventListener("pointermove", (event) => point(placeAt(event.offsetX, event.offsetY), false));
  canvas.addEventListener("pointerleave", () => document.activeElement !== canvas && point(null, false));
  canvas.addEventListener("click", (event) => {
    const place = placeAt(event.offsetX, event.offsetY);
    if (place) page.choose(place, event.shiftKey || event.ctrlKey || event.metaKey);
  });

  /** @param {Place | null} place @param {boolean} is_key */
  function point(place, is_key) {
    if (place?.token === cursor?.token && place?.channel === cursor?.channel) return;
    cursor = place;
    page.hover(place, is_key);
    refresh();
  }

  /** Moves so far that the place is seen. @param {Place} place */
  function reveal(place) {
    const into = (/** @type {import("./camera.js").Axis} */ axis, /** @type {number} */ cell) => {
      const at = placeOf(axis, cell);
      if (at < 0) return panned(axis, -at);
      const over = at + axis.size - axis.length;
      return over > 0 ? panned(axis, -over) : axis;
    };
    tokens = into(tokens, place.token);
    channels = into(channels, place.channel);
  }

  canvas.addEventListener("keydown", (event) => {
    const now = frame();
    if (!now || event.altKey || event.ctrlKey || event.metaKey) return;
    const { stride } = drawnOf(now);
    const middle = { token: Math.floor((seen(tokens).start + seen(tokens).end) / 2), channel: Math.floor((seen(channels).start + seen(channels).end) / 2) };
    const at = cursor ?? { ...middle, token: middle.token - (middle.token % stride) };
    const arrow = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[event.key];
    if (arrow) {
      const [dt, dc] = now.transposed ? [arrow[1], arrow[0]] : arrow;
      const far = event.shiftKey ? 10 : 1;
      const held = (/** @type {number} */ value, /** @type {number} */ n) => Math.min(n - 1, Math.max(0, value));
      const token = held(at.token + dt * stride * far, tokens.n);
      const place = { token: token - (token % stride), channel: held(at.channel + dc * far, channels.n) };
      reveal(place);
      point(cursor ? place : at, true);
      moved();
    } else if (event.key === "+" || event.key === "=") zoomOn(at, STEP_FACTOR);
    else if (event.key === "-") zoomOn(at, 1 / STEP_FACTOR);
    else if (event.key === "0") whole();
    else if (event.key === "Enter" || event.key === " ") page.choose(at, event.shiftKey);
    else return;
    event.preventDefault();
  });

  /** @param {Place} place @param {number} factor */
  function zoomOn(place, factor) {
    const { left, top } = margins();
    const [along, beside] = [placeOf(tokens, place.token) + tokens.size / 2, placeOf(channels, place.channel) + channels.size / 2];
    zoomAt(factor, content?.transposed ? [left + beside, top + along] : [left + along, top + beside]);
  }

  function whole() {
    tokens = zoomed(tokens, 0, 0);
    channels = zoomed(channels, 0, 0);
    moved();
  }

  new ResizeObserver(() => {
    fit();
    moved();
  }).observe(canvas);

  drawsItself(canvas, () => {
    const now = frame();
    if (!now) return "";
    const { left, top } = margins();
    const part = toCanvas(now);
    const [width, height] = sizeOfGrid();
    const cutText = (/** @type {import("../scene.js").TextMark} */ mark) => {
      ctx.font = fontOf(mark);
      return cut(ctx, mark.text, mark.max_width);
    };
    const smooth = part.across < part.width || part.down < part.height ? "auto" : "pixelated";
    const inside = (/** @type {string} */ drawn, dx = 0, dy = 0) => `<svg x="${left}" y="${top}" width="${width}" height="${height}" overflow="hidden"><g transform="translate(${dx} ${dy})">${drawn}</g></svg>`;
    const picture = `<image x="${part.x}" y="${part.y}" width="${part.across}" height="${part.down}" preserveAspectRatio="none" image-rendering="${smooth}" href="${pixels_canvas.toDataURL("image/png")}"/>`;
    const around = marksOf(now, margins()).map((mark) => (mark.kind === "clip" ? inside(innerOf(mark.marks, cutText), -left, -top) : innerOf([mark], cutText)));
    return [inside(picture), ...around].join("\n");
  });

  return {
    canvas,
    refresh,
    /** @param {Content} wanted @param {{ tokens: [number, number], channels: [number, number] } | null} [part] the part to show, if it is a given one */
    show(wanted, part) {
      const is_turned = content !== null && content.transposed !== wanted.transposed;
      content = wanted;
      if (is_turned) [tokens, channels] = [{ ...tokens, n: -1 }, { ...channels, n: -1 }];
      fit();
      if (part) {
        tokens = windowed(tokens, ...part.tokens);
        channels = windowed(channels, ...part.channels);
      } else if (part === null) {
        tokens = zoomed(tokens, 0, 0);
        channels = zoomed(channels, 0, 0);
      }
      moved();
      // Only movements come in bursts.
      ask();
    },
    zoom_in: () => zoomOn(middlePlace(), STEP_FACTOR),
    zoom_out: () => zoomOn(middlePlace(), 1 / STEP_FACTOR),
    whole,
    /** For tests: what is seen, where a cell stands, how many frames so far. */
    state: () => ({ tokens: seen(tokens), channels: seen(channels), n_frames }),
    /** Where the middle of a cell is, in pixels of the canvas. @param {Place} place @returns {[number, number]} */
    at(place) {
      const { left, top } = margins();
      const [along, beside] = [placeOf(tokens, place.token) + tokens.size / 2, placeOf(channels, place.channel) + channels.size / 2];
      return content?.transposed ? [left + beside, top + along] : [left + along, top + beside];
    },
  };

  /** @returns {Place} */
  function middlePlace() {
    const [t, c] = [seen(tokens), seen(channels)];
    return { token: (t.start + t.end - 1) / 2, channel: (c.start + c.end - 1) / 2 };
  }
}
