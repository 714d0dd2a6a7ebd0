// @ts-check
/** Draws one frame of the heatmap. Everything that it needs comes in; it keeps nothing. */
import { cellRect, maxScroll, visibleColumns } from "./layout.js";
import { cut, drawInputTokens, drawNextTokens, MONO, SANS } from "./labels.js";
import { agrees, finalTap, topToken } from "./reading.js";

/** @typedef {import("./layout.js").Layout} Layout */
/** @typedef {import("./reading.js").PlainReading} PlainReading */
/** @typedef {import("./reading.js").Cell} Cell */
/** @typedef {{ ink: string, muted: string, accent: string, surface: string }} Palette */

/**
 * @typedef {object} Frame
 * @property {Layout} layout
 * @property {PlainReading} reading
 * @property {number[]} rows taps from the top row to the bottom row
 * @property {(cell: Cell) => import("./colour.js").Swatch} swatch
 * @property {Palette} palette
 * @property {number} scroll_x
 * @property {Cell} selected
 * @property {boolean} pinned
 */

const CORNER = 3;
/** The outline lies inside the cell with some fill around it: at the edge, white on dark would melt into a light page. */
const INSET = 2.25;

/** @param {CanvasRenderingContext2D} ctx scaled to CSS pixels @param {Frame} frame */
export function drawHeatmap(ctx, frame) {
  const { layout, reading, scroll_x, palette, selected } = frame;
  const columns = visibleColumns(layout, scroll_x);
  ctx.clearRect(0, 0, layout.width, layout.height);
  drawCells(ctx, frame, columns);
  drawNextTokens(ctx, layout, reading, columns, scroll_x, palette);
  drawInputTokens(ctx, layout, reading, columns, scroll_x, palette, selected.position);
  drawEdges(ctx, frame);
  drawRowLabels(ctx, frame);
}

/** @param {CanvasRenderingContext2D} ctx @param {Frame} frame @param {{ first: number, end: number }} columns */
function drawCells(ctx, { layout, reading, rows, swatch, palette, scroll_x, selected, pinned }, columns) {
  ctx.save();
  ctx.beginPath();
  ctx.rect(layout.gutter - 2, layout.grid_top - 2, layout.width - layout.gutter + 2, layout.grid_bottom - layout.grid_top + 4);
  ctx.clip();
  ctx.font = `${layout.cell_font}px ${MONO}`;
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  rows.forEach((tap, row) => {
    for (let position = columns.first; position < columns.end; position++) {
      const cell = { tap, position };
      const { x, y, width, height } = cellRect(layout, row, position, scroll_x);
      const { css, ink } = swatch(cell);
      ctx.fillStyle = css;
      ctx.beginPath();
      ctx.roundRect(x, y, width, height, CORNER);
      ctx.fill();
      if (agrees(reading, cell)) {
        ctx.strokeStyle = ink;
        ctx.lineWidth = 1.5;
        ctx.beginPath();
        ctx.roundRect(x + INSET, y + INSET, width - 2 * INSET, height - 2 * INSET, CORNER - 1.5);
        ctx.stroke();
      }
      ctx.fillStyle = ink;
      ctx.fillText(cut(ctx, topToken(reading, cell).shown, width - 7), x + width / 2, y + height / 2 + 0.5);
    }
  });
  const row = rows.indexOf(selected.tap);
  if (row >= 0) {
    const { x, y, width, height } = cellRect(layout, row, selected.position, scroll_x);
    ctx.strokeStyle = palette.accent;
    ctx.lineWidth = pinned ? 3 : 2;
    ctx.beginPath();
    ctx.roundRect(x - 0.5, y - 0.5, width + 1, height + 1, CORNER + 0.5);
    ctx.stroke();
  }
  ctx.restore();
}

/** Where columns continue beyond the frame, they fade into the page. @param {CanvasRenderingContext2D} ctx @param {Frame} frame */
function drawEdges(ctx, { layout, palette, scroll_x }) {
  const fade = (/** @type {number} */ from, /** @type {number} */ to) => {
    const gradient = ctx.createLinearGradient(from, 0, to, 0);
    gradient.addColorStop(0, palette.surface);
    gradient.addColorStop(1, palette.surface.replace("rgb(", "rgba(").replace(")", ", 0)"));
    ctx.fillStyle = gradient;
    ctx.fillRect(Math.min(from, to), layout.grid_top - 2, Math.abs(to - from), layout.grid_bottom - layout.grid_top + 4);
  };
  if (scroll_x > 0) fade(layout.gutter, layout.gutter + 14);
  if (scroll_x < maxScroll(layout) - 1) fade(layout.width, layout.width - 24);
}

/** @param {CanvasRenderingContext2D} ctx @param {Frame} frame */
function drawRowLabels(ctx, { layout, reading, rows, palette, selected }) {
  const { gutter, grid_top, grid_bottom, cell_height } = layout;
  const roomy = gutter > 60;
  ctx.textBaseline = "middle";
  rows.forEach((tap, row) => {
    const y = grid_top + (row + 0.5) * cell_height + 0.5;
    const chosen = tap === selected.tap;
    ctx.textAlign = "right";
    ctx.font = `${chosen ? 700 : 400} 12px ${MONO}`;
    ctx.fillStyle = chosen ? palette.ink : palette.muted;
    ctx.fillText(reading.taps[tap], gutter - 9, y);
    if (roomy && tap === finalTap(reading)) {
      ctx.textAlign = "left";
      ctx.font = `12px ${SANS}`;
      ctx.fillStyle = palette.muted;
      ctx.fillText("final", 2, y);
    }
  });
  ctx.textAlign = "left";
  ctx.font = `12px ${SANS}`;
  ctx.fillStyle = palette.muted;
  ctx.fillText(roomy ? "true next" : "next", 2, grid_top - 12);
  ctx.fillText("token", 2, grid_bottom + 14);
}
