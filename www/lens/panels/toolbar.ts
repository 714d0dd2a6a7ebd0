/** What a person can set above the picture: the text, an example, the view, the theme. */
import { byId, element, optionsOf } from "../../ui/dom.ts";
import { segmented } from "../../ui/segmented.ts";
import { THEMES } from "../../lib/themes.ts";
import { FAVOURITES, VIEWS, viewNamed } from "../../reading/views.ts";
import type { View } from "../../reading/views.ts";
import type { ThemeChoice } from "../../lib/themes.ts";

const THEME_NAMES = { auto: "Auto", light: "Light", dark: "Dark" };

/** Grows the box with its text; the style sheet says how far. */
export function fitHeight(box: HTMLTextAreaElement) {
  // Where it is not displayed, it has no height to measure.
  if (box.offsetParent === null) return;
  box.style.height = "auto";
  box.style.height = `${box.scrollHeight + 2}px`;
}

/** Four views have a button each, the others stand in one menu, so that the row stays short. */
function createChooser(onView: (view: View) => void) {
  const favourites = FAVOURITES.map(viewNamed);
  const chooser = segmented({
    home: byId("views"),
    label: "View",
    choices: favourites.map((view) => [view.name, view.button] as const),
    onChoose: (name) => onView(viewNamed(name)),
  });
  for (const input of chooser.inputs) input.dataset.view = input.value;

  const more = byId<HTMLSelectElement>("more-views");
  const placeholder = element("option", "", "more views");
  [placeholder.value, placeholder.hidden] = ["", true];
  const others = VIEWS.filter((view) => !favourites.includes(view));
  const groups = [...new Set(others.map(({ group }) => group))].map((name) => {
    const group = element("optgroup", "");
    group.label = name;
    group.append(
      ...optionsOf(
        others
          .filter((view) => view.group === name)
          .map((view) => [view.name, view.is_tracked ? `${view.button} of the tracked token` : view.button] as const),
      ),
    );
    return group;
  });
  more.replaceChildren(placeholder, ...groups);
  more.addEventListener("change", () => onView(viewNamed(more.value)));
  const between = groups.filter((group) => others.some((view) => view.between && view.group === group.label));

  /** Offers what is between two texts where there are two. */
  const showBetween = (has_second: boolean) =>
    between.forEach((group) => (group.hidden = group.disabled = !has_second));

  const setView = (view: View) => {
    const is_favourite = favourites.includes(view);
    chooser.set(is_favourite ? view.name : null);
    more.value = is_favourite ? "" : view.name;
    more.classList.toggle("chosen", !is_favourite);
    byId("explain").textContent = view.explain;
  };
  return { setView, showBetween };
}

export function createToolbar(on: {
  text: (text: string) => void;
  view: (view: View) => void;
  theme: (theme: ThemeChoice) => void;
}) {
  const box = byId<HTMLTextAreaElement>("text");
  const theme_button = byId("theme");
  let theme: ThemeChoice = "auto";
  const { setView, showBetween } = createChooser(on.view);

  box.addEventListener("input", () => {
    fitHeight(box);
    on.text(box.value);
  });
  addEventListener("resize", () => fitHeight(box));

  theme_button.addEventListener("click", () => {
    setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]);
    on.theme(theme);
  });

  function setTheme(choice: ThemeChoice) {
    theme = choice;
    byId("theme-name").textContent = THEME_NAMES[choice];
    theme_button.setAttribute("aria-label", `Theme: ${THEME_NAMES[choice]}`);
    theme_button.title = "Theme: auto, light, dark";
  }

  showBetween(false);

  return {
    setView,
    showBetween,
    setTheme,
    /** Replaces the text as typing would, so that undo brings the old one back. */
    setText(text: string) {
      if (box.value === "") {
        box.value = text;
      } else {
        const focused = document.activeElement as HTMLElement | null;
        box.focus({ preventScroll: true });
        box.select();
        if (!document.execCommand("insertText", false, text)) box.value = text;
        focused?.focus({ preventScroll: true });
      }
      fitHeight(box);
    },
    /** Fits the box to its text again, once it is displayed. */
    fit: () => fitHeight(box),
    /** Whether text is being edited elsewhere than at its end. */
    caretIsInside: () => document.activeElement === box && box.selectionEnd < box.value.length,
  };
}
