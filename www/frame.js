// @ts-check
/** From what is to be shown to the frame that is drawn: values become swatches, sizes become a layout. Pure. */
import { MISSING, swatch } from "./colour.js";
import { linesIn } from "./filters.js";
import { layoutOf } from "./layout.js";
import { strength } from "./views.js";

/** @typedef {import("./reading.js").Cell} Cell */
/** @typedef {import("./reading.js").PlainReading} PlainReading */

/**
 * @typedef {object} Shown
 * @property {PlainReading} reading
 * @property {import("./comparison.js").Comparison | null} comparison whose first reading that is, if the picture is of two texts
 * @property {import("./views.js").View} view
 * @property {Float32Array} values of the view, [N·T]
 * @property {import("./scales.js").Scale} scale
 * @property {number[]} rows
 * @property {{ start: number, end: number }} span the window of positions
 * @property {import("./filters.js").Printing} printing
 * @property {boolean} transposed
 * @property {number} font
 * @property {import("./colour.js").Theme} theme
 * @property {import("./scene.js").Palette} palette
 * @property {ReadonlySet<number>} [picked] tokens that are selected in the atlas
 */

/** Two rows that hide `input` keep the height of three. @param {Shown} shown */
const heightRows = ({ reading, rows }) => rows.length + (reading.taps[0] === "input" && !rows.includes(0) ? 1 : 0);

/**
 * The frame of a picture at one scroll position; all it takes is in `shown`.
 * @param {Shown} shown @param {import("./layout.js").Layout} layout @param {number} scroll
 * @param {Cell | null} selected @param {boolean} pinned
 * @returns {import("./scene.js").Frame}
 */
export function frameOf(shown, layout, scroll, selected, pinned) {
  const { reading, comparison, view, values, scale, rows, span, printing, theme, palette } = shown;
  const value = (/** @type {Cell} */ { tap, position }) => values[tap * reading.n_tokens + position];
  // An absent rank is 0, any other absent number is not finite.
  const is_missing = (/** @type {number} */ number) => !Number.isFinite(number) || (view.kind === "rank" && number < 1);
  return {
    layout, reading, comparison, rows, printing, view, palette, scroll, selected, pinned, value,
    start: span.start,
    picked: shown.picked ?? new Set(),
    swatch: (cell) => {
      const number = value(cell);
      return is_missing(number) ? MISSING[theme] : swatch(view.map, theme, strength(view, scale.place(number)));
    },
  };
}

/** The layout of a picture in a frame of this width. @param {Shown} shown @param {number} width @param {number} height */
export const layoutFor = (shown, width, height) =>
  layoutOf({
    width, height,
    n_columns: shown.span.end - shown.span.start,
    n_rows: shown.rows.length,
    n_taps: heightRows(shown),
    font: shown.font,
    lines: linesIn(shown.printing, shown.comparison !== null),
    tap_chars: Math.max(...shown.reading.taps.map((tap) => tap.length)),
    transposed: shown.transposed,
  });
