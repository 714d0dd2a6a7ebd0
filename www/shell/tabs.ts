/** The two tabs of the page. The atlas comes only once somebody opens it, so the lens stays as light as it is. */
import { byId, element } from "../ui/dom.ts";
import { effect, signal, untracked } from "@preact/signals-core";
import type { Store } from "../state/store.ts";
import type { Engine } from "../engine/client.ts";
import type { Atlas } from "../atlas/atlas.ts";

export function createTabs({
  store,
  engine,
  restart,
}: {
  store: Store;
  engine: () => Engine;
  /** starts the engine again */
  restart: () => void;
}) {
  const { selection } = store;
  const [lens_tab, atlas_tab] = [byId("tab-lens"), byId("tab-atlas")];
  const home = byId("atlas");
  let atlas: Atlas | null = null;
  let coming: Promise<Atlas> | null = null;
  /** The name of the atlas' view; empty for the lens. */
  const title = signal("");
  let last_view = store.atlas.peek();

  const options = {
    get: (name: string) => store.page.peek().atlas_options[name] ?? null,
    set: (name: string, value: string | null) => {
      const { [name]: _, ...others } = store.page.peek().atlas_options;
      store.change({ atlas_options: value === null ? others : { ...others, [name]: value } });
    },
  };

  function theAtlas() {
    coming ??= import("../atlas/atlas.ts").then(({ createAtlas }) => {
      atlas = createAtlas(home, {
        engine,
        selection,
        options,
        open,
        lens: () => open(null),
        restart,
      });
      const now = store.model.peek();
      if (now) void atlas.model(now.model, now.in_use.name);
      return atlas;
    });
    return coming;
  }

  /** Shows the tab that the store has. */
  async function show(view: string | null) {
    const is_atlas = view !== null;
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
      title.value = "";
      return atlas?.close();
    }
    last_view = view;
    try {
      const made = await theAtlas();
      const now = store.atlas.peek();
      if (now !== null) title.value = `${made.open(now)} · Atlas`;
    } catch (error) {
      coming = null;
      home.replaceChildren(
        element("p", "card atlas-absent", `The atlas could not be loaded: ${(error as Error).message}`),
      );
    }
  }

  /** @param view null: the lens */
  function open(view: string | null) {
    if (view === store.atlas.peek()) return;
    store.open(view);
    scrollTo({ top: 0 });
  }

  effect(() => {
    const view = store.atlas.value;
    untracked(() => void show(view));
  });
  effect(() => {
    const now = store.model.value;
    untracked(() => now && void atlas?.model(now.model, now.in_use.name));
  });
  byId("picked-clear").addEventListener("click", () => selection.setTokens([]));
  lens_tab.addEventListener("click", (event) => {
    event.preventDefault();
    open(null);
  });
  atlas_tab.addEventListener("click", (event) => {
    event.preventDefault();
    if (store.atlas.peek() === null) open(last_view ?? "channels");
  });

  return {
    open,
    title,
    /** After another theme. */
    redraw: () => atlas?.redraw(),
    atlas: () => atlas,
  };
}
