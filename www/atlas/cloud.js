// @ts-check
/**
 * A scatter of up to 60,000 points on a canvas. What is selected anywhere is drawn on top in the accent colour. The
 * points themselves are painted only when they, their axes or their size change; what follows the pointer has a canvas
 * of its own above them.
 */
import { quadtree } from "d3-quadtree";
import { zoomIdentity } from "d3-zoom";
import { button, element } from "../dom.js";
import { integer } from "../format.js";
import { SANS, MONO, paint } from "../paint.js";
import { readPalette } from "../palette.js";
import { escaped, innerOf } from "../svg.js";
import { axesOf, scaleFor } from "./axes.js";
import { extentOf, resolved, shades, shadesOf } from "./colours.js";
import { createGestures } from "./gestures.js";
import { placed } from "./labels.js";
import { createLegend } from "./cloudlegend.js";
import { groupsOf, opacityOf, paintPoints, pathsOf, radiusOf } from "./points.js";
import { drawsItself, pngOf } from "./sheet.js";

/** @typedef {import("./axes.js").Scale} Scale */
/** @typedef {ReturnType<typeof createCloud>} Cloud */

/**
 * @typedef {object} CloudData
 * @property {ArrayLike<number>} x
 * @property {ArrayLike<number>} y
 * @property {ArrayLike<number>} [ids] what each point stands for: a token or a channel; its index, if absent
 * @property {string} x_label
 * @property {string} y_label
 * @property {"linear" | "log"} [x_kind]
 * @property {"linear" | "log"} [y_kind]
 * @property {[number, number]} [x_extent] instead of that of the points; what lies beyond stands on the edge
 * @property {[number, number]} [y_extent]
 * @property {{ classes: { name: string, css: string }[], of: Uint8Array | null } | { label: string, values: ArrayLike<number> }} [colours]
 * @property {(id: number) => string} [name] of a point
 * @property {(index: number) => string} [about] what else there is to say of a point
 * @property {number[]} [labelled] points whose names are always shown, by index
 * @property {{ x: ArrayLike<number>, y: ArrayLike<number>, name: string, css: string }} [over] drawn as a line over the points
 * @property {string} [key] while it is the same, the zoom stays
 */

const HEIGHT = 460;
const REACH = 14;
const MAX_NAMES = 70;
/** With more points than these in sight, their names would only be a clutter. */
const MAX_NAMED = 400;

/**
 * @param {HTMLElement} home an element that is filled
 * @param {object} options
 * @param {import("./selection.js").Selection} options.selection
 * @param {"tokens" | "channel" | null} [options.selects] what its points are
 * @param {string} options.label what it shows, for those who do not see it
 * @param {number} [options.height]
 * @param {boolean} [options.is_small] one of many: no zoom, no legend, no names of axes
 * @param {boolean} [options.is_mono] whether names are tokens
 * @param {(index: number | null) => void} [options.onHover]
 * @param {(hidden: number[]) => void} [options.onHidden] the classes that a person switched off
 */
export function createCloud(home, { selection, selects = null, label, height = HEIGHT, is_small = false, is_mono = selects === "tokens", onHover, onHidden }) {
  const [base, top] = [element("canvas", "cloud-base"), element("canvas", "cloud-top")];
  const stack = element("div", "cloud-stack", base, top);
  const readout = element("p", "cloud-readout muted");
  const legend = createLegend((hidden) => {
    hide(hidden);
    onHidden?.(hidden);
  });
  top.tabIndex = 0;
  top.setAttribute("role", "application");
  top.setAttribute("aria-roledescription", "scatter");
  top.setAttribute("aria-label", `${label}. ${is_small ? "" : "Plus and minus zoom, 0 shows all. "}Arrow keys go from point to point, Enter selects.`);
  readout.setAttribute("aria-live", "polite");
  let is_selecting = false;
  const mode = button("chip small", "Select", () => setMode(!is_selecting));
  mode.title = "Drag a rectangle to select; Shift and drag does so as well";
  mode.setAttribute("aria-pressed", "false");
  const tools = element("div", "cloud-tools",
    button("chip small", "+", () => gestures.zoomBy(1.6)), button("chip small", "−", () => gestures.zoomBy(1 / 1.6)), button("chip small", "All", () => gestures.reset()));
  [...tools.children].forEach((child, i) => child.setAttribute("aria-label", ["Zoom in", "Zoom out", "Show all"][i]));
  if (selects === "tokens") tools.append(mode);
  home.classList.add("cloud");
  home.replaceChildren(...(is_small ? [stack] : [element("div", "cloud-head", legend.element, tools), stack, readout]));

  /** @type {CloudData | null} */
  let data = null;
  let [width, shown_height] = [0, height];
  let transform = zoomIdentity;
  /** @type {Set<number>} */
  let hidden = new Set();
  /** @type {number | null} */
  let hovered = null;
  /** @type {import("./gestures.js").Box | null} */
  let box = null;
  /** Places before zooming, in pixels. */
  let [base_x, base_y] = [new Float64Array(0), new Float64Array(0)];
  let [xs, ys] = [base_x, base_y];
  /** @type {Uint32Array[]} */
  let groups = [];
  /** @type {Map<number, number[]>} the points of an id: several series may show the same channel */
  let points_of = new Map();
  /** @type {import("d3-quadtree").Quadtree<number> | null} */
  let tree = null;
  let n_left_out = 0;
  let asked = 0;
  const idOf = (/** @type {number} */ i) => (data?.ids ? data.ids[i] : i);
  const classOf = (/** @type {number} */ i) => (data?.colours && "classes" in data.colours && data.colours.of ? data.colours.of[i] : 0);
  const isVisible = (/** @type {number} */ i) => !Number.isNaN(base_x[i]) && !hidden.has(classOf(i));
  const nameOf = (/** @type {number} */ i) => data?.name?.(idOf(i)) ?? String(idOf(i));

  /** @returns {import("./axes.js").Frame} */
  const frame = () => is_small
    ? { left: 38, top: 6, right: width - 6, bottom: shown_height - 20, width, height: shown_height }
    : { left: 58, top: 26, right: width - 12, bottom: shown_height - 42, width, height: shown_height };

  /** @returns {{ x: Scale, y: Scale }} before zooming */
  function scales() {
    const { x_kind = "linear", y_kind = "linear", over, x_extent, y_extent } = /** @type {CloudData} */ (data);
    const { x, y } = /** @type {CloudData} */ (data);
    const { left, top, right, bottom } = frame();
    const both = (/** @type {ArrayLike<number>} */ a, /** @type {ArrayLike<number> | undefined} */ b, /** @type {string} */ kind) => {
      const usable = (/** @type {ArrayLike<number>} */ values) => extentOf(kind === "log" ? Float64Array.from(values, (value) => (value > 0 ? value : NaN)) : values);
      const [one, other] = [usable(a), b && b.length > 0 ? usable(b) : null];
      if (!other) return one;
      return a.length > 0 ? /** @type {[number, number]} */ ([Math.min(one[0], other[0]), Math.max(one[1], other[1])]) : other;
    };
    return {
      x: scaleFor(x_kind, x_extent ?? both(x, over?.x, x_kind), [left, right]),
      y: scaleFor(y_kind, y_extent ?? both(y, over?.y, y_kind), [bottom, top]),
    };
  }

  /** Places every point anew: other data, or another size. */
  function place() {
    if (!data || width === 0) return;
    const { x, y } = scales();
    const n = data.x.length;
    [base_x, base_y] = [new Float64Array(n), new Float64Array(n)];
    n_left_out = 0;
    const { left, top, right, bottom } = frame();
    const held = (/** @type {number} */ at, /** @type {number} */ low, /** @type {number} */ high) => Math.min(high, Math.max(low, at));
    const usable = (/** @type {number} */ value, /** @type {string | undefined} */ kind) => Number.isFinite(value) && (kind !== "log" || value > 0);
    for (let i = 0; i < n; i++) {
      const is_usable = usable(data.x[i], data.x_kind) && usable(data.y[i], data.y_kind);
      base_x[i] = is_usable ? held(x(data.x[i]), left, right) : NaN;
      base_y[i] = is_usable ? held(y(data.y[i]), top, bottom) : NaN;
      if (!is_usable) n_left_out++;
    }
    tree = null;
    gestures.setFrame(frame());
    draw();
  }

  /** @param {number} at_x @param {number} at_y on the canvas @param {number} reach */
  function nearest(at_x, at_y, reach) {
    tree ??= quadtree(Array.from(base_x.keys()).filter(isVisible), (i) => base_x[i], (i) => base_y[i]);
    const [x, y] = transform.invert([at_x, at_y]);
    return tree.find(x, y, reach / transform.k) ?? null;
  }

  /** @param {number | null} i */
  function hover(i) {
    if (hovered === i) return;
    hovered = i;
    onHover?.(i);
    readout.replaceChildren(...(i === null ? [hint()] : [element("span", is_mono ? "token cloud-name" : "cloud-name", nameOf(i)), ` ${data?.about?.(i) ?? ""}`]));
    drawTop();
  }

  const hint = () => [
    data && data.x.length > 0 ? `${integer(data.x.length - n_left_out)} points` : "",
    n_left_out > 0 ? `${integer(n_left_out)} left out: ${data?.x_kind === "log" || data?.y_kind === "log" ? "a log axis has no place for zero or less" : "not a number"}` : "",
    `Ctrl + wheel zooms${selects === "tokens" ? ", Shift + drag selects" : selects === "channel" ? ", a click selects" : ""}`,
  ].filter(Boolean).join(" · ");

  /** @param {number} i @param {boolean} adds */
  function choose(i, adds) {
    const id = idOf(i);
    if (selects === "channel") return selection.set_channel(id);
    if (selects !== "tokens") return;
    const { tokens } = selection;
    if (adds) selection.toggle_token(id);
    else selection.set_tokens(tokens.size === 1 && tokens.has(id) ? [] : [id]);
  }

  const gestures = createGestures(top, {
    can_zoom: !is_small,
    is_selecting: () => is_selecting,
    zoomed(now) {
      transform = now;
      gestures.setScale(now.k);
      hovered = null;
      ask();
    },
    point: (x, y) => hover(nearest(x, y, REACH)),
    leave: () => hover(null),
    click(x, y, adds) {
      const i = nearest(x, y, REACH);
      if (i !== null) choose(i, adds);
    },
    box(now, is_over, adds) {
      box = is_over ? null : now;
      if (is_over && now && selects === "tokens") {
        const inside = Array.from(xs.keys()).filter((i) => isVisible(i) && xs[i] >= now.left && xs[i] <= now.right && ys[i] >= now.top && ys[i] <= now.bottom).map(idOf);
        selection.set_tokens(adds ? [...selection.tokens, ...inside] : inside);
        setMode(false);
      }
      drawTop();
    },
    step(dx, dy) {
      const visible = Array.from(xs.keys()).filter(isVisible);
      if (visible.length === 0) return;
      const { left, right, top, bottom } = frame();
      const from = hovered === null ? [(left + right) / 2, (top + bottom) / 2] : [xs[hovered], ys[hovered]];
      // The nearest one ahead, those off to the side counted as farther away.
      const cost = (/** @type {number} */ i) => {
        const [x, y] = [xs[i] - from[0], ys[i] - from[1]];
        const [ahead, aside] = [x * dx + y * dy, Math.abs(x * dy) + Math.abs(y * dx)];
        return ahead > 0.5 ? ahead + 2 * aside : Infinity;
      };
      const best = visible.reduce((best, i) => (cost(i) < cost(best) ? i : best), visible[0]);
      if (cost(best) < Infinity || hovered === null) hover(best);
    },
    enter: (adds) => hovered !== null && choose(hovered, adds),
  });

  /** @param {boolean} on */
  function setMode(on) {
    is_selecting = on;
    mode.setAttribute("aria-pressed", String(on));
    top.classList.toggle("selecting", on);
  }

  function ask() {
    asked ||= requestAnimationFrame(draw);
  }

  /** The picture under the pointer's layer, for pixels and for paths. */
  function layers() {
    const { x_kind = "linear", y_kind = "linear", x_label, y_label, over } = /** @type {CloudData} */ (data);
    const before = scales();
    const [x, y] = [transform.rescaleX(before.x), transform.rescaleY(before.y)];
    const palette = { ...readPalette(), line: resolved(home, "var(--line)") };
    const axes = axesOf({ x, y, x_kind, y_kind, x_label, y_label, frame: frame(), palette, is_small });
    const css = cssNow();
    const line = over && Array.from(over.x, (value, i) => [x(value), y(over.y[i])]).filter(([a, b]) => Number.isFinite(a) && Number.isFinite(b));
    const n = base_x.length;
    return { axes, css, line, over_css: over ? resolved(home, over.css) : "", palette, look: { radius: radiusOf(n) * (is_small ? 0.72 : 1) * Math.min(2, transform.k ** 0.2), opacity: Math.min(1, opacityOf(n) * transform.k ** 0.15) } };
  }

  /** @returns {string[]} */
  const cssNow = () => (!data?.colours ? [resolved(home, "var(--series-0)")] : "classes" in data.colours ? data.colours.classes.map(({ css }) => resolved(home, css)) : shades());
  const shownGroups = () => groups.map((group, g) => (hidden.has(g) ? new Uint32Array(0) : group));

  /** @param {HTMLCanvasElement} canvas */
  function contextOf(canvas) {
    const ratio = window.devicePixelRatio;
    const [w, h] = [Math.round(width * ratio), Math.round(shown_height * ratio)];
    if (canvas.width !== w || canvas.height !== h) Object.assign(canvas, { width: w, height: h });
    const ctx = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
    ctx.clearRect(0, 0, width, shown_height);
    return ctx;
  }

  function draw() {
    asked = 0;
    if (!data || width === 0 || base_x.length !== data.x.length) return;
    const n = base_x.length;
    if (xs.length !== n) [xs, ys] = [new Float64Array(n), new Float64Array(n)];
    for (let i = 0; i < n; i++) {
      xs[i] = transform.applyX(base_x[i]);
      ys[i] = transform.applyY(base_y[i]);
    }
    const ctx = contextOf(base);
    const { axes, css, line, over_css, look } = layers();
    paint(ctx, axes);
    paintPoints(ctx, xs, ys, shownGroups(), css, frame(), look);
    if (line) {
      const { left, top, right, bottom } = frame();
      ctx.save();
      ctx.beginPath();
      ctx.rect(left, top, right - left, bottom - top);
      ctx.clip();
      ctx.beginPath();
      line.forEach(([a, b], i) => (i === 0 ? ctx.moveTo(a, b) : ctx.lineTo(a, b)));
      Object.assign(ctx, { strokeStyle: over_css, lineWidth: is_small ? 1 : 1.6, lineJoin: "round" });
      ctx.stroke();
      ctx.restore();
    }
    drawTop();
  }

  /** The selected points, and the names that there is room for. */
  function marked() {
    const { left, top, right, bottom } = frame();
    const isInside = (/** @type {number} */ i) => xs[i] >= left && xs[i] <= right && ys[i] >= top && ys[i] <= bottom && isVisible(i);
    const chosen = (selects === "channel" ? [selection.channel] : selects === "tokens" ? [...selection.tokens] : []).flatMap((id) => points_of.get(id) ?? []).filter(isInside);
    const always = (data?.labelled ?? []).filter(isInside);
    const others = transform.k > 1.5 ? visibleFew(isInside) : [];
    const wanted = [...new Set([...(hovered === null ? [] : [hovered]), ...chosen.slice(0, MAX_NAMES), ...always, ...others])].filter(isInside);
    // One name for the points of several series that show the same channel.
    const named = [...new Map(wanted.toReversed().map((i) => [idOf(i), i])).values()].reverse();
    const ruler = /** @type {CanvasRenderingContext2D} */ (top_context.getContext("2d"));
    ruler.font = `${is_small ? 11 : 12}px ${is_mono ? MONO : SANS}`;
    const names = placed(named.map((i) => ({ i, x: xs[i], y: ys[i], text: nameOf(i), width: ruler.measureText(nameOf(i)).width })), { left, top, right: is_small ? right + 4 : right, bottom }).slice(0, MAX_NAMES);
    return { chosen, names };
  }
  const top_context = document.createElement("canvas");

  /** @param {(i: number) => boolean} isInside */
  function visibleFew(isInside) {
    const few = [];
    for (let i = 0; i < xs.length; i++) {
      if (!isInside(i)) continue;
      few.push(i);
      if (few.length > MAX_NAMED) return [];
    }
    return few;
  }

  function drawTop() {
    if (!data || width === 0) return;
    const ctx = contextOf(top);
    const { ink, muted, accent, surface } = readPalette();
    const { chosen, names } = marked();
    const radius = Math.max(2.5, radiusOf(base_x.length) + 1.6) * (is_small ? 0.9 : 1);
    const dot = (/** @type {number} */ i, /** @type {string} */ fill, /** @type {number} */ r) => {
      ctx.beginPath();
      ctx.arc(xs[i], ys[i], r, 0, 2 * Math.PI);
      ctx.fillStyle = fill;
      ctx.fill();
      ctx.strokeStyle = surface;
      ctx.lineWidth = 1;
      ctx.stroke();
    };
    for (const i of chosen) dot(i, accent, radius);
    if (hovered !== null && hovered < xs.length) dot(hovered, ink, radius);
    const is_chosen = new Set(chosen);
    ctx.font = `${is_small ? 11 : 12}px ${is_mono ? MONO : SANS}`;
    ctx.textBaseline = "middle";
    Object.assign(ctx, { strokeStyle: surface, lineWidth: 3, lineJoin: "round" });
    for (const { i, text, at_x, at_y } of names) {
      ctx.strokeText(text, at_x, at_y);
      ctx.fillStyle = i === hovered ? ink : is_chosen.has(i) ? accent : muted;
      ctx.fillText(text, at_x, at_y);
    }
    if (box) {
      ctx.strokeStyle = accent;
      ctx.lineWidth = 1;
      ctx.strokeRect(box.left, box.top, box.right - box.left, box.bottom - box.top);
      ctx.globalAlpha = 0.1;
      ctx.fillStyle = accent;
      ctx.fillRect(box.left, box.top, box.right - box.left, box.bottom - box.top);
      ctx.globalAlpha = 1;
    }
  }

  /** What is drawn now, as the inside of an SVG of the canvas' size. */
  function inside() {
    if (!data || width === 0) return "";
    const { axes, css, line, over_css, palette, look } = layers();
    const { left, top, right, bottom } = frame();
    const { chosen, names } = marked();
    const is_chosen = new Set(chosen);
    const box = `x="${left}" y="${top}" width="${right - left}" height="${bottom - top}" viewBox="${left} ${top} ${right - left} ${bottom - top}"`;
    const path = line ? `<path d="M${line.map(([a, b]) => `${a.toFixed(1)} ${b.toFixed(1)}`).join("L")}" fill="none" stroke="${over_css}" stroke-width="1.6" stroke-linejoin="round"/>` : "";
    const dots = pathsOf(xs, ys, [Uint32Array.from(chosen)], [palette.accent], frame(), { radius: look.radius + 1.6, opacity: 1 });
    return [
      innerOf(axes),
      `<svg ${box}>${pathsOf(xs, ys, shownGroups(), css, frame(), look)}${path}${dots}</svg>`,
      ...names.map(({ i, text, at_x, at_y }) => `<text x="${at_x.toFixed(1)}" y="${at_y.toFixed(1)}" dy=".35em" font-size="${is_small ? 11 : 12}"${is_mono ? ` font-family="${escaped(MONO)}"` : ""} fill="${is_chosen.has(i) ? palette.accent : palette.muted}" xml:space="preserve">${escaped(text)}</text>`),
    ].join("\n");
  }
  drawsItself(base, inside);

  /** @param {number[]} classes */
  function hide(classes) {
    hidden = new Set(classes);
    tree = null;
    ask();
  }

  function measure() {
    const wide = stack.clientWidth;
    const tall = Math.min(height, Math.max(is_small ? 110 : 240, Math.round(wide * 0.86)));
    if (wide === width && tall === shown_height) return;
    [width, shown_height] = [wide, tall];
    stack.style.height = `${tall}px`;
    gestures.forget();
    place();
  }
  stack.style.height = `${height}px`;
  const observer = new ResizeObserver(measure);
  observer.observe(stack);
  const unsubscribe = selection.subscribe(() => drawTop());

  const outside = () => `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${shown_height}" viewBox="0 0 ${width} ${shown_height}" font-family="${escaped(SANS)}"><rect width="${width}" height="${shown_height}" fill="${readPalette().surface}"/>${inside()}</svg>`;

  return {
    element: home,
    label,

    /** @param {CloudData} what */
    show(what) {
      const keeps_zoom = data !== null && what.key !== undefined && what.key === data.key;
      data = what;
      hovered = null;
      const n = what.x.length;
      const colours = what.colours;
      const of = !colours ? null : "classes" in colours ? colours.of : shadesOf(colours.values, extentOf(colours.values));
      groups = groupsOf({ css: cssNow(), of }, n);
      points_of = new Map();
      if (selects) for (let i = 0; i < n; i++) points_of.set(idOf(i), [...(points_of.get(idOf(i)) ?? []), i]);
      if (!keeps_zoom) gestures.forget();
      legend.show(colours, what.over, hidden);
      measure();
      place();
      readout.replaceChildren(hint());
    },

    /** Which classes are switched off. */
    hide(/** @type {number[]} */ classes) {
      hide(classes);
      legend.show(data?.colours, data?.over, hidden);
    },

    /** After another theme. */
    redraw() {
      if (!data) return;
      legend.show(data.colours, data.over, hidden);
      ask();
    },

    /** Where a point is, in CSS pixels from the canvas' top left. @param {number} i */
    at: (i) => ({ x: xs[i], y: ys[i] }),

    /** Shows a part: the points of these indexes, with room around them. @param {number[]} indexes */
    zoom_to(indexes) {
      const inside = indexes.filter((i) => !Number.isNaN(base_x[i]));
      if (inside.length === 0 || width === 0) return;
      const [[x0, x1], [y0, y1]] = [extentOf(inside.map((i) => base_x[i])), extentOf(inside.map((i) => base_y[i]))];
      const { left, top, right, bottom } = frame();
      const k = Math.min(2000, 0.8 * Math.min((right - left) / Math.max(x1 - x0, 1e-3), (bottom - top) / Math.max(y1 - y0, 1e-3)));
      gestures.zoomTo(zoomIdentity.translate((left + right) / 2, (top + bottom) / 2).scale(Math.max(1, k)).translate(-(x0 + x1) / 2, -(y0 + y1) / 2));
    },

    export_svg: outside,
    png: () => pngOf({ svg: outside(), width, height: shown_height }),

    /** For good. */
    destroy() {
      unsubscribe();
      observer.disconnect();
    },
  };
}
