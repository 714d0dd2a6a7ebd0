/** What this browser remembers between visits, where it does: private modes and strict settings may throw. */

export type Name = "device" | "model" | "keep" | "tour" | "tuning";

export function readPreference(name: Name): string | null {
  try {
    return localStorage.getItem(`loupe:${name}`);
  } catch {
    return null;
  }
}

export function writePreference(name: Name, value: string) {
  try {
    localStorage.setItem(`loupe:${name}`, value);
  } catch {
    /* then it is asked again */
  }
}
