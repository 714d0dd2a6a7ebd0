/** Marks ─▶ pixels of a canvas. */
import type { Mark, TextMark } from "./marks.ts";

export const MONO = 'ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace';
export const SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';

export const TILT = -Math.PI / 4;
const MAX_CACHED = 20_000;
const cut_texts: Map<string, string> = new Map();

export const fontOf = ({ bold, size, mono }: TextMark) => `${bold ? 700 : 400} ${size}px ${mono ? MONO : SANS}`;

/**
 * The text, or as much of it as fits with an ellipsis. Measuring is slow and tokens repeat, so answers are kept.
 * @param ctx with its font set
 */
export function cut(
  ctx: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D,
  text: string,
  max_width: number,
) {
  if (max_width === Infinity) return text;
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

/** @param ctx scaled to CSS pixels */
export function paint(ctx: CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D, marks: Mark[]) {
  let font = "";
  ctx.textBaseline = "middle";
  for (const mark of marks) {
    switch (mark.kind) {
      case "rect":
        ctx.beginPath();
        ctx.roundRect(mark.x, mark.y, mark.width, mark.height, mark.r);
        if (mark.fill) {
          ctx.fillStyle = mark.fill;
          ctx.fill();
        }
        if (mark.stroke) {
          ctx.strokeStyle = mark.stroke;
          ctx.lineWidth = mark.line ?? 1;
          ctx.setLineDash(mark.dash ?? []);
          ctx.stroke();
          ctx.setLineDash([]);
        }
        break;
      case "dot":
        ctx.fillStyle = mark.fill;
        ctx.beginPath();
        ctx.arc(mark.x, mark.y, mark.r, 0, 2 * Math.PI);
        ctx.fill();
        break;
      case "corner":
        ctx.beginPath();
        ctx.moveTo(mark.x - mark.size, mark.y);
        ctx.lineTo(mark.x, mark.y);
        ctx.lineTo(mark.x, mark.y + mark.size);
        ctx.closePath();
        ctx.fillStyle = mark.fill;
        ctx.fill();
        ctx.strokeStyle = mark.stroke;
        ctx.lineWidth = 1;
        ctx.stroke();
        break;
      case "text": {
        const wanted = fontOf(mark);
        if (wanted !== font) ctx.font = font = wanted;
        ctx.fillStyle = mark.fill;
        ctx.textAlign = mark.align;
        const shown = cut(ctx, mark.text, mark.max_width);
        if (!mark.tilt) {
          ctx.fillText(shown, mark.x, mark.y);
          break;
        }
        ctx.translate(mark.x, mark.y);
        ctx.rotate(TILT);
        ctx.fillText(shown, 0, 0);
        ctx.rotate(-TILT);
        ctx.translate(-mark.x, -mark.y);
        break;
      }
      case "fade": {
        const { x, y, width, height, from, fill } = mark;
        const [a, b] = (
          {
            left: [
              [x, y],
              [x + width, y],
            ],
            right: [
              [x + width, y],
              [x, y],
            ],
            top: [
              [x, y],
              [x, y + height],
            ],
            bottom: [
              [x, y + height],
              [x, y],
            ],
          } as Record<string, [[number, number], [number, number]]>
        )[from];
        const gradient = ctx.createLinearGradient(...a, ...b);
        gradient.addColorStop(0, fill);
        gradient.addColorStop(1, fill.replace("rgb(", "rgba(").replace(")", ", 0)"));
        ctx.fillStyle = gradient;
        ctx.fillRect(x, y, width, height);
        break;
      }
      case "clip":
        ctx.save();
        ctx.beginPath();
        ctx.rect(mark.x, mark.y, mark.width, mark.height);
        ctx.clip();
        paint(ctx, mark.marks);
        ctx.restore();
        ctx.textBaseline = "middle";
    }
  }
}
