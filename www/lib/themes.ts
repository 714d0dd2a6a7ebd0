/** What a person can choose; auto follows the system. */
export const THEMES = ["auto", "light", "dark"] as const;

export type ThemeChoice = (typeof THEMES)[number];
