// @ts-check
/** What this browser remembers between visits, where it does: private modes and strict settings may throw. */

/** @typedef {"model" | "keep"} Name */

/** @param {Name} name @returns {string | null} */
export function recall(name) {
  try {
    return localStorage.getItem(`loupe:${name}`);
  } catch {
    return null;
  }
}

/** @param {Name} name @param {string} value */
export function memorise(name, value) {
  try {
    localStorage.setItem(`loupe:${name}`, value);
  } catch { /* then it is asked again */ }
}
