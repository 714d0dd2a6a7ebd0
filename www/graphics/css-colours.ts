/** The style sheet's colours as a canvas needs them, and a scale of blues for numbers. */
import { swatch } from "./colormaps.ts";
import type { Theme } from "./colormaps.ts";

export const N_SHADES = 24;
/** Paler ones would melt into the page. */
const PALEST = 0.28;

/**
 * A colour of the style sheet as it comes out here.
 * @param at in the document
 */
export function resolved(at: Element, css: string) {
  const probe = document.createElement("i");
  probe.style.color = css;
  at.append(probe);
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

/** The theme that is in force, whoever chose it. */
export const themeNow = (): Theme =>
  (document.documentElement.dataset.theme as Theme | undefined) ??
  (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

/** From pale to strong. */
export const shades = () =>
  Array.from(
    { length: N_SHADES },
    (_, i) => swatch("blues", themeNow(), PALEST + ((1 - PALEST) * i) / (N_SHADES - 1)).css,
  );

/** Which shade each number has. */
export function shadesOf(values: ArrayLike<number>, [least, most]: [number, number]) {
  const of = new Uint8Array(values.length);
  for (let i = 0; i < of.length; i++)
    of[i] = Math.min(N_SHADES - 1, Math.max(0, Math.floor(((values[i] - least) / (most - least || 1)) * N_SHADES)));
  return of;
}
