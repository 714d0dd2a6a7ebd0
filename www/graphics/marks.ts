/** Marks: what a picture is made of. The same ones become pixels (canvas.ts) and SVG (svg.ts). */

/** The page's own colours that pictures use. */
export type Palette = { ink: string; muted: string; quiet: string; accent: string; surface: string };

export type RectMark = {
  kind: "rect";
  x: number;
  y: number;
  width: number;
  height: number;
  r: number;
  fill?: string;
  stroke?: string;
  line?: number;
  dash?: number[];
};
export type DotMark = { kind: "dot"; x: number; y: number; r: number; fill: string };
export type TextMark = {
  kind: "text";
  x: number;
  y: number;
  text: string;
  size: number;
  mono: boolean;
  bold: boolean;
  fill: string;
  align: "left" | "center" | "right";
  tilt: boolean;
  max_width: number;
};
export type FadeMark = {
  kind: "fade";
  x: number;
  y: number;
  width: number;
  height: number;
  from: "left" | "right" | "top" | "bottom";
  fill: string;
};
export type ClipMark = { kind: "clip"; x: number; y: number; width: number; height: number; marks: Mark[] };
/** A triangle that fills the upper right corner at (x, y). */
export type CornerMark = { kind: "corner"; x: number; y: number; size: number; fill: string; stroke: string };
export type Mark = RectMark | DotMark | TextMark | FadeMark | CornerMark | ClipMark;

/** A text with what is usual for one. */
export const textMark = (mark: Pick<TextMark, "x" | "y" | "text" | "size" | "fill"> & Partial<TextMark>): TextMark => ({
  kind: "text",
  mono: true,
  bold: false,
  align: "left",
  tilt: false,
  max_width: Infinity,
  ...mark,
});
