// @ts-check
/** The small controls above a picture: a choice, a switch, a field. */
import { element } from "../dom.js";

/**
 * @param {string} label @param {[string, string][]} choices value and what is said @param {(value: string) => void} onChange
 */
export function choiceOf(label, choices, onChange) {
  const select = element("select", "chip pick");
  select.setAttribute("aria-label", label);
  for (const [value, name] of choices) {
    const option = element("option", "", name);
    option.value = value;
    select.append(option);
  }
  select.addEventListener("change", () => onChange(select.value));
  return { element: element("label", "field", element("span", "muted", label), select), select };
}

/** @param {string} label @param {(is_on: boolean) => void} onChange */
export function switchOf(label, onChange) {
  const input = element("input", "");
  input.type = "checkbox";
  input.addEventListener("change", () => onChange(input.checked));
  return { element: element("label", "field check", input, label), input };
}

/**
 * A field whose text counts once it is finished.
 * @param {string} label @param {string} placeholder @param {(text: string) => void} onChange @param {{ type?: string }} [how]
 */
export function fieldOf(label, placeholder, onChange, { type = "text" } = {}) {
  const input = element("input", "");
  Object.assign(input, { type, placeholder, autocomplete: "off", spellcheck: false });
  input.setAttribute("aria-label", label);
  input.addEventListener("change", () => onChange(input.value));
  return { element: element("label", "field", element("span", "muted", label), input), input };
}

/**
 * Whether an answer is still wanted: each `begin` makes all earlier ones stale.
 */
export function createTurns() {
  let n = 0;
  return {
    begin() {
      const mine = ++n;
      return () => mine === n;
    },
  };
}
