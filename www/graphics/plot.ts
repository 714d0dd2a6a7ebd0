/**
 * Charts by Observable Plot. Colours are the style sheet's variables; the style that Plot would write into each chart is
 * left out, as the page's policy forbids it, and stands in our style sheet.
 */
import { plot } from "@observablehq/plot";

export function chart(options: Parameters<typeof plot>[0], label: string) {
  const svg = plot({ className: "chart-svg", ariaLabel: label, ...options }) as SVGSVGElement;
  svg.querySelector("style")?.remove();
  svg.setAttribute("role", "img");
  // The parts of an image have no names of their own.
  for (const part of svg.querySelectorAll("g[aria-label]")) part.removeAttribute("aria-label");
  return svg;
}

/** Powers of ten from 1 on. */
export const powers = (largest: number) =>
  Array.from({ length: Math.floor(Math.log10(largest)) + 1 }, (_, i) => 10 ** i);
