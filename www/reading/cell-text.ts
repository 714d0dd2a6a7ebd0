/**
 * What a cell prints. Filters choose among a cell's likeliest tokens which one is printed; they change no rank, colour
 * or outline, and a token that is not the row's first says which place it has.
 */
import { counterpart } from "./comparison.ts";
import { tokenById } from "./reading.ts";
import { numberIn } from "./views.ts";
import type { Comparison } from "./comparison.ts";
import type { Kind } from "./scales.ts";
import type { Cell, PlainReading } from "./reading.ts";

export type Prints = "token" | "number" | "both" | "change";
export type Printing = { prints: Prints; words_only: boolean; hide_prompt: boolean };

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** Letters, with a space before them or not. */
export const isWordLike = (text: string) => /^\s?\p{L}[\p{L}\p{M}’'-]*$/u.test(text);

const superscript = (place: number) => [...String(place)].map((digit) => SUPERSCRIPTS[Number(digit)]).join("");

const known: WeakMap<PlainReading, Map<number, number>> = new WeakMap();

/** Where each token of the text stands for the first time. */
function firstPositions(reading: PlainReading) {
  let first = known.get(reading);
  if (!first)
    known.set(
      reading,
      (first = new Map(reading.tokens.map(({ id }, position) => [id, position] as [number, number]).reverse())),
    );
  return first;
}

/** The place, from 0, of the token that a cell prints among its likeliest; −1 if the filters leave none. */
export function printedPlace(reading: PlainReading, { tap, position }: Cell, { words_only, hide_prompt }: Printing) {
  if (!words_only && !hide_prompt) return 0;
  const start = (tap * reading.n_tokens + position) * reading.top_k;
  const first = firstPositions(reading);
  for (let place = 0; place < reading.top_k; place++) {
    const id = reading.top_ids[start + place];
    if (words_only && !isWordLike(tokenById(reading, id).text)) continue;
    if (hide_prompt && (first.get(id) ?? Infinity) <= position) continue;
    return place;
  }
  return -1;
}

/** The most lines that a cell has. */
export const linesIn = ({ prints }: Printing, is_comparison: boolean) =>
  prints === "both" || (is_comparison && prints !== "number") ? 2 : 1;

/** The token that a cell prints, with its place unless that is the first. */
function printedToken(reading: PlainReading, cell: Cell, printing: Printing) {
  const place = printedPlace(reading, cell, printing);
  const id = printedId(reading, cell, printing);
  return { id, name: id === null ? "·" : tokenById(reading, id).shown + (place > 0 ? superscript(place + 1) : "") };
}

export function printedId(reading: PlainReading, cell: Cell, printing: Printing) {
  const place = printedPlace(reading, cell, printing);
  return place < 0 ? null : reading.top_ids[(cell.tap * reading.n_tokens + cell.position) * reading.top_k + place];
}

/**
 * The lines of text in a cell, one or two. Where two texts are compared and the second guesses another token, that
 * stands after “→”.
 * @param value of the view at the cell
 * @param deeper_tap the shown row that is next towards final; null at the last one
 */
export function linesOf(
  reading: PlainReading,
  comparison: Comparison | null,
  cell: Cell,
  printing: Printing,
  view: { kind: Kind },
  value: number,
  deeper_tap: number | null,
): string[] {
  const { prints } = printing;
  if (prints === "number") return [numberIn(view, value)];
  const { id, name } = printedToken(reading, cell, printing);
  const other_cell = comparison && counterpart(comparison, cell);
  const other = other_cell && printedToken(comparison.second, other_cell, printing);
  const arrow = other && other.id !== id ? `→ ${other.name}` : "";
  if (prints === "both") return [`${name} ${arrow}`.trim(), numberIn(view, value)];
  if (arrow) return [name, arrow];
  const is_repeated =
    prints === "change" &&
    deeper_tap !== null &&
    printedId(reading, { tap: deeper_tap, position: cell.position }, printing) === id;
  return [is_repeated ? "" : name];
}

/** The filters in words, for the legend; empty if there are none. */
export const filterWords = ({ prints, words_only, hide_prompt }: Printing) =>
  [
    prints === "change" ? "token only where the next row’s differs" : "",
    prints !== "number" && words_only ? "word-like tokens only" : "",
    prints !== "number" && hide_prompt ? "tokens of the prompt hidden" : "",
  ]
    .filter(Boolean)
    .join(" · ") +
  (prints !== "number" && (words_only || hide_prompt) ? " · ranks count all tokens, a raised number is the place" : "");
