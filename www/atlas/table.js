// @ts-check
/** A table whose columns sort, and whose rows can be chosen. */
import { button, element } from "../dom.js";

/**
 * @template R
 * @typedef {object} Column
 * @property {string} label
 * @property {(row: R) => number | string} value to sort by
 * @property {(row: R) => string} [text] what is written, if not the value
 * @property {boolean} [is_token]
 */

/**
 * @template R
 * @param {object} what
 * @param {string} what.label
 * @param {Column<R>[]} what.columns
 * @param {number} what.sorted_by a column, at first
 * @param {(row: R) => void} [what.onChoose]
 * @param {(row: R) => boolean} [what.isChosen]
 */
export function createTable({ label, columns, sorted_by, onChoose, isChosen }) {
  /** @type {R[]} */
  let rows = [];
  let [by, falls] = [sorted_by, true];
  const head = element("tr", "");
  const body = element("tbody", "");
  const box = element("div", "atlas-table", element("table", "numbers", element("thead", "", head), body));
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", label);

  const titles = columns.map((column, i) => {
    const cell = element("th", column.is_token ? "left" : "", button("sort", column.label, () => {
      falls = by === i ? !falls : true;
      by = i;
      draw();
    }));
    cell.scope = "col";
    return cell;
  });
  head.append(...titles);

  function sorted() {
    const { value } = columns[by];
    const sign = falls ? -1 : 1;
    return rows.toSorted((a, b) => {
      const [one, other] = [value(a), value(b)];
      return sign * (typeof one === "string" ? one.localeCompare(String(other)) : one - Number(other));
    });
  }

  function draw() {
    titles.forEach((cell, i) => (i === by ? cell.setAttribute("aria-sort", falls ? "descending" : "ascending") : cell.removeAttribute("aria-sort")));
    body.replaceChildren(...sorted().map((row) => {
      const line = element("tr", isChosen?.(row) ? "chosen" : "", ...columns.map(({ value, text, is_token }, i) => {
        const written = text ? text(row) : String(value(row));
        const cell = element("td", is_token ? "token left" : "");
        cell.append(i === 0 && onChoose ? button("token-button", written, () => onChoose(row)) : written);
        return cell;
      }));
      if (isChosen?.(row)) line.setAttribute("aria-current", "true");
      return line;
    }));
  }

  return {
    element: box,
    /** @param {R[]} now */
    show(now) {
      rows = now;
      draw();
    },
    redraw: draw,
  };
}
