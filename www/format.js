// @ts-check
/** Numbers as the page writes them. */

const MINUS = "\u2212";

/** Plain decimals with a real minus sign, none before a zero; an en dash where there is no value. @param {number} value @param {number} [digits] */
export const decimal = (value, digits = 2) =>
  Number.isFinite(value) ? value.toFixed(digits).replace(/^-(?=[0.]*$)/, "").replace("-", MINUS) : "–";

/** @param {number} value */
export const integer = (value) => (Number.isFinite(value) ? Math.round(value).toLocaleString("en") : "–");

/** A rank counts from 1; 0 means that there is none. @param {number} value */
export const rank = (value) => (value >= 1 ? integer(value) : "–");

/** @param {number} value 0…1 */
export function percent(value) {
  if (!Number.isFinite(value)) return "–";
  const hundredths = value * 100;
  if (hundredths > 0 && hundredths < 0.01) return "< 0.01 %";
  return `${hundredths.toFixed(hundredths < 1 ? 2 : 1)} %`;
}

/** @param {number} value */
export const megabytes = (value) => `${(value / 1e6).toFixed(1)} MB`;

/** @param {number} value */
export const millions = (value) => (value >= 1e6 ? `${(value / 1e6).toFixed(value < 1e7 ? 1 : 0)} M` : integer(value));

/** @param {number} ms */
export const duration = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);
