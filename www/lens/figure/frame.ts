/** From what is to be shown to the frame that is drawn: values become swatches, sizes become a layout. Pure. */
import { MISSING, swatch } from "../../graphics/colormaps.ts";
import { linesIn } from "../../reading/cell-text.ts";
import { layoutOf } from "./layout.ts";
import { strength } from "../../reading/views.ts";
import type { Layout } from "./layout.ts";
import type { Frame } from "./scene.ts";
import type { Palette } from "../../graphics/marks.ts";
import { splitCharacters } from "../../reading/reading.ts";
import type { Cell, PlainReading } from "../../reading/reading.ts";
import type { Comparison } from "../../reading/comparison.ts";
import type { View } from "../../reading/views.ts";
import type { Scale } from "../../reading/scales.ts";
import type { Printing } from "../../reading/cell-text.ts";
import type { Theme } from "../../graphics/colormaps.ts";

export interface Shown {
  reading: PlainReading;
  /** whose first reading that is, if the picture is of two texts */
  comparison: Comparison | null;
  view: View;
  /** of the view, [N·T] */
  values: Float32Array;
  scale: Scale;
  rows: number[];
  /** the window of positions */
  span: { start: number; end: number };
  printing: Printing;
  transposed: boolean;
  font: number;
  theme: Theme;
  palette: Palette;
  /** tokens that are selected in the atlas */
  picked?: ReadonlySet<number>;
}

/** Two rows that hide `input` keep the height of three. */
const heightRows = ({ reading, rows }: Shown) =>
  rows.length + (reading.taps[0] === "input" && !rows.includes(0) ? 1 : 0);

/** The frame of a picture at one scroll position; all it takes is in `shown`. */
export function frameOf(shown: Shown, layout: Layout, scroll: number, selected: Cell | null, pins: Cell[]): Frame {
  const { reading, comparison, view, values, scale, rows, span, printing, theme, palette } = shown;
  const value = ({ tap, position }: Cell) => values[tap * reading.n_tokens + position];
  // An absent rank is 0, any other absent number is not finite.
  const isMissing = (number: number) => !Number.isFinite(number) || (view.kind === "rank" && number < 1);
  return {
    layout,
    reading,
    comparison,
    rows,
    printing,
    view,
    palette,
    scroll,
    selected,
    pins,
    value,
    start: span.start,
    picked: shown.picked ?? new Set(),
    swatch: (cell) => {
      const number = value(cell);
      return isMissing(number) ? MISSING[theme] : swatch(view.map, theme, strength(view, scale.place(number)));
    },
  };
}

const longestToken = ({ tokens }: PlainReading) =>
  tokens.reduce((longest, { shown }) => Math.max(longest, shown.length), 0);

/** The layout of a picture in a frame of this size. */
export const layoutFor = (shown: Shown, width: number, height: number) =>
  layoutOf({
    width,
    height,
    n_columns: shown.span.end - shown.span.start,
    n_rows: shown.rows.length,
    n_taps: heightRows(shown),
    font: shown.font,
    lines: linesIn(shown.printing, shown.comparison !== null),
    label_chars: longestToken(shown.reading),
    has_braces: splitCharacters(shown.reading).length > 0,
    tap_chars: Math.max(...shown.reading.taps.map((tap) => tap.length)),
    transposed: shown.transposed,
  });
