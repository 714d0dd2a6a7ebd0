// @ts-check
/**
 * The picture's geometry, in CSS pixels, with the origin at the canvas's top left. Pure: nothing here draws.
 * The canvas is as wide as its frame; columns further right are reached by `scroll_x`.
 */

const MIN_CELL = 56;
const MAX_CELL = 92;
const LABEL_CHARS = 11;
const SLANT = Math.SQRT1_2;

/**
 * @typedef {object} Layout
 * @property {number} width of the canvas
 * @property {number} height of the canvas
 * @property {number} content_width of all columns with what stands beside them
 * @property {number} gutter left of the columns, for the row labels
 * @property {number} grid_top
 * @property {number} grid_bottom
 * @property {number} cell_width
 * @property {number} cell_height
 * @property {number} n_rows
 * @property {number} n_columns
 * @property {number} cell_font in pixels
 * @property {number} label_font in pixels
 * @property {number} label_length the longest a tilted label may be
 */

/** @typedef {{ x: number, y: number, width: number, height: number }} Rect */

/** @param {number} value @param {number} low @param {number} high */
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/**
 * @param {{ width: number, n_columns: number, n_rows: number, n_taps: number }} size n_taps fixes the height, so that
 *   hiding a row between views makes the others taller instead of moving what is below
 * @returns {Layout}
 */
export function layoutOf({ width, n_columns, n_rows, n_taps }) {
  const narrow = width < 560;
  const gutter = narrow ? 44 : 78;
  const cell_width = clamp(Math.floor((width - gutter - 2) / n_columns), narrow ? 44 : MIN_CELL, MAX_CELL);
  const base_height = clamp(Math.round(cell_width * 0.56), 27, 40);
  const label_font = cell_width >= 60 ? 13 : 12;
  const label_length = LABEL_CHARS * label_font * 0.61;
  const slanted = Math.ceil(label_length * SLANT);
  const grid_top = slanted + 18;
  const cell_height = Math.floor((n_taps * base_height) / n_rows);
  const grid_bottom = grid_top + n_taps * base_height;
  // The last column has no true next token, so only the label before it can stick out on the right.
  const right = Math.max(4, slanted + 6 - Math.round(cell_width * 1.5));
  return {
    width,
    height: grid_bottom + slanted + 14,
    content_width: gutter + n_columns * cell_width + right,
    gutter, grid_top, grid_bottom, cell_width, cell_height, n_rows, n_columns,
    cell_font: cell_width >= 72 ? 13 : cell_width >= 54 ? 12 : 11,
    label_font,
    label_length,
  };
}

/** How far the columns can be scrolled. @param {Layout} layout */
export const maxScroll = ({ content_width, width }) => Math.max(0, content_width - width);

/**
 * The painted part of a cell: two pixels of page stay free between neighbours.
 * @param {Layout} layout @param {number} row counted from the top @param {number} column @param {number} scroll_x
 * @returns {Rect}
 */
export const cellRect = ({ gutter, grid_top, cell_width, cell_height }, row, column, scroll_x) => ({
  x: gutter + column * cell_width - scroll_x + 1,
  y: grid_top + row * cell_height + 1,
  width: cell_width - 2,
  height: cell_height - 2,
});

/**
 * The columns of which at least one pixel can be seen: [first, end).
 * @param {Layout} layout @param {number} scroll_x
 */
export const visibleColumns = ({ gutter, cell_width, n_columns, width }, scroll_x) => ({
  first: clamp(Math.floor(scroll_x / cell_width), 0, n_columns),
  end: clamp(Math.ceil((scroll_x + width - gutter) / cell_width), 0, n_columns),
});

/**
 * The cell under a point, or null.
 * @param {Layout} layout @param {number} x @param {number} y @param {number} scroll_x
 * @returns {{ row: number, column: number } | null}
 */
export function cellAt({ gutter, grid_top, cell_width, cell_height, n_rows, n_columns }, x, y, scroll_x) {
  if (x < gutter) return null;
  const row = Math.floor((y - grid_top) / cell_height);
  const column = Math.floor((x - gutter + scroll_x) / cell_width);
  return row >= 0 && row < n_rows && column >= 0 && column < n_columns ? { row, column } : null;
}

/** The last column that is wholly in view. @param {Layout} layout @param {number} scroll_x */
export const lastWholeColumn = ({ gutter, cell_width, n_columns, width }, scroll_x) =>
  clamp(Math.floor((scroll_x + width - gutter) / cell_width) - 1, 0, n_columns - 1);

/**
 * The scroll position nearest to `scroll_x` at which a column is wholly in view; the first and the last
 * column take what is beyond them along, so that no edge fades over them.
 * @param {Layout} layout @param {number} column @param {number} scroll_x
 */
export function scrollTo(layout, column, scroll_x) {
  const { gutter, cell_width, width, n_columns } = layout;
  if (column === 0) return 0;
  if (column === n_columns - 1) return maxScroll(layout);
  const left = column * cell_width;
  const nearest = clamp(scroll_x, left + cell_width - (width - gutter), left);
  return clamp(nearest, 0, maxScroll(layout));
}
