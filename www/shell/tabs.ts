/** The tabs of the page. Atlas and edits come only once somebody opens them, so the lens stays as light as it is. */
import { byId, element } from "../ui/dom.ts";
import { resolveTheme } from "../graphics/theme.ts";
import { effect, signal, untracked } from "@preact/signals-core";
import type { Store } from "../state/store.ts";
import type { Engine } from "../engine/client.ts";
import type { Atlas } from "../atlas/atlas.ts";
import type { Causes } from "../causes/causes.ts";
import type { Evidence } from "../evidence/evidence.ts";

export function createTabs({
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
}) {
  const { selection } = store;
  const links = {
    lens: byId("tab-lens"),
    causes: byId("tab-causes"),
    evidence: byId("tab-evidence"),
    atlas: byId("tab-atlas"),
  };
  const homes = { causes: byId("causes"), evidence: byId("evidence"), atlas: byId("atlas") };
  let atlas: Atlas | null = null;
  let coming: Promise<Atlas> | null = null;
  let causes: Causes | null = null;
  let coming_causes: Promise<Causes> | null = null;
  let evidence: Evidence | null = null;
  let coming_evidence: Promise<Evidence> | null = null;
  /** The name of the atlas' view or of the edits; empty for the lens. */
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
      atlas = createAtlas(homes.atlas, {
        engine,
        selection,
        options,
        edits: {
          get: () => store.edits.peek(),
          set: store.setEdits,
          show: () => open(null, "causes"),
          reading: () => store.reading.peek(),
          follow: (listener) =>
            effect(() => {
              void [store.edits.value, store.reading.value];
              untracked(listener);
            }),
        },
        theme: () => resolveTheme(store.theme.peek()),
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

  function theCauses() {
    coming_causes ??= import("../causes/causes.ts").then(
      ({ createCauses }) => (causes = createCauses(homes.causes, { store, engine, restart })),
    );
    return coming_causes;
  }

  function theEvidence() {
    coming_evidence ??= import("../evidence/evidence.ts").then(
      ({ createEvidence }) => (evidence = createEvidence(homes.evidence, { store, engine, restart, setText })),
    );
    return coming_evidence;
  }

  /** Shows the tab that the store has. */
  async function show(view: string | null, is_causes: boolean, is_evidence: boolean) {
    const now = view !== null ? "atlas" : is_causes ? "causes" : is_evidence ? "evidence" : "lens";
    document.documentElement.dataset.tab = now;
    for (const [name, home] of Object.entries(homes)) home.hidden = name !== now;
    for (const [name, tab] of Object.entries(links)) {
      if (name === now) tab.setAttribute("aria-current", "page");
      else tab.removeAttribute("aria-current");
    }
    if (now !== "atlas") atlas?.close();
    if (now === "lens") return void (title.value = "");
    last_view = view ?? last_view;
    try {
      const made = await (now === "atlas" ? theAtlas() : now === "causes" ? theCauses() : theEvidence());
      const opened = store.atlas.peek();
      if ("open" in made && opened !== null) title.value = `${made.open(opened)} · Atlas`;
      else if (store.causes.peek()) title.value = "Causes";
      else if (store.evidence.peek()) title.value = "Evidence";
    } catch (error) {
      if (now === "atlas") coming = null;
      else if (now === "causes") coming_causes = null;
      else coming_evidence = null;
      homes[now].replaceChildren(
        element("p", "card atlas-absent", `This tab could not be loaded: ${(error as Error).message}`),
      );
    }
  }

  /** @param view null: the lens, or another tab */
  function open(view: string | null, tab: "causes" | "evidence" | null = null) {
    const now = store.causes.peek() ? "causes" : store.evidence.peek() ? "evidence" : null;
    if (view === store.atlas.peek() && tab === now) return;
    store.open(view, tab);
    scrollTo({ top: 0 });
  }

  effect(() => {
    const [view, is_causes, is_evidence] = [store.atlas.value, store.causes.value, store.evidence.value];
    untracked(() => void show(view, is_causes, is_evidence));
  });
  effect(() => {
    const now = store.model.value;
    untracked(() => now && void atlas?.model(now.model, now.in_use.name));
  });
  effect(() => {
    const badge = byId("edited");
    badge.hidden = store.edits.value === "";
  });
  byId("edited").addEventListener("click", () => open(null, "causes"));
  byId("picked-clear").addEventListener("click", () => selection.setTokens([]));
  const places = {
    lens: () => open(null),
    causes: () => open(null, "causes"),
    evidence: () => open(null, "evidence"),
    atlas: () => store.atlas.peek() === null && open(last_view ?? "channels"),
  };
  for (const [name, go] of Object.entries(places))
    links[name as keyof typeof links].addEventListener("click", (event) => {
      event.preventDefault();
      go();
    });

  return {
    open,
    title,
    /** After another theme. */
    redraw: () => atlas?.redraw(),
    atlas: () => atlas,
    causes: () => causes,
    evidence: () => evidence,
  };
}
