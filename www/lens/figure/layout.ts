/**
 * The picture's geometry, in CSS pixels, with the origin at the canvas's top left. Pure: nothing here draws.
 * Positions run along the axis that scrolls (to the right, or downwards when transposed), rows across it. The canvas
 * is as long as its frame; positions further along are reached by `scroll`.
 */

const MIN_CELL = 42;
const MAX_CELL = 92;
const LABEL_CHARS = 11;
/** Labels of short tokens keep this room, so that the picture does not move with every longer one. */
const SHORT_LABEL_CHARS = 8;
const BRACE = 20;
const MIN_ROW = 24;
const MAX_ROW = 40;
const SLANT = Math.SQRT1_2;
const STRIP = 26;

export interface Layout {
  transposed: boolean;
  /** of the canvas */
  width: number;
  /** of the canvas */
  height: number;
  /** of all positions with what stands beside them, along the axis that scrolls */
  content: number;
  /** where the positions begin on that axis */
  lead: number;
  /** where the frame ends on that axis */
  end: number;
  /** of one position on that axis */
  pitch: number;
  /** left of the cells */
  gutter: number;
  grid_top: number;
  grid_bottom: number;
  /** of the rows when transposed, else of the frame */
  grid_right: number;
  cell_width: number;
  cell_height: number;
  n_rows: number;
  /** positions in the window */
  n_columns: number;
  /** in pixels */
  cell_font: number;
  /** in pixels */
  label_font: number;
  /** the longest a token's label may be */
  label_length: number;
  /** thickness of the decision strip */
  strip: number;
  /** thickness of the brackets over the parts of characters */
  brace: number;
}

export type Rect = { x: number; y: number; width: number; height: number };

const clamp = (value: number, low: number, high: number) => Math.min(high, Math.max(low, value));

export function layoutOf({
  width,
  height,
  n_columns,
  n_rows,
  n_taps,
  font = 1,
  lines = 1,
  tap_chars = 5,
  label_chars = LABEL_CHARS,
  has_braces = false,
  transposed = false,
}: {
  /** of the frame */
  width: number;
  /** that the picture may take, if its cells can be read then */
  height: number;
  n_columns: number;
  n_rows: number;
  /** fixes the height together with `height`, so that hiding a row between views makes the others taller instead of moving what is below */
  n_taps: number;
  /** 1 is the usual size of type */
  font?: number;
  /** lines of text in a cell */
  lines?: 1 | 2;
  /** the longest name of a row */
  tap_chars?: number;
  /** of the longest token */
  label_chars?: number;
  /** whether there are tokens that are only parts of a character */
  has_braces?: boolean;
  transposed?: boolean;
}): Layout {
  const narrow = width < 560;
  const label_font = Math.round((narrow ? 12 : 13) * font);
  // A margin for the sign of a right guess.
  const label_length = clamp(label_chars + 2, SHORT_LABEL_CHARS, LABEL_CHARS) * label_font * 0.61;
  const brace = has_braces ? BRACE : 0;
  const slanted = Math.ceil(label_length * SLANT);
  const tap_width = Math.ceil(tap_chars * 7.3);
  const shared = { transposed, n_rows, n_columns, label_font, label_length, strip: STRIP, brace };
  const cellFont = (cell_width: number) =>
    Math.round((cell_width >= 72 * font ? 13 : cell_width >= 54 * font ? 12 : 11) * font);

  if (transposed) {
    const gutter = brace + Math.ceil(label_length) + 14;
    const right = STRIP + Math.ceil(label_length) + 14;
    const cell_width = clamp(
      Math.floor((width - gutter - right) / n_rows),
      Math.ceil(50 * font),
      Math.ceil(120 * font),
    );
    const cell_height = Math.round((lines === 2 ? 40 : 27) * font);
    const grid_top = 18 + (tap_width + 4 > cell_width ? Math.ceil(tap_width * SLANT) + 8 : 18);
    const content = grid_top + n_columns * cell_height + 8;
    const whole = Math.min(content, Math.max(280, height));
    const grid_right = gutter + n_rows * cell_width;
    return {
      ...shared,
      gutter,
      grid_top,
      grid_right,
      cell_width,
      cell_height,
      content,
      width: Math.max(width, grid_right + right),
      height: whole,
      lead: grid_top,
      end: whole,
      pitch: cell_height,
      grid_bottom: whole,
      cell_font: cellFont(cell_width),
    };
  }

  const gutter = Math.max(narrow ? 44 : 62, tap_width + 14);
  const min_cell = Math.ceil(MIN_CELL * font);
  // The last column has no true next token, so only the label before it can stick out on the right.
  const rightOf = (cell_width: number) => Math.max(4, slanted + 6 - Math.round(cell_width * 1.5));
  let cell_width = clamp(Math.floor((width - gutter) / n_columns), min_cell, Math.ceil(MAX_CELL * font));
  // A picture that nearly fits is made to: an edge fades only where something is behind it.
  while (cell_width > min_cell && gutter + n_columns * cell_width + rightOf(cell_width) > width) cell_width--;
  const grid_top = slanted + 14 + STRIP;
  const below = brace + slanted + 14;
  const second_line = lines === 2 ? 11 : 0;
  const base_height = Math.floor(
    clamp((height - grid_top - below) / n_taps, (MIN_ROW + second_line) * font, (MAX_ROW + second_line) * font),
  );
  const cell_height = Math.floor((n_taps * base_height) / n_rows);
  const grid_bottom = grid_top + n_taps * base_height;
  return {
    ...shared,
    width,
    gutter,
    grid_top,
    grid_bottom,
    grid_right: width,
    cell_width,
    cell_height,
    height: grid_bottom + below,
    content: gutter + n_columns * cell_width + rightOf(cell_width),
    lead: gutter,
    end: width,
    pitch: cell_width,
    cell_font: cellFont(cell_width),
  };
}

/** How far the positions can be scrolled. */
export const maxScroll = ({ content, end }: Layout) => Math.max(0, content - end);

/**
 * The painted part of a cell: two pixels of page stay free between neighbours.
 * @param row counted from the top, or from the left when transposed
 * @param column counted from the window's first position
 */
export const cellRect = (
  { transposed, gutter, grid_top, cell_width, cell_height }: Layout,
  row: number,
  column: number,
  scroll: number,
): Rect => ({
  x: gutter + (transposed ? row * cell_width : column * cell_width - scroll) + 1,
  y: grid_top + (transposed ? column * cell_height - scroll : row * cell_height) + 1,
  width: cell_width - 2,
  height: cell_height - 2,
});

/** The columns of which at least one pixel can be seen: [first, end). */
export const visibleColumns = ({ lead, pitch, n_columns, end }: Layout, scroll: number) => ({
  first: clamp(Math.floor(scroll / pitch), 0, n_columns),
  end: clamp(Math.ceil((scroll + end - lead) / pitch), 0, n_columns),
});

/** The cell under a point, or null. */
export function cellAt(
  { transposed, gutter, grid_top, cell_width, cell_height, n_rows, n_columns }: Layout,
  x: number,
  y: number,
  scroll: number,
): { row: number; column: number } | null {
  if (x < gutter || y < grid_top) return null;
  const across = Math.floor((x - gutter + (transposed ? 0 : scroll)) / cell_width);
  const down = Math.floor((y - grid_top + (transposed ? scroll : 0)) / cell_height);
  const [row, column] = transposed ? [across, down] : [down, across];
  return row < n_rows && column < n_columns ? { row, column } : null;
}

/** How many columns are wholly in view. */
export const wholeColumns = ({ lead, end, pitch }: Layout) => Math.max(1, Math.floor((end - lead) / pitch));

/**
 * The scroll position nearest to `scroll` at which a column is wholly in view; the first and the last
 * column take what is beyond them along, so that no edge fades over them.
 */
export function scrollTo(layout: Layout, column: number, scroll: number) {
  const { lead, pitch, end, n_columns } = layout;
  if (column === 0) return 0;
  if (column === n_columns - 1) return maxScroll(layout);
  const start = column * pitch;
  const nearest = clamp(scroll, start + pitch - (end - lead), start);
  return clamp(nearest, 0, maxScroll(layout));
}
