// @ts-check
/** The two tabs of the page. The atlas comes only once somebody opens it, so the lens stays as light as it is. */
import { byId, element } from "./dom.js";

/**
 * @param {object} page
 * @param {() => import("./state.js").PageState} page.state
 * @param {(part: Partial<import("./state.js").PageState>, adds?: boolean) => void} page.change `adds`: a step that can be gone back
 * @param {() => import("./engine.js").Engine} page.engine
 * @param {import("./atlas/selection.js").Selection} page.selection
 * @param {() => void} page.lens the lens comes into sight
 * @param {() => void} page.restart starts the engine again
 */
export function createTabs({ state, change, engine, selection, lens, restart }) {
  const [lens_tab, atlas_tab] = [byId("tab-lens"), byId("tab-atlas")];
  const home = byId("atlas");
  /** @type {import("./atlas/tab.js").Atlas | null} */
  let atlas = null;
  /** @type {Promise<import("./atlas/tab.js").Atlas> | null} */
  let coming = null;
  /** @type {import("./engine.js").InUseFacts | null} */
  let facts = null;
  let title = "";
  let last_view = state().atlas;

  const options = {
    get: (/** @type {string} */ name) => state().atlas_options[name] ?? null,
    set: (/** @type {string} */ name, /** @type {string | null} */ value) => {
      const { [name]: _, ...others } = state().atlas_options;
      change({ atlas_options: value === null ? others : { ...others, [name]: value } });
    },
  };

  function theAtlas() {
    coming ??= import("./atlas/tab.js").then(({ createAtlas }) => {
      atlas = createAtlas(home, { engine, selection, options, open: (view) => open(view), lens: () => open(null), restart });
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
    for (const [tab, is_current] of /** @type {const} */ ([[lens_tab, !is_atlas], [atlas_tab, is_atlas]])) {
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
      home.replaceChildren(element("p", "card atlas-absent", `The atlas could not be loaded: ${/** @type {Error} */ (error).message}`));
    }
  }

  /** @param {string | null} view null: the lens */
  function open(view) {
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

    /** @param {import("./engine.js").InUseFacts} now */
    model(now) {
      facts = now;
      void atlas?.model(now.model, now.in_use.name);
    },

    /** After another theme. */
    redraw: () => atlas?.redraw(),
    atlas: () => atlas,
  };
}
