// @ts-check
/** The overview strip: the whole text in miniature, and a window that can be dragged over it. */
import { brushX } from "d3-brush";
import { select } from "d3-selection";
import { rgb } from "d3-color";
import { swatch, MISSING } from "./colour.js";
import { strength } from "./views.js";

const HEIGHT = 18;

/**
 * @param {{ root: HTMLElement, canvas: HTMLCanvasElement, svg: SVGSVGElement }} elements
 * @param {(span: { start: number, end: number } | null) => void} onSpan
 */
export function createOverview({ root, canvas, svg }, onSpan) {
  let [n_tokens, width] = [1, 0];
  /** @type {{ start: number, end: number } | null} */
  let current = null;
  const brush = brushX().on("end", ({ sourceEvent, selection }) => {
    // Moves of our own come without an event.
    if (!sourceEvent) return;
    if (!selection) return onSpan(null);
    const [from, to] = selection.map((/** @type {number} */ x) => (x / width) * n_tokens);
    const start = Math.min(n_tokens - 1, Math.round(from));
    const end = Math.min(n_tokens, Math.max(start + 1, Math.round(to)));
    onSpan(start === 0 && end === n_tokens ? null : { start, end });
  });
  const layer = /** @type {import("d3-selection").Selection<SVGGElement, unknown, null, undefined>} */ (select(svg).append("g"));

  function place() {
    width = root.clientWidth;
    if (width === 0) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    layer.call(brush.extent([[0, 0], [width, HEIGHT]]));
    layer.call(brush.move, current && [(current.start / n_tokens) * width, (current.end / n_tokens) * width]);
  }
  new ResizeObserver(place).observe(root);

  return {
    /** Shown where there is more text than the picture has room for. @param {import("./frame.js").Shown} shown @param {{ start: number, end: number } | null} span @param {boolean} is_needed */
    show({ reading, rows, values, view, scale, theme }, span, is_needed) {
      root.hidden = !is_needed;
      if (!is_needed) return;
      [n_tokens, current] = [reading.n_tokens, span];
      const image = new ImageData(n_tokens, rows.length);
      rows.forEach((tap, row) => {
        for (let position = 0; position < n_tokens; position++) {
          const value = values[tap * n_tokens + position];
          const { css } = Number.isFinite(value) ? swatch(view.map, theme, strength(view, scale.place(value))) : MISSING[theme];
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
