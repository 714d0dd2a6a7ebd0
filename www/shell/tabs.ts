/** The two tabs of the page. The atlas comes only once somebody opens it, so the lens stays as light as it is. */
import { byId, element } from "../ui/dom.ts";
import type { PageState } from "../state/page-state.ts";
import type { Engine } from "../engine/client.ts";
import type { Selection } from "../state/selection.ts";
import type { Atlas } from "../atlas/atlas.ts";
import type { ModelInUse } from "../lib/model.ts";

export function createTabs({
  state,
  change,
  engine,
  selection,
  lens,
  restart,
}: {
  state: () => PageState;
  /** `adds`: a step that can be gone back */
  change: (part: Partial<PageState>, adds?: boolean) => void;
  engine: () => Engine;
  selection: Selection;
  /** the lens comes into sight */
  lens: () => void;
  /** starts the engine again */
  restart: () => void;
}) {
  const [lens_tab, atlas_tab] = [byId("tab-lens"), byId("tab-atlas")];
  const home = byId("atlas");
  let atlas: Atlas | null = null;
  let coming: Promise<Atlas> | null = null;
  let facts: ModelInUse | null = null;
  let title = "";
  let last_view = state().atlas;

  const options = {
    get: (name: string) => state().atlas_options[name] ?? null,
    set: (name: string, value: string | null) => {
      const { [name]: _, ...others } = state().atlas_options;
      change({ atlas_options: value === null ? others : { ...others, [name]: value } });
    },
  };

  function theAtlas() {
    coming ??= import("../atlas/atlas.ts").then(({ createAtlas }) => {
      atlas = createAtlas(home, {
        engine,
        selection,
        options,
        open: (view) => open(view),
        lens: () => open(null),
        restart,
      });
      if (facts) void atlas.model(facts.model, facts.in_use.name);
      return atlas;
    });
    return coming;
  }

  /** Shows what the state says. */
  async function show() {
    const { atlas: view } = state();
    const is_atlas = view !== null;
    const was_atlas = document.documentElement.dataset.tab === "atlas";
    document.documentElement.dataset.tab = is_atlas ? "atlas" : "lens";
    home.hidden = !is_atlas;
    for (const [tab, is_current] of [
      [lens_tab, !is_atlas],
      [atlas_tab, is_atlas],
    ] as const) {
      if (is_current) tab.setAttribute("aria-current", "page");
      else tab.removeAttribute("aria-current");
    }
    if (!is_atlas) {
      title = "";
      if (was_atlas) lens();
      return atlas?.close();
    }
    last_view = view;
    try {
      const made = await theAtlas();
      if (state().atlas === null) return;
      title = `${made.open(state().atlas ?? "")} · Atlas`;
      change({});
    } catch (error) {
      coming = null;
      home.replaceChildren(
        element("p", "card atlas-absent", `The atlas could not be loaded: ${(error as Error).message}`),
      );
    }
  }

  /** @param view null: the lens */
  function open(view: string | null) {
    if (view === state().atlas) return;
    change({ atlas: view }, true);
    void show();
    scrollTo({ top: 0 });
  }

  selection.subscribe(() => {
    change({ channel: selection.chosen_channel, picked: [...selection.tokens] });
    if (state().atlas === null) lens();
  });
  byId("picked-clear").addEventListener("click", () => selection.set_tokens([]));
  lens_tab.addEventListener("click", (event) => {
    event.preventDefault();
    open(null);
  });
  atlas_tab.addEventListener("click", (event) => {
    event.preventDefault();
    if (state().atlas === null) open(last_view ?? "channels");
  });

  return {
    open,
    show,
    /** The atlas' view, for the document's title; empty for the lens. */
    title: () => title,
    is_lens: () => state().atlas === null,

    model(now: ModelInUse) {
      facts = now;
      void atlas?.model(now.model, now.in_use.name);
    },

    /** After another theme. */
    redraw: () => atlas?.redraw(),
    atlas: () => atlas,
  };
}
