/** What the pictures of the lens and of the atlas share as files: their size in pixels, and the names. */

const PNG_SCALE = 2;
/** What browsers can hold in one canvas, in pixels along a side. */
const MAX_SIDE = 16_384;

/** "loupe-gpt2-top1.png" */
export const fileName = (model: string, what: string, extension: string) =>
  `loupe ${model} ${what}.${extension}`.replace(/[^\w.-]+/g, "-").toLowerCase();

/**
 * A picture at twice its size, or at less where no canvas is so large.
 * @param draw in CSS pixels
 */
export async function pngOf(
  { width, height }: { width: number; height: number },
  draw: (ctx: OffscreenCanvasRenderingContext2D) => void,
) {
  const scale = Math.min(PNG_SCALE, MAX_SIDE / width, MAX_SIDE / height);
  const canvas = new OffscreenCanvas(Math.floor(width * scale), Math.floor(height * scale));
  const ctx = canvas.getContext("2d") as OffscreenCanvasRenderingContext2D;
  ctx.scale(scale, scale);
  draw(ctx);
  const png = await canvas.convertToBlob({ type: "image/png" });
  return { png, scale, is_smaller: scale < PNG_SCALE };
}
