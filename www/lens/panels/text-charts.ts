/** Charts over the whole window: where it decides, loss by depth, whether the input is kept. Each says its result in words. */
import { median } from "d3-array";
import { decisionsOf, histogramOf, lossByDepth } from "../../reading/settling.ts";
import { byId, onWidth, optionsOf } from "../../ui/dom.ts";
import { decimal, integer, ordinal } from "../../lib/format.ts";
import { correlationOf } from "../../lib/correlation.ts";
import { alongRows, keptOf, occurrencesOf } from "../../reading/retention.ts";
import { colourOf } from "../../graphics/series.ts";
import { chartLegend } from "../../ui/chart-legend.ts";
import { spanOf } from "../../state/options.ts";
import type { Store } from "../../state/store.ts";
import type { PlainReading } from "../../reading/reading.ts";

/** Overlaid occurrences that one can still tell apart. */
const MAX_OCCURRENCES = 8;
/** A correlation of fewer tokens says nothing. */
const MIN_TOKENS = 5;

/** @param norms of the tokens' embeddings */
export function createTextCharts(
  store: Store,
  /** of the tokens' embeddings */
  norms: (ids: number[]) => Promise<number[]>,
) {
  let reading: PlainReading | null = null;
  let is_seen = false;
  let is_stale = true;
  const picked = byId<HTMLSelectElement>("kept-token");
  const measure = byId<HTMLSelectElement>("kept-measure");
  const against = byId<HTMLSelectElement>("scatter-against");

  async function draw() {
    byId("passage-first").hidden = store.second.peek() === null;
    if (!reading || !is_seen || !is_stale) return;
    const of = reading;
    const charts = await import("./charts.ts");
    if (of !== reading) return;
    is_stale = false;
    const span = spanOf(store.switches.peek().span, of.n_tokens);
    const widthOf = (id: string) => Math.max(260, byId(id).clientWidth);
    const axisOf = (id: string) => ({
      width: widthOf(id),
      xs: of.taps.map((_, tap) => tap),
      xTick: (x: number) => of.taps[x],
      x_label: "row",
    });

    const are_contributions = of.asked.contributions;
    const counts = histogramOf(of, span).map((count, index) => ({ ...count, index }));
    byId("decisions-chart").replaceChildren(
      ...(are_contributions ? [] : [charts.histogramChart(counts, axisOf("decisions-chart"))]),
    );
    const settled = median(decisionsOf(of).slice(span.start, span.end), (decision) => decision.settled) ?? 0;
    byId("decisions-words").textContent = are_contributions
      ? "Contributions are not states of the stream, so no position settles at one of them."
      : `Half of the ${span.end - span.start} positions have settled by row ${of.taps[Math.round(settled)]}.`;

    const losses = lossByDepth(of, span);
    const has_loss = losses[0].n > 0;
    byId("loss-chart").replaceChildren(...(has_loss ? [charts.lossChart(losses, axisOf("loss-chart"))] : []));
    const last = losses[losses.length - 1];
    byId("loss-words").textContent = has_loss
      ? are_contributions
        ? `Mean over ${last.n} true next tokens, with a 95 % interval, each contribution decoded by itself.`
        : `Mean over ${last.n} true next tokens, with a 95 % interval. Stopping at ${losses[losses.length - 2]?.tap ?? last.tap} costs ${decimal((losses[losses.length - 2] ?? last).loss - last.loss)} nats over the final row’s ${decimal(last.loss)}.`
      : "One token has no true next token.";
    drawKept(charts, of, axisOf("kept-chart"));

    await drawScatter(charts, of, widthOf("scatter-chart"));
  }

  async function drawScatter(charts: typeof import("./charts.ts"), of: PlainReading, width: number) {
    const kept = keptOf(of);
    const is_norm = against.value === "norm";
    // A reading that no engine made has no norms.
    const xs = is_norm
      ? await norms(kept.map(({ id }) => id)).catch(() => kept.map(() => NaN))
      : kept.map(({ id }) => id);
    if (of !== reading) return;
    const { spearman: correlation } = correlationOf(
      xs,
      kept.map((each) => each.kept),
    );
    const label = is_norm ? "norm of the token’s embedding" : "token id (rarer tokens have higher ids)";
    const points = kept.map(({ id, token, n, kept }, i) => ({
      x: xs[i],
      kept,
      is_chosen: id === Number(picked.value),
      title: `${token.shown} (id ${id}${is_norm ? `, norm ${decimal(xs[i])}` : ""}), ${n} times: typical rank ${integer(kept)}`,
    }));
    byId("scatter-chart").replaceChildren(charts.keptChart(points, width, label));
    const what = is_norm ? "the norm" : "the id";
    byId("scatter-words").textContent =
      kept.length >= MIN_TOKENS && Number.isFinite(correlation)
        ? `Typical rank: the geometric mean over all rows but input. Its Spearman correlation with ${what}, over ${kept.length} tokens: ${decimal(correlation)}${correlation < 0 ? " (the higher, the better kept)" : ""}.`
        : "Too few different tokens to correlate.";
  }

  function drawKept(
    charts: typeof import("./charts.ts"),
    of: PlainReading,
    axis: { width: number; xs: number[]; xTick: (x: number) => string; x_label: string },
  ) {
    const all = occurrencesOf(of);
    const { id, positions } = all.find((each) => each.id === Number(picked.value)) ?? all[0];
    const shown = positions.slice(0, MAX_OCCURRENCES);
    const stat = measure.value === "rank" ? "rank_input" : "kl_input";
    const points = shown.flatMap((position, series) =>
      alongRows(of, stat, position).map((y, x) => ({
        x,
        y,
        series,
        title: `${ordinal(series + 1)} ${of.tokens[position].shown} (position ${position}) at ${of.taps[x]}: ${stat === "rank_input" ? `rank ${integer(y)}` : `${decimal(y)} nats`}`,
      })),
    );
    const legend = chartLegend(
      shown.map((position, series) => ({
        css: colourOf(series),
        name: `${ordinal(series + 1)}, position ${position}`,
      })),
    );
    byId("kept-chart").replaceChildren(
      charts.pathsChart(points, stat === "rank_input" ? "rank" : "kl", axis, null),
      legend,
    );
    const ends = shown.map((position) => alongRows(of, "rank_input", position)[of.taps.length - 1]);
    byId("kept-words").textContent =
      `${of.tokens[positions[0]].shown} stands at ${positions.length === 1 ? "one position" : `${positions.length} positions`}` +
      `${positions.length > shown.length ? `, the first ${shown.length} are drawn` : ""}; its rank in the final row: ${ends.map(integer).join(", ")}.`;
    picked.value = String(id);
  }

  const again = () => {
    is_stale = true;
    void draw();
  };
  for (const select of [picked, measure, against]) select.addEventListener("change", again);
  new IntersectionObserver(
    ([{ isIntersecting }]) => {
      is_seen = isIntersecting;
      void draw();
    },
    { rootMargin: "200px" },
  ).observe(byId("passage"));
  onWidth(byId("passage"), again);

  /** The tokens of another reading. */
  function offer(fresh: PlainReading) {
    const chosen = picked.value;
    const choices = occurrencesOf(fresh).map(({ id, positions }) => {
      const times = positions.length > 1 ? ` (${positions.length} times)` : "";
      return [String(id), `${fresh.tokens[positions[0]].shown}${times}`] as const;
    });
    picked.replaceChildren(...optionsOf(choices));
    picked.value = chosen;
    if (picked.selectedIndex < 0) picked.selectedIndex = 0;
  }

  return {
    /** Draws the reading and the window that the store has. */
    draw() {
      const fresh = store.reading.peek();
      byId("passage").hidden = fresh === null;
      if (fresh && fresh !== reading) offer(fresh);
      reading = fresh;
      again();
    },
  };
}
