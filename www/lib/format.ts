/** Numbers as the page writes them. */

const MINUS = "\u2212";

/** Plain decimals with a real minus sign, none before a zero; an en dash where there is no value. */
export const decimal = (value: number, digits: number = 2) =>
  Number.isFinite(value)
    ? value
        .toFixed(digits)
        .replace(/^-(?=[0.]*$)/, "")
        .replace("-", MINUS)
    : "–";

/** So many digits that count, whatever the size. */
export function significant(value: number, digits: number = 3) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const text =
    size === 0
      ? "0"
      : size >= 10 ** digits
        ? Math.round(value).toLocaleString("en")
        : size < 1e-4
          ? value.toExponential(digits - 1)
          : value.toPrecision(digits);
  return text.replace("-", MINUS);
}

export const integer = (value: number) => (Number.isFinite(value) ? Math.round(value).toLocaleString("en") : "–");

/** A rank counts from 1; 0 means that there is none. */
export const rank = (value: number) => (value >= 1 ? integer(value) : "–");

/** @param value 0…1 */
export function percent(value: number) {
  if (!Number.isFinite(value)) return "–";
  const hundredths = value * 100;
  if (hundredths > 0 && hundredths < 0.01) return "< 0.01 %";
  return `${hundredths.toFixed(hundredths < 1 ? 2 : 1)} %`;
}

/** Bytes in three digits or so, in the unit that fits. */
export function bytes(value: number) {
  const [scale, unit] = value >= 999.5e6 ? [1e9, "GB"] : value >= 999.5e3 ? [1e6, "MB"] : [1e3, "kB"];
  const scaled = value / scale;
  return `${scaled.toFixed(unit === "kB" ? 0 : scaled < 10 ? 2 : scaled < 100 ? 1 : 0)} ${unit}`;
}

/** How far something has come, in the unit of the whole. */
export function bytesOf(done: number, total: number) {
  const whole = bytes(total);
  const part = done / (total / Number.parseFloat(whole));
  const digits = whole.split(" ")[0].split(".")[1]?.length ?? 0;
  return `${part.toFixed(digits)} of ${whole}`;
}

export function timeLeft(ms: number) {
  const seconds = Math.max(1, Math.round(ms / 1000));
  if (seconds < 60) return `${seconds} s left`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min left` : `${Math.floor(minutes / 60)} h ${minutes % 60} min left`;
}

export const millions = (value: number) =>
  value >= 1e6 ? `${(value / 1e6).toFixed(value < 1e7 ? 1 : 0)} M` : integer(value);

export const duration = (ms: number) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

/** A number of things: 1 row, 2 rows. */
export const counted = (n: number, thing: string) => `${integer(n)} ${thing}${n === 1 ? "" : "s"}`;

const ORDINALS = new Intl.PluralRules("en", { type: "ordinal" });
const ENDINGS: Partial<Record<Intl.LDMLPluralRule, string>> = { one: "st", two: "nd", few: "rd" };

/** 1st, 2nd, 3rd, 4th. */
export const ordinal = (n: number) => `${n}${ENDINGS[ORDINALS.select(n)] ?? "th"}`;
