/** The tab of evidence: other lenses, the post's open questions, a corpus. Does a picture hold? */
import { effect, signal, untracked } from "@preact/signals-core";
import { createCard } from "../cards/figure-card.ts";
import { onSystemTheme, resolveTheme } from "../graphics/theme.ts";
import { element, onWidth } from "../ui/dom.ts";
import { createCorpus } from "./corpus.ts";
import { createDifference } from "./difference.ts";
import { createKept } from "./kept.ts";
import { createShelf } from "./shelf.ts";
import type { Engine } from "../engine/client.ts";
import type { Store } from "../state/store.ts";
import type { Stage } from "./types.ts";

export type Evidence = ReturnType<typeof createEvidence>;

export function createEvidence(
  home: HTMLElement,
  {
    store,
    engine,
    restart,
    setText,
  }: {
    store: Store;
    engine: () => Engine;
    /** starts the engine again */
    restart: () => void;
    /** reads another text in the lens */
    setText: (text: string) => void;
  },
) {
  const system = signal(0);
  onSystemTheme(() => system.value++);
  const stage: Stage = {
    ask: (method, question, watch) => engine().evidence(method, question, watch),
    theme: () => resolveTheme(store.theme.peek()),
    card: (what) => createCard({ ...what, model: () => store.model.peek()?.in_use.name ?? "", restart }),
  };
  const shelf = createShelf(stage, store);
  const difference = createDifference(stage, store);
  const kept = createKept(stage, store, { norms: (ids) => engine().norms(ids) });
  const corpus = createCorpus(stage, store, { vocabulary: (signal) => engine().vocabulary(signal), setText });
  home.replaceChildren(
    element("div", "evidence-main", shelf.element, difference.element, kept.element, corpus.element),
  );

  const redraw = () => [difference, kept, corpus].forEach((part) => part.redraw());
  onWidth(home, redraw, true);

  effect(() => {
    void [store.lenses.value, store.lens.value, store.model.value, store.edits.value];
    untracked(() => {
      shelf.draw();
      [difference, kept, corpus].forEach((part) => part.offer());
    });
  });
  effect(() => {
    void [store.theme.value, system.value];
    untracked(redraw);
  });
  /** An engine that was started again has the same model in another object. */
  const identity = () => {
    const now = store.model.peek();
    return now && JSON.stringify([now.in_use, now.model]);
  };
  let model = identity();
  effect(() => {
    const reading = store.reading.value;
    void store.model.value;
    untracked(() => {
      const now = identity();
      if (now !== model) {
        model = now;
        shelf.forget();
        corpus.forget(true);
      }
      // What was said of another text is not of this one.
      if (difference.done() && difference.done()?.reading !== reading) difference.forget();
      if (kept.done() && kept.done()?.reading !== reading) kept.forget();
    });
  });

  return {
    shelf,
    difference,
    kept,
    corpus,
    /** What a reload would lose. */
    held: () => [
      ...store.lenses
        .peek()
        .filter(({ card }) => card.sha256 === null)
        .map(({ name }) => `the lens “${name}”, which was fitted here`),
      ...(corpus.done() ? ["the result over the corpus"] : []),
    ],
  };
}
