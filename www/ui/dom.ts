/** The few words of DOM that the page needs. Text goes in as text, never as markup. */

/** The element with this id, which index.html has. */
export function byId<E extends HTMLElement>(id: string): E {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no #${id}`);
  return element as E;
}

export function element<N extends keyof HTMLElementTagNameMap>(
  name: N,
  class_name: string,
  ...children: (Node | string)[]
): HTMLElementTagNameMap[N] {
  const made = document.createElement(name);
  if (class_name) made.className = class_name;
  made.append(...children);
  return made;
}

export function button(class_name: string, label: string, onClick: () => void) {
  const made = element("button", class_name, label);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

/** The choices of a menu: each value and what is written for it. */
export const optionsOf = (choices: Iterable<readonly [value: string, words: string]>) =>
  Array.from(choices, ([value, words]) => new Option(words, value));

/**
 * Calls back when the width of an element changes by more than a rounding; not while it is out of sight.
 * @param skips_first whether the width that it has when it comes into sight is left out
 */
export function onWidth(of: Element, listener: () => void, skips_first = false) {
  let width = 0;
  new ResizeObserver(([{ contentRect }]) => {
    if (Math.abs(contentRect.width - width) < 2) return;
    const is_first = width === 0;
    width = contentRect.width;
    if (width > 0 && !(is_first && skips_first)) listener();
  }).observe(of);
}
