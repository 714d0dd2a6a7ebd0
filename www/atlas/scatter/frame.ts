/** What stands around a cloud: its legend and tools above, what is pointed at below, and two canvases, one over the other. */
import { button, element } from "../../ui/dom.ts";

const ZOOM_STEP = 1.6;

function tool(label: string, spoken: string, onClick: () => void) {
  const made = button("chip small", label, onClick);
  made.setAttribute("aria-label", spoken);
  return made;
}

export function createFrame(
  home: HTMLElement,
  {
    label,
    is_small,
    can_select,
    legend,
  }: {
    label: string;
    is_small: boolean;
    /** whether a rectangle selects */
    can_select: boolean;
    legend: HTMLElement;
  },
  on: { zoomBy: (factor: number) => void; reset: () => void },
) {
  const [base, top] = [element("canvas", "cloud-base"), element("canvas", "cloud-top")];
  const stack = element("div", "cloud-stack", base, top);
  const readout = element("p", "cloud-readout muted");
  readout.setAttribute("aria-live", "polite");
  top.tabIndex = 0;
  top.setAttribute("role", "application");
  top.setAttribute("aria-roledescription", "scatter");
  top.setAttribute(
    "aria-label",
    `${label}. Arrow keys go from point to point, Enter selects.${is_small ? "" : " Plus and minus zoom, 0 shows all; with Shift, the arrow keys move what is zoomed."}`,
  );

  let is_selecting = false;
  const mode = button("chip small", "Select", () => setMode(!is_selecting));
  mode.title = "Drag a rectangle to select; Shift and drag does so as well";
  function setMode(on: boolean) {
    is_selecting = on;
    mode.setAttribute("aria-pressed", String(on));
    // Else the browser takes a finger's drag for scrolling.
    top.style.touchAction = on ? "none" : "";
  }
  setMode(false);
  const tools = element(
    "div",
    "cloud-tools",
    tool("+", "Zoom in", () => on.zoomBy(ZOOM_STEP)),
    tool("−", "Zoom out", () => on.zoomBy(1 / ZOOM_STEP)),
    tool("All", "Show all", on.reset),
  );
  if (can_select) tools.append(mode);
  home.classList.add("cloud");
  home.replaceChildren(...(is_small ? [stack] : [element("div", "cloud-head", legend, tools), stack, readout]));

  return {
    base,
    top,
    stack,
    readout,
    setMode,
    isSelecting: () => is_selecting,
    offersSelecting: (is_offered: boolean) => void (mode.hidden = !is_offered),
  };
}

/** A canvas of this size in CSS pixels, cleared. */
export function cleared(canvas: HTMLCanvasElement, width: number, height: number) {
  const ratio = window.devicePixelRatio;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const ctx = canvas.getContext("2d") as CanvasRenderingContext2D;
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, width, height);
  return ctx;
}
