/** The overview: the whole text in miniature, with the window of positions, whose edges can be dragged. */
import { brushX } from "d3-brush";
import { rgb } from "d3-color";
import { pointer, select } from "d3-selection";
import { MISSING, swatch } from "../../graphics/colormaps.ts";
import { strength } from "../../reading/views.ts";
import type { Shown } from "./frame.ts";

const HEIGHT = 18;

/** Positions [start, end). */
type Span = { start: number; end: number };

export function createOverview(
  { root, canvas, svg, view }: { root: HTMLElement; canvas: HTMLCanvasElement; svg: SVGSVGElement; view: HTMLElement },
  on: {
    /** a person chooses a window; null: the whole text */
    span: (span: Span | null) => void;
    /** a person wants to see that position */
    seek: (position: number) => void;
  },
) {
  let [n_tokens, width] = [1, 0];
  let current: Span = { start: 0, end: 1 };
  const brush = brushX().on("end", ({ sourceEvent, selection }: { sourceEvent?: Event; selection?: unknown }) => {
    // Moves of our own come without an event.
    if (!sourceEvent) return;
    if (!selection) return seek(sourceEvent);
    const [from, to] = (selection as [number, number]).map((x) => (x / width) * n_tokens);
    const start = Math.min(n_tokens - 1, Math.round(from));
    const end = Math.min(n_tokens, Math.max(start + 1, Math.round(to)));
    if (start !== current.start || end !== current.end)
      return on.span(start === 0 && end === n_tokens ? null : { start, end });
    seek(sourceEvent);
  });
  const layer = select(svg).append("g");

  /** A click goes to a position and changes no window. */
  function seek(event: Event) {
    place();
    on.seek(Math.min(n_tokens - 1, Math.floor((pointer(event, svg)[0] / width) * n_tokens)));
  }

  function place() {
    width = svg.clientWidth;
    if (width === 0) return;
    svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    layer.call(
      brush.extent([
        [0, 0],
        [width, HEIGHT],
      ]),
    );
    brush.move(layer, [(current.start / n_tokens) * width, (current.end / n_tokens) * width]);
  }
  new ResizeObserver(place).observe(svg);

  return {
    /** @param gutter how far the picture's first column stands from its left edge */
    show({ reading, rows, values, view, scale, theme, span }: Shown, gutter: number) {
      root.style.setProperty("--gutter", `${gutter}px`);
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
    /** @param visible the positions that are in sight; null: all of the window */
    mark(visible: Span | null) {
      view.hidden = visible === null;
      if (!visible) return;
      view.style.left = `${(visible.start / n_tokens) * 100}%`;
      view.style.width = `${((visible.end - visible.start) / n_tokens) * 100}%`;
    },
    hide: (is_hidden: boolean) => void (root.hidden = is_hidden),
  };
}
