/** Tables of tokens: a token's name selects it everywhere, and what is selected is marked. */
import { element } from "../ui/dom.ts";
import { createTable } from "../ui/sortable-table.ts";
import type { Column } from "../ui/sortable-table.ts";
import type { Selection } from "../state/selection.ts";

const PAGE_SIZE = 50;

export function tokenButton(id: number, shown: string, selection: Selection) {
  const made = element("button", "token-button token", shown);
  made.type = "button";
  made.title = `#${id}: select it everywhere; with Shift, add it or take it away`;
  made.dataset.token = made.dataset.key = String(id);
  made.addEventListener("click", (event) => pick(selection, id, event.shiftKey || event.ctrlKey || event.metaKey));
  return made;
}

/** @param is_more beside what is selected already */
export const pick = (selection: Selection, id: number, is_more: boolean) =>
  is_more ? selection.toggleToken(id) : selection.setTokens([id]);

/** Marks the lines whose token is selected. */
export function markPicked(box: Element, selection: Selection) {
  for (const made of box.querySelectorAll<HTMLElement>("button[data-token]"))
    made.setAttribute("aria-pressed", String(selection.tokens.has(Number(made.dataset.token))));
}

export function createTokenTable<R>({
  selection,
  page_size = PAGE_SIZE,
  ...how
}: {
  label: string;
  columns: Column<R>[];
  selection: Selection;
  page_size?: number;
  sort?: { column: number; is_down: boolean } | null;
}) {
  const table = createTable({
    ...how,
    page_size,
    is_full_height: true,
    onDraw: (body) => markPicked(body, selection),
  });
  table.element.classList.add("token-table");
  return { ...table, mark: () => markPicked(table.element, selection) };
}
