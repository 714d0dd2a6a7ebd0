// @ts-check
/** What a person can set: the text, an example, the view, the theme. */
import { button, byId, element } from "./dom.js";
import { EXAMPLES } from "./examples.js";
import { THEMES } from "./palette.js";
import { VIEWS } from "./views.js";

/** @typedef {import("./views.js").View} View */
/** @typedef {import("./palette.js").ThemeChoice} ThemeChoice */

const THEME_NAMES = { auto: "Auto", light: "Light", dark: "Dark" };

/** Grows the box with its text; the style sheet says how far. @param {HTMLTextAreaElement} box */
function fitHeight(box) {
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
}

/**
 * @param {object} on
 * @param {(text: string) => void} on.text
 * @param {(text: string) => void} on.example
 * @param {(view: View) => void} on.view
 * @param {(theme: ThemeChoice) => void} on.theme
 */
export function createControls(on) {
  const box = /** @type {HTMLTextAreaElement} */ (byId("text"));
  const theme_button = byId("theme");
  /** @type {ThemeChoice} */
  let theme = "auto";

  box.addEventListener("input", () => {
    fitHeight(box);
    on.text(box.value);
  });
  addEventListener("resize", () => fitHeight(box));

  byId("examples").replaceChildren(
    element("span", "muted", "Try"),
    ...EXAMPLES.map(({ name, text }) => button("chip small", name, () => on.example(text))),
  );

  const segments = VIEWS.map((view) => {
    const segment = button("segment", view.button, () => choose(view));
    segment.setAttribute("role", "radio");
    segment.dataset.view = view.name;
    return segment;
  });
  byId("views").replaceChildren(...segments);
  // As in any radio group, one Tab stop, and the arrow keys choose.
  byId("views").addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const now = segments.findIndex((segment) => segment.getAttribute("aria-checked") === "true");
    const index = (now + step + VIEWS.length) % VIEWS.length;
    segments[index].focus();
    choose(VIEWS[index]);
  });

  theme_button.addEventListener("click", () => {
    setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
    on.theme(theme);
  });

  /** @param {View} view */
  function setView(view) {
    for (const segment of segments) {
      const checked = segment.dataset.view === view.name;
      segment.setAttribute("aria-checked", String(checked));
      segment.tabIndex = checked ? 0 : -1;
    }
    byId("explain").textContent = view.explain;
  }

  /** @param {View} view */
  function choose(view) {
    setView(view);
    on.view(view);
  }

  /** @param {ThemeChoice} choice */
  function setTheme(choice) {
    theme = choice;
    byId("theme-name").textContent = THEME_NAMES[choice];
    theme_button.setAttribute("aria-label", `Theme: ${THEME_NAMES[choice]}`);
    theme_button.title = "Theme: auto, light, dark";
  }

  return {
    setView,
    setTheme,
    /** Replaces the text as typing would, so that undo brings the old one back. @param {string} text */
    setText(text) {
      if (box.value === "") {
        box.value = text;
      } else {
        const focused = /** @type {HTMLElement | null} */ (document.activeElement);
        box.focus({ preventScroll: true });
        box.select();
        if (!document.execCommand("insertText", false, text)) box.value = text;
        focused?.focus({ preventScroll: true });
      }
      fitHeight(box);
    },
    /** Whether text is being added at its end. */
    caretIsAtEnd: () => document.activeElement === box && box.selectionEnd === box.value.length,
  };
}
