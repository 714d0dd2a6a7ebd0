/** The page: store, session, lens, atlas and models, put together. */
import { effect, untracked } from "@preact/signals-core";
import { startEngine } from "./engine/client.ts";
import { applyTheme, onSystemTheme } from "./graphics/theme.ts";
import { createLens } from "./lens/lens.ts";
import { createFailure } from "./lens/panels/failure.ts";
import { setState, showLoading } from "./lens/panels/stage.ts";
import { createDeviceChoice, deviceChoice, tuningChoice } from "./models/device-choice.ts";
import { createModelController } from "./models/controller.ts";
import { createModelDialog } from "./models/dialog.ts";
import { lackWords, viewOfPart } from "./models/facts.ts";
import { createFileDrop } from "./models/file-drop.ts";
import { createOpeningView } from "./models/opening-view.ts";
import { wantsKeeping } from "./models/storage.ts";
import { createTabs } from "./shell/tabs.ts";
import { installHook } from "./shell/test-hook.ts";
import { createTour } from "./shell/tour.ts";
import { addressText } from "./sources/hub-address.ts";
import { barOf, createAddress } from "./state/address.ts";
import { MAX_PICKED, parseHash, unreadableParts } from "./state/page-state.ts";
import { createSession } from "./state/session.ts";
import { createStore } from "./state/store.ts";
import { byId } from "./ui/dom.ts";
import { createGlossary } from "./ui/glossary.ts";
import { showNotice } from "./ui/notice.ts";
import type { ModelInUse, Source } from "./lib/model.ts";
import type { PageState } from "./state/page-state.ts";

const MAX_TITLE_CHARS = 48;
const A_MINUTE_MS = 60_000;
/** An engine that ends so often within a minute is not started again. */
const MAX_ENDS = 3;
/** Where keys are typed, or mean something else. */
const TYPED = "input:not([type=radio], [type=checkbox]), textarea, select, dialog";
/** What the engine's module advises to pages that embed it, and what this page does by itself. */
const ADVICE = / Open a new (one in a fresh worker, or reload the page|Loupe and load the model again)\.$/;

const begin = await parseHash(location.hash);
const unreadable = await unreadableParts(location.hash);
const store = createStore(begin);
// Before anything is drawn in its colours.
effect(() => applyTheme(store.theme.value));
/** What the address asks of its model, until that is there: another one may have to stand in. */
let link: PageState | null = begin;
/** The state of the page when the engine last crashed. */
let crashed_at = "";
/** When the engine ended of late. */
let ended_at: number[] = [];

/** Whether that is the model that an address was made with. */
const isOf = ({ model, file }: PageState, { in_use }: ModelInUse, source: Source) =>
  (model !== null && in_use.address !== null && addressText(in_use.address) === model) ||
  (file !== null && source.kind === "files" && source.name === file);
/** Whether an engine that was started again opened the same model. Files may have changed. */
const isSameModel = (a: ModelInUse, b: ModelInUse) =>
  a.in_use.source.kind !== "files" && JSON.stringify(a.in_use) === JSON.stringify(b.in_use);

const session = createSession((onEnd) => startEngine({ device: deviceChoice(), tuning: tuningChoice() }, onEnd), {
  text: () => store.text.peek(),
  options: () => ({ ...store.how.peek(), track: store.track.peek() }),
  opening: (source, is_first) => {
    openings.opening(source, is_first);
    models.draw();
    if (!is_first) return;
    setState("loading");
    byId("status").textContent = "";
    showLoading();
  },
  step: (step) => openings.step(step),
  opened: (now, refusal, source) => {
    const before = store.model.peek();
    openings.opened(now, refusal, source);
    models.show(now);
    device.show(now.adapter);
    checkSoon();
    if (before !== null && !isSameModel(before, now)) {
      // What the old model said is not what this one says.
      lens.drop();
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
      store.replaceModel(now, asked);
    } else {
      store.setModel(now);
    }
    if (now.model.partial === true && store.atlas.peek() === null) tabs.open(viewOfPart(now.model));
    saveModel();
  },
  notOpened: (failure, source, how) => {
    openings.notOpened(failure, source, how);
    saveModel();
    void models.refresh();
  },
  busy: () => setState(store.reading.peek() && !byId("picture").hidden ? "busy" : "loading"),
  block: (end) => {
    if (end > 64) byId("status").textContent = `reading · ${end} tokens so far`;
  },
  reading: (fresh, text) =>
    lens.reading(fresh, text).then(() => {
      if (performance.getEntriesByName("loupe:first-picture").length === 0) afterFirstPicture();
      checkSoon();
    }),
  failure: (code, message, loading) => showFailure(code, message, loading),
  ended: (message, code) => {
    const now = performance.now();
    ended_at = [...ended_at.filter((at) => now - at < A_MINUTE_MS), now];
    const last = crashed_at;
    if (code === "crashed") crashed_at = JSON.stringify(store.address.peek());
    // What ends the engine each time must not start it for ever: then a person decides.
    const is_again = code === "crashed" && crashed_at === last;
    if (is_again || ended_at.length >= MAX_ENDS) {
      ended_at = [];
      return showFailure(code, message, true);
    }
    showNotice({
      title:
        code === "crashed"
          ? "The engine crashed and was started again"
          : "The graphics device was lost; the engine was started again",
      text: message.replace(ADVICE, ""),
      code,
    });
    openings.again();
  },
});
const engine = () => session.engine();
const tour = createTour();

// Before the lens, which is measured once its tab is shown.
const tabs = createTabs({
  store,
  engine,
  restart: () => openings.again(),
  setText: (text) => {
    store.open(null);
    lens.setText(text);
  },
});
const lens = createLens({ store, engine, session });
const openings = createModelController({ session: () => session, view: createOpeningView(), changed: saveModel });
const models = createModelDialog({
  engine,
  isOpening: () => session.isOpening(),
  coming: openings.coming,
  open: openings.open,
});
const device = createDeviceChoice(() => {
  models.close();
  // One that was started before the choice would be used.
  session.close();
  openings.again();
});
const showFailure = createFailure({
  nCtx: () => store.n_ctx.peek(),
  again: () => openings.again(),
  clear: () => lens.drop(),
  part: () => {
    const now = store.model.peek();
    return now?.model.partial === true ? lackWords(now.model) : null;
  },
  atlas: () => {
    const now = store.model.peek();
    tabs.open(now ? viewOfPart(now.model) : "gains");
  },
  bundled: () => openings.bundled(),
  cpu: () => device.choose("cpu"),
});

/** What the address is to say of the model. */
function saveModel() {
  const [model, file] = [openings.model(), openings.file()];
  const now = store.of_model.peek();
  if (model !== now.model || file !== now.file) store.of_model.value = { model, file };
}

/** Compares the GPU with the CPU when the page is idle. */
let checkSoon = () => {};

/** What can wait until there is something to see. */
function afterFirstPicture() {
  performance.mark("loupe:first-picture");
  if (store.is_lens.peek()) tour.offer();
  // Without these the page works all the same, with a network.
  import("./models/device-check.ts")
    .then(({ createDeviceCheck }) => {
      const check = createDeviceCheck({
        engine: session.running,
        now: () => store.model.peek(),
        cpu: () => device.choose("cpu"),
      });
      checkSoon = check.soon;
      checkSoon();
    })
    .catch(() => {});
  import("./shell/offline.ts").then(({ workOffline }) => workOffline(losses)).catch(() => {});
}

/** What a reload would lose, because no address and no file in this browser has it. */
function losses() {
  const now = store.model.peek();
  const n_tokens = store.selection.tokens.size;
  return [
    ...(now?.in_use.source.kind === "files" ? ["the model opened from files (not saved in this browser)"] : []),
    ...(now?.in_use.source.kind === "hub" ? [`the model ${now.in_use.name} (not saved in this browser)`] : []),
    ...(session.isOpening() && now ? ["the model that is being opened"] : []),
    ...(n_tokens > MAX_PICKED ? [`the selection of ${n_tokens} tokens`] : []),
    ...(tabs.atlas()?.held() ?? []),
    ...(tabs.evidence()?.held() ?? []),
  ];
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

createAddress(store, barOf(window), (before, wanted, unreadable) => {
  const now = store.address.peek();
  link = wanted;
  showUnreadable(unreadable);
  if (now.text !== before.text) lens.followText();
  else if (now.second !== before.second) void lens.secondChanged();
  // What was put into the store may have changed what it says of the model.
  if (now.model !== before.model) void openings.follow(now.model).finally(saveModel);
  else saveModel();
});
// Options that the engine has to know, and tokens that it was not asked for: the text is read again.
effect(() => {
  void store.how.value;
  untracked(() => void session.readAgain());
});
effect(() => {
  if (!store.is_track_missing.value) return;
  void store.track.value;
  untracked(() => void session.readAgain());
});
effect(() => {
  void store.theme.value;
  untracked(() => tabs.redraw());
});
onSystemTheme(() => tabs.redraw());
effect(() => {
  const start = tabs.title.value || store.text.value.trim().replace(/\s+/g, " ").slice(0, MAX_TITLE_CHARS);
  document.title = start ? `${start} · Loupe` : "Loupe";
});

// Where a browser does not close dialogs by a click beside them.
if (!("closedBy" in HTMLDialogElement.prototype)) {
  for (const dialog of document.querySelectorAll("dialog"))
    dialog.addEventListener("pointerdown", (event) => event.target === dialog && dialog.close());
}
const help = byId<HTMLDialogElement>("help");
byId("help-open").addEventListener("click", () => help.showModal());
byId("help-close").addEventListener("click", () => help.close());
byId("tour-start").addEventListener("click", () => {
  help.close();
  store.open(null);
  tour.start();
});
createGlossary();
addEventListener("keydown", (event) => {
  const at = event.target as HTMLElement;
  if (event.altKey || event.ctrlKey || event.metaKey || at.closest(TYPED)) return;
  if (event.key === "?") help.showModal();
});

createFileDrop((name, files) => {
  models.close();
  void openings.open({ kind: "files", name, files }, { precision: "f16", keep: wantsKeeping() });
});
lens.begin();
void openings.begin(begin.model, begin.file).then(() => showUnreadable(unreadable));

installHook({
  figure: lens.figure,
  store,
  engine,
  atlas: tabs.atlas,
  causes: tabs.causes,
  evidence: tabs.evidence,
  put: (other) => lens.show({ ...other, model: store.model.peek() }),
});
