/**
 * Colour maps. Each but `diverging` is one hue of blue whose CIE lightness changes linearly, so equal steps look equal and
 * readers with protanopia, deuteranopia or tritanopia lose nothing: lightness alone carries the value.
 * In both themes the far end melts into the page and the strong end stands out from it.
 */
import { hcl, rgb } from "d3-color";
import { interpolateLab, piecewise } from "d3-interpolate";

export type Theme = "light" | "dark";
/** a fill, and what is legible on it */
export type Swatch = { css: string; ink: string };

const N_STEPS = 256;
const N_STOPS = 9;

/** A ramp from `far` to `strong` lightness; chroma swells to `chroma` at its `peak` and is small at both ends. */
function ramp({
  far,
  strong,
  chroma,
  peak,
  hue,
  end = 4,
}: {
  far: number;
  strong: number;
  chroma: number;
  peak: number;
  hue: [number, number];
  end?: number;
}) {
  const stops = Array.from({ length: N_STOPS }, (_, i) => {
    const t = i / (N_STOPS - 1);
    const swell = t < peak ? Math.sin((Math.PI / 2) * (t / peak)) : Math.cos((Math.PI / 2) * ((t - peak) / (1 - peak)));
    const c = t < peak ? 3 + (chroma - 3) * swell : end + (chroma - end) * swell;
    return hcl(hue[0] + (hue[1] - hue[0]) * t, c, far + (strong - far) * t).formatRgb();
  });
  return swatches(piecewise(interpolateLab, stops));
}

/** WCAG relative luminance. */
function luminance(css: string) {
  const { r, g, b } = rgb(css);
  const [R, G, B] = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * R + 0.7152 * G + 0.0722 * B;
}

/** Black or white, whichever contrasts more; the worse case is 4.58 : 1, above AA. */
export const inkOn = (css: string) => (luminance(css) > 0.179 ? "#000" : "#fff");

const swatches = (interpolate: (t: number) => string): Swatch[] =>
  Array.from({ length: N_STEPS }, (_, i) => {
    const css = rgb(interpolate(i / (N_STEPS - 1))).formatRgb();
    return { css, ink: inkOn(css) };
  });

/**
 * `kbw`: black, blue, white, after the lightness law of cet's linear_protanopic_deuteranopic_kbw_5_98_c40.
 * `blues`: the same without the black end, for quantities with two natural ends.
 */
const MAPS: Record<string, Record<Theme, Swatch[]>> = {
  kbw: {
    light: ramp({ far: 97, strong: 18, chroma: 46, peak: 0.62, hue: [255, 284], end: 24 }),
    dark: ramp({ far: 13, strong: 94, chroma: 46, peak: 0.5, hue: [284, 255] }),
  },
  blues: {
    light: ramp({ far: 97, strong: 27, chroma: 50, peak: 0.75, hue: [255, 282], end: 40 }),
    dark: ramp({ far: 13, strong: 88, chroma: 50, peak: 0.52, hue: [284, 255], end: 16 }),
  },
};

/** Two ramps back to back: the first one's strong end, the common far end, the second one's strong end. */
const backToBack = (low: Swatch[], high: Swatch[]) =>
  Array.from({ length: N_STEPS }, (_, i) => (i < N_STEPS / 2 ? low[N_STEPS - 1 - 2 * i] : high[2 * i - N_STEPS + 1]));

/** Orange below zero, blue above: a pair that every kind of colour vision tells apart. */
MAPS.diverging = {
  light: backToBack(
    ramp({ far: 97, strong: 42, chroma: 66, peak: 0.85, hue: [72, 48], end: 60 }),
    ramp({ far: 97, strong: 32, chroma: 50, peak: 0.85, hue: [255, 278], end: 46 }),
  ),
  dark: backToBack(
    ramp({ far: 14, strong: 78, chroma: 60, peak: 0.85, hue: [48, 68], end: 54 }),
    ramp({ far: 14, strong: 80, chroma: 44, peak: 0.85, hue: [278, 255], end: 40 }),
  ),
};

/** The swatch at strength t in 0…1. */
export const swatch = (map: string, theme: Theme, t: number): Swatch =>
  MAPS[map][theme][Math.round(Math.min(1, Math.max(0, t)) * (N_STEPS - 1))];

/** Where a value is missing. */
export const MISSING: Record<Theme, Swatch> = {
  light: { css: "rgb(226, 226, 222)", ink: "#000" },
  dark: { css: "rgb(58, 60, 66)", ink: "#fff" },
};
