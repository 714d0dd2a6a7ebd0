/**
 * One frame of the heatmap as a list of marks: rectangles, dots and texts with their places and colours. Pure; the
 * same marks become pixels (canvas.ts) and SVG (svg.ts), so that an export is what was on the screen.
 */
import { decisionsOf } from "../../reading/settling.ts";
import { linesOf } from "../../reading/cell-text.ts";
import { cellRect, maxScroll, visibleColumns } from "./layout.ts";
import { agrees, finalTap, guessIsRight, nextToken, splitCharacters, topId } from "../../reading/reading.ts";
import type { Layout } from "./layout.ts";
import type { Cell, PlainReading } from "../../reading/reading.ts";
import type { Comparison } from "../../reading/comparison.ts";
import type { Swatch } from "../../graphics/colormaps.ts";
import type { Printing } from "../../reading/cell-text.ts";
import type { Kind } from "../../reading/scales.ts";
import { DASHES } from "../../graphics/series.ts";
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
  /** the oldest first */
  pins: Cell[];
  /** tokens that are selected in the atlas */
  picked: ReadonlySet<number>;
}

const CORNER = 3;
/** Two lines that lie inside the cell, a light and a dark one: one of them is seen on every fill. */
const OUTLINE: [inset: number, stroke: string][] = [
  [1.5, "#d9dde4"],
  [2.5, "#20242c"],
];

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
        ...splitCharacterMarks(frame, columns),
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
    pins,
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
      if (isOutlined(reading, cell))
        for (const [inset, stroke] of OUTLINE)
          marks.push({
            kind: "rect",
            x: x + inset,
            y: y + inset,
            width: width - 2 * inset,
            height: height - 2 * inset,
            r: CORNER - 1,
            stroke,
            line: 1,
          });
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
  const ring = ({ tap, position }: Cell, line: number, dash?: number[]) => {
    const row = rows.indexOf(tap);
    if (row < 0 || position < start || position >= start + layout.n_columns) return;
    const { x, y, width, height } = cellRect(layout, row, position - start, scroll);
    const around = { kind: "rect" as const, x: x - 0.5, y: y - 0.5, width: width + 1, height: height + 1 };
    // Between the dashes of a ring its ground is seen.
    if (dash) marks.push({ ...around, r: CORNER + 0.5, stroke: palette.surface, line });
    marks.push({ ...around, r: CORNER + 0.5, stroke: palette.accent, line, dash });
  };
  pins.forEach((pin, i) => ring(pin, 3, DASHES[i]));
  if (pins.length === 0 && selected) ring(selected, 2);
  return marks;
}

/** Whether a cell says the same as the final row, which itself needs no mark for that. */
export const isOutlined = (reading: PlainReading, cell: Cell) =>
  cell.tap !== finalTap(reading) && agrees(reading, cell);

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
    if (right) marks.push({ kind: "dot", x, y: transposed ? y : grid_top - strip - 2, r: 2.5, fill });
  }
  return marks;
}

/** The input tokens along the bottom, or on the left; the selected position's is bold. */
function inputTokens(
  { layout, reading, comparison, start, palette, scroll, selected, picked }: Frame,
  columns: { first: number; end: number },
): Mark[] {
  const {
    transposed,
    gutter,
    grid_top,
    grid_bottom,
    cell_width,
    cell_height,
    label_font,
    label_length,
    n_columns,
    brace,
  } = layout;
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
      : [gutter + (column + 0.5) * cell_width - scroll + 4, grid_bottom + brace + 10];
    marks.push(textMark({ ...label, x, y, tilt: !transposed }));
  }
  return marks;
}

/** Brackets over tokens that are parts of a character, with the character itself. */
function splitCharacterMarks(
  { layout, reading, start, palette, scroll }: Frame,
  columns: { first: number; end: number },
): Mark[] {
  const { transposed, gutter, grid_top, grid_bottom, cell_width, cell_height, label_font, brace } = layout;
  if (brace === 0) return [];
  const line = { kind: "rect" as const, r: 0, fill: palette.muted };
  return splitCharacters(reading)
    .filter(({ from, to }) => to > start + columns.first && from < start + columns.end)
    .flatMap(({ from, to, text }): Mark[] => {
      const label = { text, size: label_font + 1, fill: palette.ink, align: "center" as const };
      const length = (to - from) * (transposed ? cell_height : cell_width) - 8;
      if (transposed) {
        const [x, y] = [brace - 6, grid_top + (from - start) * cell_height - scroll + 4];
        return [
          { ...line, x, y, width: 1, height: length },
          ...[y, y + length - 1].map((end) => ({ ...line, x, y: end, width: 4, height: 1 })),
          textMark({ ...label, x: (brace - 6) / 2, y: y + length / 2 }),
        ];
      }
      const [x, y] = [gutter + (from - start) * cell_width - scroll + 4, grid_bottom + 9];
      // The bracket is open where the character stands.
      const room = Math.min(length / 2 - 2, 6 + text.length * label_font * 0.5);
      const half = length / 2 - room;
      return [
        { ...line, x, y, width: half, height: 1 },
        { ...line, x: x + length - half, y, width: half, height: 1 },
        ...[x, x + length - 1].map((end) => ({ ...line, x: end, y: y - 4, width: 1, height: 4 })),
        textMark({ ...label, x: x + length / 2, y: y + 1, max_width: length - 8 }),
      ];
    });
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
    const place = { x: gutter - 9, align: "right" as const };
    if (!is_final) return [textMark({ ...label, ...place, y })];
    return [textMark({ ...label, ...place, y: y - 5 }), textMark({ ...note, ...place, size: 11, y: y + 7 })];
  });
}

function axisLabels({ layout, palette }: Frame): Mark[] {
  const { transposed, gutter, grid_top, grid_bottom, grid_right, strip, brace } = layout;
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
    textMark({ ...label, text: "token", x: 2, y: grid_bottom + brace + 12 }),
  ];
}
