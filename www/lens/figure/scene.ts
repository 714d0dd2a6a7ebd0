/**
 * One frame of the heatmap as a list of marks: rectangles, dots and texts with their places and colours. Pure; the
 * same marks become pixels (canvas.ts) and SVG (svg.ts), so that an export is what was on the screen.
 */
import { decisionsOf } from "../../reading/settling.ts";
import { linesOf } from "../../reading/cell-text.ts";
import { cellRect, maxScroll, visibleColumns } from "./layout.ts";
import { agrees, finalTap, guessIsRight, nextToken, topId } from "../../reading/reading.ts";
import type { Layout } from "./layout.ts";
import type { Cell, PlainReading } from "../../reading/reading.ts";
import type { Comparison } from "../../reading/comparison.ts";
import type { Swatch } from "../../graphics/colormaps.ts";
import type { Printing } from "../../reading/cell-text.ts";
import type { Kind } from "../../reading/scales.ts";
import { textMark } from "../../graphics/marks.ts";
import type { Mark, Palette } from "../../graphics/marks.ts";

export interface Frame {
  layout: Layout;
  reading: PlainReading;
  comparison: Comparison | null;
  /** taps from the top row to the bottom row, or from left to right */
  rows: number[];
  /** the window's first position */
  start: number;
  value: (cell: Cell) => number;
  swatch: (cell: Cell) => Swatch;
  printing: Printing;
  view: { kind: Kind };
  palette: Palette;
  scroll: number;
  selected: Cell | null;
  pinned: boolean;
  /** tokens that are selected in the atlas */
  picked: ReadonlySet<number>;
}

const CORNER = 3;
/** The outline lies inside the cell with some fill around it: at the edge, white on dark would melt into a light page. */
const INSET = 2.25;

const PICKED_CORNER = 10;
/** Before the name of a selected token: the shape that its cells have in a corner. */
const PICKED_SIGN = "◥ ";
/** Before a token of the first text that has no counterpart in the second. */
const UNALIGNED_SIGN = "≠ ";

export function sceneOf(frame: Frame): Mark[] {
  const { layout } = frame;
  const columns = visibleColumns(layout, frame.scroll);
  const along = layout.transposed
    ? { x: 0, y: layout.grid_top - 2, width: layout.width, height: layout.grid_bottom - layout.grid_top + 4 }
    : { x: layout.gutter - 2, y: 0, width: layout.width - layout.gutter + 2, height: layout.height };
  return [
    {
      kind: "clip",
      ...along,
      marks: [
        ...cells(frame, columns),
        ...decisions(frame, columns),
        ...nextTokens(frame, columns),
        ...inputTokens(frame, columns),
      ],
    },
    ...edges(frame),
    ...rowLabels(frame),
    ...axisLabels(frame),
  ];
}

/** How many cells a frame draws. */
export function cellCount({ layout, rows, scroll }: Frame) {
  const { first, end } = visibleColumns(layout, scroll);
  return rows.length * (end - first);
}

function cells(
  {
    layout,
    reading,
    comparison,
    rows,
    start,
    value,
    swatch,
    printing,
    view,
    palette,
    scroll,
    selected,
    pinned,
    picked,
  }: Frame,
  { first, end }: { first: number; end: number },
): Mark[] {
  const marks: Mark[] = [];
  const size = layout.cell_font;
  const depth = reading.taps.length > 1 && rows.length > 1 ? Math.sign(rows[0] - rows[rows.length - 1]) : 1;
  rows.forEach((tap, row) => {
    const deeper = rows[row - depth] ?? null;
    for (let column = first; column < end; column++) {
      const cell = { tap, position: start + column };
      const { x, y, width, height } = cellRect(layout, row, column, scroll);
      const { css, ink } = swatch(cell);
      marks.push({ kind: "rect", x, y, width, height, r: CORNER, fill: css });
      if (agrees(reading, cell)) {
        marks.push({
          kind: "rect",
          x: x + INSET,
          y: y + INSET,
          width: width - 2 * INSET,
          height: height - 2 * INSET,
          r: CORNER - 1.5,
          stroke: ink,
          line: 1.5,
        });
      }
      if (picked.size > 0 && picked.has(topId(reading, cell)))
        marks.push({
          kind: "corner",
          x: x + width,
          y,
          size: Math.min(PICKED_CORNER, height / 2),
          fill: palette.accent,
          stroke: ink,
        });
      const lines = linesOf(reading, comparison, cell, printing, view, value(cell), deeper);
      lines.forEach((line, i) => {
        if (line === "") return;
        const middle = y + height / 2 + 0.5 + (i - (lines.length - 1) / 2) * (size + 2);
        marks.push(
          textMark({
            x: x + width / 2,
            y: middle,
            text: line,
            size: lines.length === 2 && i === 1 ? size - 2 : size,
            fill: ink,
            align: "center",
            max_width: width - 7,
          }),
        );
      });
    }
  });
  const row = selected ? rows.indexOf(selected.tap) : -1;
  if (selected && row >= 0 && selected.position >= start && selected.position < start + layout.n_columns) {
    const { x, y, width, height } = cellRect(layout, row, selected.position - start, scroll);
    marks.push({
      kind: "rect",
      x: x - 0.5,
      y: y - 0.5,
      width: width + 1,
      height: height + 1,
      r: CORNER + 0.5,
      stroke: palette.accent,
      line: pinned ? 3 : 2,
    });
  }
  return marks;
}

/**
 * The decision strip: a bar as high as the row is deep from which the top-1 never changes, and across it a line at the
 * first row that had it.
 */
function decisions(
  { layout, reading, start, palette, scroll }: Frame,
  { first, end }: { first: number; end: number },
): Mark[] {
  const { transposed, strip, cell_width, cell_height, gutter, grid_top, grid_right } = layout;
  const length = strip - 8;
  const deepest = Math.max(1, finalTap(reading));
  // Contributions are no stream that could settle.
  if (reading.asked.contributions) return [];
  return decisionsOf(reading)
    .slice(start + first, start + end)
    .flatMap((decision, i) => {
      const column = first + i;
      const [settled, reached] = [decision.settled, decision.first].map((tap) =>
        Math.max(1.5, (length * tap) / deepest),
      );
      const marks: Mark[] = [];
      if (transposed) {
        const y = grid_top + column * cell_height - scroll;
        marks.push({
          kind: "rect",
          x: grid_right + 5,
          y: y + 6,
          width: settled,
          height: cell_height - 12,
          r: 1,
          fill: palette.quiet,
        });
        if (decision.first < decision.settled)
          marks.push({
            kind: "rect",
            x: grid_right + 4 + reached,
            y: y + 4,
            width: 2,
            height: cell_height - 8,
            r: 0,
            fill: palette.accent,
          });
      } else {
        const [x, base] = [gutter + column * cell_width - scroll, grid_top - 4];
        marks.push({
          kind: "rect",
          x: x + cell_width * 0.25,
          y: base - settled,
          width: cell_width * 0.5,
          height: settled,
          r: 1,
          fill: palette.quiet,
        });
        if (decision.first < decision.settled)
          marks.push({
            kind: "rect",
            x: x + cell_width * 0.2,
            y: base - reached - 1,
            width: cell_width * 0.6,
            height: 2,
            r: 0,
            fill: palette.accent,
          });
      }
      return marks;
    });
}

/**
 * The true next tokens along the top, or on the right. A right guess has a star, bold type, colour and a dot: no
 * single cue carries it.
 */
function nextTokens(
  { layout, reading, start, palette, scroll, picked }: Frame,
  columns: { first: number; end: number },
): Mark[] {
  const {
    transposed,
    gutter,
    grid_top,
    grid_right,
    cell_width,
    cell_height,
    label_font,
    label_length,
    n_columns,
    strip,
  } = layout;
  const marks: Mark[] = [];
  // Tilted labels lean to the right: those of two columns left of the frame still reach into it.
  for (let column = Math.max(0, columns.first - 2); column < Math.min(columns.end, n_columns); column++) {
    const next = nextToken(reading, start + column);
    if (!next) continue;
    const right = guessIsRight(reading, start + column);
    const fill = right ? palette.accent : palette.ink;
    const label = {
      text: `${right ? "* " : ""}${picked.has(next.id) ? PICKED_SIGN : ""}${next.shown}`,
      size: label_font,
      bold: right,
      fill,
      max_width: label_length,
    };
    const [x, y] = transposed
      ? [grid_right + strip + 8, grid_top + (column + 0.5) * cell_height - scroll]
      : [gutter + (column + 0.5) * cell_width - scroll, grid_top - strip - 10];
    marks.push(textMark({ ...label, x: transposed ? x + 6 : x, y, tilt: !transposed }));
    if (right)
      marks.push({ kind: "dot", x: transposed ? x : x, y: transposed ? y : grid_top - strip - 2, r: 2.5, fill });
  }
  return marks;
}

/** The input tokens along the bottom, or on the left; the selected position's is bold. */
function inputTokens(
  { layout, reading, comparison, start, palette, scroll, selected, picked }: Frame,
  columns: { first: number; end: number },
): Mark[] {
  const { transposed, gutter, grid_top, grid_bottom, cell_width, cell_height, label_font, label_length, n_columns } =
    layout;
  const marks: Mark[] = [];
  for (let column = columns.first; column < Math.min(n_columns, columns.end + 2); column++) {
    const { id, shown } = reading.tokens[start + column];
    const is_alone = comparison !== null && comparison.column_of[start + column] < 0;
    const signs = `${is_alone ? UNALIGNED_SIGN : ""}${picked.has(id) ? PICKED_SIGN : ""}`;
    const label = {
      text: `${signs}${shown}`,
      size: label_font,
      bold: selected?.position === start + column,
      fill: is_alone ? palette.muted : palette.ink,
      align: "right" as const,
      max_width: label_length,
    };
    const [x, y] = transposed
      ? [gutter - 8, grid_top + (column + 0.5) * cell_height - scroll]
      : [gutter + (column + 0.5) * cell_width - scroll + 4, grid_bottom + 10];
    marks.push(textMark({ ...label, x, y, tilt: !transposed }));
  }
  return marks;
}

/** Where columns continue beyond the frame, they fade into the page. */
function edges({ layout, palette, scroll }: Frame): Mark[] {
  const { transposed, gutter, grid_top, grid_bottom, grid_right, width } = layout;
  const [before, after] = [scroll > 0, scroll < maxScroll(layout) - 1];
  const fill = palette.surface;
  const marks: Mark[] = [];
  if (transposed) {
    const across = { kind: "fade" as const, x: gutter - 2, width: grid_right - gutter + 4, fill };
    if (before) marks.push({ ...across, y: grid_top - 1, height: 10, from: "top" });
    if (after) marks.push({ ...across, y: grid_bottom - 16, height: 16, from: "bottom" });
  } else {
    const across = { kind: "fade" as const, y: grid_top - 2, height: grid_bottom - grid_top + 4, fill };
    if (before) marks.push({ ...across, x: gutter, width: 14, from: "left" });
    if (after) marks.push({ ...across, x: width - 24, width: 24, from: "right" });
  }
  return marks;
}

function rowLabels({ layout, reading, rows, palette, selected }: Frame): Mark[] {
  const { transposed, gutter, grid_top, cell_width, cell_height } = layout;
  const tilt = transposed && Math.max(...rows.map((tap) => reading.taps[tap].length)) * 7.3 + 4 > cell_width;
  const is_roomy = gutter > 60;
  return rows.flatMap((tap, row) => {
    const is_chosen = tap === selected?.tap;
    const label = { text: reading.taps[tap], size: 12, bold: is_chosen, fill: is_chosen ? palette.ink : palette.muted };
    const is_final = tap === finalTap(reading);
    const note = { text: "final", size: 12, mono: false, fill: palette.muted };
    if (transposed) {
      const x = gutter + (row + 0.5) * cell_width;
      const marks = [textMark({ ...label, x, y: grid_top - 10, align: tilt ? "left" : "center", tilt })];
      if (is_final && !tilt) marks.push(textMark({ ...note, x, y: grid_top - 26, align: "center" }));
      return marks;
    }
    const y = grid_top + (row + 0.5) * cell_height + 0.5;
    const marks = [textMark({ ...label, x: gutter - 9, y, align: "right" })];
    if (is_roomy && is_final && label.text.length < 9) marks.push(textMark({ ...note, x: 2, y }));
    return marks;
  });
}

function axisLabels({ layout, palette }: Frame): Mark[] {
  const { transposed, gutter, grid_top, grid_bottom, grid_right, strip } = layout;
  const is_roomy = gutter > 60;
  const label = { size: 12, mono: false, fill: palette.muted };
  if (transposed) {
    return [
      textMark({ ...label, text: "token", x: gutter - 8, y: grid_top - 10, align: "right" }),
      textMark({ ...label, text: "settles", x: grid_right + 3, y: grid_top - 10 }),
      textMark({ ...label, text: "true next", x: grid_right + strip + 30, y: grid_top - 10 }),
    ];
  }
  return [
    textMark({ ...label, text: is_roomy ? "true next" : "next", x: 2, y: grid_top - strip - 12 }),
    textMark({ ...label, text: is_roomy ? "settles at" : "settles", x: 2, y: grid_top - 12 }),
    textMark({ ...label, text: "token", x: 2, y: grid_bottom + 14 }),
  ];
}
