/** A table whose columns sort, and whose rows can be chosen. */
import { button, element, replaceKeyed } from "./dom.ts";

export interface Column<R> {
  label: string;
  /** to sort by */
  value: (row: R) => number | string;
  /** what is written, if not the value */
  text?: (row: R) => string;
  is_token?: boolean;
}

export function createTable<R>({
  label,
  columns,
  sorted_by,
  onChoose,
  isChosen,
}: {
  label: string;
  columns: Column<R>[];
  /** a column, at first */
  sorted_by: number;
  onChoose?: (row: R) => void;
  isChosen?: (row: R) => boolean;
}) {
  let rows: R[] = [];
  let [by, falls] = [sorted_by, true];
  const head = element("tr", "");
  const body = element("tbody", "");
  const box = element("div", "atlas-table", element("table", "numbers", element("thead", "", head), body));
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", label);

  const titles = columns.map((column, i) => {
    const cell = element(
      "th",
      column.is_token ? "left" : "",
      button("sort", column.label, () => {
        falls = by === i ? !falls : true;
        by = i;
        draw();
      }),
    );
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
    titles.forEach((cell, i) =>
      i === by ? cell.setAttribute("aria-sort", falls ? "descending" : "ascending") : cell.removeAttribute("aria-sort"),
    );
    replaceKeyed(
      body,
      ...sorted().map((row) => {
        const line = element(
          "tr",
          isChosen?.(row) ? "chosen" : "",
          ...columns.map(({ value, text, is_token }, i) => {
            const written = text ? text(row) : String(value(row));
            const cell = element("td", is_token ? "token left" : "");
            if (i === 0 && onChoose) {
              const choose = button("token-button", written, () => onChoose(row));
              choose.dataset.key = written;
              cell.append(choose);
            } else cell.append(written);
            return cell;
          }),
        );
        if (isChosen?.(row)) line.setAttribute("aria-current", "true");
        return line;
      }),
    );
  }

  return {
    element: box,
    show(now: R[]) {
      rows = now;
      draw();
    },
    redraw: draw,
  };
}
