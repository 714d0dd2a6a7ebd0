// @ts-check
/** Token text on the canvas: cut to fit, and tilted along the axes. */
import { guessIsRight, nextToken } from "./reading.js";

/** @typedef {import("./layout.js").Layout} Layout */
/** @typedef {import("./heatmap.js").Palette} Palette */

export const MONO = 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace';
export const SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

const TILT = -Math.PI / 4;
const MAX_CACHED = 20_000;
/** @type {Map<string, string>} */
const cut_texts = new Map();

/**
 * The text, or as much of it as fits with an ellipsis. Measuring is slow and tokens repeat, so answers are kept.
 * @param {CanvasRenderingContext2D} ctx with its font set @param {string} text @param {number} max_width
 */
export function cut(ctx, text, max_width) {
  const key = `${ctx.font}|${max_width}|${text}`;
  const known = cut_texts.get(key);
  if (known !== undefined) return known;
  let shown = text;
  if (ctx.measureText(text).width > max_width) {
    const characters = Array.from(text);
    while (characters.length > 1 && ctx.measureText(`${characters.join("")}…`).width > max_width) characters.pop();
    shown = `${characters.join("")}…`;
  }
  if (cut_texts.size > MAX_CACHED) cut_texts.clear();
  cut_texts.set(key, shown);
  return shown;
}

/**
 * @param {CanvasRenderingContext2D} ctx @param {string} text @param {number} x @param {number} y
 * @param {"left" | "right"} align which end of the text stands at (x, y)
 */
function tilted(ctx, text, x, y, align) {
  ctx.save();
  ctx.translate(x, y);
  ctx.rotate(TILT);
  ctx.textAlign = align;
  ctx.textBaseline = "middle";
  ctx.fillText(text, 0, 0);
  ctx.restore();
}

/**
 * The true next tokens along the top. A right guess has a star, bold type, colour and a dot: no single cue carries it.
 * @param {CanvasRenderingContext2D} ctx @param {Layout} layout @param {import("./reading.js").PlainReading} reading
 * @param {{ first: number, end: number }} columns @param {number} scroll_x @param {Palette} palette
 */
export function drawNextTokens(ctx, layout, reading, columns, scroll_x, palette) {
  const { gutter, grid_top, cell_width, label_font, label_length } = layout;
  ctx.save();
  ctx.beginPath();
  ctx.rect(gutter, 0, layout.width - gutter, grid_top);
  ctx.clip();
  // Labels lean to the right: those of two columns left of the frame still reach into it.
  for (let position = Math.max(0, columns.first - 2); position < columns.end; position++) {
    const next = nextToken(reading, position);
    if (!next) continue;
    const right = guessIsRight(reading, position);
    const x = gutter + (position + 0.5) * cell_width - scroll_x;
    ctx.font = `${right ? 700 : 400} ${label_font}px ${MONO}`;
    ctx.fillStyle = right ? palette.accent : palette.ink;
    tilted(ctx, cut(ctx, right ? `* ${next.shown}` : next.shown, label_length), x, grid_top - 12, "left");
    if (right) {
      ctx.beginPath();
      ctx.arc(x, grid_top - 4, 2.5, 0, 2 * Math.PI);
      ctx.fill();
    }
  }
  ctx.restore();
}

/**
 * The input tokens along the bottom; the selected position's is bold.
 * @param {CanvasRenderingContext2D} ctx @param {Layout} layout @param {import("./reading.js").PlainReading} reading
 * @param {{ first: number, end: number }} columns @param {number} scroll_x @param {Palette} palette
 * @param {number} selected_position
 */
export function drawInputTokens(ctx, layout, reading, columns, scroll_x, palette, selected_position) {
  const { gutter, grid_bottom, cell_width, label_font, label_length } = layout;
  for (let position = columns.first; position < Math.min(layout.n_columns, columns.end + 2); position++) {
    const x = gutter + (position + 0.5) * cell_width - scroll_x;
    if (x < gutter) continue;
    ctx.font = `${position === selected_position ? 700 : 400} ${label_font}px ${MONO}`;
    ctx.fillStyle = palette.ink;
    tilted(ctx, cut(ctx, reading.tokens[position].shown, label_length), x + 4, grid_bottom + 10, "right");
  }
}
