// @ts-check
/** The figure as a whole: from a reading and the page's state to picture, overview, legend and strip. */
import { byId } from "./dom.js";
import { counted } from "./format.js";
import { showLegend } from "./legend.js";
import { pickedCells, pickedWords } from "./legendwords.js";
import { createOverview } from "./overview.js";
import { readPalette, resolveTheme } from "./palette.js";
import { createPicture } from "./picture.js";
import { NO_TOKEN, finalTap, tokenById, topId } from "./reading.js";
import { rowsOf, scaledValues } from "./rows.js";
import { areLimits, scaleOf } from "./scales.js";
import { createStrip, spokenCell } from "./strip.js";
import { spanOf } from "./switches.js";
import { createTable } from "./table.js";
import { VIEWS, comparedValues, comparedView } from "./views.js";

/** @typedef {import("./reading.js").PlainReading} PlainReading */
/** @typedef {import("./reading.js").Cell} Cell */
/** @typedef {import("./frame.js").Shown} Shown */
/** @typedef {import("./state.js").PageState} PageState */

/**
 * The values that set a view's limits: those of the shown cells, or of all views of its kind where they share. The
 * views of KL always share, so that they can be compared.
 * @param {PlainReading} reading @param {import("./views.js").View} view @param {number[]} group
 * @param {import("./scales.js").Limits} limits @param {number[]} rows @param {{ start: number, end: number }} span
 */
export function limitingValues(reading, view, group, limits, rows, span) {
  if (limits === "shared" || (view.kind === "kl" && limits === "own")) {
    const alike = VIEWS.filter(({ kind }) => kind === view.kind);
    return Float32Array.from(alike.flatMap(({ values }) => Array.from(scaledValues(reading, values(reading, group)))));
  }
  const values = view.values(reading, group);
  if (limits !== "auto") return scaledValues(reading, values);
  const shown = rows.filter((tap) => reading.taps[tap] !== "input");
  return Float32Array.from(shown.flatMap((tap) => Array.from(values.subarray(tap * reading.n_tokens + span.start, tap * reading.n_tokens + span.end))));
}

/**
 * All that a picture is drawn from.
 * @param {PlainReading} reading @param {PageState} state @param {number[]} group
 * @param {import("./comparison.js").Comparison | null} comparison with a second reading, if the picture is of both
 * @returns {Shown}
 */
export function shownOf(reading, { view: asked, switches, theme, picked }, group, comparison = null) {
  const name = group.map((id) => tokenById(reading, id).shown).join(" | ");
  const named = asked.is_tracked && name ? { ...asked, quantity: asked.quantity.replace("the tracked token", () => name) } : asked;
  const view = comparison ? comparedView(named) : named;
  const values = comparison ? comparedValues(asked, comparison, group) : asked.values(reading, group);
  const span = spanOf(switches.span, reading.n_tokens);
  const rows = rowsOf(reading, view, switches);
  const { prints, words_only, hide_prompt, transposed, font } = switches;
  // Fixed limits that cannot be drawn are the usual ones.
  const limits = switches.limits === "fixed" && !areLimits(switches) ? "own" : switches.limits;
  return {
    reading, comparison, view, rows, span, transposed, font, values,
    scale: scaleOf(view, comparison ? scaledValues(reading, values) : limitingValues(reading, view, group, limits, rows, span), switches),
    printing: { prints, words_only, hide_prompt },
    theme: resolveTheme(theme),
    palette: readPalette(),
    picked: new Set(picked),
  };
}

/**
 * @param {object} page
 * @param {() => PageState} page.state
 * @param {(cell: Cell, pinned: boolean) => void} page.select
 * @param {(span: { start: number, end: number } | null) => void} page.span
 */
export function createShow(page) {
  const table = createTable();
  const fillStrip = createStrip(byId("strip"));
  const canvas = /** @type {HTMLCanvasElement} */ (byId("heatmap"));
  const picture = createPicture({ canvas, scroller: byId("scroller"), track: byId("track") }, ({ cell, pinned, by_key }) => {
    const shown = picture.shown();
    if (!shown) return;
    fillStrip(shown, cell, pinned);
    if (by_key) byId("spoken").textContent = spokenCell(shown, cell, pinned);
    page.select(cell, pinned);
  }, showOverview);
  const overview = createOverview({
    root: byId("overview"),
    canvas: /** @type {HTMLCanvasElement} */ (byId("overview-canvas")),
    svg: /** @type {SVGSVGElement} */ (/** @type {unknown} */ (byId("overview-brush"))),
  }, page.span);

  const second_canvas = /** @type {HTMLCanvasElement} */ (byId("heatmap-second"));
  const beside = createPicture({ canvas: second_canvas, scroller: byId("scroller-second"), track: byId("track-second") }, ({ cell, pinned, by_key }) => {
    const shown = beside.shown();
    // It draws itself before anybody points at it; only then does it fill the strip.
    if (!shown || !(second_canvas.matches(":hover") || document.activeElement === second_canvas)) return;
    fillStrip(shown, cell, pinned);
    if (by_key) byId("spoken").textContent = spokenCell(shown, cell, pinned);
  });

  function showOverview() {
    const shown = picture.shown();
    if (!shown) return;
    const { span, reading } = shown;
    overview.show(shown, page.state().switches.span, picture.scrolls() || span.end - span.start < reading.n_tokens);
  }

  return {
    picture,

    /**
     * @param {PlainReading} reading @param {import("./comparison.js").Comparison | null} comparison with the second text
     * @param {number[]} group the tracked token @param {boolean} follow_end
     */
    reading(reading, comparison, group, follow_end) {
      const state = page.state();
      // What is between two texts has one picture.
      const is_one = state.compare === "difference" || state.view.between !== undefined;
      const shown = shownOf(reading, state, group, is_one ? comparison : null);
      const is_beside = comparison !== null && !is_one;
      byId("second-picture").hidden = !is_beside;
      byId("explain").textContent = shown.view.explain;
      // One scale for both, so that the same colour is the same number.
      if (is_beside) beside.show({ ...shownOf(comparison.second, { ...state, switches: { ...state.switches, span: null } }, group), scale: shown.scale }, false);
      else beside.clear();
      const { view, scale, rows, span } = shown;
      picture.show(shown, follow_end);
      showOverview();
      showLegend(shown);
      table.show(shown);
      byId("picked-legend").hidden = state.picked.length === 0;
      byId("picked-words").textContent = pickedWords(state.picked.length, pickedCells(reading, rows, new Set(state.picked)));
      byId("not-model").hidden = reading.final_is_model;
      // Contributions are no states of the stream, so none of them settles.
      byId("legend-settles").hidden = reading.asked.contributions;
      const window = span.end - span.start < reading.n_tokens ? `, positions ${span.start} to ${span.end - 1} of ${reading.n_tokens}` : "";
      canvas.setAttribute("aria-label", `${view.quantity} (${[view.unit, scale.rule].filter(Boolean).join(", ")}): ${counted(rows.length, "row")} by ${counted(span.end - span.start, "position")}${window}`);
    },

    /** What is followed until somebody chooses: what the final row puts first at the end. @param {PlainReading | null} reading @returns {number[]} */
    defaultGroup: (reading) => (reading ? [topId(reading, { tap: finalTap(reading), position: reading.n_tokens - 1 })].filter((id) => id !== NO_TOKEN) : []),

    beside,
    pin: picture.pin,
    release: picture.release,
    /** Takes the picture away, with what says the same in words. */
    clear() {
      picture.clear();
      beside.clear();
      table.clear();
      byId("not-model").hidden = true;
    },
  };
}
