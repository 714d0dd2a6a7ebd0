/** The nearest neighbours of one token, by cosine and by dot product. */
import { element } from "../../ui/dom.ts";
import { decimal, integer } from "../../lib/format.ts";
import { createLatest } from "../../lib/latest.ts";
import { createTokenTable, tokenButton } from "../token-table.ts";
import { createTokenLookup } from "../token-input.ts";
import type { Stage } from "../types.ts";
import type { Column } from "../../ui/sortable-table.ts";
import type { Ranked } from "../queries.ts";

const K = 20;

export type Line = { id: number; value: number };

export function createNeighbours({ ask, selection, card: make }: Stage) {
  const latest = createLatest();
  const card = make({ name: "neighbours", title: "Nearest neighbours", is_picture: false, csv });
  const lookup = createTokenLookup("Find", ask, selection);
  card.tools.append(lookup.element);
  let shown: string[] = [];
  const table = (quantity: string) =>
    createTokenTable({
      label: `Nearest by ${quantity}`,
      selection,
      page_size: K,
      columns: [
        { name: "token", show: ({ id }) => tokenButton(id, shown[id], selection), class_name: "token" },
        { name: "id", by: ({ id }) => id, show: ({ id }) => integer(id) },
        {
          name: quantity,
          by: ({ value }) => value,
          show: ({ value }) => decimal(value, quantity === "cosine" ? 4 : 3),
        },
      ] as Column<Line>[],
    });
  const [cosine, dot] = [table("cosine"), table("dot product")];
  const halves = element(
    "div",
    "atlas-halves",
    ...[
      ["By cosine", cosine.element],
      ["By dot product", dot.element],
    ].map(([name, of]) => element("div", "", element("h3", "", name), of)),
  );
  card.body.append(halves);

  async function show() {
    const isCurrent = latest.begin();
    // Of several the one that was selected last.
    const id = [...selection.tokens].at(-1) ?? null;
    halves.hidden = id === null;
    if (id === null) return card.setWords("Type a token, or select one anywhere.");
    await card.run(
      async (watch) => {
        const vocabulary = await ask.vocabulary();
        if (id >= vocabulary.shown.length) return void (halves.hidden = true);
        const [by_cosine, by_dot] = await Promise.all([
          ask.neighbours(id, { k: K, by: "cosine" }, watch),
          ask.neighbours(id, { k: K, by: "dot" }, watch),
        ]);
        if (!isCurrent()) return;
        ({ shown } = vocabulary);
        const rank = by_dot.ids.indexOf(id) + 1;
        card.setWords(
          `The ${K} tokens nearest to ${shown[id]} (#${integer(id)}), itself included. By dot product it ${rank === 1 ? "is nearest to itself" : rank > 0 ? `has rank ${rank}: a longer embedding comes before it` : `is not among its own ${K} nearest`}.`,
        );
        const lines = ({ ids, values }: Ranked) => Array.from(ids, (other, i) => ({ id: other, value: values[i] }));
        cosine.show(lines(by_cosine));
        dot.show(lines(by_dot));
      },
      () => void show(),
    );
  }

  function csv() {
    const of = (by: string, lines: Line[]) => lines.map(({ id, value }, i) => [by, i + 1, id, shown[id], value]);
    return {
      head: ["by", "place", "token_id", "token", "value"],
      lines: [...of("cosine", cosine.rows()), ...of("dot", dot.rows())],
    };
  }

  selection.subscribe(() => {
    cosine.mark();
    dot.mark();
    if (card.element.isConnected) void show();
  });
  return { element: card.element, show };
}
