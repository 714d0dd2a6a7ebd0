// @ts-check
/** The heatmap as a thing on the page: its size, its scrolling, the selected cell, pointer and keys. */
import { MISSING, swatch } from "./colour.js";
import { drawHeatmap } from "./heatmap.js";
import { cellAt, cellRect, lastWholeColumn, layoutOf, maxScroll, scrollTo } from "./layout.js";
import { agrees, finalTap, statAt } from "./reading.js";
import { strength } from "./views.js";

/** @typedef {import("./reading.js").Cell} Cell */
/** @typedef {import("./reading.js").PlainReading} PlainReading */
/** @typedef {import("./views.js").View} View */
/** @typedef {{ reading: PlainReading, view: View, theme: import("./colour.js").Theme, palette: import("./heatmap.js").Palette }} Shown */
/** @typedef {ReturnType<typeof createPicture>} Picture */

/** The taps that a view shows, from the top row down. @param {PlainReading} reading @param {View} view */
export const rowsOf = (reading, view) =>
  reading.taps.map((_, tap) => tap).filter((tap) => view.shows_input || tap > 0).reverse();

/** The view's statistic in the rows that set its scale: all but `input`, which would squeeze the rest. @param {PlainReading} reading @param {View} view */
export const scaledValues = (reading, view) => reading.stats[view.stat].subarray(reading.n_tokens);

const MOVES = /** @type {Record<string, [number, number]>} */ ({
  ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -Infinity], End: [0, Infinity],
});

/**
 * @param {{ canvas: HTMLCanvasElement, scroller: HTMLElement, track: HTMLElement }} elements
 * @param {(selection: { cell: Cell, pinned: boolean, by_key: boolean }) => void} onSelect
 */
export function createPicture({ canvas, scroller, track }, onSelect) {
  const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  /** @type {Shown | null} */
  let shown = null;
  /** @type {import("./views.js").Scale} */
  let scale;
  /** @type {number[]} */
  let rows = [];
  /** @type {import("./layout.js").Layout} */
  let layout;
  /** @type {Cell} */
  let selected = { tap: 0, position: 0 };
  let pinned = false;
  /** The selection stays at the end of the text until a person chooses a cell. */
  let chosen = false;
  let frame_asked = false;

  const scrollX = () => Math.min(scroller.scrollLeft, maxScroll(layout));

  /** @param {Cell} cell */
  function swatchOf(cell) {
    const { reading, view, theme } = /** @type {Shown} */ (shown);
    const value = statAt(reading, view.stat, cell);
    return Number.isNaN(value) ? MISSING[theme] : swatch(view.map, theme, strength(view, scale.place(value)));
  }

  function draw() {
    frame_asked = false;
    if (!shown || !layout) return;
    const ratio = window.devicePixelRatio;
    const [width, height] = [Math.round(layout.width * ratio), Math.round(layout.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    drawHeatmap(ctx, {
      layout, rows, selected, pinned, reading: shown.reading, palette: shown.palette, swatch: swatchOf, scroll_x: scrollX(),
    });
  }

  function askFrame() {
    if (!frame_asked) requestAnimationFrame(draw);
    frame_asked = true;
  }

  function measure() {
    if (!shown || scroller.clientWidth === 0) return;
    const { reading } = shown;
    layout = layoutOf({ width: scroller.clientWidth, n_columns: reading.n_tokens, n_rows: rows.length, n_taps: reading.taps.length });
    canvas.style.width = `${layout.width}px`;
    canvas.style.height = `${layout.height}px`;
    track.style.width = `${Math.max(layout.content_width, layout.width)}px`;
  }

  /** @param {Cell} cell @param {boolean} [by_key] */
  function select(cell, by_key = false) {
    selected = cell;
    askFrame();
    onSelect({ cell, pinned, by_key });
  }

  /** @param {MouseEvent} event @returns {Cell | null} */
  function cellUnder(event) {
    if (!shown) return null;
    const found = cellAt(layout, event.offsetX, event.offsetY, scrollX());
    return found && { tap: rows[found.row], position: found.column };
  }

  /** @param {Cell} a @param {Cell} b */
  const same = (a, b) => a.tap === b.tap && a.position === b.position;

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
    pinned = !(pinned && same(cell, selected));
    chosen = true;
    select(cell);
  });

  canvas.addEventListener("focus", () => {
    if (shown) scroller.scrollLeft = scrollTo(layout, selected.position, scrollX());
  });

  canvas.addEventListener("keydown", (event) => {
    if (!shown || event.altKey || event.ctrlKey || event.metaKey) return;
    const move = MOVES[event.key];
    if (move) {
      const row = Math.min(rows.length - 1, Math.max(0, rows.indexOf(selected.tap) + move[0]));
      const position = Math.min(layout.n_columns - 1, Math.max(0, selected.position + move[1]));
      chosen = true;
      scroller.scrollLeft = scrollTo(layout, position, scrollX());
      select({ tap: rows[row], position }, true);
    } else if (event.key === "Enter" || event.key === " ") {
      pinned = !pinned;
      select(selected, true);
    } else {
      return;
    }
    event.preventDefault();
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !pinned || !shown) return;
    pinned = false;
    select(selected, true);
  });

  scroller.addEventListener("scroll", askFrame, { passive: true });
  new ResizeObserver(() => {
    measure();
    // At once: waiting for the next frame would show the old picture stretched.
    draw();
  }).observe(scroller);

  return {
    /**
     * Shows a reading through a view, with the scale of that view over the shown cells.
     * @param {Shown} what
     * @param {import("./views.js").Scale} its_scale
     * @param {boolean} follow_end scroll to the last position, for text that grows at its end
     */
    show(what, its_scale, follow_end) {
      shown = what;
      scale = its_scale;
      rows = rowsOf(what.reading, what.view);
      measure();
      const last = { tap: finalTap(what.reading), position: what.reading.n_tokens - 1 };
      // Until a person chooses a cell: the end of a text that grows there, else the last column in view.
      if (!chosen) selected = follow_end ? last : { ...last, position: Math.min(last.position, lastWholeColumn(layout, scrollX())) };
      const cell = {
        tap: Math.min(last.tap, Math.max(selected.tap, rows[rows.length - 1])),
        position: Math.min(last.position, selected.position),
      };
      if (follow_end) scroller.scrollLeft = maxScroll(layout);
      select(cell);
      draw();
    },

    /** Starts clean for another text: nothing pinned, nothing chosen, scrolled to its beginning. */
    release() {
      pinned = chosen = false;
      scroller.scrollLeft = 0;
    },

    /** Forgets the reading: nothing can be pointed at until the next one. */
    clear() {
      shown = null;
      pinned = chosen = false;
    },

    reading: () => shown?.reading ?? null,

    /** Where a cell is painted, in CSS pixels from the canvas's top left; null for a row that the view leaves out. @param {number} tap @param {number} position */
    cellRect: (tap, position) => (rows.includes(tap) ? cellRect(layout, rows.indexOf(tap), position, scrollX()) : null),

    /** The fill of a cell, as css. @param {number} tap @param {number} position */
    cellColour: (tap, position) => swatchOf({ tap, position }).css,

    /** The colour of a cell's text and outline, as css. @param {number} tap @param {number} position */
    cellInk: (tap, position) => swatchOf({ tap, position }).ink,

    /** Whether a cell is outlined. @param {number} tap @param {number} position */
    outlined: (tap, position) => shown !== null && agrees(shown.reading, { tap, position }),
  };
}
