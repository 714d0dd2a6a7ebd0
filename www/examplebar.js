// @ts-check
/** The example texts, one button each, and the button for a second text. */
import { button, byId, element } from "./dom.js";
import { EXAMPLES } from "./examples.js";

/** @param {(text: string) => void} onExample @param {HTMLElement} beside another button at the end of the row */
export function createExamples(onExample, beside) {
  byId("examples").replaceChildren(
    element("span", "muted", "Try"),
    ...EXAMPLES.map(({ name, text }) => button("chip small", name, () => onExample(text))),
    beside,
  );
}
