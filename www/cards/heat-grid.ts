/** A grid of numbers as a canvas, with names beside rows and columns; a person points at a cell, chooses it, walks over it by keys. */
import { drawsItself } from "../export/card-sheet.ts";
import { MISSING, swatch } from "../graphics/colormaps.ts";
import { paint } from "../graphics/canvas.ts";
import { textMark } from "../graphics/marks.ts";
import { innerOf } from "../graphics/svg.ts";
import { readPalette } from "../graphics/theme.ts";
import { element } from "../ui/dom.ts";
import type { Theme } from "../graphics/colormaps.ts";
import type { Mark } from "../graphics/marks.ts";

export interface GridData {
  rows: string[];
  columns: string[];
  /** row by row; NaN for none */
  values: ArrayLike<number>;
  /** what a cell prints; nothing, if absent */
  print?: (value: number) => string;
  /** the value of the strongest colour; the largest one, if absent */
  limit?: number;
  /** columns that are drawn grey, because they say little */
  greyed?: (column: number) => boolean;
}
export type GridCell = { row: number; column: number };

const MIN_WIDTH = 16;
const MAX_WIDTH = 62;
const ROW = 22;
const LETTER = 7.3;
const FONT = 12;
const SLANT = Math.SQRT1_2;

const MOVES = {
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  Home: [0, -Infinity],
  End: [0, Infinity],
} as Record<string, [number, number]>;

export function createHeatGrid(
  label: string,
  on: {
    /** what is said of a cell, beside the picture and to those who hear it */
    words: (cell: GridCell) => string;
    choose: (cell: GridCell) => void;
    /** a person presses a cell, perhaps to drag it away */
    press?: (cell: GridCell, event: PointerEvent) => void;
  },
) {
  const canvas = element("canvas", "heat-grid");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-roledescription", "heatmap");
  const said = element("p", "muted heat-grid-words");
  said.setAttribute("role", "status");
  const track = element("div", "heat-grid-track", canvas);
  const scroller = element("div", "heat-grid-scroller", track);
  const home = element("div", "heat-grid-box", scroller, said);
  let data: GridData | null = null;
  let theme: Theme = "light";
  let at: GridCell | null = null;
  /** `width` of all of it, `shown` of the canvas, which is as wide as what is in sight. */
  let size = { gutter: 0, head: 0, cell: 0, width: 0, shown: 0, height: 0 };
  const scrolled = () => Math.min(scroller.scrollLeft, Math.max(0, size.width - size.shown));

  function measure() {
    if (!data) return;
    const { rows, columns } = data;
    const longest = (names: string[]) => Math.max(0, ...names.map((name) => name.length)) * LETTER;
    const gutter = Math.ceil(longest(rows)) + 12;
    const room = Math.max(120, home.clientWidth - gutter - 8);
    const cell = Math.min(MAX_WIDTH, Math.max(MIN_WIDTH, Math.floor(room / Math.max(1, columns.length))));
    const is_tilted = longest(columns) + 4 > cell;
    const head = is_tilted ? Math.ceil(Math.min(90, longest(columns)) * SLANT) + 16 : 20;
    const width = gutter + columns.length * cell + (is_tilted ? head : 4);
    const shown = Math.min(width, Math.max(120, home.clientWidth));
    size = { gutter, head, cell, width, shown, height: head + rows.length * ROW + 4 };
  }

  function marks(): Mark[] {
    if (!data) return [];
    const { rows, columns, values, print, greyed } = data;
    const { gutter, head, cell } = size;
    const palette = readPalette();
    const finite = Array.from(values).filter(Number.isFinite);
    const limit = data.limit ?? (finite.reduce((most, value) => Math.max(most, Math.abs(value)), 0) || 1);
    const name = { size: FONT, fill: palette.muted };
    const is_tilted = head > 20;
    const left = gutter - scrolled();
    const first = Math.max(0, Math.floor(-(left - gutter) / cell) - 1);
    const end = Math.min(columns.length, Math.ceil((size.shown - left) / cell) + 1);
    const inside: Mark[] = [];
    for (let column = first; column < end; column++) {
      const x = left + column * cell;
      inside.push(
        textMark({
          ...name,
          text: columns[column],
          x: x + cell / 2,
          y: head - (is_tilted ? 6 : 9),
          align: is_tilted ? "left" : "center",
          tilt: is_tilted,
          max_width: is_tilted ? 90 : cell,
        }),
      );
      rows.forEach((_, row) => {
        const value = values[row * columns.length + column];
        const fill =
          !Number.isFinite(value) || greyed?.(column)
            ? MISSING[theme]
            : swatch("diverging", theme, 0.5 + Math.max(-1, Math.min(1, value / limit)) / 2);
        const y = head + row * ROW;
        inside.push({ kind: "rect", x: x + 0.5, y: y + 0.5, width: cell - 1, height: ROW - 1, r: 2, fill: fill.css });
        if (print && Number.isFinite(value) && cell >= 34)
          inside.push(
            textMark({
              x: x + cell / 2,
              y: y + ROW / 2,
              text: print(value),
              size: 11,
              fill: fill.ink,
              align: "center",
              max_width: cell - 3,
            }),
          );
        if (at?.row === row && at.column === column)
          inside.push({
            kind: "rect",
            x: x + 1,
            y: y + 1,
            width: cell - 2,
            height: ROW - 2,
            r: 2,
            stroke: palette.accent,
            line: 2,
          });
      });
    }
    return [
      { kind: "clip", x: gutter, y: 0, width: size.shown - gutter, height: size.height, marks: inside },
      ...rows.map((text, row) =>
        textMark({ ...name, text, x: gutter - 6, y: head + (row + 0.5) * ROW, align: "right" }),
      ),
    ];
  }

  function draw() {
    if (!data || home.clientWidth === 0) return;
    measure();
    const ratio = window.devicePixelRatio;
    Object.assign(canvas, { width: Math.round(size.shown * ratio), height: Math.round(size.height * ratio) });
    canvas.style.width = `${size.shown}px`;
    canvas.style.height = `${size.height}px`;
    track.style.width = `${size.width}px`;
    const ctx = canvas.getContext("2d") as CanvasRenderingContext2D;
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, size.shown, size.height);
    paint(ctx, marks());
  }

  function point(cell: GridCell | null) {
    if (cell?.row === at?.row && cell?.column === at?.column) return;
    at = cell;
    said.textContent = cell ? on.words(cell) : "";
    draw();
  }

  function under({ offsetX, offsetY }: MouseEvent): GridCell | null {
    if (!data) return null;
    const [row, column] = [
      Math.floor((offsetY - size.head) / ROW),
      Math.floor((offsetX - size.gutter + scrolled()) / size.cell),
    ];
    const is_inside =
      offsetX >= size.gutter && row >= 0 && column >= 0 && row < data.rows.length && column < data.columns.length;
    return is_inside ? { row, column } : null;
  }

  canvas.addEventListener("pointermove", (event) => {
    const cell = under(event);
    canvas.classList.toggle("over-cell", cell !== null);
    if (cell) point(cell);
  });
  canvas.addEventListener("pointerdown", (event) => {
    const cell = under(event);
    if (cell) on.press?.(cell, event);
  });
  scroller.addEventListener("scroll", draw, { passive: true });
  canvas.addEventListener("click", (event) => {
    const cell = under(event);
    if (!cell) return;
    point(cell);
    on.choose(cell);
  });
  canvas.addEventListener("focus", () => canvas.matches(":focus-visible") && !at && point({ row: 0, column: 0 }));
  canvas.addEventListener("keydown", (event) => {
    if (!data || event.altKey || event.ctrlKey || event.metaKey) return;
    const now = at ?? { row: 0, column: 0 };
    const move = MOVES[event.key];
    if (move) {
      const clamp = (value: number, n: number) => Math.min(n - 1, Math.max(0, value));
      point({
        row: clamp(now.row + move[0], data.rows.length),
        column: clamp(now.column + move[1], data.columns.length),
      });
      const left = (at?.column ?? 0) * size.cell;
      scroller.scrollLeft = Math.min(
        Math.max(scroller.scrollLeft, left + size.cell - (size.shown - size.gutter)),
        left,
      );
      draw();
    } else if (event.key === "Enter" || event.key === " ") on.choose(now);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(draw).observe(home);
  drawsItself(canvas, () => innerOf(marks()));

  return {
    element: home,
    canvas,
    show(what: GridData | null, in_theme: Theme) {
      [data, theme] = [what, in_theme];
      if (at && (!what || at.row >= what.rows.length || at.column >= what.columns.length)) at = null;
      said.textContent = at ? on.words(at) : "";
      home.hidden = !what;
      canvas.setAttribute(
        "aria-label",
        what ? `${label}: ${what.rows.length} rows by ${what.columns.length} columns` : label,
      );
      draw();
    },
    /** Where a cell is painted, for tests. */
    rectOf: ({ row, column }: GridCell) => ({
      x: size.gutter + column * size.cell - scrolled(),
      y: size.head + row * ROW,
      width: size.cell,
      height: ROW,
    }),
  };
}
export type HeatGrid = ReturnType<typeof createHeatGrid>;
