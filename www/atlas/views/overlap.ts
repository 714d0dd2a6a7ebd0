/** Whether direction 0 separates tokens that overlap with the positions, and what it has of the space before a token. */
import { element } from "../../ui/dom.ts";
import { decimal, integer, percent } from "../../lib/format.ts";
import { correlationOf, cosineOf } from "../../lib/correlation.ts";
import { heavyOf } from "../stats/maths.ts";
import { overlapOf } from "../stats/overlap.ts";
import { createLatest } from "../../lib/latest.ts";
import type { Overlap } from "../stats/overlap.ts";
import type { Stage } from "../types.ts";
import type { Vocabulary } from "../queries.ts";

export type Given = { direction: Float32Array; projections: Float32Array; vocabulary: Vocabulary };

export function createOverlap({ ask, threshold, card: make, cloud }: Stage) {
  const latest = createLatest();
  const card = make({ name: "overlap", title: "Direction 0, positions and spaces", csv });
  const at = element("div", "");
  const correlation = element("p", "atlas-answer overlap-correlation");
  const space = element("p", "atlas-answer space-vector");
  for (const words of [correlation, space]) words.setAttribute("data-caption", "");
  card.body.append(correlation, space, at);
  const scatter = cloud(at, {
    selects: "tokens",
    label: "Overlap of every token with the position-heavy channels against its projection on direction 0",
    height: 400,
  });
  let given: Given | null = null;
  /** What has been found, for which heavy channels. */
  let found: (Overlap & { of: string }) | null = null;

  async function show(now: Given) {
    const isCurrent = latest.begin();
    given = now;
    const { projections, direction, vocabulary } = now;
    await card.run(async (watch) => {
      const { wpe_std } = await ask.channels({ signal: watch.signal });
      const { heavy, n_heavy, is_chosen } = heavyOf(
        wpe_std.length > 0 ? wpe_std : direction.map(() => NaN),
        threshold.get(),
      );
      const [of, n] = [heavy.join(""), projections.length];
      const overlap =
        found?.of === of ? found : { of, ...(await overlapOf(heavy, vocabulary.startsWithSpace, n, ask.rows, watch)) };
      if (!isCurrent()) return;
      found = overlap;
      space.textContent = spaceWords(overlap, direction, n);
      [at.hidden, correlation.hidden] = [n_heavy === 0, n_heavy === 0];
      card.setWords(
        n_heavy === 0
          ? "No channel is position-heavy here, so there is no overlap to show."
          : `One point a token: the share of its embedding’s squared length in the ${n_heavy} of ${heavy.length} channels that are position-heavy (above the ${is_chosen ? "chosen threshold" : "largest gap"} of std(wpe)), against its projection on direction 0.`,
      );
      if (n_heavy === 0) return;
      const { pearson, spearman } = correlationOf(overlap.shares, projections);
      correlation.textContent = `Pearson’s r is ${decimal(pearson, 3)}, Spearman’s ρ ${decimal(spearman, 3)}. An embedding that is spread evenly over the channels has a share of ${percent(n_heavy / heavy.length)} there.`;
      draw(now, overlap);
    });
  }

  function draw({ projections, vocabulary }: Given, { shares }: Overlap) {
    scatter.show({
      x: shares,
      y: projections,
      x_label: "share in the position-heavy channels",
      y_label: "projection on direction 0",
      colours: hasText(vocabulary) ? spaceColours(vocabulary) : undefined,
      name: (id) => vocabulary.shown[id],
      about: (id) => `#${integer(id)} · share ${percent(shares[id])} · projection ${decimal(projections[id], 3)}`,
      key: "overlap",
    });
  }

  function csv() {
    const lines = Array.from(found?.shares ?? [], (share, id) => [
      id,
      given?.vocabulary.shown[id] ?? "",
      share,
      given?.projections[id] ?? NaN,
    ]);
    return { head: ["token_id", "token", "share_position_heavy", "projection_0"], lines };
  }

  return { element: card.element, show, stop: () => card.stop() };
}

/** Without a tokenizer no token has a text. */
export const hasText = ({ ends }: Vocabulary) => (ends.at(-1) ?? 0) > 0;

export const spaceColours = ({ shown, startsWithSpace }: Vocabulary) => ({
  classes: [
    { name: "starts with a space", css: "var(--series-0)" },
    { name: "does not", css: "var(--series-4)" },
  ],
  of: Uint8Array.from(shown, (_, id) => Number(!startsWithSpace(id))),
});

function spaceWords({ space, mean, n_spaced }: Overlap, direction: Float32Array, n: number) {
  if (n_spaced === 0 || n_spaced === n) return "";
  return `The space vector, the mean embedding of the ${integer(n_spaced)} tokens that begin with a space minus that of the ${integer(n - n_spaced)} others, has cosine ${decimal(cosineOf(space, mean), 3)} with the mean of all embeddings and ${decimal(cosineOf(space, direction), 3)} with direction 0.`;
}
