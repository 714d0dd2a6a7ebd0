// @ts-check
/** The example texts, one button each. */
import { button, byId, element } from "./dom.js";
import { EXAMPLES } from "./examples.js";

/** @param {(text: string) => void} onExample */
export function createExamples(onExample) {
  byId("examples").replaceChildren(
    element("span", "muted", "Try"),
    ...EXAMPLES.map(({ name, text }) => button("chip small", name, () => onExample(text))),
  );
}
