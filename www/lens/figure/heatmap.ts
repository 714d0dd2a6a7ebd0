/** The heatmap as a thing on the page: its size, its scrolling, the selected cell, pointer and keys. */
import { frameOf, layoutFor } from "./frame.ts";
import { cellAt, cellRect, maxScroll, scrollTo, wholeColumns } from "./layout.ts";
import { paint } from "../../graphics/canvas.ts";
import { isSameCell } from "../../reading/reading.ts";
import { cellCount, isOutlined, sceneOf } from "./scene.ts";
import type { Layout } from "./layout.ts";
import type { Cell } from "../../reading/reading.ts";
import type { Frame } from "./scene.ts";
import type { Shown } from "./frame.ts";
import type { Mark } from "../../graphics/marks.ts";

/** The share of the window's height that a transposed picture may take. */
const TRANSPOSED_SHARE = 0.62;

/** What of the card stands below the picture and is to be in sight with it. */
const BELOW = 44;

/** None is selected. */
const NO_CELL: Cell = { tap: -1, position: -1 };

const MOVES = {
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  Home: [0, -Infinity],
  End: [0, Infinity],
} as Record<string, [number, number]>;

export function createHeatmap(
  {
    canvas,
    scroller,
    track,
    height: heightOf,
    marks,
  }: {
    canvas: HTMLCanvasElement;
    scroller: HTMLElement;
    track: HTMLElement;
    /** that it may take; what is left of the window below it, if absent */
    height?: () => number;
    /** what is drawn over the picture */
    marks?: (frame: Frame) => Mark[];
  },
  on: {
    /** a person points at a cell, or moves there by keys */
    point: (cell: Cell, by_key: boolean) => void;
    /** a person pins a cell or unpins it, beside other pins or instead of them */
    pin: (cell: Cell, is_more: boolean) => void;
    /** a person adds a pin by keys, which then move it; the newest one stays where it is */
    add: (cell: Cell) => void;
    unpin: () => void;
    resize?: () => void;
    scroll?: () => void;
  },
) {
  const ctx = canvas.getContext("2d") as CanvasRenderingContext2D;
  let shown: Shown | null = null;
  let layout: Layout;
  let selected = NO_CELL;
  /** The selected cell that was last brought into view. */
  let revealed = NO_CELL;
  let pins: Cell[] = [];
  let frame_asked = false;
  /** For tests: cells in the last frame, frames so far. */
  let drawn = { cells: 0, frames: 0 };

  const scroll = () => Math.min(layout.transposed ? scroller.scrollTop : scroller.scrollLeft, maxScroll(layout));
  const frame = () => frameOf(shown as Shown, layout, scroll(), selected, pins);

  const marksOf = (now: Frame) => [...sceneOf(now), ...(marks?.(now) ?? [])];

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
    paint(ctx, marksOf(now));
    drawn = { cells: cellCount(now), frames: drawn.frames + 1 };
  }

  function askFrame() {
    if (!frame_asked) requestAnimationFrame(draw);
    frame_asked = true;
  }

  function measure() {
    if (!shown || scroller.clientWidth === 0) return;
    const top = scroller.getBoundingClientRect().top + scrollY;
    const height = shown.transposed
      ? Math.round(innerHeight * TRANSPOSED_SHARE)
      : (heightOf?.() ?? document.documentElement.clientHeight - top - BELOW);
    layout = layoutFor(shown, scroller.clientWidth, height);
    canvas.style.width = `${layout.width}px`;
    canvas.style.height = `${layout.height}px`;
    scroller.classList.toggle("transposed", layout.transposed);
    scroller.style.maxHeight = layout.transposed ? `${layout.height + 16}px` : "";
    track.style.width = layout.transposed ? `${layout.width}px` : `${Math.max(layout.content, layout.width)}px`;
    track.style.height = layout.transposed ? `${Math.max(layout.content, layout.height)}px` : "";
  }

  /** Before it is told, so that the cell that a person chose is not scrolled to. */
  function point(cell: Cell, by_key = false) {
    selected = revealed = cell;
    askFrame();
    on.point(cell, by_key);
  }

  const isMore = (event: MouseEvent | KeyboardEvent) => event.shiftKey || event.ctrlKey || event.metaKey;

  function cellUnder(event: MouseEvent): Cell | null {
    if (!shown) return null;
    const found = cellAt(layout, event.offsetX, event.offsetY, scroll());
    return found && { tap: shown.rows[found.row], position: shown.span.start + found.column };
  }

  canvas.addEventListener("pointermove", (event) => {
    const cell = cellUnder(event);
    canvas.classList.toggle("over-cell", cell !== null);
    if (!cell || pins.length > 0 || isSameCell(cell, selected) || event.pointerType === "touch") return;
    point(cell);
  });

  canvas.addEventListener("click", (event) => {
    const cell = cellUnder(event);
    if (!cell) return;
    // Unpinned, it stays selected until the pointer moves on.
    point(cell);
    on.pin(cell, isMore(event));
  });

  // A pointer that gives it the focus stays where it is.
  canvas.addEventListener("focus", () => canvas.matches(":focus-visible") && reveal());

  canvas.addEventListener("keydown", (event) => {
    if (!shown || event.altKey) return;
    const is_enter = event.key === "Enter" || event.key === " ";
    if (!is_enter && isMore(event)) return;
    const page = event.key === "PageUp" ? -1 : event.key === "PageDown" ? 1 : 0;
    const move = page !== 0 ? [0, page * wholeColumns(layout)] : MOVES[event.key];
    if (move) {
      const { rows, span } = shown;
      const is_sideways = layout.transposed && event.key.startsWith("Arrow");
      const [down, along] = is_sideways ? [move[1], move[0]] : move;
      const row = Math.min(rows.length - 1, Math.max(0, rows.indexOf(nearestRow(rows)) + down));
      const position = Math.min(span.end - 1, Math.max(span.start, selected.position + along));
      scrollToPixel(scrollTo(layout, position - span.start, scroll()));
      point({ tap: rows[row], position }, true);
    } else if (is_enter && selected.tap >= 0) {
      const cell = selected;
      if (isMore(event) && pins.length > 0) on.add(cell);
      else on.pin(cell, isMore(event));
      // The cell that was unpinned last stays selected.
      point(pins.length > 0 ? selected : cell, true);
    } else {
      return;
    }
    event.preventDefault();
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !shown || document.querySelector("dialog[open], [popover=auto]:popover-open")) return;
    on.unpin();
  });

  scroller.addEventListener(
    "scroll",
    () => {
      askFrame();
      on.scroll?.();
    },
    { passive: true },
  );
  function fit() {
    measure();
    draw();
  }

  function refit() {
    const { start, end } = visible() ?? { start: 0, end: Infinity };
    const is_in_sight = selected.position >= start && selected.position < end;
    measure();
    // What was in sight stays there.
    if (is_in_sight) reveal();
    // At once: waiting for the next frame would show the old picture stretched.
    draw();
    on.resize?.();
  }
  new ResizeObserver(refit).observe(scroller);
  addEventListener("resize", refit);

  /** The row of the selected cell, or the nearest one that the picture has. */
  const nearestRow = (rows: number[]) =>
    rows.reduce((best, tap) => (Math.abs(tap - selected.tap) < Math.abs(best - selected.tap) ? tap : best), rows[0]);

  function reveal() {
    const column = shown ? selected.position - shown.span.start : -1;
    revealed = selected;
    if (shown && layout && column >= 0 && column < shown.span.end - shown.span.start)
      scrollToPixel(scrollTo(layout, column, scroll()));
  }

  /** The positions that are wholly in sight, [start, end); null if that is the whole window. */
  function visible() {
    if (!shown || !layout || maxScroll(layout) === 0) return null;
    const start = shown.span.start + Math.ceil(scroll() / layout.pitch - 0.05);
    return { start, end: Math.min(shown.span.end, start + wholeColumns(layout)) };
  }

  return {
    show(what: Shown) {
      shown = what;
      measure();
      draw();
    },

    /**
     * Marks the selected cell and the pinned ones.
     * @param reveals whether it is scrolled to, if it is another one; what a person points at stays where it is
     */
    mark(cell: Cell | null, pinned: Cell[], reveals: boolean) {
      [selected, pins] = [cell ?? NO_CELL, pinned];
      if (!shown || !layout) return;
      if (reveals && !isSameCell(selected, revealed)) reveal();
      askFrame();
    },

    /** Starts clean for another text. */
    release() {
      [selected, revealed, pins] = [NO_CELL, NO_CELL, []];
      scroller.scrollLeft = scroller.scrollTop = 0;
    },

    /** Forgets the reading: nothing can be pointed at until the next one. */
    clear() {
      shown = null;
      [selected, revealed, pins] = [NO_CELL, NO_CELL, []];
    },

    /** Takes the height that is left below what stands above it now. */
    fit,

    reading: () => shown?.reading ?? null,
    /** What is drawn now. */
    marks: () => (shown && layout ? marksOf(frame()) : []),
    shown: () => shown,
    drawn: () => drawn,
    /** Whether not all positions fit. */
    scrolls: () => layout !== undefined && maxScroll(layout) > 0,
    /** Where the first column begins. */
    gutter: () => layout.gutter,
    visible,
    /** Scrolls so that a position stands in the middle. */
    seek(position: number) {
      if (!shown || !layout) return;
      const middle = (layout.end - layout.lead - layout.pitch) / 2;
      scrollToPixel((position - shown.span.start) * layout.pitch - middle);
    },

    /** Where a cell is painted, in CSS pixels from the canvas's top left; null for one that is not in the picture. */
    cellRect: (tap: number, position: number) =>
      shown?.rows.includes(tap)
        ? cellRect(layout, shown.rows.indexOf(tap), position - shown.span.start, scroll())
        : null,

    /** The cell at a point of the canvas; beside a row, where its name stands, its position is −1. */
    at(x: number, y: number): Cell | null {
      if (!shown || !layout) return null;
      const is_name = layout.transposed ? y < layout.grid_top : x < layout.gutter;
      const inside = cellAt(
        layout,
        Math.max(x, layout.gutter),
        Math.max(y, layout.transposed ? layout.grid_top : y),
        scroll(),
      );
      return inside && { tap: shown.rows[inside.row], position: is_name ? -1 : shown.span.start + inside.column };
    },

    /** The fill of a cell, as css. */
    cellColour: (tap: number, position: number) => frame().swatch({ tap, position }).css,

    /** Whether a cell is outlined. */
    outlined: (tap: number, position: number) => shown !== null && isOutlined(shown.reading, { tap, position }),
  };
}
