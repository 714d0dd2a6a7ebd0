// @ts-check
/** Wires the page together: what a person does ─▶ session ─▶ Reading ─▶ picture, legend, strip. */
import { byId } from "./dom.js";
import { createControls } from "./controls.js";
import { duration, integer } from "./format.js";
import { showLegend } from "./legend.js";
import { createModels } from "./models.js";
import { createDrop } from "./drop.js";
import { createOpenings } from "./openings.js";
import { workOffline } from "./offline.js";
import { codeOf } from "./outcome.js";
import { applyTheme, onSystemTheme, readPalette, resolveTheme } from "./palette.js";
import { createPicture, scaledValues } from "./picture.js";
import { adviceOn } from "./problems.js";
import { createSession } from "./session.js";
import { setState, showLoading, showPicture, showProblem } from "./stage.js";
import { parseHash, saveState } from "./state.js";
import { wantsKeeping } from "./storage.js";
import { createStrip, spokenCell } from "./strip.js";

/** @typedef {import("./reading.js").PlainReading} PlainReading */

const MAX_TITLE_CHARS = 48;

let state = parseHash(location.hash);
let n_ctx = 0;
/** @type {PlainReading | null} the newest reading, kept while a problem hides it */
let reading = null;

const fillStrip = createStrip(byId("strip"));
const canvas = /** @type {HTMLCanvasElement} */ (byId("heatmap"));
const picture = createPicture({ canvas, scroller: byId("scroller"), track: byId("track") }, ({ cell, pinned, by_key }) => {
  const shown = picture.reading();
  if (!shown) return;
  fillStrip(shown, cell, pinned);
  if (by_key) byId("spoken").textContent = spokenCell(shown, cell, pinned);
});

const openings = createOpenings({ session: () => session, changed: () => remember() });
const models = createModels({ engine: () => session.engine(), isOpening: () => session.isOpening(), coming: openings.coming, open: openings.open });

const session = createSession({
  text: () => state.text,
  opening: (source, is_first) => {
    openings.opening(source, is_first);
    models.draw();
    if (!is_first) return;
    setState("loading");
    byId("status").textContent = "";
    showLoading();
  },
  step: openings.step,
  opened: (facts, refusal, source) => {
    n_ctx = Number(facts.model.n_ctx);
    openings.opened(facts, refusal, source);
    models.show(facts);
    picture.release();
    remember();
  },
  notOpened: (failure, source, how) => {
    openings.notOpened(failure, source, how);
    void models.refresh();
  },
  busy: () => setState(reading && !byId("picture").hidden ? "busy" : "loading"),
  block: (end) => {
    if (end > 64) byId("status").textContent = `reading · ${end} tokens so far`;
  },
  reading: (fresh) => {
    reading = fresh;
    showPicture();
    show(controls.caretIsAtEnd());
    setState("ready");
    byId("status").textContent =
      `${fresh.n_tokens} of ${n_ctx} tokens · read in ${duration(fresh.read_ms)} · nothing leaves this page`;
    remember();
    if (performance.getEntriesByName("loupe:first-picture").length === 0) afterFirstPicture();
  },
  failure: showFailure,
});

const controls = createControls({
  text: (text) => {
    state = { ...state, text };
    session.readSoon(text);
  },
  example: (text) => setText(text, text),
  view: (view) => {
    state = { ...state, view };
    show(false);
    remember();
  },
  theme: (theme) => {
    state = { ...state, theme };
    showTheme();
    remember();
  },
});

/** What can wait until there is something to see. */
function afterFirstPicture() {
  performance.mark("loupe:first-picture");
  void workOffline((takeOver) => {
    const button = byId("new-version");
    button.addEventListener("click", takeOver, { once: true });
    button.hidden = false;
  });
}

/** Draws the newest reading through the present view and theme. @param {boolean} follow_end */
function show(follow_end) {
  if (!reading || byId("picture").hidden) return;
  const { view } = state;
  const theme = resolveTheme(state.theme);
  const scale = view.scale(scaledValues(reading, view));
  picture.show({ reading, view, theme, palette: readPalette() }, scale, follow_end);
  showLegend(view, scale, theme);
  canvas.setAttribute("aria-label", `${view.quantity} (${view.unit}): ${reading.taps.length} rows by ${reading.n_tokens} positions`);
}

function showTheme() {
  applyTheme(state.theme);
  show(false);
}

function remember() {
  state = { ...state, model: openings.model() };
  saveState(state);
  const start = state.text.trim().replace(/\s+/g, " ").slice(0, MAX_TITLE_CHARS);
  document.title = start ? `${start} · Loupe` : "Loupe";
}

/** Puts a text in the box and reads it, or the ids that it stands for. @param {string} text @param {string | Uint32Array} text_or_ids */
function setText(text, text_or_ids) {
  state = { ...state, text };
  picture.release();
  controls.setText(text);
  void session.readNow(text_or_ids);
}

/** @param {string} code @param {string} message @param {boolean} loading */
function showFailure(code, message, loading) {
  const advice = adviceOn(code, loading);
  picture.clear();
  setState(advice.quiet ? "ready" : "error");
  byId("status").textContent = n_ctx > 0 ? `up to ${n_ctx} tokens · nothing leaves this page` : "";
  const retry = { label: "Try again", onClick: () => openings.again() };
  showProblem(code, message, advice, advice.remedy === "retry" ? [retry] : advice.remedy === "keep" ? keepActions() : []);
  if (code === "too-long") void sayLength(state.text);
  if (!loading) remember();
}

/** Says how long a text is that does not fit, in the place where it stands for one that does. @param {string} text */
async function sayLength(text) {
  const n_tokens = await session.engine().count(text).catch(() => null);
  if (n_tokens !== null && text === state.text) {
    byId("status").textContent = `${integer(n_tokens)} tokens, ${n_ctx} fit · nothing leaves this page`;
  }
}

/** The two ways out of a text that is too long. */
function keepActions() {
  const { text } = state;
  return /** @type {const} */ (["first", "last"]).map((which) => ({
    label: `Keep the ${which} ${n_ctx} tokens`,
    onClick: async () => {
      try {
        const kept = await session.engine().keep(text, n_ctx, which);
        byId("text").focus();
        setText(kept.text, kept.ids);
      } catch (error) {
        showFailure(codeOf(error), /** @type {Error} */ (error).message, false);
      }
    },
  }));
}

addEventListener("hashchange", () => {
  const wanted = parseHash(location.hash);
  const same_text = wanted.text === state.text;
  const same_model = wanted.model === state.model;
  state = wanted;
  controls.setView(state.view);
  controls.setTheme(state.theme);
  showTheme();
  if (!same_text) setText(state.text, state.text);
  if (!same_model) void openings.follow(state.model);
});
onSystemTheme(() => show(false));

createDrop((name, files) => {
  models.close();
  void openings.open({ kind: "files", name, files }, { precision: "f16", keep: wantsKeeping() });
});
controls.setText(state.text);
controls.setView(state.view);
controls.setTheme(state.theme);
showTheme();
void openings.begin(state.model);

/**
 * The page's hook for tests and scripts. Rectangles are CSS pixels from the canvas's top left; a cell's fill can be
 * sampled 5 pixels inside its corner, clear of outline and text, and its outline 2.25 pixels inside its edges.
 */
/** @type {any} */ (window).loupePage = {
  /** The plain Reading that is shown, or null. */
  reading: () => picture.reading(),
  cellRect: picture.cellRect,
  cellColour: picture.cellColour,
  cellInk: picture.cellInk,
  outlined: picture.outlined,
  view: () => state.view.name,
  /** The engine behind the page: `load`, `read`, `count`, `keep`, `close`. */
  get engine() {
    return session.engine();
  },
};
