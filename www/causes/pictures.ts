/** The three pictures: text A, text B, and the edited run. Cells and rows are dragged from one to another. */
import { createHeatmap } from "../lens/figure/heatmap.ts";
import { cellRect, visibleColumns } from "../lens/figure/layout.ts";
import { spokenCell } from "../lens/figure/cell-facts.ts";
import { cut, fontOf } from "../graphics/canvas.ts";
import { innerOf } from "../graphics/svg.ts";
import { drawsItself } from "../export/card-sheet.ts";
import { isSameCell } from "../reading/reading.ts";
import { element } from "../ui/dom.ts";
import type { Frame } from "../lens/figure/scene.ts";
import type { Shown } from "../lens/figure/frame.ts";
import type { Mark, TextMark } from "../graphics/marks.ts";
import type { TextName } from "../reading/edits.ts";
import type { Cell } from "../reading/reading.ts";

/** A picture: of a text as it is, or of the edited run. */
export type Which = TextName | "edited";
export const WHICH: Which[] = ["a", "b", "edited"];
/** A cell of a picture; its position is −1 for all of the row. */
export type Place = Cell & { which: Which };

/** A text as it fits where it stands. */
const ruler = new OffscreenCanvas(1, 1).getContext("2d") as OffscreenCanvasRenderingContext2D;
function cutText(mark: TextMark) {
  ruler.font = fontOf(mark);
  return cut(ruler, mark.text, mark.max_width);
}

const TITLES = { a: "Text A", b: "Text B", edited: "Edited run" };
const OF = { a: "text A", b: "text B", edited: "the edited run" };
/** Height that a picture may take; rows have a least one. */
const HEIGHT = 330;
/** A press that moves farther is a drag. */
const DRAG_PIXELS = 6;

/** The border between the cells that the edits can change and all others. */
function coneMarks({ layout, rows, start, scroll, palette, reading }: Frame, cone: boolean[]): Mark[] {
  const { first, end } = visibleColumns(layout, scroll);
  const isIn = (row: number, column: number) =>
    row >= 0 && row < rows.length && column >= 0 && column < layout.n_columns
      ? cone[rows[row] * reading.n_tokens + start + column]
      : false;
  const line = { kind: "rect" as const, r: 0, fill: palette.accent };
  const marks: Mark[] = [];
  for (let row = 0; row < rows.length; row++) {
    for (let column = first; column < end; column++) {
      if (!isIn(row, column)) continue;
      const { x, y, width, height } = cellRect(layout, row, column, scroll);
      const [left, top, wide, high] = [x - 1.5, y - 1.5, width + 3, height + 3];
      const [down, along] = layout.transposed ? [0, 1] : [1, 0];
      if (!isIn(row - down, column - along)) marks.push({ ...line, x: left, y: top, width: wide, height: 1.5 });
      if (!isIn(row + down, column + along))
        marks.push({ ...line, x: left, y: top + high - 1.5, width: wide, height: 1.5 });
      if (!isIn(row - along, column - down)) marks.push({ ...line, x: left, y: top, width: 1.5, height: high });
      if (!isIn(row + along, column + down))
        marks.push({ ...line, x: left + wide - 1.5, y: top, width: 1.5, height: high });
    }
  }
  // Only the part of the frame that has cells: names beside it stay as they are.
  const { gutter, grid_top, grid_bottom, grid_right } = layout;
  return [
    {
      kind: "clip",
      x: gutter - 2,
      y: grid_top - 2,
      width: grid_right - gutter + 4,
      height: grid_bottom - grid_top + 4,
      marks,
    },
  ];
}

export function createPictures(on: {
  /** a person chooses a cell */
  select: (place: Place, by_key: boolean) => void;
  /** a person drops a cell or a row on another one */
  drop: (from: Place, to: Place) => void;
  /** a person asks for what the other text has at a cell, or in its whole row */
  patch: (place: Place) => void;
}) {
  /** The cells that the edits can change, of the edited run. */
  let cone: boolean[] = [];
  let chosen: Place | null = null;
  const spoken = element("p", "unseen");
  spoken.setAttribute("aria-live", "polite");

  const all = WHICH.map((which) => {
    const canvas = element("canvas", "causes-canvas");
    canvas.tabIndex = 0;
    canvas.setAttribute("role", "application");
    canvas.setAttribute("aria-roledescription", "heatmap");
    canvas.setAttribute("aria-describedby", "causes-keys");
    canvas.dataset.which = which;
    const track = element("div", "track", canvas);
    const scroller = element("div", "scroller", track);
    const words = element("span", "muted");
    const caption = element("figcaption", "causes-caption", element("strong", "", TITLES[which]), " ", words);
    const figure = element("figure", "causes-picture", caption, scroller);
    figure.dataset.which = which;
    const picture = createHeatmap(
      {
        canvas,
        scroller,
        track,
        height: () => HEIGHT,
        marks: (frame) => (which === "edited" && cone.length > 0 ? coneMarks(frame, cone) : []),
      },
      {
        point: (cell, by_key) => by_key && on.select({ ...cell, which }, true),
        pin: (cell) => on.select({ ...cell, which }, false),
        add: () => {},
        unpin: () => {},
      },
    );
    canvas.addEventListener("keydown", (event) => {
      if (event.altKey || event.ctrlKey || event.metaKey || event.key.toLowerCase() !== "x") return;
      event.preventDefault();
      if (!chosen || chosen.which !== which) return;
      on.patch(event.key === "X" ? { ...chosen, position: -1 } : chosen);
    });
    caption.dataset.caption = "";
    drawsItself(canvas, () => innerOf(picture.marks(), cutText));
    canvas.addEventListener("pointerdown", (event) => beginDrag(event, which));
    return { which, canvas, scroller, words, figure, picture };
  });
  const pictureOf = (which: Which) => all[WHICH.indexOf(which)];

  const nameOf = ({ which, tap, position }: Place) => {
    const shown = pictureOf(which).picture.shown();
    return `${shown?.reading.taps[tap] ?? ""}${position < 0 ? "" : ` · ${position}`} of ${OF[which]}`;
  };

  /** What a pointer is over. */
  function placeAt({ clientX, clientY }: PointerEvent): Place | null {
    for (const { which, canvas, picture, figure } of all) {
      if (figure.hidden) continue;
      const { left, top, right, bottom } = canvas.getBoundingClientRect();
      if (clientX < left || clientX > right || clientY < top || clientY > bottom) continue;
      const cell = picture.at(clientX - left, clientY - top);
      return cell && { ...cell, which };
    }
    return null;
  }

  function beginDrag(down: PointerEvent, which: Which) {
    const from = placeAt(down);
    if (!from || which === "edited") return;
    const over = (place: Place) => (place.which !== from.which || !isSameCell(place, from) ? place : null);
    const at = (to: Place) => ({ ...to, position: from.position < 0 ? -1 : to.position });
    drag(down, nameOf(from), (place) => {
      const to = place && over(place);
      return to && { words: nameOf(at(to)), drop: () => on.drop(from, to) };
    });
  }

  /**
   * Follows a drag from where the pointer went down.
   * @param name of what is dragged
   * @param target what a drop at a place does; null: nothing
   */
  function drag(
    down: PointerEvent,
    name: string,
    target: (place: Place | null) => { words: string; drop: () => void } | null,
  ) {
    if (down.button !== 0 || down.pointerType === "touch") return;
    const ghost = element("div", "drag-ghost", name);
    let is_drag = false;
    const stop = new AbortController();
    const { signal } = stop;
    addEventListener(
      "pointermove",
      (event) => {
        if (!is_drag && Math.hypot(event.clientX - down.clientX, event.clientY - down.clientY) < DRAG_PIXELS) return;
        if (!is_drag) document.body.append(ghost);
        is_drag = true;
        const to = target(placeAt(event));
        ghost.textContent = to ? `${name} → ${to.words}` : name;
        ghost.style.left = `${event.clientX + 12}px`;
        ghost.style.top = `${event.clientY + 12}px`;
      },
      { signal },
    );
    addEventListener(
      "pointerup",
      (event) => {
        end();
        if (is_drag) target(placeAt(event))?.drop();
      },
      { signal },
    );
    addEventListener("pointercancel", end, { signal });
    addEventListener("keydown", (event) => event.key === "Escape" && end(), { signal });
    function end() {
      stop.abort();
      ghost.remove();
    }
  }

  return {
    element: element("div", "causes-pictures", ...all.map(({ figure }) => figure), spoken),
    /** @param shown null: there is none */
    show(which: Which, shown: Shown | null, words: string, quantity = shown?.view.quantity ?? "") {
      const { figure, picture, words: said, canvas } = pictureOf(which);
      figure.hidden = !shown;
      said.textContent = words;
      if (!shown) return picture.clear();
      canvas.setAttribute("aria-label", `${TITLES[which]}: ${quantity}`);
      picture.show(shown);
    },
    drag,
    nameOf,
    setCone: (cells: boolean[]) => void (cone = cells),
    mark(place: Place | null) {
      chosen = place;
      for (const { which, picture } of all) {
        const is_here = place?.which === which;
        picture.mark(is_here ? place : null, is_here ? [place] : [], true);
      }
    },
    /** For screen readers. */
    say(place: Place) {
      const shown = pictureOf(place.which).picture.shown();
      if (shown)
        spoken.textContent = `${TITLES[place.which]}, ${spokenCell(shown, place, false).replace("second text", "edited run")}`;
    },
    picture: (which: Which) => pictureOf(which).picture,
    canvas: (which: Which) => pictureOf(which).canvas,
  };
}
