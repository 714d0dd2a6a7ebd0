/** A table of tokens that can be sorted by any column and is shown a page at a time, so that thousands of lines do not freeze the page. */
import { button, element } from "../ui/dom.ts";
import { integer } from "../lib/format.ts";
import type { Selection } from "../state/selection.ts";

export interface Column<R> {
  name: string;
  /** more about it */
  title?: string;
  /** what it is sorted by; a column without cannot be */
  by?: (row: R) => number | string;
  show: (row: R) => string | Node;
  class_name?: string;
}

export function tokenButton(id: number, shown: string, selection: Selection) {
  const made = element("button", "token-button token", shown);
  made.type = "button";
  made.title = `#${id}: select it everywhere; with Shift, add it or take it away`;
  made.dataset.token = String(id);
  made.addEventListener("click", (event) => pick(selection, id, event.shiftKey || event.ctrlKey || event.metaKey));
  return made;
}

/** @param is_more beside what is selected already */
export const pick = (selection: Selection, id: number, is_more: boolean) =>
  is_more ? selection.toggleToken(id) : selection.setTokens([id]);

/** Marks the lines whose token is selected. */
export function markPicked(box: Element, selection: Selection) {
  for (const made of box.querySelectorAll("button[data-token]")) {
    const is_picked = selection.tokens.has(Number((made as HTMLElement).dataset.token));
    made.setAttribute("aria-pressed", String(is_picked));
  }
}

export function createListing<R>({
  label,
  columns,
  selection,
  page_size = 50,
  sort: first = null,
}: {
  label: string;
  columns: Column<R>[];
  selection: Selection;
  page_size?: number;
  sort?: { column: number; is_down: boolean } | null;
}) {
  const table = element("table", "numbers listing");
  const box = element("div", "scroll-x listing-box", table);
  box.tabIndex = 0;
  box.setAttribute("role", "region");
  box.setAttribute("aria-label", label);
  const words = element("span", "muted");
  const back = button("chip small", "Previous", () => turn(-1));
  const on = button("chip small", "Next", () => turn(1));
  const pager = element("div", "pager", back, words, on);
  let sort = first;
  let rows: R[] = [];
  let page = 0;

  const nPages = () => Math.max(1, Math.ceil(rows.length / page_size));

  function turn(step: number) {
    page = Math.min(nPages() - 1, Math.max(0, page + step));
    draw();
  }

  function order() {
    if (!sort) return;
    const { column, is_down } = sort;
    const { by } = columns[column];
    if (!by) return;
    const keyed = rows.map((row, i) => ({ row, i, key: by(row) }));
    const sign = is_down ? -1 : 1;
    keyed.sort((a, b) => sign * (a.key < b.key ? -1 : a.key > b.key ? 1 : 0) || a.i - b.i);
    rows = keyed.map(({ row }) => row);
  }

  function head(i: number) {
    const { name, title, by, class_name } = columns[i];
    const cell = element("th", class_name ?? "");
    cell.scope = "col";
    if (title) cell.title = title;
    if (!by) {
      cell.textContent = name;
      return cell;
    }
    const is_mine = sort?.column === i;
    cell.setAttribute("aria-sort", is_mine ? (sort?.is_down ? "descending" : "ascending") : "none");
    cell.append(
      button("sort", name, () => {
        sort = { column: i, is_down: is_mine ? !sort?.is_down : true };
        page = 0;
        order();
        draw();
        table.querySelectorAll("th")[i]?.querySelector("button")?.focus();
      }),
    );
    return cell;
  }

  function draw() {
    const from = page * page_size;
    const some = rows.slice(from, from + page_size);
    table.replaceChildren(
      element("thead", "", element("tr", "", ...columns.map((_, i) => head(i)))),
      element(
        "tbody",
        "",
        ...some.map((row) =>
          element("tr", "", ...columns.map(({ show, class_name }) => element("td", class_name ?? "", show(row)))),
        ),
      ),
    );
    words.textContent =
      rows.length === 0 ? "none" : `${integer(from + 1)}–${integer(from + some.length)} of ${integer(rows.length)}`;
    [back.disabled, on.disabled] = [page === 0, page >= nPages() - 1];
    pager.hidden = nPages() < 2;
    mark();
  }

  const mark = () => markPicked(table, selection);

  return {
    element: element("div", "listing-whole", box, pager),
    show(wanted: R[]) {
      rows = [...wanted];
      page = 0;
      order();
      draw();
    },
    /** In the order shown. */
    rows: () => rows,
    mark,
  };
}
