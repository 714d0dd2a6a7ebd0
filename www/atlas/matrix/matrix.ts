/**
 * The token matrix's canvas: it draws what is seen, asks for the rows that are missing, and turns wheel, fingers, keys
 * and clicks into places. Tokens and channels each zoom at their own rate, so that both come to single cells together.
 */
import { element } from "../../ui/dom.ts";
import { cut, fontOf, paint } from "../../graphics/canvas.ts";
import { readPalette } from "../../graphics/theme.ts";
import { innerOf } from "../../graphics/svg.ts";
import { themeNow } from "../../graphics/css-colours.ts";
import { marksOf, pixelsOf } from "./frame.ts";
import { createHeatGestures } from "./interactions.ts";
import {
  NOTHING,
  central,
  drawnOf,
  fit,
  gridOf,
  isAll,
  middleOf,
  panBy,
  partOf,
  placeAt,
  reveal,
  stepFrom,
  toPart,
  whole,
  zoomAt,
} from "./viewport.ts";
import { drawsItself } from "../../export/card-sheet.ts";
import type { RowStore } from "./rows.ts";
import type { Part, Place, Window } from "./viewport.ts";
import type { TextMark } from "../../graphics/marks.ts";
import type { Frame } from "./frame.ts";

/** what is shown, apart from which part of it */
export type Content = Omit<Frame, "tokens" | "channels" | "width" | "height" | "palette" | "theme" | "cursor" | "row">;

const ASK_MS = 120;
const STEP_FACTOR = 1.6;

export function createHeat(page: {
  store: RowStore;
  /** rows that the picture lacks; `refresh` when they are there */
  need: (ids: number[]) => void;
  hover: (place: Place | null, is_key: boolean) => void;
  choose: (place: Place, is_more: boolean) => void;
  /** null: everything is seen */
  moved: (part: Part | null, stride: number) => void;
}) {
  const canvas = element("canvas", "heat");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-roledescription", "heatmap");
  const ctx = canvas.getContext("2d") as CanvasRenderingContext2D;
  const cells = document.createElement("canvas");
  let content: Content | null = null;
  let window = NOTHING;
  let cursor: Place | null = null;
  /** Where the pointer is: what lies under it changes with every movement of the picture. */
  let pointer: [number, number] | null = null;
  let [drawing, asking, telling] = [0, 0, 0];

  const frame = (): Frame | null =>
    content && { ...content, ...window, cursor, theme: themeNow(), palette: readPalette(), row: page.store.get };

  /** On the room there is; the same cells stay in sight. */
  function fitNow() {
    if (!content || canvas.clientWidth === 0) return;
    const { transposed, token_order, channel_order } = content;
    window = fit(window, {
      transposed,
      width: canvas.clientWidth,
      height: canvas.clientHeight,
      n_tokens: token_order.length,
      n_channels: channel_order.length,
    });
  }

  function draw() {
    drawing = 0;
    // Names of tokens come and go with the zoom, and the grid gives way to them.
    fitNow();
    const now = frame();
    if (!now || canvas.clientWidth === 0) return;
    const ratio = devicePixelRatio;
    const [width, height] = [Math.round(now.width * ratio), Math.round(now.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, now.width, now.height);
    const grid = gridOf(now);
    const part = toCells(now);
    ctx.save();
    ctx.beginPath();
    ctx.rect(grid.left, grid.top, grid.width, grid.height);
    ctx.clip();
    ctx.imageSmoothingEnabled = part.is_fine;
    ctx.drawImage(cells, grid.left + part.x, grid.top + part.y, part.across, part.down);
    ctx.restore();
    paint(ctx, marksOf(now));
  }

  /** The cells as a small picture of one pixel each. */
  function toCells(now: Frame) {
    const part = pixelsOf(now);
    Object.assign(cells, { width: Math.max(1, part.width), height: Math.max(1, part.height) });
    if (part.pixels.length > 0) {
      const image = new ImageData(new Uint8ClampedArray(part.pixels.buffer as ArrayBuffer), part.width, part.height);
      (cells.getContext("2d") as CanvasRenderingContext2D).putImageData(image, 0, 0);
    }
    // Cells that share a pixel are averaged; larger ones keep their edges.
    return { ...part, is_fine: part.across < part.width || part.down < part.height };
  }

  const refresh = () => void (drawing ||= requestAnimationFrame(draw));

  /** Another part: draw it, and a moment later ask for what it lacks and say where it is. */
  function move(now: Window) {
    window = now;
    if (pointer && content) point(placeAt(window, ...pointer), false);
    refresh();
    clearTimeout(asking);
    asking = setTimeout(ask, ASK_MS);
    clearTimeout(telling);
    telling = setTimeout(
      () => content && page.moved(isAll(window) ? null : partOf(window), drawnOf(window).stride),
      2 * ASK_MS,
    );
  }

  function ask() {
    const order = content?.token_order;
    if (order) page.need(page.store.missing(drawnOf(window).places.map((place) => order[place])));
  }

  function point(place: Place | null, is_key: boolean) {
    if (place?.token === cursor?.token && place?.channel === cursor?.channel) return;
    cursor = place;
    page.hover(place, is_key);
    refresh();
  }

  /** Where keys begin. */
  const here = () => cursor ?? central(window);
  const zoomOn = (place: Place, factor: number) => move(zoomAt(window, factor, middleOf(window, place)));

  createHeatGestures(canvas, {
    zoom: (factor, at) => move(zoomAt(window, factor, at)),
    pan: (dx, dy) => move(panBy(window, dx, dy)),
    point(x, y) {
      pointer = [x, y];
      point(content && placeAt(window, x, y), false);
    },
    leave() {
      pointer = null;
      if (document.activeElement !== canvas) point(null, false);
    },
    click(x, y, is_more) {
      const place = content && placeAt(window, x, y);
      if (place) page.choose(place, is_more);
    },
    step(dx, dy) {
      const place = cursor ? stepFrom(window, cursor, dx, dy) : here();
      pointer = null;
      move(reveal(window, place));
      point(place, true);
    },
    zoomHere: (factor) => zoomOn(here(), factor),
    whole: () => move(whole(window)),
    enter: (is_more) => page.choose(here(), is_more),
  });
  new ResizeObserver(() => {
    fitNow();
    move(window);
  }).observe(canvas);

  drawsItself(canvas, () => {
    const now = frame();
    if (!now) return "";
    const { left, top, width, height } = gridOf(now);
    const part = toCells(now);
    const cutText = (mark: TextMark) => {
      ctx.font = fontOf(mark);
      return cut(ctx, mark.text, mark.max_width);
    };
    const inside = (drawn: string, dx = 0, dy = 0) =>
      `<svg x="${left}" y="${top}" width="${width}" height="${height}" overflow="hidden"><g transform="translate(${dx} ${dy})">${drawn}</g></svg>`;
    const picture = `<image x="${part.x}" y="${part.y}" width="${part.across}" height="${part.down}" preserveAspectRatio="none" image-rendering="${part.is_fine ? "auto" : "pixelated"}" href="${cells.toDataURL("image/png")}"/>`;
    const around = marksOf(now).map((mark) =>
      mark.kind === "clip" ? inside(innerOf(mark.marks, cutText), -left, -top) : innerOf([mark], cutText),
    );
    return [inside(picture), ...around].join("\n");
  });

  return {
    canvas,
    refresh,
    /** @param part the part to show, null for all; the same as before, if absent */
    show(wanted: Content, part?: Part | null) {
      content = wanted;
      fitNow();
      move(part ? toPart(window, part) : part === null ? whole(window) : window);
      // Only movements come in bursts.
      ask();
    },
    zoomIn: () => zoomOn(central(window), STEP_FACTOR),
    zoomOut: () => zoomOn(central(window), 1 / STEP_FACTOR),
    whole: () => move(whole(window)),
    /** What is seen, and which tokens of it are drawn. */
    seen: () => ({ ...partOf(window), places: drawnOf(window).places }),
  };
}
