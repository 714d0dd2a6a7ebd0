/**
 * A scatter of up to 60,000 points on a canvas. What is selected anywhere is drawn on top in the accent colour. The
 * points themselves are painted only when they, their axes or their size change; what follows the pointer has a canvas
 * of its own above them.
 */
import { element } from "../../ui/dom.ts";
import { integer } from "../../lib/format.ts";
import { cleared, createFrame } from "./frame.ts";
import { createLegend } from "./legend.ts";
import { insideOf, paintLower, paintUpper } from "./layers.ts";
import { extentOf } from "../../lib/extent.ts";
import { N_SHADES, shadesOf } from "../../graphics/css-colours.ts";
import { createGestures } from "./interactions.ts";
import { createPlaces } from "./point-index.ts";
import { drawsItself } from "../../export/card-sheet.ts";
import type { Selection } from "../../state/selection.ts";
import type { Box } from "./interactions.ts";
import type { ScatterData } from "./types.ts";

export type Cloud = ReturnType<typeof createScatter>;

const HEIGHT = 460;
const IS_TOUCH = matchMedia("(pointer: coarse)").matches;
/** How far from a point it is still meant, in pixels. */
const REACH = 14;
/** @param home an element that is filled */
export function createScatter(
  home: HTMLElement,
  {
    selection,
    selects = null,
    label,
    height = HEIGHT,
    is_small = false,
    is_mono = selects === "tokens",
    onHover,
    onHidden,
  }: {
    selection: Selection;
    /** what its points are */
    selects?: "tokens" | "channel" | null;
    /** what it shows, for those who do not see it */
    label: string;
    height?: number;
    /** one of many: no zoom, no legend, no names of axes */
    is_small?: boolean;
    /** whether names are tokens */
    is_mono?: boolean;
    onHover?: (index: number | null) => void;
    /** the classes that a person switched off */
    onHidden?: (hidden: number[]) => void;
  },
) {
  const places = createPlaces();
  const drawn = { places, home, is_small, is_mono };
  const legend = createLegend((hidden) => {
    hide(hidden);
    onHidden?.(hidden);
  });
  const { base, top, stack, readout, setMode, isSelecting, offersSelecting } = createFrame(
    home,
    { label, is_small, can_select: selects === "tokens", legend: legend.element },
    {
      zoomBy: (factor) => gestures.zoomBy(factor),
      reset: () => gestures.reset(),
    },
  );

  let [width, shown_height] = [0, height];
  let hovered: number | null = null;
  /** The selected points in sight, found anew after every change of the selection and of the lower layer. */
  let chosen: Set<number> | null = null;
  let box: Box | null = null;
  let frame_asked = 0;
  const nameOf = (i: number) => places.data()?.name?.(places.idOf(i)) ?? String(places.idOf(i));

  const gestures = createGestures(top, {
    can_zoom: !is_small,
    isSelecting,
    zoomed(transform) {
      places.zoom(transform);
      gestures.setScale(transform.k);
      ask();
      hover(null);
    },
    point: (x, y) => hover(places.nearest(x, y, REACH)),
    leave: () => hover(null),
    click(x, y, adds) {
      const i = places.nearest(x, y, REACH);
      if (i !== null) choose(i, adds);
    },
    box(now, is_over, adds) {
      box = is_over ? null : now;
      if (is_over && now && selects === "tokens") {
        const inside = places.within(now).map(places.idOf);
        selection.setTokens(adds ? [...selection.tokens, ...inside] : inside);
        setMode(false);
      }
      drawUpper();
    },
    step(dx, dy) {
      const next = places.ahead(hovered, dx, dy);
      if (next !== null) hover(next);
    },
    enter: (adds) => hovered !== null && choose(hovered, adds),
    focus: () => places.middle(hovered === null ? [...marks().chosen] : [hovered]),
  });

  function hover(i: number | null) {
    if (hovered === i) return;
    hovered = i;
    onHover?.(i);
    readout.replaceChildren(
      ...(i === null
        ? [hint()]
        : [
            element("span", is_mono ? "token cloud-name" : "cloud-name", nameOf(i)),
            ` ${places.data()?.about?.(i) ?? ""}`,
          ]),
    );
    drawUpper();
  }

  /** What stands there while nothing is pointed at. */
  function hint() {
    const [n, n_left_out, data] = [places.n(), places.nLeftOut(), places.data()];
    const why =
      data?.x_kind === "log" || data?.y_kind === "log" ? "a log axis has no place for zero or less" : "not a number";
    return [
      n > 0 ? `${integer(n - n_left_out)} points` : "",
      n_left_out > 0 ? `${integer(n_left_out)} left out: ${why}` : "",
      IS_TOUCH
        ? `two fingers zoom${n > 0 && selects === "tokens" ? ", a tap selects, Select marks a region" : n > 0 && selects === "channel" ? ", a tap selects" : ""}`
        : `Ctrl + wheel zooms${n > 0 && selects === "tokens" ? ", Shift + drag selects" : n > 0 && selects === "channel" ? ", a click selects" : ""}`,
    ]
      .filter(Boolean)
      .join(" · ");
  }

  function choose(i: number, adds: boolean) {
    const id = places.idOf(i);
    if (selects === "channel") return selection.setChannel(id);
    if (selects !== "tokens") return;
    const { tokens } = selection;
    if (adds) selection.toggleToken(id);
    else selection.setTokens(tokens.size === 1 && tokens.has(id) ? [] : [id]);
  }

  function hide(classes: Iterable<number>) {
    places.hide(classes);
    ask();
    hover(null);
  }

  function ask() {
    chosen = null;
    frame_asked ||= requestAnimationFrame(draw);
  }

  function marks() {
    chosen ??= new Set(
      (selects === "channel" ? [selection.channel] : selects === "tokens" ? [...selection.tokens] : [])
        .flatMap(places.pointsOf)
        .filter((i) => places.isInside(i)),
    );
    return { chosen, hovered, name: nameOf };
  }

  function draw() {
    frame_asked = 0;
    chosen = null;
    if (places.isEmpty()) return;
    paintLower(cleared(base, width, shown_height), drawn);
    drawUpper();
  }

  function drawUpper() {
    if (home.isConnected && !places.isEmpty()) paintUpper(cleared(top, width, shown_height), drawn, marks(), box);
  }

  /** Takes the room that there is; all that was zoomed into is shown again. */
  function measure() {
    const wide = stack.clientWidth;
    const tall = Math.min(height, Math.max(is_small ? 110 : 240, Math.round(wide * 0.86)));
    if (wide === width && tall === shown_height) return;
    [width, shown_height] = [wide, tall];
    stack.style.height = `${tall}px`;
    const frame = is_small
      ? { left: 38, top: 6, right: width - 6, bottom: tall - 20, width, height: tall }
      : { left: 58, top: 26, right: width - 12, bottom: tall - 42, width, height: tall };
    places.resize(frame);
    gestures.setFrame(frame);
    gestures.forget();
    draw();
  }

  const inside = () => (places.isEmpty() ? "" : insideOf(drawn, marks()));
  drawsItself(base, inside);
  stack.style.height = `${height}px`;
  const observer = new ResizeObserver(measure);
  observer.observe(stack);
  const unsubscribe = selection.subscribe(() => {
    chosen = null;
    drawUpper();
  });

  return {
    element: home,
    label,

    show(what: ScatterData) {
      const before = places.data();
      const keeps_zoom = before !== null && what.key !== undefined && what.key === before.key;
      const { colours } = what;
      hovered = null;
      const of = !colours
        ? null
        : "classes" in colours
          ? colours.of
          : shadesOf(colours.values, extentOf(colours.values));
      places.show(what, of, !colours ? 1 : "classes" in colours ? colours.classes.length : N_SHADES);
      measure();
      if (!keeps_zoom) gestures.forget();
      legend.show(colours, what.over, places.hidden());
      offersSelecting(places.n() > 0);
      draw();
      readout.replaceChildren(hint());
    },

    /** Which classes are switched off. */
    hide(classes: number[]) {
      hide(classes);
      const data = places.data();
      legend.show(data?.colours, data?.over, places.hidden());
    },

    /** After another theme. */
    redraw() {
      const data = places.data();
      if (!data) return;
      legend.show(data.colours, data.over, places.hidden());
      ask();
    },

    /** Where a point is, in CSS pixels from the canvas' top left. */
    at: (i: number) => ({ x: places.places().xs[i], y: places.places().ys[i] }),

    /** Shows a part: the points of these indexes, with room around them. */
    zoomTo(indexes: number[]) {
      if (!places.isEmpty()) gestures.zoomTo(places.around(indexes));
    },

    /** For good. */
    destroy() {
      unsubscribe();
      observer.disconnect();
    },
  };
}
