// @ts-check
/** The theme, and the page's own colours as the canvas needs them. The style sheet is their only source. */

/** @typedef {import("./state.js").PageState["theme"]} ThemeChoice */



const dark_system = matchMedia("(prefers-color-scheme: dark)");

/** What the choice comes to on this system. @param {ThemeChoice} choice @returns {import("./colour.js").Theme} */
export const resolveTheme = (choice) => (choice === "auto" ? (dark_system.matches ? "dark" : "light") : choice);

/** @param {() => void} listener */
export const onSystemTheme = (listener) => dark_system.addEventListener("change", listener);

/** @param {ThemeChoice} choice */
export function applyTheme(choice) {
  if (choice === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = choice;
}

/** These are registered properties, so the browser answers with plain rgb(). @returns {import("./scene.js").Palette} */
export function readPalette() {
  const style = getComputedStyle(document.documentElement);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  return { ink: colour("--ink"), muted: colour("--muted"), quiet: colour("--quiet"), accent: colour("--accent"), surface: colour("--surface") };
}
