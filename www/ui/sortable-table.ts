/** A table that is sorted by any of its columns, and is shown a page at a time if it is long. */
import { ascending } from "d3-array";
import { button, element, replaceKeyed } from "./dom.ts";
import { integer } from "../lib/format.ts";

export interface Column<R> {
  name: string;
  /** more about it */
  title?: string;
  /** what it is sorted by; a column without cannot be */
  by?: (row: R) => number | string;
  show: (row: R) => string | Node;
  class_name?: string;
}

/**
 * @param sort null: in the order in which the rows come
 * @param is_full_height whether all rows of the page are shown without scrolling
 * @param onDraw when the rows in sight are others
 */
export function createTable<R>({
  label,
  columns,
  page_size = Infinity,
  sort = null,
  is_full_height = false,
  isChosen,
  onDraw,
}: {
  label: string;
  columns: Column<R>[];
  page_size?: number;
  sort?: { column: number; is_down: boolean } | null;
  is_full_height?: boolean;
  isChosen?: (row: R) => boolean;
  onDraw?: (body: Element) => void;
}) {
  const body = element("tbody", "");
  const titles = columns.map(titleOf);
  const table = element("table", "numbers", element("thead", "", element("tr", "", ...titles)), body);
  const box = element("div", is_full_height ? "sortable is-high" : "sortable", table);
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", label);
  const words = element("span", "muted");
  const back = button("chip small", "Previous", () => turn(-1));
  const on = button("chip small", "Next", () => turn(1));
  const pager = element("div", "pager", back, words, on);
  let rows: R[] = [];
  let page = 0;

  const nPages = () => Math.max(1, Math.ceil(rows.length / page_size));

  function turn(step: number) {
    page = Math.min(nPages() - 1, Math.max(0, page + step));
    draw();
  }

  function order() {
    const by = sort && columns[sort.column].by;
    if (!by) return;
    const sign = sort?.is_down ? -1 : 1;
    const keys = new Map(rows.map((row) => [row, by(row)]));
    rows.sort((a, b) => sign * (ascending(keys.get(a), keys.get(b)) || 0));
  }

  function titleOf({ name, title, by, class_name }: Column<R>, column: number) {
    const cell = element("th", class_name ?? "");
    cell.scope = "col";
    if (title) cell.title = title;
    const press = () => {
      sort = { column, is_down: sort?.column === column ? !sort.is_down : true };
      page = 0;
      order();
      draw();
    };
    cell.append(by ? button("sort", name, press) : name);
    return cell;
  }

  function lineOf(row: R) {
    const cells = columns.map(({ show, class_name }) => element("td", class_name ?? "", show(row)));
    const is_chosen = isChosen?.(row) ?? false;
    const line = element("tr", is_chosen ? "chosen" : "", ...cells);
    if (is_chosen) line.setAttribute("aria-current", "true");
    return line;
  }

  function draw() {
    for (const [i, cell] of titles.entries())
      if (columns[i].by)
        cell.setAttribute("aria-sort", sort?.column !== i ? "none" : sort.is_down ? "descending" : "ascending");
    const from = page_size === Infinity ? 0 : page * page_size;
    const some = rows.slice(from, from + page_size);
    replaceKeyed(body, ...some.map(lineOf));
    words.textContent =
      rows.length === 0 ? "none" : `${integer(from + 1)}–${integer(from + some.length)} of ${integer(rows.length)}`;
    [back.disabled, on.disabled] = [page === 0, page >= nPages() - 1];
    pager.hidden = nPages() < 2;
    onDraw?.(body);
  }

  return {
    element: element("div", "", box, pager),
    show(wanted: R[]) {
      rows = [...wanted];
      page = 0;
      order();
      draw();
    },
    /** In the order shown. */
    rows: () => rows,
    redraw: draw,
  };
}
