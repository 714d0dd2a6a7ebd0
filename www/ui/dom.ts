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
