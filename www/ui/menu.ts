/** A menu that opens below a button: a popover, which the browser closes on Escape and on a click elsewhere. */

const GAP = 6;

/** @param onToggle called when it opens and when it closes */
export function createMenu(opener: HTMLButtonElement, sheet: HTMLElement, onToggle: () => void = () => {}) {
  sheet.popover = "auto";
  opener.popoverTargetElement = sheet;
  opener.setAttribute("aria-haspopup", "true");
  sheet.addEventListener("beforetoggle", (event) => {
    const is_open = event.newState === "open";
    opener.setAttribute("aria-expanded", String(is_open));
    if (!is_open) return;
    // Popovers stand in the top layer: their place is given in the document's own coordinates.
    const { right, bottom } = opener.getBoundingClientRect();
    sheet.style.top = `${bottom + scrollY + GAP}px`;
    sheet.style.right = `${document.documentElement.clientWidth - right}px`;
  });
  sheet.addEventListener("toggle", onToggle);
  opener.setAttribute("aria-expanded", "false");
}
