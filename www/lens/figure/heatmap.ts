/** The heatmap as a thing on the page: its size, its scrolling, the selected cell, pointer and keys. */
import { frameOf, layoutFor } from "./frame.ts";
import { cellAt, cellRect, lastWholeColumn, maxScroll, scrollTo, wholeColumns } from "./layout.ts";
import { paint } from "../../graphics/canvas.ts";
import { agrees, finalTap } from "../../reading/reading.ts";
import { cellCount, sceneOf } from "./scene.ts";
import type { Layout } from "./layout.ts";
import type { Cell } from "../../reading/reading.ts";
import type { Shown } from "./frame.ts";

export type Picture = ReturnType<typeof createHeatmap>;

/** The share of the window's height that a transposed picture may take. */
const TRANSPOSED_SHARE = 0.62;

const MOVES = {
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  Home: [0, -Infinity],
  End: [0, Infinity],
} as Record<string, [number, number]>;

export function createHeatmap(
  { canvas, scroller, track }: { canvas: HTMLCanvasElement; scroller: HTMLElement; track: HTMLElement },
  on: {
    /** the selected cell is another one, or is drawn anew: what is said of it follows */
    select: (selection: { cell: Cell; pinned: boolean; by_key: boolean }) => void;
    /** a person pins a cell, or unpins it; moving a pin by keys is no step that can be gone back */
    pin: (cell: Cell | null, is_step: boolean) => void;
    resize?: () => void;
  },
) {
  const ctx = canvas.getContext("2d") as CanvasRenderingContext2D;
  let shown: Shown | null = null;
  let layout: Layout;
  let selected: Cell = { tap: 0, position: 0 };
  let pinned = false;
  /** The selection stays at the end of the text until a person chooses a cell. */
  let chosen = false;
  let frame_asked = false;
  /** For tests: cells in the last frame, frames so far. */
  let drawn = { cells: 0, frames: 0 };

  const scroll = () => Math.min(layout.transposed ? scroller.scrollTop : scroller.scrollLeft, maxScroll(layout));
  const frame = () => frameOf(shown as Shown, layout, scroll(), selected, pinned);

  function scrollToPixel(to: number) {
    if (layout.transposed) scroller.scrollTop = to;
    else scroller.scrollLeft = to;
  }

  function draw() {
    frame_asked = false;
    if (!shown || !layout) return;
    const ratio = window.devicePixelRatio;
    const [width, height] = [Math.round(layout.width * ratio), Math.round(layout.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, layout.width, layout.height);
    const now = frame();
    paint(ctx, sceneOf(now));
    drawn = { cells: cellCount(now), frames: drawn.frames + 1 };
  }

  function askFrame() {
    if (!frame_asked) requestAnimationFrame(draw);
    frame_asked = true;
  }

  function measure() {
    if (!shown || scroller.clientWidth === 0) return;
    layout = layoutFor(shown, scroller.clientWidth, Math.round(innerHeight * TRANSPOSED_SHARE));
    canvas.style.width = `${layout.width}px`;
    canvas.style.height = `${layout.height}px`;
    scroller.classList.toggle("transposed", layout.transposed);
    scroller.style.maxHeight = layout.transposed ? `${layout.height + 16}px` : "";
    track.style.width = layout.transposed ? `${layout.width}px` : `${Math.max(layout.content, layout.width)}px`;
    track.style.height = layout.transposed ? `${Math.max(layout.content, layout.height)}px` : "";
  }

  function select(cell: Cell, by_key: boolean = false) {
    selected = cell;
    askFrame();
    on.select({ cell, pinned, by_key });
  }

  function cellUnder(event: MouseEvent): Cell | null {
    if (!shown) return null;
    const found = cellAt(layout, event.offsetX, event.offsetY, scroll());
    return found && { tap: shown.rows[found.row], position: shown.span.start + found.column };
  }

  const same = (a: Cell, b: Cell) => a.tap === b.tap && a.position === b.position;

  canvas.addEventListener("pointermove", (event) => {
    const cell = cellUnder(event);
    canvas.classList.toggle("over-cell", cell !== null);
    if (!cell || pinned || same(cell, selected) || event.pointerType === "touch") return;
    chosen = true;
    select(cell);
  });

  canvas.addEventListener("click", (event) => {
    const cell = cellUnder(event);
    if (!cell) return;
    chosen = true;
    const is_unpinned = pinned && same(cell, selected);
    selected = cell;
    on.pin(is_unpinned ? null : cell, true);
  });

  canvas.addEventListener("focus", () => {
    if (shown) scrollToPixel(scrollTo(layout, selected.position - shown.span.start, scroll()));
  });

  canvas.addEventListener("keydown", (event) => {
    if (!shown || event.altKey || event.ctrlKey || event.metaKey) return;
    const page = event.key === "PageUp" ? -1 : event.key === "PageDown" ? 1 : 0;
    const move = page !== 0 ? [0, page * wholeColumns(layout)] : MOVES[event.key];
    if (move) {
      const { rows, span } = shown;
      const is_sideways = layout.transposed && event.key.startsWith("Arrow");
      const [down, along] = is_sideways ? [move[1], move[0]] : move;
      const row = Math.min(rows.length - 1, Math.max(0, rows.indexOf(selected.tap) + down));
      const position = Math.min(span.end - 1, Math.max(span.start, selected.position + along));
      chosen = true;
      scrollToPixel(scrollTo(layout, position - span.start, scroll()));
      const cell = { tap: rows[row], position };
      if (pinned) on.pin(cell, false);
      select(cell, true);
    } else if (event.key === "Enter" || event.key === " ") {
      on.pin(pinned ? null : selected, true);
      select(selected, true);
    } else {
      return;
    }
    event.preventDefault();
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !shown || document.querySelector("dialog[open], :popover-open")) return;
    on.pin(null, true);
    select(selected, true);
  });

  scroller.addEventListener("scroll", askFrame, { passive: true });
  new ResizeObserver(() => {
    measure();
    // At once: waiting for the next frame would show the old picture stretched.
    draw();
    on.resize?.();
  }).observe(scroller);

  return {
    /** @param follow_end scroll to the last position, for text that grows at its end */
    show(what: Shown, follow_end: boolean) {
      shown = what;
      const { rows, span, reading } = what;
      measure();
      if (!layout) return;
      const last = { tap: finalTap(reading), position: span.end - 1 };
      // Until a person chooses a cell: the end of a text that grows there, else the last column in view.
      if (!chosen)
        selected = follow_end
          ? last
          : { ...last, position: Math.min(last.position, span.start + lastWholeColumn(layout, scroll())) };
      if (follow_end) scrollToPixel(maxScroll(layout));
      // The nearest row and position that this picture has.
      const nearest = rows.reduce(
        (best, tap) => (Math.abs(tap - selected.tap) < Math.abs(best - selected.tap) ? tap : best),
        rows[0],
      );
      select({ tap: nearest, position: Math.min(last.position, Math.max(span.start, selected.position)) });
      draw();
    },

    /** The cell that is pinned; one that this picture does not have is not shown as pinned. */
    pin(cell: Cell | null) {
      const is_here =
        cell !== null &&
        shown !== null &&
        shown.rows.includes(cell.tap) &&
        cell.position >= shown.span.start &&
        cell.position < shown.span.end;
      pinned = is_here;
      if (!shown || !layout) return;
      if (is_here) {
        chosen = true;
        // What a person points at, and what was pinned before, stays where it is.
        if (!same(cell, selected)) scrollToPixel(scrollTo(layout, cell.position - shown.span.start, scroll()));
      }
      select(is_here ? cell : selected);
    },

    /** Starts clean for another text: nothing pinned, nothing chosen, scrolled to its beginning. */
    release() {
      pinned = chosen = false;
      scroller.scrollLeft = scroller.scrollTop = 0;
    },

    /** Forgets the reading: nothing can be pointed at until the next one. */
    clear() {
      shown = null;
      pinned = chosen = false;
    },

    reading: () => shown?.reading ?? null,
    shown: () => shown,
    drawn: () => drawn,
    /** Whether not all positions fit. */
    scrolls: () => layout !== undefined && maxScroll(layout) > 0,

    /** Where a cell is painted, in CSS pixels from the canvas's top left; null for one that is not in the picture. */
    cellRect: (tap: number, position: number) =>
      shown?.rows.includes(tap)
        ? cellRect(layout, shown.rows.indexOf(tap), position - shown.span.start, scroll())
        : null,

    /** The fill of a cell, as css. */
    cellColour: (tap: number, position: number) => frame().swatch({ tap, position }).css,

    /** The colour of a cell's text and outline, as css. */
    cellInk: (tap: number, position: number) => frame().swatch({ tap, position }).ink,

    /** Whether a cell is outlined. */
    outlined: (tap: number, position: number) => shown !== null && agrees(shown.reading, { tap, position }),
  };
}
