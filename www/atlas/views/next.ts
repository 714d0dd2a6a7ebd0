/** What one token is followed by in the zero-layer model: its largest logits, with its own place among them. */
import { element } from "../../ui/dom.ts";
import { decimal, integer } from "../../lib/format.ts";
import { createLatest } from "../../lib/latest.ts";
import { createTokenTable, tokenButton } from "../token-table.ts";
import { createTokenLookup } from "../token-input.ts";
import { settingWords } from "../stats/zero-layer-text.ts";
import type { Stage } from "../types.ts";
import type { Setting } from "../stats/zero-layer-text.ts";
import type { Column } from "../../ui/sortable-table.ts";

const TOP_K = 20;

export type Line = { rank: number; id: number; logit: number; is_own: boolean };

/** @param how null: the setting is impossible */
export function createNext({ ask, selection, card: make }: Stage, how: () => Setting | null) {
  const latest = createLatest();
  const card = make({ name: "next-tokens", title: "One token", words: "", is_picture: false, csv });
  const lookup = createTokenLookup("Look up", ask, selection);
  card.tools.append(lookup.element);
  let shown: string[] = [];
  const listing = createTokenTable({
    label: "The largest logits",
    selection,
    page_size: TOP_K,
    columns: [
      { name: "rank", by: ({ rank }) => rank, show: ({ rank }) => integer(rank), class_name: "left" },
      { name: "token", show: ({ id }) => tokenButton(id, shown[id], selection), class_name: "token" },
      { name: "id", by: ({ id }) => id, show: ({ id }) => integer(id) },
      { name: "logit", by: ({ logit }) => logit, show: ({ logit }) => decimal(logit, 3) },
      {
        name: "",
        show: ({ is_own }) => (is_own ? element("strong", "right", "the token itself") : ""),
        class_name: "left",
      },
    ] as Column<Line>[],
  });
  card.body.append(listing.element);

  /** What the lines answer. */
  let answered: unknown[] = [];

  async function show() {
    const isCurrent = latest.begin();
    // Of several the one that was selected last.
    const id = [...selection.tokens].at(-1) ?? null;
    const setting = how();
    const asked = [ask.facts, id, setting?.norm, setting?.position];
    if (asked.some((each, i) => each !== answered[i])) {
      // Never an older answer under newer words.
      answered = [];
      listing.show([]);
      listing.element.hidden = true;
      card.setWords("");
    }
    if (id === null || setting === null) {
      await card.run(async () => {});
      if (isCurrent())
        card.setWords(
          setting === null
            ? ""
            : "Type a token, or select one anywhere: its largest logits under the same options, and its own rank.",
        );
      return;
    }
    await card.run(
      async (watch) => {
        const vocabulary = await ask.vocabulary();
        if (id >= vocabulary.shown.length) return;
        const { ids, values } = await ask.next_tokens(id, { k: TOP_K, ...setting }, watch);
        if (!isCurrent()) return;
        ({ shown } = vocabulary);
        const rank = ids.indexOf(id) + 1;
        card.setWords(
          `${shown[id]} (#${integer(id)}) ${rank === 1 ? "returns itself" : rank > 0 ? `has rank ${rank} among its own logits` : `is not among its own ${TOP_K} largest logits`}: ${settingWords(setting)}.`,
        );
        answered = asked;
        listing.element.hidden = false;
        listing.show(
          Array.from(ids, (other, i) => ({ rank: i + 1, id: other, logit: values[i], is_own: other === id })),
        );
      },
      () => void show(),
    );
  }

  function csv() {
    return {
      head: ["rank", "token_id", "token", "logit"],
      lines: listing.rows().map(({ rank, id, logit }) => [rank, id, shown[id], logit]),
    };
  }

  selection.subscribe(() => {
    listing.mark();
    if (card.element.isConnected) void show();
  });
  return { element: card.element, show };
}
