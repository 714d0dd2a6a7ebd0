/** Histograms of a few tokens over all channels, and of a few channels over all tokens, laid over each other. */
import { element, onWidth } from "../../ui/dom.ts";
import { decimal } from "../../lib/format.ts";
import { momentsOf, sharedBins } from "../stats/bins.ts";
import { checkbox, fieldOf } from "../../ui/fields.ts";
import { createLatest } from "../../lib/latest.ts";
import { parseIndices } from "../stats/orders.ts";
import { stepsChart } from "../charts/token-charts.ts";
import type { Stage } from "../types.ts";
import type { RowStore } from "../matrix/rows.ts";

const MAX_BINS = 60;
const MAX_SERIES = 8;

/** Finer bins for more values, so that few of them do not look like noise. */
const binsOf = (series: Series[]) =>
  sharedBins(
    series.map(({ values }) => values),
    Math.min(MAX_BINS, Math.round(2 * Math.sqrt(series[0].values.length))),
  );

export type Series = { name: string; is_token: boolean; values: Float32Array };
export type Half = { what: string; x_label: string; counted: string; series: Series[] };

export function createHistograms({ ask, selection, options, card: make }: Stage, store: RowStore) {
  const latest = createLatest();
  const card = make({
    name: "histograms",
    title: "Histograms",
    words: "Chosen tokens over all channels, chosen channels over all tokens; the bins of each picture are shared.",
    csv,
  });
  const beside = fieldOf("Channels besides the selected one", "36, 138", (value) => {
    options.set("beside", value || null);
    void show();
  });
  const log = checkbox("Log counts", (is_on) => {
    options.set("log", is_on ? "1" : null);
    void show();
  });
  card.tools.append(beside.element, log.element);
  let halves: Half[] = [];
  const box = element("div", "charts atlas-charts");
  card.body.append(box);
  onWidth(box, () => halves.length > 0 && draw());

  async function show() {
    const isCurrent = latest.begin();
    beside.input.value = options.get("beside") ?? "";
    log.set(options.get("log") === "1");
    await card.run(
      async (watch) => {
        const { shown } = await ask.vocabulary();
        const ids = [...selection.tokens].filter((id) => id < shown.length).slice(0, MAX_SERIES);
        await store.want(ids, watch);
        const n = Number(ask.facts.n_embd);
        const chosen = [...new Set([selection.channel, ...parseIndices(options.get("beside") ?? "", n)])].slice(
          0,
          MAX_SERIES,
        );
        const values = await Promise.all(chosen.map((c) => ask.channel(c, { signal: watch.signal })));
        if (!isCurrent()) return;
        halves = [
          {
            what: "tokens",
            x_label: "value in wte",
            counted: "channels",
            series: ids.map((id) => ({
              name: shown[id],
              is_token: true,
              values: store.get(id) ?? new Float32Array(0),
            })),
          },
          {
            what: "channels",
            x_label: "value in wte",
            counted: "tokens",
            series: chosen.map((c, i) => ({ name: `channel ${c}`, is_token: false, values: values[i] })),
          },
        ];
        draw();
      },
      () => void show(),
    );
  }

  function draw() {
    const is_log = options.get("log") === "1";
    box.replaceChildren(
      ...halves.map(({ what, x_label, counted, series }) => {
        const figure = element("figure", "");
        const caption = element(
          "figcaption",
          "",
          element("strong", "", what === "tokens" ? "Chosen tokens" : "Chosen channels"),
          ` ${what === "tokens" ? (series.length > 0 ? `over all channels${selection.tokens.size > MAX_SERIES ? `; the first ${MAX_SERIES} of those selected` : ""}` : "") : "over all tokens"}`,
        );
        caption.setAttribute("data-caption", "");
        figure.append(caption);
        if (series.length === 0) {
          figure.append(
            element(
              "p",
              "muted",
              "No token is selected: click a column of the matrix, or select some in any scatter or list.",
            ),
          );
          return figure;
        }
        const { edges, counts } = binsOf(series);
        const { svg, keys } = stepsChart({
          edges,
          counts,
          is_log,
          x_label,
          y_label: counted,
          width: Math.max(260, (box.clientWidth - (box.clientWidth > 700 ? 36 : 0)) / (box.clientWidth > 700 ? 2 : 1)),
          label: `Histogram of ${series.map(({ name }) => name).join(", ")}`,
        });
        const legend = element(
          "ul",
          "series",
          ...series.map(({ name, is_token, values }, i) => {
            const { mean, std } = momentsOf(values);
            return element(
              "li",
              "",
              keys[i],
              element("span", is_token ? "token" : "", name),
              element("span", "muted", `mean ${decimal(mean, 3)} · std ${decimal(std, 3)}`),
            );
          }),
        );
        figure.append(element("div", "chart", svg), legend);
        return figure;
      }),
    );
  }

  function csv() {
    const lines = halves.flatMap(({ series }) => {
      if (series.length === 0) return [];
      const { edges, counts } = binsOf(series);
      return series.flatMap(({ name }, s) => counts[s].map((count, i) => [name, edges[i], edges[i + 1], count]));
    });
    return { head: ["series", "bin_from", "bin_to", "count"], lines };
  }

  return { element: card.element, show };
}
