// @ts-check
/** What stands around a cloud: its legend and tools above, what is pointed at below, and two canvases, one over the other. */
import { button, element } from "../dom.js";

const ZOOM_STEP = 1.6;

/** @param {string} label @param {string} spoken @param {() => void} onClick */
function tool(label, spoken, onClick) {
  const made = button("chip small", label, onClick);
  made.setAttribute("aria-label", spoken);
  return made;
}

/**
 * @param {HTMLElement} home
 * @param {object} how
 * @param {string} how.label @param {boolean} how.is_small @param {boolean} how.can_select whether a rectangle selects
 * @param {HTMLElement} how.legend
 * @param {{ zoomBy: (factor: number) => void, reset: () => void }} on
 */
export function createHead(home, { label, is_small, can_select, legend }, on) {
  const [base, top] = [element("canvas", "cloud-base"), element("canvas", "cloud-top")];
  const stack = element("div", "cloud-stack", base, top);
  const readout = element("p", "cloud-readout muted");
  readout.setAttribute("aria-live", "polite");
  top.tabIndex = 0;
  top.setAttribute("role", "application");
  top.setAttribute("aria-roledescription", "scatter");
  top.setAttribute("aria-label", `${label}. Arrow keys go from point to point, Enter selects.${is_small ? "" : " Plus and minus zoom, 0 shows all; with Shift, the arrow keys move what is zoomed."}`);

  let is_selecting = false;
  const mode = button("chip small", "Select", () => setMode(!is_selecting));
  mode.title = "Drag a rectangle to select; Shift and drag does so as well";
  /** @param {boolean} on */
  function setMode(on) {
    is_selecting = on;
    mode.setAttribute("aria-pressed", String(on));
    // Else the browser takes a finger's drag for scrolling.
    top.style.touchAction = on ? "none" : "";
  }
  setMode(false);
  const tools = element("div", "cloud-tools",
    tool("+", "Zoom in", () => on.zoomBy(ZOOM_STEP)), tool("−", "Zoom out", () => on.zoomBy(1 / ZOOM_STEP)), tool("All", "Show all", on.reset));
  if (can_select) tools.append(mode);
  home.classList.add("cloud");
  home.replaceChildren(...(is_small ? [stack] : [element("div", "cloud-head", legend, tools), stack, readout]));

  return { base, top, stack, readout, setMode, isSelecting: () => is_selecting, offersSelecting: (/** @type {boolean} */ is_offered) => void (mode.hidden = !is_offered) };
}

/** A canvas of this size in CSS pixels, cleared. @param {HTMLCanvasElement} canvas @param {number} width @param {number} height */
export function cleared(canvas, width, height) {
  const ratio = window.devicePixelRatio;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
  const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, width, height);
  return ctx;
}
