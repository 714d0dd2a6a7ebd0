/** Small controls that the views share. */
import { element, optionsOf } from "./dom.ts";

export function checkbox(label: string, onChange: (on: boolean) => void) {
  const input = element("input", "");
  input.type = "checkbox";
  input.addEventListener("change", () => onChange(input.checked));
  return { element: element("label", "field check", input, label), set: (on: boolean) => void (input.checked = on) };
}

/** A whole number from 0 to a last one that may change; anything else goes back to what it was. */
export function numberField(label: string, last: () => number, onChange: (value: number) => void) {
  const input = element("input", "");
  Object.assign(input, { type: "number", min: "0", step: "1" });
  let now = "";
  input.addEventListener("change", () => {
    const wanted = Math.round(Number(input.value));
    if (input.value !== "" && wanted >= 0 && wanted <= last()) onChange(wanted);
    else input.value = now;
  });
  return {
    element: element("label", "", label, input),
    input,
    set(value: number) {
      input.max = String(last());
      input.value = now = String(value);
    },
  };
}

/**
 * A number between two others.
 * @param onChange `is_over`: the slider has been released
 */
export function slider(label: string, step: number, onChange: (value: number, is_over: boolean) => void) {
  const input = element("input", "");
  Object.assign(input, { type: "range", step: String(step) });
  input.setAttribute("aria-label", label);
  input.addEventListener("input", () => onChange(Number(input.value), false));
  input.addEventListener("change", () => onChange(Number(input.value), true));
  return {
    element: element("label", "field", element("span", "muted", label), input),
    input,
    /** @param words what the value means */
    set(value: number, [min, max]: [number, number], words: string) {
      Object.assign(input, { min: String(min), max: String(max), value: String(value) });
      input.setAttribute("aria-valuetext", words);
    },
  };
}

/**
 * One of several, from a list.
 * @param choices value and what is said
 */
export function choiceOf(label: string, choices: [string, string][], onChange: (value: string) => void) {
  const select = element("select", "chip pick");
  select.setAttribute("aria-label", label);
  select.append(...optionsOf(choices));
  select.addEventListener("change", () => onChange(select.value));
  return { element: element("label", "field", element("span", "muted", label), select), select };
}

/** A field whose text counts once it is finished. */
export function fieldOf(
  label: string,
  placeholder: string,
  onChange: (text: string) => void,
  { type = "text" }: { type?: string } = {},
) {
  const input = element("input", "");
  Object.assign(input, { type, placeholder, autocomplete: "off", spellcheck: false });
  input.setAttribute("aria-label", label);
  input.addEventListener("change", () => onChange(input.value));
  return { element: element("label", "field", element("span", "muted", label), input), input };
}
