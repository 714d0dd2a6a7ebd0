/** What the panels of evidence share. Types only. */
import type { Card, Table } from "../cards/figure-card.ts";
import type { Evidence, EvidenceMethod, EvidenceProgress } from "../engine/protocol.ts";
import type { Theme } from "../graphics/colormaps.ts";

export type Ask = <M extends EvidenceMethod>(
  method: M,
  question: Evidence[M][0],
  watch: { signal: AbortSignal; onProgress?: (progress: EvidenceProgress) => void },
) => Promise<Evidence[M][1]>;

export interface Stage {
  ask: Ask;
  theme: () => Theme;
  card: (what: {
    name: string;
    title: string;
    words?: string;
    csv?: () => Table;
    is_picture?: boolean;
    again: () => void;
  }) => Card;
}

/** Texts that a person gave. */
export type Given = { texts: string[]; files: File[] };
