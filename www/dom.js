// @ts-check
/** The few words of DOM that the page needs. Text goes in as text, never as markup. */

/**
 * The element with this id, which index.html has.
 * @template {HTMLElement} [E=HTMLElement]
 * @param {string} id
 * @returns {E}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no #${id}`);
  return /** @type {E} */ (element);
}

/**
 * @template {keyof HTMLElementTagNameMap} N
 * @param {N} name @param {string} class_name @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[N]}
 */
export function element(name, class_name, ...children) {
  const made = document.createElement(name);
  if (class_name) made.className = class_name;
  made.append(...children);
  return made;
}

/**
 * @param {string} class_name @param {string} label @param {() => void} onClick
 */
export function button(class_name, label, onClick) {
  const made = element("button", class_name, label);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}
