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

/**
 * Replaces the children of an element without losing the focus. Those that can have it have a `data-key`: if the focus
 * was on one or behind it, it goes to the new one with the same key or, if there is none, to the one in its place.
 */
export function replaceKeyed(parent: Element, ...children: (Node | string)[]) {
  const keyed = () => [...parent.querySelectorAll<HTMLElement>("[data-key]")];
  const [before, focused] = [keyed(), document.activeElement];
  const had_focus = focused !== null && focused !== parent && parent.contains(focused);
  const place = before.findLastIndex(
    (one) => one === focused || (focused && one.compareDocumentPosition(focused) & Node.DOCUMENT_POSITION_FOLLOWING),
  );
  parent.replaceChildren(...children);
  if (!had_focus) return;
  const after = keyed();
  const same = after.find(({ dataset }) => dataset.key === before[place]?.dataset.key);
  (same ?? after[Math.min(Math.max(0, place), after.length - 1)])?.focus({ preventScroll: true });
}

/** Other choices for a list: what is chosen stays so, if it is still there. */
export function replaceOptions(select: HTMLSelectElement, choices: Iterable<readonly [value: string, words: string]>) {
  const before = select.value;
  select.replaceChildren(...optionsOf(choices));
  if (Array.from(select.options, ({ value }) => value).includes(before)) select.value = before;
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
