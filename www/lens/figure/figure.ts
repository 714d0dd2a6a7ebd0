/** The figure as a whole: from a reading and the page's state to picture, overview and legend. */
import { byId } from "../../ui/dom.ts";
import { counted } from "../../lib/format.ts";
import { showLegend } from "./legend.ts";
import { pickedCells, pickedWords } from "./legend-words.ts";
import { createOverview } from "./overview.ts";
import { readPalette, resolveTheme } from "../../graphics/theme.ts";
import { createHeatmap } from "./heatmap.ts";
import { tokenById } from "../../reading/reading.ts";
import { rowsOf, scaledValues } from "../../reading/visible-rows.ts";
import { areLimits, scaleOf } from "../../reading/scales.ts";
import { spokenCell } from "./cell-facts.ts";
import { spanOf } from "../../state/options.ts";
import { createTable } from "./data-table.ts";
import { VIEWS, comparedValues, comparedView, viewNamed } from "../../reading/views.ts";
import type { View } from "../../reading/views.ts";
import type { Limits } from "../../reading/scales.ts";
import type { Comparison } from "../../reading/comparison.ts";
import type { Cell, PlainReading } from "../../reading/reading.ts";
import type { Shown } from "./frame.ts";
import type { PageState } from "../../state/page-state.ts";
import type { PointedCell } from "../../state/store.ts";

/** Values of the rows and positions in the picture, but for the row `input`. */
function valuesInSight(
  reading: PlainReading,
  values: Float32Array,
  rows: number[],
  span: { start: number; end: number },
) {
  const shown = rows.filter((tap) => reading.taps[tap] !== "input");
  return Float32Array.from(
    shown.flatMap((tap) =>
      Array.from(values.subarray(tap * reading.n_tokens + span.start, tap * reading.n_tokens + span.end)),
    ),
  );
}

/** The values that set a view's limits: those of the shown cells, or of all views of its kind where they share. */
function limitingValues(
  reading: PlainReading,
  comparison: Comparison | null,
  view: View,
  group: number[],
  limits: Limits,
  rows: number[],
  span: { start: number; end: number },
) {
  const valuesOf = (of: View) => (comparison ? comparedValues(of, comparison, group) : of.values(reading, group));
  const is_shared = limits === "shared";
  // Changes have a kind of their own for each quantity, divergences between two texts one for all.
  if (is_shared && (!comparison || view.between)) {
    const alike = VIEWS.filter(({ kind, between }) => kind === view.kind && !between === !view.between);
    return Float32Array.from(alike.flatMap((each) => Array.from(scaledValues(reading, valuesOf(each)))));
  }
  const values = valuesOf(view);
  return limits === "auto" ? valuesInSight(reading, values, rows, span) : scaledValues(reading, values);
}

/**
 * All that a picture is drawn from.
 * @param comparison with a second reading, if the picture is of both
 */
export function shownOf(
  reading: PlainReading,
  { view: asked, switches, theme, picked }: Look,
  group: number[],
  comparison: Comparison | null = null,
): Shown {
  const name = group.map((id) => tokenById(reading, id).shown).join(" | ");
  const named =
    asked.is_tracked && name ? { ...asked, quantity: asked.quantity.replace("the tracked token", () => name) } : asked;
  const view = comparison ? comparedView(named) : named;
  const values = comparison ? comparedValues(asked, comparison, group) : asked.values(reading, group);
  const span = spanOf(switches.span, reading.n_tokens);
  const rows = rowsOf(reading, view, switches);
  const { prints, words_only, hide_prompt, transposed, font } = switches;
  // Fixed limits that cannot be drawn are the usual ones.
  const limits = switches.limits === "fixed" && !areLimits(switches) ? "own" : switches.limits;
  return {
    reading,
    comparison,
    view,
    rows,
    span,
    transposed,
    font,
    values,
    scale: scaleOf(view, limitingValues(reading, comparison, asked, group, limits, rows, span), {
      ...switches,
      limits,
    }),
    printing: { prints, words_only, hide_prompt },
    theme: resolveTheme(theme),
    palette: readPalette(),
    picked: new Set(picked),
  };
}

/** What of the page's state a figure is drawn from. */
export type Look = Pick<PageState, "view" | "switches" | "theme" | "compare" | "picked">;

export function createFigure(on: {
  /** a person points at a cell, or moves there by keys */
  point: (cell: PointedCell, by_key: boolean) => void;
  /** a person pins a cell or unpins it, beside other pins or instead of them */
  pin: (cell: Cell, is_more: boolean) => void;
  /** a person adds a pin by keys */
  add: (cell: Cell) => void;
  unpin: () => void;
  /** a person chooses a window of positions */
  span: (span: { start: number; end: number } | null) => void;
}) {
  const table = createTable();
  const canvas = byId<HTMLCanvasElement>("heatmap");
  const picture = createHeatmap(
    { canvas, scroller: byId("scroller"), track: byId("track") },
    {
      point: (cell, by_key) => on.point({ ...cell, is_second: false }, by_key),
      pin: on.pin,
      add: on.add,
      unpin: on.unpin,
      resize: showOverview,
      scroll: () => overview.mark(picture.visible()),
    },
  );
  const overview = createOverview(
    {
      root: byId("overview"),
      canvas: byId<HTMLCanvasElement>("overview-canvas"),
      svg: byId("overview-brush") as unknown as SVGSVGElement,
      view: byId("overview-view"),
    },
    { span: on.span, seek: (position) => picture.seek(position) },
  );

  const beside = createHeatmap(
    {
      canvas: byId<HTMLCanvasElement>("heatmap-second"),
      scroller: byId("scroller-second"),
      track: byId("track-second"),
    },
    {
      point: (cell, by_key) => on.point({ ...cell, is_second: true }, by_key),
      // The address has no pin of the second text.
      pin: () => {},
      add: () => {},
      unpin: () => {},
    },
  );

  function showOverview() {
    const shown = picture.shown();
    if (!shown) return;
    const { span, reading, transposed } = shown;
    const is_whole = span.end - span.start === reading.n_tokens;
    const is_hidden = is_whole && !picture.scrolls();
    if (is_hidden !== byId("overview").hidden) {
      overview.hide(is_hidden);
      // It takes some of the picture's height.
      picture.fit();
    }
    overview.show(shown, transposed ? 0 : picture.gutter());
    overview.mark(picture.visible());
  }

  /** The picture that a cell is in. */
  const pictureOf = (cell: PointedCell) => (cell.is_second ? beside : picture).shown();

  return {
    picture,

    /**
     * @param comparison with the second text
     * @param group the tracked token
     */
    draw(reading: PlainReading, comparison: Comparison | null, group: number[], look: Look) {
      // What is between two texts needs both: until they are read, the first view is drawn.
      const is_early = look.view.between !== undefined && !comparison;
      const state = is_early ? { ...look, view: viewNamed(null) } : look;
      // What is between two texts has one picture.
      const is_one = state.compare === "difference" || state.view.between !== undefined;
      const shown = shownOf(reading, state, group, is_one ? comparison : null);
      const is_beside = comparison !== null && !is_one;
      byId("second-picture").hidden = !is_beside;
      byId("explain").textContent = is_early
        ? `${look.view.explain} Both texts are needed; until they are read, this is the ${state.view.quantity}.`
        : shown.view.explain;
      byId("explain").title = byId("explain").textContent;
      // One scale for both, so that the same colour is the same number.
      if (is_beside)
        beside.show({
          ...shownOf(comparison.second, { ...state, switches: { ...state.switches, span: null } }, group),
          scale: shown.scale,
        });
      else beside.clear();
      const { view, scale, rows, span } = shown;
      // The picture takes the height that is left below them.
      byId("legend-row").hidden = false;
      byId("not-model").hidden = reading.final_is_model;
      showLegend(shown);
      picture.show(shown);
      showOverview();
      table.show(shown);
      byId("picked-legend").hidden = state.picked.length === 0;
      byId("picked-words").textContent = pickedWords(
        state.picked.length,
        pickedCells(reading, rows, new Set(state.picked)),
      );
      // Contributions are no states of the stream, so none of them settles.
      byId("legend-settles").hidden = reading.asked.contributions;
      const window =
        span.end - span.start < reading.n_tokens
          ? `, positions ${span.start} to ${span.end - 1} of ${reading.n_tokens}`
          : "";
      canvas.setAttribute(
        "aria-label",
        `${view.quantity} (${[view.unit, scale.rule].filter(Boolean).join(", ")}): ${counted(rows.length, "row")} by ${counted(span.end - span.start, "position")}${window}`,
      );
    },

    beside,
    /**
     * Marks the selected cell and the pins.
     * @param reveals whether the selected cell is scrolled to, if it is another one
     */
    mark(cell: PointedCell | null, pins: Cell[], reveals: boolean) {
      picture.mark(cell?.is_second ? null : cell, pins, reveals);
      // While something is pinned, the second picture keeps the cell that was pointed at there.
      if (cell?.is_second || pins.length === 0) beside.mark(cell?.is_second ? cell : null, [], reveals);
    },
    pictureOf,
    /** For screen readers. */
    say(cell: PointedCell, is_pinned: boolean) {
      const shown = pictureOf(cell);
      if (shown)
        byId("spoken").textContent = (cell.is_second ? "second text, " : "") + spokenCell(shown, cell, is_pinned);
    },
    release: () => picture.release(),
    /** Takes the picture away, with what says the same in words. */
    clear() {
      picture.clear();
      beside.clear();
      table.clear();
      byId("not-model").hidden = true;
      byId("legend-row").hidden = true;
    },
  };
}
