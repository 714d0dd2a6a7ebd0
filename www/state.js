// @ts-check
/** What the address bar remembers: the model, the text, the view and the theme, each only where it is not the default. */
import { addressOf, addressText } from "./address.js";
import { DEFAULT_TEXT } from "./examples.js";
import { THEMES } from "./palette.js";
import { viewNamed } from "./views.js";

/** `model`: its address on the hub, null for the bundled one and for files. @typedef {{ model: string | null, text: string, view: import("./views.js").View, theme: import("./palette.js").ThemeChoice }} PageState */

/** Chat programs and mailers cut longer addresses; a longer text stays on the page only. */
const MAX_TEXT_CHARS = 2000;

/** @param {string} hash @returns {PageState} */
export function parseHash(hash) {
  const fields = new URLSearchParams(hash.replace(/^#/, ""));
  const theme = /** @type {any} */ (fields.get("theme"));
  const model = addressOf(fields.get("model"));
  return {
    model: model && addressText(model),
    text: fields.get("text") ?? DEFAULT_TEXT,
    view: viewNamed(fields.get("view")),
    theme: THEMES.includes(theme) ? theme : "auto",
  };
}

/** @param {PageState} state */
export function formatHash({ model, text, view, theme }) {
  const fields = new URLSearchParams();
  if (model) fields.set("model", model);
  if (view !== viewNamed(null)) fields.set("view", view.name);
  if (theme !== "auto") fields.set("theme", theme);
  // A lone surrogate has no place in an address: it would come back as another character.
  if (text !== DEFAULT_TEXT && text.length <= MAX_TEXT_CHARS && text.isWellFormed()) fields.set("text", text);
  return fields.size > 0 ? `#${fields}` : "";
}

/** Replaces, so that the Back button leaves the page instead of undoing letters. @param {PageState} state */
export const saveState = (state) =>
  history.replaceState(null, "", location.pathname + location.search + formatHash(state));
