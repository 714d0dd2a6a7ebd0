/**
 * Whether an event begins a zoom or a pan of a picture. A page that stops scrolling under the pointer is a nuisance: the
 * wheel zooms with Ctrl, or once the picture has the focus, and one finger scrolls the page.
 */
export function beginsGesture(event: MouseEvent | TouchEvent, picture: HTMLElement) {
  if (event.type === "wheel") return event.ctrlKey || event.metaKey || document.activeElement === picture;
  if ("touches" in event) return event.touches.length > 1;
  return event.button === 0 && !event.shiftKey && !event.ctrlKey && !event.metaKey;
}
