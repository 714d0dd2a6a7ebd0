/** Terms that explain themselves: a button with `data-term` shows what the list in Help says of that term. */
import { byId } from "./dom.ts";

const GAP = 6;
const MARGIN = 8;

export function createGlossary() {
  const sheet = byId("term-sheet");
  document.addEventListener("click", ({ target }) => {
    const button = (target as Element).closest<HTMLElement>("button[data-term]");
    const entry = button && document.getElementById(`term-${button.dataset.term}`);
    if (!button || !entry) return;
    const meaning = entry.nextElementSibling as Element;
    byId("term-name").textContent = entry.textContent;
    byId("term-meaning").replaceChildren(...Array.from(meaning.childNodes, (node) => node.cloneNode(true)));
    sheet.showPopover();
    const { left, top, bottom } = button.getBoundingClientRect();
    const fits = bottom + GAP + sheet.offsetHeight <= document.documentElement.clientHeight;
    const widest = document.documentElement.clientWidth - sheet.offsetWidth - MARGIN;
    sheet.style.left = `${Math.max(MARGIN, Math.min(left, widest))}px`;
    sheet.style.top = `${scrollY + (fits ? bottom + GAP : top - GAP - sheet.offsetHeight)}px`;
  });
}
