/** The Atlas tab: the list of views, the chosen one, and beside it what is selected everywhere. */
import { element } from "../ui/dom.ts";
import { createQueries } from "./queries.ts";
import { createCard } from "../cards/figure-card.ts";
import { THRESHOLD } from "../state/page-state.ts";
import { createScatter } from "./scatter/scatter.ts";
import { defaultChannel } from "./stats/maths.ts";
import { createSelectionPanel } from "./selection-panel.ts";
import { VIEWS } from "./views/index.ts";
import type { Theme } from "../graphics/colormaps.ts";
import type { Engine } from "../engine/client.ts";
import type { Selection } from "../state/selection.ts";
import type { Cloud } from "./scatter/scatter.ts";
import type { Edits, Shown, Stage, View } from "./types.ts";
import type { Facts } from "../lib/model.ts";

export type Atlas = ReturnType<typeof createAtlas>;

export const DEFAULT_VIEW = "channels";

const NAMES = { wte: "wte, the token embedding", wpe: "wpe, the position embedding", norms: "LayerNorms" };

export function createAtlas(
  home: HTMLElement,
  {
    engine,
    selection,
    options,
    edits,
    theme,
    open,
    lens,
    restart,
  }: {
    engine: () => Engine;
    selection: Selection;
    /** of all views, as the address bar has them */
    options: { get: (name: string) => string | null; set: (name: string, value: string | null) => void };
    edits: Edits;
    theme: () => Theme;
    /** asks for a view */
    open: (view: string) => void;
    /** asks for the lens */
    lens: () => void;
    /** starts the engine again */
    restart: () => void;
  },
) {
  const ask = createQueries(engine);
  let model = "";
  /** the view in sight */
  let current: string | null = null;
  let is_ready = false;
  const shown: Map<string, Shown> = new Map();
  const clouds: Set<Cloud> = new Set();
  /** What views have that a reload would lose. */
  const held: Map<string, string> = new Map();
  /** What the views have asked to be told of. */
  const subscriptions: Set<() => void> = new Set();

  /** The views of another model show nothing of this one. */
  function forgetViews() {
    for (const view of shown.values()) view.hide?.();
    for (const each of clouds) each.destroy();
    clouds.clear();
    for (const end of subscriptions) end();
    shown.clear();
    held.clear();
    subscriptions.clear();
  }

  /** The selection, as long as the views of this model are there. */
  const heard = Object.create(selection, {
    subscribe: {
      value: (listener: () => void) => {
        const end = selection.subscribe(listener);
        subscriptions.add(end);
        return end;
      },
    },
  }) as Selection;

  const links = VIEWS.map(({ name, title }) => {
    const link = element("a", "atlas-link", title);
    link.href = `#atlas=${name}`;
    link.dataset.atlas = name;
    link.addEventListener("click", (event) => {
      event.preventDefault();
      open(name);
    });
    return link;
  });
  const list = element(
    "nav",
    "card atlas-list",
    element("h2", "", "The weights"),
    element("p", "muted atlas-after", "after Adam Scherlis"),
    element("ul", "", ...links.map((link) => element("li", "", link))),
  );
  list.setAttribute("aria-label", "Views of the atlas");
  const stand = element("div", "atlas-stand");
  const absent = element("section", "card atlas-absent");
  const side = createSelectionPanel({ ask, selection, lens });
  home.replaceChildren(list, stand, side.element);

  function cloud(...[at, how]: Parameters<Stage["cloud"]>) {
    const made = createScatter(at, { ...how, selection });
    clouds.add(made);
    const forget = () => {
      clouds.delete(made);
      made.destroy();
    };
    return { ...made, destroy: forget };
  }

  const threshold = {
    get() {
      const value = Number(options.get(THRESHOLD) ?? NaN);
      return value > 0 && value < Infinity ? value : null;
    },
    set: (value: number | null) => options.set(THRESHOLD, value === null ? null : value.toPrecision(4)),
  };

  const stageOf = ({ name }: View): Stage => ({
    ask,
    selection: heard,
    options: {
      get: (option) => options.get(`${name}.${option}`),
      set: (option, value) => options.set(`${name}.${option}`, value),
    },
    threshold,
    edits: {
      ...edits,
      // As long as the views of this model are there.
      follow: (listener) => {
        const end = edits.follow(listener);
        subscriptions.add(end);
        return end;
      },
    },
    theme,
    holds: (words) => void (words === null ? held.delete(name) : held.set(name, words)),
    card: (what) => createCard({ ...what, model: () => model, again: () => void shown.get(name)?.show(), restart }),
    cloud,
  });

  function elementFor(view: View) {
    const missing = view.needs.filter((what) => !ask.has(what));
    if (missing.length > 0) {
      absent.replaceChildren(
        element("h2", "", view.title),
        element(
          "p",
          "muted",
          `This file has no ${missing.map((what) => NAMES[what]).join(" and no ")}, which this view is made from. Open a whole model to see it.`,
        ),
      );
      return { element: absent, show: () => {} };
    }
    const known = shown.get(view.name);
    if (known) return known;
    const made = view.create(stageOf(view));
    shown.set(view.name, made);
    return made;
  }

  function showView() {
    if (current === null) return;
    if (!is_ready) {
      absent.replaceChildren(element("p", "muted", "No model is open yet; the Lens tab says how far it is."));
      return stand.replaceChildren(absent);
    }
    const view = viewOf(current);
    const now = elementFor(view);
    for (const [name, other] of shown) if (other !== now && other.element.isConnected) shown.get(name)?.hide?.();
    if (stand.firstChild !== now.element) stand.replaceChildren(now.element);
    void now.show();
  }

  const viewOf = (name: string) =>
    VIEWS.find((view) => view.name === name) ?? VIEWS.find((view) => view.name === DEFAULT_VIEW) ?? VIEWS[0];

  async function findDefault() {
    const n_embd = Number(ask.facts.n_embd);
    if (selection.chosen_channel !== null && selection.chosen_channel >= n_embd) selection.setChannel(null);
    const gains = ask.has("norms") ? await ask.gains().catch(() => []) : [];
    selection.setDefault(defaultChannel(gains) ?? 0);
    side.reason(
      "Until you choose one: its |ln_2 gain|, averaged over the blocks on a log scale, is farthest from the median",
    );
  }

  return {
    /** Another model is in use. */
    async model(facts: Facts, name: string) {
      ask.model(facts);
      forgetViews();
      [model, is_ready] = [name, false];
      await findDefault();
      if (ask.facts !== facts) return;
      is_ready = true;
      side.show();
      showView();
    },

    /** @param name of a view; the usual one for a name that no view has */
    open(name: string) {
      const { name: found, title } = viewOf(name);
      current = found;
      for (const link of links) {
        if (link.dataset.atlas !== found) {
          link.removeAttribute("aria-current");
          continue;
        }
        link.setAttribute("aria-current", "page");
        // On a phone the list is one line that scrolls.
        const line = link.closest("ul") as HTMLElement;
        line.scrollLeft = link.offsetLeft - line.offsetLeft - (line.clientWidth - link.clientWidth) / 2;
      }
      showView();
      side.show();
      return title;
    },

    /** Out of sight. */
    close() {
      if (current !== null) shown.get(current)?.hide?.();
      current = null;
    },

    /** After another theme. */
    redraw() {
      for (const each of clouds) each.redraw();
      for (const each of shown.values()) each.redraw?.();
    },

    /** What a reload would lose. */
    held: () => [...held.values()],

    ask,
    /** The clouds in sight, by what they show. */
    cloud: (label: string) =>
      [...clouds].find(
        (each) => each.label.includes(label) && each.element.isConnected && each.element.clientWidth > 0,
      ) ?? null,
  };
}
