/** Whether the longest and shortest embeddings are more extreme on direction 0 than their length alone explains. */
import { element } from "../../ui/dom.ts";
import { decimal, integer } from "../../lib/format.ts";
import { extentOf } from "../../lib/extent.ts";
import { choiceOf } from "../../ui/fields.ts";
import { lengthQuestion } from "../stats/norm-question.ts";
import type { Stage } from "../types.ts";
import type { End } from "../stats/norm-question.ts";
import type { Vocabulary } from "../queries.ts";

const SIZES = ["20", "50", "100", "200"];
const DEFAULT_SIZE = "50";

export type Given = { projections: Float32Array; norms: Float32Array; vocabulary: Vocabulary };

export function createLengths({ card: make, cloud, options }: Stage) {
  const card = make({ name: "lengths", title: "Is it norm alone?", csv });
  const size = choiceOf(
    "At either end",
    SIZES.map((n) => [n, `${n} tokens`]),
    (value) => {
      options.set("ends", value === DEFAULT_SIZE ? null : value);
      if (given) show(given);
    },
  );
  card.tools.append(size.element);
  const at = element("div", "");
  const answer = element("p", "atlas-answer");
  answer.setAttribute("data-caption", "");
  card.body.append(answer, at);
  const scatter = cloud(at, {
    selects: "tokens",
    label: "Projection on direction 0 against the length of every token's embedding",
    height: 400,
  });
  let given: Given | null = null;
  let found: ReturnType<typeof lengthQuestion> | null = null;

  function show(now: Given) {
    given = now;
    const { projections, norms, vocabulary } = now;
    const wanted = options.get("ends") ?? DEFAULT_SIZE;
    size.select.value = SIZES.includes(wanted) ? wanted : DEFAULT_SIZE;
    const question = (found = lengthQuestion(projections, norms, Number(size.select.value)));
    const { cosines, longest, shortest, median } = question;
    const classes = new Uint8Array(norms.length);
    for (const id of longest.ids) classes[id] = 1;
    for (const id of shortest.ids) classes[id] = 2;
    const most = norms.reduce((a, b) => Math.max(a, b), 0);
    card.setWords(
      "One point a token. If only length mattered, the cosine with direction 0 (projection over length) would be the same for all: the line, drawn at the median cosine.",
    );
    answer.textContent = sentence(question);
    scatter.show({
      x: norms,
      y: projections,
      x_label: "length of the embedding",
      y_label: "projection on direction 0",
      colours: {
        classes: [
          { name: "all tokens", css: "var(--series-0)" },
          { name: `the ${longest.ids.length} longest`, css: "var(--series-4)" },
          { name: `the ${shortest.ids.length} shortest`, css: "var(--series-3)" },
        ],
        of: classes,
      },
      over: {
        x: [0, most],
        y: [0, median * most],
        name: `a constant cosine of ${decimal(median, 3)}`,
        css: "var(--muted)",
      },
      x_extent: extentOf(norms),
      y_extent: extentOf(projections),
      name: (id) => vocabulary.shown[id],
      about: (id) =>
        `#${integer(id)} · length ${decimal(norms[id])} · projection ${decimal(projections[id], 3)} · cosine ${decimal(cosines[id], 3)}`,
      key: "lengths",
    });
  }

  function csv() {
    if (!given || !found) return { head: ["token_id"], lines: [] };
    const { norms, projections, vocabulary } = given;
    const { cosines, longest, shortest } = found;
    const [is_long, is_short] = [new Set(longest.ids), new Set(shortest.ids)];
    return {
      head: ["token_id", "token", "length", "projection_0", "cosine_0", "end"],
      lines: Array.from(norms, (norm, id) => [
        id,
        vocabulary.shown[id],
        norm,
        projections[id],
        cosines[id],
        is_long.has(id) ? "longest" : is_short.has(id) ? "shortest" : "",
      ]),
    };
  }

  return { element: card.element, show };
}

/** The answer in numbers. */
function sentence({ mean, low, high, longest, shortest }: ReturnType<typeof lengthQuestion>) {
  const n = longest.ids.length;
  // A twentieth of any tokens lies outside; twice that is more than length explains.
  const expected = Math.max(1, Math.round(0.05 * n));
  const verdict = (end: End) =>
    end.n_outside > 2 * expected ? "more extreme than length explains" : "no more extreme than length explains";
  return (
    `Mean cosine with direction 0: ${decimal(longest.mean, 3)} for the ${n} longest, ${decimal(shortest.mean, 3)} for the ${n} shortest, ${decimal(mean, 3)} for all tokens. ` +
    `Outside the central 95 % of all (${decimal(low, 3)} to ${decimal(high, 3)}) lie ${longest.n_outside} of the longest and ${shortest.n_outside} of the shortest; by norm alone about ${expected} would. ` +
    `So the longest are ${verdict(longest)}, the shortest ${verdict(shortest)}.`
  );
}
