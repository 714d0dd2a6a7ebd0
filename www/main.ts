/** Wires the page together: what a person does ─▶ session ─▶ Reading ─▶ picture, legend, strip, panels. */
import { createSelection } from "./state/selection.ts";
import { addressText } from "./sources/hub-address.ts";
import { byId } from "./ui/dom.ts";
import { createCodes } from "./lens/panels/control-codes.ts";
import { createControls } from "./lens/panels/toolbar.ts";
import { createDeep } from "./lens/panels/cell.ts";
import { createDrop } from "./models/file-drop.ts";
import { startEngine } from "./engine/client.ts";
import { createExamples } from "./lens/panels/example-bar.ts";
import { createExports } from "./export/export-menu.ts";
import { lackWords, viewOfPart } from "./models/facts.ts";
import { createFailure } from "./lens/panels/failure.ts";
import { duration } from "./lib/format.ts";
import { installHook } from "./shell/test-hook.ts";
import { createModels } from "./models/dialog.ts";
import { workOffline } from "./shell/offline.ts";
import { createOpenings } from "./models/controller.ts";
import { showNotice } from "./ui/notice.ts";
import { applyTheme, onSystemTheme } from "./graphics/theme.ts";
import { createPanel } from "./lens/panels/settings.ts";
import { createPassage } from "./lens/panels/text-charts.ts";
import { createSecond } from "./lens/panels/second-text.ts";
import { createSession } from "./state/session.ts";
import { createShow } from "./lens/figure/figure.ts";
import { setState, showLoading, showPicture } from "./lens/panels/stage.ts";
import { MAX_PICKED, addressChanged, parseHash, saveState, unreadableParts } from "./state/page-state.ts";
import { wantsKeeping } from "./models/storage.ts";
import { readOptions } from "./state/options.ts";
import { createTabs } from "./shell/tabs.ts";
import { viewBeside, viewNamed } from "./reading/views.ts";
import type { View } from "./reading/views.ts";
import type { Switches } from "./state/options.ts";
import type { PlainReading } from "./reading/reading.ts";
import type { PageState } from "./state/page-state.ts";
import type { ModelInUse, Source } from "./lib/model.ts";

const MAX_TITLE_CHARS = 48;
/** What the engine's module advises to pages that embed it, and what this page does by itself. */
const ADVICE = / Open a new one in a fresh worker, or reload the page\.$/;

let state = await parseHash(location.hash);
const unreadable = await unreadableParts(location.hash);
/** What the address asks of its model, until that is there: another one may have to stand in. */
let link: PageState | null = state;
let facts: ModelInUse | null = null;
/** The state of the page when the engine last crashed. */
let crashed_at = "";
/** the newest reading of the text and the model in use that is drawn */
let reading: PlainReading | null = null;
/** the newest one, which may still have to be compared */
let arriving: PlainReading | null = null;
const selection = createSelection({ channel: state.channel, tokens: state.picked });
const n_ctx = () => Number(facts?.model.n_ctx ?? 0);
/** Whether that is the model that an address was made with. */
const isOf = ({ model, file }: PageState, { in_use }: ModelInUse, source: Source) =>
  (model !== null && in_use.address !== null && addressText(in_use.address) === model) ||
  (file !== null && source.kind === "files" && source.name === file);
/** Whether an engine that was started again opened the same model. Files may have changed. */
const isSameModel = (a: ModelInUse, b: ModelInUse) =>
  a.in_use.source.kind !== "files" && JSON.stringify(a.in_use) === JSON.stringify(b.in_use);
/** Those of the ids that the model has. */
const known = (ids: number[]) => ids.filter((id) => id < Number(facts?.model.vocab_size ?? Infinity));
const n_layer = () => Number(facts?.model.n_layer ?? 1);

const show = createShow({
  state: () => state,
  select: (cell, pinned) => {
    const pin = pinned && reading ? { tap: reading.taps[cell.tap], position: cell.position } : null;
    const is_other = pin?.tap !== state.pin?.tap || pin?.position !== state.pin?.position;
    // The pin of the address may be outside what is shown now; only the user unpins it.
    if (is_other) change({ pin });
    deep.cell(cell, pinned);
  },
  span: (span) => changeSwitches({ ...state.switches, span }),
});

const deep = createDeep({
  state: () => state,
  engine: () => session.engine(),
  comparison: () => second.comparison(),
  change: (part) => {
    change(part);
    if (part.view) controls.setView(part.view);
    if (part.groups || part.tracked !== undefined) void followTracked();
  },
});

const second = createSecond({
  state: () => state,
  change,
  compare: (text, first) => session.compare(text, first),
  close: () => {
    session.closeSecond();
    // What is between two texts needs both.
    if (state.view.between) setView(viewNamed(null));
  },
  redraw: drawComparison,
});

const passage = createPassage(
  () => state,
  (ids) => session.engine().norms(ids),
);

createExports({
  shown: () => show.picture.shown(),
  width: () => byId("scroller").clientWidth,
  now: () => ({ state, group: trackedGroup(), facts }),
  engine: () => session.engine(),
  comparison: () => second.comparison(),
});

const openings = createOpenings({ session: () => session, changed: () => remember() });
const tabs = createTabs({
  state: () => state,
  change,
  engine: () => session.engine(),
  selection,
  lens: () => {
    controls.fit();
    second.show();
    redraw(false);
  },
  restart: () => openings.again(),
});
const models = createModels({
  engine: () => session.engine(),
  isOpening: () => session.isOpening(),
  coming: openings.coming,
  open: openings.open,
});

/** The token that a tracked view shows: the chosen one, or what the final row puts first at the end. */
const trackedGroup = (): number[] => state.groups[state.tracked] ?? show.defaultGroup(reading);

const session = createSession(startEngine, {
  text: () => state.text,
  options: () => ({
    asked: readOptions(state.switches, n_layer()),
    track: state.view.is_tracked ? [...new Set(trackedGroup())] : [],
  }),
  opening: (source, is_first) => {
    openings.opening(source, is_first);
    models.draw();
    if (!is_first) return;
    setState("loading");
    byId("status").textContent = "";
    showLoading();
  },
  step: openings.step,
  opened: (now, refusal, source) => {
    const is_other = facts !== null && !isSameModel(facts, now);
    facts = now;
    openings.opened(now, refusal, source);
    models.show(now);
    if (is_other) {
      // What the old model said is not what this one says.
      dropReading();
      setState("loading");
      byId("loading-title").textContent = `Reading with ${now.in_use.name}`;
      byId("loading-text").textContent = "";
      byId("loading-cancel").hidden = true;
      byId("progress").removeAttribute("value");
      byId("status").textContent = "";
      showLoading();
      // Another model has other channels and tokens, unless it is the one that the link was made with.
      const asked = link && isOf(link, now, source) ? link : null;
      link = asked ? null : link;
      state = {
        ...state,
        pin: asked?.pin ?? null,
        groups: asked?.groups ?? [],
        tracked: asked?.tracked ?? 0,
        atlas_options: asked?.atlas_options ?? state.atlas_options,
      };
      selection.set_channel(asked?.channel ?? null);
      selection.set_tokens(known(asked?.picked ?? []));
    } else {
      selection.set_tokens(known([...selection.tokens]));
    }
    codes.show(String(now.model.family));
    tabs.model(now);
    if (now.model.partial === true && state.atlas === null) tabs.open(viewOfPart(now.model));
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
  reading: async (fresh) => {
    const compared = second.first((arriving = fresh));
    // A picture of two texts stays until the next one is there.
    if (show.picture.shown()?.comparison) await compared;
    else void compared.then(() => arriving === fresh && second.comparison() && drawComparison());
    if (arriving !== fresh) return;
    reading = fresh;
    // Drawing selects a cell, and what is selected becomes the state's pin.
    const { pin } = state;
    showPicture();
    byId("side").hidden = false;
    redraw(controls.caretIsAtEnd());
    const tap = pin ? fresh.taps.indexOf(pin.tap) : -1;
    if (pin && tap >= 0 && pin.position < fresh.n_tokens) show.pin({ tap, position: pin.position });
    deep.reading(fresh);
    passage.reading(fresh);
    void examples.show(state.text, fresh);
    setState("ready");
    byId("status").textContent =
      `${fresh.n_tokens} of ${n_ctx()} tokens · read in ${duration(fresh.read_ms)} · ${notFiniteWords(fresh)}nothing leaves this page`;
    remember();
    if (performance.getEntriesByName("loupe:first-picture").length === 0) afterFirstPicture();
    // What a tracked view shows by default is known only once the text has been read.
    if (isTrackMissing()) void session.readAgain();
  },
  failure: (code, message, loading) => showFailure(code, message, loading),
  crashed: (message) => {
    // What crashes the engine each time must not start it for ever: then a person decides.
    const last = crashed_at;
    crashed_at = JSON.stringify(state);
    if (crashed_at === last) return showFailure("crashed", message, true);
    showNotice({
      title: "The engine crashed and was started again",
      text: message.replace(ADVICE, ""),
      code: "crashed",
    });
    openings.again();
  },
});

const controls = createControls({
  text: (text) => {
    // Into the address now: a reload in the middle of a long reading must not lose it.
    change({ text });
    void examples.show(text, null);
    session.readSoon(text);
  },
  view: setView,
  theme: (theme) => {
    change({ theme });
    showTheme();
  },
});

const showFailure = createFailure({
  engine: () => session.engine(),
  text: () => state.text,
  n_ctx,
  again: () => openings.again(),
  setText,
  clear: dropReading,
  remember,
  part: () => (facts?.model.partial === true ? lackWords(facts.model) : null),
  atlas: () => tabs.open(facts ? viewOfPart(facts.model) : "gains"),
  bundled: () => openings.bundled(),
});

const panel = createPanel(changeSwitches);
const codes = createCodes({ text: () => state.text, setText: (text) => setText(text, text) });
const examples = createExamples({
  engine: () => session.engine(),
  model: () => ({ name: facts?.in_use.name ?? "", n_ctx: n_ctx() }),
  open: ({ view }, text, ids) => {
    state = { ...state, view: viewNamed(view) };
    controls.setView(state.view);
    setText(text, ids ?? text);
  },
  beside: second.toggle,
});

/** Whether the view needs a token that the reading was not asked for. */
const isTrackMissing = () =>
  reading !== null && state.view.is_tracked && trackedGroup().some((id) => !reading?.tracked[id]);

/** Takes everything away that a reading said: there is none of the text and the model in use. */
function dropReading() {
  reading = arriving = null;
  show.release();
  show.clear();
  deep.clear();
  passage.clear();
  void second.first(null);
  byId("side").hidden = true;
  void examples.show(state.text, null);
}

/** @param adds whether it is a step that can be gone back */
function change(part: Partial<PageState>, adds: boolean = false) {
  state = { ...state, ...part };
  remember(adds);
}

function setView(view: View) {
  controls.setView(view);
  change({ view });
  void followTracked();
}

/** Shows the view; where it follows a token that was not asked for yet, reads again for it, from the kept stream. */
async function followTracked() {
  if (isTrackMissing()) await session.readAgain();
  else redraw(false);
}

const notFiniteWords = ({ not_finite: { length } }: PlainReading) =>
  length === 0 ? "" : `${length} ${length === 1 ? "cell is" : "cells are"} not finite · `;

function changeSwitches(switches: Switches) {
  const before = JSON.stringify(readOptions(state.switches, n_layer()));
  const is_other_window = JSON.stringify(switches.span) !== JSON.stringify(state.switches.span);
  change({ switches });
  showSwitches();
  if (is_other_window) passage.again();
  if (JSON.stringify(readOptions(switches, n_layer())) === before) redraw(false);
  else void session.readAgain();
}

const showSwitches = () => panel.show(state.switches, { n_layer: n_layer(), n_tokens: reading?.n_tokens ?? null });

/** What can wait until there is something to see. */
function afterFirstPicture() {
  performance.mark("loupe:first-picture");
  void workOffline((takeOver) => {
    const button = byId("new-version");
    button.addEventListener("click", takeOver, { once: true });
    button.hidden = false;
  });
}

/** The second text was read, changed or closed. */
function drawComparison() {
  redraw(false);
  deep.redraw();
  passage.again();
}

/** Draws the newest reading under the present state. */
function redraw(follow_end: boolean) {
  if (!reading || byId("picture").hidden) return;
  const comparison = second.comparison();
  show.reading(reading, comparison?.first === reading ? comparison : null, trackedGroup(), follow_end);
  controls.showBetween(state.second !== null);
  showSwitches();
}

/** @param parts of the address */
function showUnreadable(parts: string[]) {
  if (parts.length === 0) return;
  const names = new Intl.ListFormat("en").format(parts);
  const words = `The link could not be read in full: ${names} ${parts.length === 1 ? "is" : "are"} missing. Ask for the link again, or copy all of it.`;
  // The other notice of a link asks for its model.
  if (byId("notice").hidden) showNotice({ title: "This link is incomplete or damaged", text: words });
  else byId("notice-text").append(` ${words}`);
}

function showTheme() {
  applyTheme(state.theme);
  redraw(false);
  deep.redraw();
  tabs.redraw();
}

function remember(adds: boolean = false) {
  state = { ...state, model: openings.model(), file: openings.file() };
  void saveState(state, adds);
  const start = tabs.title() || state.text.trim().replace(/\s+/g, " ").slice(0, MAX_TITLE_CHARS);
  document.title = start ? `${start} · Loupe` : "Loupe";
}

/** Puts a text in the box and reads it, or the ids that it stands for. */
function setText(text: string, text_or_ids: string | Uint32Array) {
  state = { ...state, text, pin: null, switches: { ...state.switches, span: null } };
  show.release();
  controls.setText(text);
  void session.readNow(text_or_ids);
}

addEventListener("hashchange", async () => {
  addressChanged();
  const hash = location.hash;
  const [wanted, unreadable] = [await parseHash(hash), await unreadableParts(hash)];
  // A newer address has its own event.
  if (location.hash !== hash) return;
  const before = state;
  showUnreadable(unreadable);
  state = link = wanted;
  controls.setView(state.view);
  controls.setTheme(state.theme);
  applyTheme(state.theme);
  second.show();
  selection.set_channel(wanted.channel);
  // The address may name only the first of them.
  if (String([...selection.tokens].slice(0, MAX_PICKED)) !== String(wanted.picked))
    selection.set_tokens(known(wanted.picked));
  void tabs.show();
  if (wanted.text !== before.text) setText(state.text, state.text);
  else void session.readAgain();
  // What was set above may have changed what the state says of the model.
  if (wanted.model !== before.model) void openings.follow(wanted.model);
});
onSystemTheme(() => showTheme());

const help = byId<HTMLDialogElement>("help");
byId("help-open").addEventListener("click", () => help.showModal());
byId("help-close").addEventListener("click", () => help.close());

addEventListener("keydown", (event) => {
  const at = event.target as HTMLElement;
  if (event.altKey || event.ctrlKey || event.metaKey || at.closest("input, textarea, select, dialog")) return;
  if (event.key === "?") help.showModal();
  if (!tabs.is_lens()) return;
  if (event.key === "[" || event.key === "]")
    setView(viewBeside(state.view, event.key === "[" ? -1 : 1, state.second !== null));
});

createDrop((name, files) => {
  models.close();
  void openings.open({ kind: "files", name, files }, { precision: "f16", keep: wantsKeeping() });
});
controls.setText(state.text);
controls.setView(state.view);
controls.setTheme(state.theme);
second.show();
showTheme();
showSwitches();
void tabs.show();
void openings.begin(state.model, state.file).then(() => showUnreadable(unreadable));

installHook({
  show,
  second,
  state: () => state,
  engine: () => session.engine(),
  atlas: tabs.atlas,
  put: (other) => {
    reading = { ...other, model: facts };
    showPicture();
    redraw(false);
  },
});
