/** What the panels of causes share. Types only. */
import type { Card, Table } from "../cards/figure-card.ts";
import type { Causes, CausesMethod, Progress } from "../engine/protocol.ts";
import type { Theme } from "../graphics/colormaps.ts";
import type { Comparison } from "../reading/comparison.ts";
import type { EditedRun, PageEdit, TextName } from "../reading/edits.ts";
import type { PlainReading, Token } from "../reading/reading.ts";
import type { Which } from "./pictures.ts";

export type Ask = <M extends CausesMethod>(
  method: M,
  question: Causes[M][0],
  watch: { signal: AbortSignal; onProgress?: (progress: Progress) => void },
) => Promise<Causes[M][1]>;

/** The tokens whose logit difference is looked at; `b` null: the mean over the vocabulary. */
export type Contrast = { a: Token; b: Token | null };

/** The cell that a person chose; `of`: the text whose run it is in. */
export type ChosenCell = { which: Which; of: TextName; reading: PlainReading; tap: number; position: number };

/** The edited run, the run that it is compared with, and how they differ. */
export type Ran = {
  run: EditedRun;
  base: PlainReading;
  edited: PlainReading;
  /** what it is compared with: the run without edits, or another state of the history */
  against: PlainReading;
  /** the edits of that; null: none */
  against_run: EditedRun | null;
  comparison: Comparison;
};

export interface Stage {
  ask: Ask;
  theme: () => Theme;
  card: (what: { name: string; title: string; words?: string; csv?: () => Table; again: () => void }) => Card;
  /** adds an edit to the run of a text */
  edit: (edit: PageEdit, of: TextName) => void;
  /** whether that text has been read */
  has: (text: TextName) => boolean;
}
