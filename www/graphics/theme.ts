/** The theme, and the page's own colours as the canvas needs them. The style sheet is their only source. */
import type { Theme } from "./colormaps.ts";
import type { Palette } from "./marks.ts";
import type { ThemeChoice } from "../lib/themes.ts";

const dark_system = matchMedia("(prefers-color-scheme: dark)");

/** What the choice comes to on this system. */
export const resolveTheme = (choice: ThemeChoice): Theme =>
  choice === "auto" ? (dark_system.matches ? "dark" : "light") : choice;

export const onSystemTheme = (listener: () => void) => dark_system.addEventListener("change", listener);

export function applyTheme(choice: ThemeChoice) {
  if (choice === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
}

/** These are registered properties, so the browser answers with plain rgb(). */
export function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string) => style.getPropertyValue(name).trim();
  return {
    ink: colour("--ink"),
    muted: colour("--muted"),
    quiet: colour("--quiet"),
    accent: colour("--accent"),
    surface: colour("--surface"),
  };
}
