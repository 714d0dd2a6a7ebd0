/** The lens: text, figure and panels, each drawn by an effect from what the store has. */
import { effect, signal, untracked } from "@preact/signals-core";
import { createExportMenu } from "../export/export-menu.ts";
import { onSystemTheme } from "../graphics/theme.ts";
import { duration, integer } from "../lib/format.ts";
import { viewBeside, viewNamed } from "../reading/views.ts";
import { button, byId, element, optionsOf, replaceKeyed } from "../ui/dom.ts";
import { createFigure } from "./figure/figure.ts";
import { createCellPanel } from "./panels/cell.ts";
import { createControlCodes } from "./panels/control-codes.ts";
import { createExampleBar } from "./panels/example-bar.ts";
import { createSecond } from "./panels/second-text.ts";
import { createSettings } from "./panels/settings.ts";
import { setState, showPicture } from "./panels/stage.ts";
import { createTextCharts } from "./panels/text-charts.ts";
import { createToolbar } from "./panels/toolbar.ts";
import { createTrackedPicker } from "./panels/tracked.ts";
import { createTrajectories } from "./panels/trajectories.ts";
import type { Engine } from "../engine/client.ts";
import type { Comparison } from "../reading/comparison.ts";
import type { PlainReading } from "../reading/reading.ts";
import type { Store } from "../state/store.ts";

export type Lens = ReturnType<typeof createLens>;

const notFiniteWords = ({ not_finite: { length } }: PlainReading) =>
  length === 0 ? "" : `${length} ${length === 1 ? "cell is" : "cells are"} not finite · `;

export function createLens({
  store,
  engine,
  session,
}: {
  store: Store;
  engine: () => Engine;
  session: {
    readNow: (text: string) => Promise<void>;
    readSoon: (text: string) => void;
    compare: (text: string, first: PlainReading) => Promise<Comparison | null>;
    closeSecond: () => void;
  };
}) {
  /** The newest reading, which may still have to be compared. */
  let arriving: PlainReading | null = null;
  /** Whether a person edits the middle of the text: then the picture stays where it is scrolled to. */
  let is_inside = false;
  /** Counts changes of the system's theme, which colours follow. */
  const system = signal(0);
  onSystemTheme(() => system.value++);

  const controls = createToolbar({
    text: (text) => {
      is_inside = controls.caretIsInside();
      // In the address now: a reload in the middle of a long reading must not lose it.
      store.setText(text);
      session.readSoon(text);
    },
    view: store.setView,
    theme: store.setTheme,
  });
  const figure = createFigure({
    point: (to, by_key) => {
      if (by_key && !to.is_second && store.pins.peek().length > 0) store.movePin(to);
      else store.point(to);
      if (by_key) figure.say(to, !to.is_second && store.pins.peek().length > 0);
    },
    pin: (cell, is_more) => store.togglePin(cell, is_more),
    add: (cell) => store.addPin(cell),
    unpin: () => store.unpin(),
    span: (span) => store.setSwitches({ ...store.switches.peek(), span }),
  });
  const settings = createSettings(store.setSwitches);
  const cell = createCellPanel({ store, engine, shownOf: figure.pictureOf });
  const trajectories = createTrajectories({ store, engine });
  const tracked = createTrackedPicker({ store, engine });
  const charts = createTextCharts(store, (ids) => engine().norms(ids));
  const second = createSecond({ store, compare: session.compare, newest: () => arriving ?? store.reading.peek() });
  const codes = createControlCodes({ text: () => store.text.peek(), setText });
  const examples = createExampleBar({
    engine,
    name: () => store.model.peek()?.in_use.name ?? "",
    open: ({ view, text }) => {
      store.setView(viewNamed(view));
      setText(text);
    },
    beside: second.toggle,
  });
  createExportMenu({
    shown: () => figure.picture.shown(),
    width: () => byId("scroller").clientWidth,
    store,
    engine,
  });

  /** Draws the selected cell where it stands, and all that is said of it. */
  function drawCell() {
    figure.mark(store.cell.peek(), store.pins.peek(), !is_inside);
    cell.draw();
  }

  /** Puts a text in the box and reads it. */
  function setText(text: string) {
    store.replaceText(text);
    figure.release();
    controls.setText(text);
    void session.readNow(text);
  }

  /** Draws what `draw` reads of signals, whenever one of them changes; what it calls is not followed. */
  const follows = <T>(read: () => T, draw: (value: T) => void) =>
    effect(() => {
      const value = read();
      untracked(() => draw(value));
    });

  follows(
    () => store.view.value,
    (view) => controls.setView(view),
  );
  follows(
    () => store.theme.value,
    (theme) => controls.setTheme(theme),
  );
  follows(
    () => ({
      choices: store.lens_choices.value,
      now: store.how.value.asked.lens ?? "",
      is_left_out: store.how.value.asked.lens !== (store.lens.value || undefined),
    }),
    ({ choices, now, is_left_out }) => {
      const select = byId<HTMLSelectElement>("lens-in-use");
      select.replaceChildren(...optionsOf(choices));
      select.value = now;
      select.disabled = is_left_out;
      select.title = is_left_out ? "Contributions and borrowed blocks are read by the logit lens" : "Lens";
      select.hidden = choices.length < 2;
    },
  );
  byId("lens-in-use").addEventListener("change", () => store.useLens(byId<HTMLSelectElement>("lens-in-use").value));
  effect(() => second.draw());
  follows(
    () => store.second.value !== null,
    (has_second) => controls.showBetween(has_second),
  );
  follows(
    () => !store.second.value,
    (is_empty) => is_empty && session.closeSecond(),
  );
  follows(
    () => ({
      switches: store.switches.value,
      n_layer: store.n_layer.value,
      n_tokens: store.reading.value?.n_tokens ?? null,
      has_end_token: store.model.value?.model.has_end_token === true,
    }),
    ({ switches, ...size }) => settings.show(switches, size),
  );
  // The figure, while it is in sight.
  follows(
    () => ({
      is_in_sight: store.is_lens.value,
      reading: store.reading.value,
      comparison: store.comparison.value,
      group: store.group.value,
      look: {
        view: store.view.value,
        switches: store.switches.value,
        theme: store.theme.value,
        compare: store.compare.value,
        picked: [...store.selection.tokens],
      },
      system: system.value,
    }),
    ({ is_in_sight, reading, comparison, group, look }) => {
      if (!reading) return figure.clear();
      if (!is_in_sight) return;
      // What is drawn stays until a token that is to be tracked has been read.
      if (store.is_track_missing.peek() && figure.picture.reading() === reading) return;
      figure.draw(reading, comparison, group, look);
      drawCell();
    },
  );
  follows(
    () => [store.reading.value, store.groups.value, store.tracked.value, store.view.value],
    () => tracked.draw(),
  );
  follows(
    () => [store.cell.value, store.pins.value],
    () => store.is_lens.peek() && drawCell(),
  );
  follows(
    () => [
      store.reading.value,
      store.comparison.value,
      store.pins.value,
      store.groups.value,
      store.tracked.value,
      store.view.value.is_tracked,
      store.theme.value,
      store.is_lens.value,
      system.value,
    ],
    () => (store.is_lens.peek() || !store.reading.peek()) && trajectories.draw(),
  );
  follows(
    () => store.cell.value,
    () => store.is_lens.peek() && store.pins.peek().length === 0 && trajectories.draw(true),
  );
  follows(
    () => [store.reading.value, store.span.value, store.second.value === null, store.theme.value],
    () => charts.draw(),
  );
  follows(
    () => store.reading.value === null,
    (is_hidden) => (byId("side").hidden = is_hidden),
  );
  follows(
    () => ({ text: store.text.value, reading: store.reading_of_text.value }),
    ({ text, reading }) => void examples.show(text, reading),
  );
  follows(
    () => String(store.model.value?.model.family),
    (family) => codes.show(family),
  );
  follows(
    () => store.is_lens.value,
    (is_in_sight) => {
      if (!is_in_sight) return;
      // What has no size while it is out of sight is fitted now.
      controls.fit();
      second.draw();
    },
  );

  addEventListener("keydown", (event) => {
    const at = event.target as HTMLElement;
    if (
      event.altKey ||
      event.ctrlKey ||
      event.metaKey ||
      at.closest("input:not([type=radio], [type=checkbox]), textarea, select, dialog")
    )
      return;
    if (!store.is_lens.peek() || (event.key !== "[" && event.key !== "]")) return;
    store.setView(viewBeside(store.view.peek(), event.key === "[" ? -1 : 1, store.second.peek() !== null));
  });

  /** How much of the text was read; of one that is too long, with a way to the other end of it. */
  function partOf({ n_text, n_read, n_tokens, kept }: PlainReading) {
    if (n_read === n_text) return [`${n_tokens} of ${store.n_ctx.peek()} tokens`];
    const other = kept === "first" ? "last" : "first";
    const turn = button("link", `Read the ${other} ${n_read} instead`, () =>
      store.setSwitches({ ...store.switches.peek(), kept: other }),
    );
    turn.dataset.key = "other end";
    return [`Read the ${kept} ${integer(n_read)} of ${integer(n_text)} tokens; the rest do not fit. `, turn];
  }

  /** Puts a reading into the picture. */
  function put(fresh: PlainReading, text: string, compared: Comparison | null) {
    is_inside = controls.caretIsInside();
    showPicture();
    replaceKeyed(
      byId("status"),
      ...partOf(fresh),
      element("span", "wide-only", ` · read in ${duration(fresh.read_ms)}`),
      ` · ${notFiniteWords(fresh)}nothing leaves this page`,
    );
    setState("ready");
    // Last, because it may show that a token is to be followed that this reading does not have: then it is read again.
    store.setReading(fresh, compared, text);
    arriving = null;
  }

  return {
    figure,
    setText,
    /** Puts a reading into the picture that no engine of the page made. */
    show(other: PlainReading) {
      showPicture();
      store.setReading(other);
    },
    /** Fills the box at the start. */
    begin: () => controls.setText(store.text.peek()),
    /** Another text, by an address: its pin and window are its own. */
    followText() {
      const text = store.text.peek();
      figure.release();
      controls.setText(text);
      void session.readNow(text);
    },
    /** The second text is another one, by an address. */
    secondChanged: second.again,

    /** A text was read. Ends when the reading is in the picture, or is not to be any more. */
    async reading(fresh: PlainReading, text: string) {
      arriving = fresh;
      const comparing = second.compareWith(fresh);
      // A picture of two texts stays until the next one is there.
      if (store.comparison.peek() !== null) {
        const compared = await comparing;
        if (arriving === fresh) put(fresh, text, compared);
        return;
      }
      put(fresh, text, null);
      const compared = await comparing;
      if (compared && store.reading.peek() === fresh) store.setComparison(compared);
    },

    /** Takes everything away that a reading said: there is none of the text and the model in use. */
    drop() {
      arriving = null;
      figure.release();
      second.clear();
      session.closeSecond();
      store.setReading(null);
    },
  };
}
