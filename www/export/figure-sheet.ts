/** The whole window as one sheet for export: title, picture with axes, legend, and where it comes from. Pure. */
import { filterWords } from "../reading/cell-text.ts";
import { UNALIGNED, legendStops, pickedCells, pickedWords, unitOf } from "../lens/figure/legend-words.ts";
import { frameOf, layoutFor } from "../lens/figure/frame.ts";
import { sceneOf } from "../lens/figure/scene.ts";
import type { Shown } from "../lens/figure/frame.ts";
import { textMark } from "../graphics/marks.ts";
import type { Mark, TextMark } from "../graphics/marks.ts";

const MARGIN = 20;
const HEAD = 34;
const FOOT = 108;
const BAR = 300;

/** `frame_width` is that of the picture on the page, `words` is what is said below it. */
export function figureSheetOf(
  shown: Shown,
  { frame_width, words }: { frame_width: number; words: string[] },
): { marks: Mark[]; width: number; height: number; title: string } {
  const { view, scale, theme, palette, printing } = shown;
  const tight = layoutFor(shown, frame_width, Infinity);
  const layout = shown.transposed ? tight : layoutFor(shown, Math.max(frame_width, tight.content), Infinity);
  const inner = Math.max(layout.width, BAR + 40);
  const [width, height] = [Math.ceil(inner + 2 * MARGIN), Math.ceil(layout.height + HEAD + FOOT + 2 * MARGIN)];
  const picture = sceneOf(frameOf(shown, layout, 0, null, [])).filter(({ kind }) => kind !== "fade");

  const text = (mark: Pick<TextMark, "x" | "y" | "text"> & Partial<TextMark>) =>
    textMark({ size: 12, mono: false, fill: palette.muted, ...mark });
  const title = `${view.quantity} (${unitOf(view, scale)})`;
  const top = MARGIN + HEAD + layout.height + 14;
  const left = MARGIN;
  const stops = legendStops(view, theme);
  const legend: Mark[] = [
    text({ x: left, y: top, text: title, fill: palette.ink }),
    ...stops.map((fill, i): Mark => ({
      kind: "rect",
      x: left + (i * BAR) / stops.length,
      y: top + 11,
      width: BAR / stops.length + 0.5,
      height: 10,
      r: 0,
      fill,
    })),
    ...scale.ticks.map(({ at, label }) =>
      text({
        x: left + at * BAR,
        y: top + 32,
        text: label,
        size: 11,
        align: at === 0 ? "left" : at === 1 ? "right" : "center",
      }),
    ),
    ...[
      "* final top-1 is the true next token · outlined: same top-1 as final · h.i: output of block i",
      ...[filterWords(printing), shown.comparison ? UNALIGNED : ""].filter(Boolean),
      ...(shown.picked?.size
        ? [`◥ ${pickedWords(shown.picked.size, pickedCells(shown.reading, shown.rows, shown.picked))}`]
        : []),
      ...words,
    ].map((line, i) =>
      text({ x: left + BAR + 28, y: top + i * 16, text: line, size: 11, max_width: Math.max(120, inner - BAR - 28) }),
    ),
  ];
  return {
    width,
    height,
    title,
    marks: [
      text({ x: left, y: MARGIN + 8, text: title, size: 15, bold: true, fill: palette.ink }),
      ...shifted(picture, MARGIN, MARGIN + HEAD),
      ...legend,
    ],
  };
}

const shifted = (marks: Mark[], dx: number, dy: number): Mark[] =>
  marks.map((mark) => ({
    ...mark,
    x: mark.x + dx,
    y: mark.y + dy,
    ...(mark.kind === "clip" ? { marks: shifted(mark.marks, dx, dy) } : {}),
  }));
