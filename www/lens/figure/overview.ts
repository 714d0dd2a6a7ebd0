/** The overview strip: the whole text in miniature, and a window that can be dragged over it. */
import { brushX } from "d3-brush";
import { select } from "d3-selection";
import { rgb } from "d3-color";
import { swatch, MISSING } from "../../graphics/colormaps.ts";
import { strength } from "../../reading/views.ts";
import type { Shown } from "./frame.ts";

const HEIGHT = 18;

export function createOverview(
  { root, canvas, svg }: { root: HTMLElement; canvas: HTMLCanvasElement; svg: SVGSVGElement },
  onSpan: (span: { start: number; end: number } | null) => void,
) {
  let [n_tokens, width] = [1, 0];
  let current: { start: number; end: number } | null = null;
  const brush = brushX().on("end", ({ sourceEvent, selection }) => {
    // Moves of our own come without an event.
    if (!sourceEvent) return;
    if (!selection) return onSpan(null);
    const [from, to] = (selection as [number, number]).map((x) => (x / width) * n_tokens);
    const start = Math.min(n_tokens - 1, Math.round(from));
    const end = Math.min(n_tokens, Math.max(start + 1, Math.round(to)));
    onSpan(start === 0 && end === n_tokens ? null : { start, end });
  });
  const layer = select(svg).append("g");

  function place() {
    width = root.clientWidth;
    if (width === 0) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    layer.call(
      brush.extent([
        [0, 0],
        [width, HEIGHT],
      ]),
    );
    brush.move(layer, current && [(current.start / n_tokens) * width, (current.end / n_tokens) * width]);
  }
  new ResizeObserver(place).observe(root);

  return {
    /** Shown where there is more text than the picture has room for. */
    show(
      { reading, rows, values, view, scale, theme }: Shown,
      span: { start: number; end: number } | null,
      is_needed: boolean,
    ) {
      root.hidden = !is_needed;
      if (!is_needed) return;
      [n_tokens, current] = [reading.n_tokens, span];
      const image = new ImageData(n_tokens, rows.length);
      rows.forEach((tap, row) => {
        for (let position = 0; position < n_tokens; position++) {
          const value = values[tap * n_tokens + position];
          const { css } = Number.isFinite(value)
            ? swatch(view.map, theme, strength(view, scale.place(value)))
            : MISSING[theme];
          const { r, g, b } = rgb(css);
          image.data.set([r, g, b, 255], 4 * (row * n_tokens + position));
        }
      });
      Object.assign(canvas, { width: n_tokens, height: rows.length });
      canvas.getContext("2d")?.putImageData(image, 0, 0);
      place();
    },
  };
}
