/** What a hand does to a cloud: zoom and move (d3-zoom), a rectangle, a click, the pointer over it, keys. */
import { select } from "d3-selection";
import { zoom, zoomIdentity } from "d3-zoom";
import { beginsGesture } from "../../ui/gesture.ts";
import type { D3ZoomEvent } from "d3-zoom";
import type { ZoomTransform } from "d3-zoom";

export type Box = { left: number; top: number; right: number; bottom: number };

const MAX_ZOOM = 1000;
const STEP = 1.6;
const MOVE = 60;
const MIN_DRAG = 4;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] } as Record<
  string,
  [number, number]
>;

export function createGestures(
  canvas: HTMLCanvasElement,
  on: {
    can_zoom: boolean;
    /** whether a plain drag draws a rectangle */
    isSelecting: () => boolean;
    zoomed: (transform: ZoomTransform) => void;
    point: (x: number, y: number) => void;
    leave: () => void;
    click: (x: number, y: number, adds: boolean) => void;
    /** while it is drawn, and when it is over */
    box: (box: Box | null, is_over: boolean, adds: boolean) => void;
    /** to the next point in a direction */
    step: (dx: number, dy: number) => void;
    enter: (adds: boolean) => void;
    /** where a zoom without a pointer goes */
    focus: () => [number, number];
  },
) {
  const surface = select(canvas);
  const scaling = zoom<HTMLCanvasElement, unknown>()
    .scaleExtent([1, MAX_ZOOM])
    .filter(
      (event: MouseEvent | TouchEvent) =>
        on.can_zoom &&
        beginsGesture(event, canvas) &&
        (event.type === "wheel" || "touches" in event || !on.isSelecting()),
    )
    .on("zoom", ({ transform }: D3ZoomEvent<HTMLCanvasElement, unknown>) => on.zoomed(transform));
  if (on.can_zoom) surface.call(scaling);
  const transition = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 120;
  // d3-zoom takes a selection or a transition; without d3-transition a selection has none.
  const calm = () => {
    const { transition: start } = surface as { transition?: () => { duration: (ms: number) => typeof surface } };
    return transition > 0 && start ? start.call(surface).duration(transition) : surface;
  };
  let scale = 1;

  let from: { x: number; y: number } | null = null;
  let was_dragged = false;
  const adds = (event: MouseEvent | KeyboardEvent) => event.ctrlKey || event.metaKey;
  const boxTo = ({ offsetX: x, offsetY: y }: PointerEvent): Box | null =>
    from && {
      left: Math.min(from.x, x),
      right: Math.max(from.x, x),
      top: Math.min(from.y, y),
      bottom: Math.max(from.y, y),
    };

  canvas.addEventListener("pointerdown", (event) => {
    was_dragged = false;
    if (from && !event.isPrimary) {
      // A second finger zooms instead.
      from = null;
      return on.box(null, false, false);
    }
    if (event.button !== 0 || !(event.shiftKey || on.isSelecting())) return;
    from = { x: event.offsetX, y: event.offsetY };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const box = boxTo(event);
    if (!box)
      return event.buttons === 0 && event.pointerType !== "touch" ? on.point(event.offsetX, event.offsetY) : undefined;
    was_dragged ||= box.right - box.left > MIN_DRAG || box.bottom - box.top > MIN_DRAG;
    if (was_dragged) on.box(box, false, adds(event));
  });
  const finish = (event: PointerEvent) => {
    const box = was_dragged && event.type === "pointerup" ? boxTo(event) : null;
    if (from && was_dragged) on.box(box, true, adds(event));
    from = null;
  };
  canvas.addEventListener("pointerup", finish);
  canvas.addEventListener("pointercancel", finish);
  canvas.addEventListener("pointerleave", () => from ?? on.leave());
  canvas.addEventListener("click", (event) => {
    if (!was_dragged) on.click(event.offsetX, event.offsetY, adds(event) || event.shiftKey);
    was_dragged = false;
  });
  canvas.addEventListener("blur", on.leave);

  canvas.addEventListener("keydown", (event) => {
    const is_enter = event.key === "Enter" || event.key === " ";
    if (event.altKey || event.metaKey || (event.ctrlKey && !is_enter)) return;
    const arrow = ARROWS[event.key];
    if (arrow && event.shiftKey && scale > 1)
      scaling.translateBy(surface, (-arrow[0] * MOVE) / scale, (-arrow[1] * MOVE) / scale);
    else if (arrow) on.step(...arrow);
    else if (on.can_zoom && (event.key === "+" || event.key === "=")) zoomBy(STEP);
    else if (on.can_zoom && event.key === "-") zoomBy(1 / STEP);
    else if (on.can_zoom && event.key === "0") reset();
    else if (is_enter) on.enter(event.ctrlKey || event.shiftKey);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  const zoomBy = (factor: number) => scaling.scaleBy(calm(), factor, on.focus());
  const reset = () => scaling.transform(calm(), zoomIdentity);

  return {
    zoomBy,
    reset,
    /** Back to all, at once and without a word. */
    forget: () => scaling.transform(surface, zoomIdentity),
    zoomTo: (transform: ZoomTransform) => scaling.transform(surface, transform),
    setScale: (k: number) => void (scale = k),
    /** The part of the plane that zooming and panning cannot leave. */
    setFrame({ left, top, right, bottom }: Box) {
      scaling
        .extent([
          [left, top],
          [right, bottom],
        ])
        .translateExtent([
          [left, top],
          [right, bottom],
        ]);
    },
  };
}
