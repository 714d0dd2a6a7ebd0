/** A few choices of which one holds, as radio buttons in one row. */
import { element } from "./dom.ts";

let n_groups = 0;

export function segmented<T extends string>({
  home = element("div", ""),
  label,
  choices,
  onChoose,
}: {
  /** the element that is filled; a new one, if absent */
  home?: HTMLElement;
  label: string;
  /** each value and what is written on it */
  choices: readonly (readonly [T, string])[];
  onChoose: (value: T) => void;
}) {
  const name = `segments-${n_groups++}`;
  const inputs = choices.map(([value]) => {
    const input = element("input", "");
    [input.type, input.name, input.value] = ["radio", name, value];
    input.addEventListener("change", () => input.checked && onChoose(value));
    return input;
  });
  home.classList.add("segments");
  home.setAttribute("role", "radiogroup");
  home.setAttribute("aria-label", label);
  home.replaceChildren(...inputs.map((input, i) => element("label", "segment", input, choices[i][1])));
  return {
    element: home,
    inputs,
    /**
     * @param value null: none of them
     * @param offered all, if absent
     */
    set(value: T | null, offered?: readonly T[]) {
      inputs.forEach((input, i) => {
        input.checked = choices[i][0] === value;
        input.disabled = offered !== undefined && !offered.includes(choices[i][0]);
      });
    },
  };
}
