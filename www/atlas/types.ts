/** What a view of the atlas is, and what it is given. */
import type { Theme } from "../graphics/colormaps.ts";
import type { PlainReading } from "../reading/reading.ts";
import type { Selection } from "../state/selection.ts";
import type { Card, Table } from "../cards/figure-card.ts";
import type { Queries } from "./queries.ts";
import type { Cloud, createScatter } from "./scatter/scatter.ts";

/** The edits of the page's run, as an address has them, and the reading that they start from. */
export interface Edits {
  get: () => string;
  set: (edits: string) => void;
  /** opens their tab */
  show: () => void;
  /** of the text of the lens */
  reading: () => PlainReading | null;
  /** calls back at once, and whenever one of both changes, until the answer is called */
  follow: (listener: () => void) => () => void;
}

/** What a view is given. */
export interface Stage {
  ask: Queries;
  selection: Selection;
  /** the view's own, in the address bar; setting one shows nothing anew */
  options: { get: (name: string) => string | null; set: (name: string, value: string | null) => void };
  /** The std(wpe) above which a channel is position-heavy, if a person chose it; null: the largest gap. Set in Channels. */
  threshold: { get: () => number | null; set: (value: number | null) => void };
  edits: Edits;
  /** the one that is drawn */
  theme: () => Theme;
  /** Says what the view has that a reload would lose, in words; null: nothing. */
  holds: (words: string | null) => void;
  card: (what: { name: string; title: string; words?: string; csv?: () => Table; is_picture?: boolean }) => Card;
  cloud: (home: HTMLElement, options: Omit<Parameters<typeof createScatter>[1], "selection">) => Cloud;
}

/** `redraw` after another theme, where colours are not the style sheet's own */
export type Shown = { element: HTMLElement; show: () => void | Promise<void>; hide?: () => void; redraw?: () => void };
export type View = { name: string; title: string; needs: ("wte" | "wpe" | "norms")[]; create: (stage: Stage) => Shown };
