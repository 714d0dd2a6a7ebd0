/** What a hand does to the token matrix: wheel and fingers (d3-zoom), the pointer over it, clicks, keys. */
import { pointers, select } from "d3-selection";
import { zoom, zoomIdentity } from "d3-zoom";
import { beginsGesture } from "../../ui/gesture.ts";
import type { D3ZoomEvent, ZoomTransform } from "d3-zoom";

/** d3-zoom keeps the transform of an element in a field of it. */
type Zoomed = HTMLCanvasElement & { __zoom: ZoomTransform };

const STEP_FACTOR = 1.6;
/** Cells at once with Shift. */
const FAR = 10;
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] } as Record<
  string,
  [number, number]
>;

/** @param on places in pixels of the canvas */
export function createHeatGestures(
  canvas: HTMLCanvasElement,
  on: {
    zoom: (factor: number, at: [number, number]) => void;
    pan: (dx: number, dy: number) => void;
    point: (x: number, y: number) => void;
    leave: () => void;
    click: (x: number, y: number, is_more: boolean) => void;
    step: (dx: number, dy: number) => void;
    zoomHere: (factor: number) => void;
    whole: () => void;
    enter: (is_more: boolean) => void;
  },
) {
  let last = zoomIdentity;
  const gesture = zoom<HTMLCanvasElement, unknown>()
    .filter((event: MouseEvent | TouchEvent) => beginsGesture(event, canvas))
    .on("zoom", ({ transform, sourceEvent }: D3ZoomEvent<HTMLCanvasElement, unknown>) => {
      if (!sourceEvent) return;
      const at = pointers(sourceEvent, canvas);
      const middle = (i: 0 | 1) => at.reduce((sum, point) => sum + point[i], 0) / Math.max(1, at.length);
      if (transform.k !== last.k) on.zoom(transform.k / last.k, [middle(0), middle(1)]);
      else on.pan(transform.x - last.x, transform.y - last.y);
      last = transform;
    })
    .on("end", () => {
      // Only changes count: what the gesture has gathered begins anew, so that it never comes to a limit of its own.
      last = zoomIdentity;
      (canvas as Zoomed).__zoom = zoomIdentity;
    });
  select(canvas).call(gesture).on("dblclick.zoom", null);

  canvas.addEventListener("pointermove", (event) => on.point(event.offsetX, event.offsetY));
  canvas.addEventListener("pointerleave", on.leave);
  canvas.addEventListener("click", (event) =>
    on.click(event.offsetX, event.offsetY, event.shiftKey || event.ctrlKey || event.metaKey),
  );
  canvas.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const arrow = ARROWS[event.key];
    const far = event.shiftKey ? FAR : 1;
    if (arrow) on.step(arrow[0] * far, arrow[1] * far);
    else if (event.key === "+" || event.key === "=") on.zoomHere(STEP_FACTOR);
    else if (event.key === "-") on.zoomHere(1 / STEP_FACTOR);
    else if (event.key === "0") on.whole();
    else if (event.key === "Enter" || event.key === " ") on.enter(event.shiftKey);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
}
