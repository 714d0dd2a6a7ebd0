/** One channel by itself: its values over the tokens, its extremes, its gains over the layers, its curve over the positions. */
import { button, element } from "../../ui/dom.ts";
import { significant } from "../../lib/format.ts";
import { gainLines } from "../charts/gain-lines.ts";
import { columnOf, extremes } from "../stats/maths.ts";
import { curvesOf } from "../charts/stat-charts.ts";
import { createTable } from "../../ui/sortable-table.ts";
import { createChannelField } from "../channel-field.ts";
import { createCircuits } from "./circuits.ts";
import { createSurgery } from "./surgery.ts";
import type { Column } from "../../ui/sortable-table.ts";
import type { Gains } from "../queries.ts";
import type { Stage, View } from "../types.ts";

export type Row = { place: number; id: number; shown: string; value: number; norm: number };

const N_EXTREME = 20;

function create(stage: Stage) {
  const { ask, selection, card, cloud } = stage;
  const nEmbd = () => Number(ask.facts.n_embd);
  const title = element("h2", "channel-title");
  const field = createChannelField(ask, selection);
  const words = element("p", "muted");
  const head = element(
    "section",
    "card atlas-card channel-head",
    title,
    words,
    element("div", "card-tools", ...field.elements),
  );
  head.setAttribute("aria-label", "Channel");

  let tokens: { values: Float32Array; norms: Float32Array; shown: string[] } | null = null;
  const csv = () => ({
    head: ["id", "token", "value", "norm"],
    lines: Array.from(tokens?.values ?? [], (value, id) => [
      id,
      String(tokens?.shown[id]),
      value,
      Number(tokens?.norms[id]),
    ]),
  });
  const clouds = (["norm", "id"] as const).map((against) => {
    const figure = card({
      name: `channel-by-${against}`,
      title: against === "norm" ? "Value against the embedding’s norm" : "Value against the token’s id",
      words:
        against === "norm"
          ? "One point a token: its value in this channel, and the length of its whole embedding."
          : "One point a token; in a BPE vocabulary a low id was merged early, so it is often a frequent token.",
      csv,
    });
    const at = element("div", "");
    figure.body.append(at);
    return {
      against,
      figure,
      cloud: cloud(at, {
        selects: "tokens",
        height: 340,
        label: `Value of the channel against the token’s ${against}`,
      }),
    };
  });
  const ends = card({ name: "channel-extremes", title: "Top and bottom tokens", is_picture: false, csv });
  const tokenOf = ({ id, shown }: Row) => {
    const choose = button("token-button", shown, () => selection.toggleToken(id));
    choose.dataset.key = String(id);
    return choose;
  };
  const tables = ["highest", "lowest"].map((which) =>
    createTable({
      label: `The ${which} tokens`,
      is_full_height: true,
      sort: { column: 0, is_down: true },
      columns: [
        { name: which, by: ({ place }) => -place, show: tokenOf, class_name: "token left" },
        { name: "id", by: ({ id }) => id, show: ({ id }) => String(id) },
        { name: "value", by: ({ value }) => value, show: ({ value }) => significant(value) },
        { name: "norm", by: ({ norm }) => norm, show: ({ norm }) => significant(norm) },
      ] as Column<Row>[],
      isChosen: ({ id }) => selection.tokens.has(id),
    }),
  );
  ends.body.append(element("div", "two-tables", ...tables.map((table) => table.element)));

  let gains: Gains[] = [];
  const gains_card = card({
    name: "channel-gains",
    title: "Gains over the layers",
    words: "What each LayerNorm multiplies this channel with; ln_f, often of another size, as a number.",
    csv: () => ({
      head: ["norm", "gain", "bias"],
      lines: gains.map(({ name, weight, bias }) => [name, weight[selection.channel], bias[selection.channel]]),
    }),
  });
  const gains_at = element("div", "chart");
  gains_card.body.append(gains_at);
  let curve: Float32Array = new Float32Array(0);
  const wpe_card = card({
    name: "channel-wpe",
    title: "wpe over the positions",
    csv: () => ({ head: ["position", "wpe"], lines: Array.from(curve, (value, position) => [position, value]) }),
  });
  const wpe_at = element("div", "chart");
  wpe_card.body.append(wpe_at);
  const surgery = createSurgery(stage);
  const circuits = createCircuits(stage, (norm, block) => surgery.prefill(norm, block));
  const all = element(
    "div",
    "",
    head,
    surgery.element,
    element("div", "two-cards", ...clouds.map(({ figure }) => figure.element)),
    ends.element,
    element("div", "two-cards", gains_card.element, wpe_card.element),
    circuits.element,
  );

  async function showTokens(c: number) {
    const has_wte = ask.has("wte");
    for (const { figure } of clouds) figure.element.hidden = !has_wte;
    ends.element.hidden = !has_wte;
    if (!has_wte) return;
    const found = await clouds[0].figure.run(async (watch) => {
      const values = await ask.channel(c, watch);
      return { values, norms: await ask.norms(watch), shown: (await ask.vocabulary()).shown };
    });
    if (!found || c !== selection.channel) return;
    tokens = found;
    const { values, norms, shown } = found;
    for (const { against, cloud } of clouds) {
      cloud.show({
        key: `${c}`,
        x: against === "norm" ? norms : Float32Array.from(values, (_, id) => id),
        y: values,
        x_label: against === "norm" ? "norm of the embedding" : "token id",
        y_label: `channel ${c} of wte`,
        name: (id) => shown[id] ?? `#${id}`,
        about: (id) => `id ${id} · value ${significant(values[id])} · norm ${significant(norms[id])}`,
      });
    }
    const { highest, lowest } = extremes(values, N_EXTREME);
    const row = (id: number, place: number) => ({
      place,
      id,
      shown: shown[id] ?? `#${id}`,
      value: values[id],
      norm: norms[id],
    });
    tables[0].show(highest.map(row));
    tables[1].show(lowest.map(row));
    ends.setWords(
      `The ${highest.length} tokens with the highest and with the lowest value in channel ${c}; a token’s name selects it.`,
    );
  }

  async function showLayers(c: number) {
    const [has_norms, has_wpe] = [ask.has("norms"), ask.has("wpe")];
    gains_card.element.hidden = !has_norms;
    wpe_card.element.hidden = !has_wpe;
    const found: Gains[] | null = has_norms ? await gains_card.run((watch) => ask.gains(watch)) : null;
    const table = has_wpe ? await wpe_card.run((watch) => ask.positions(watch)) : null;
    if (c !== selection.channel) return;
    if (found) {
      gains = found;
      const { legend, svg } = gainLines(found, c, { width: Math.max(240, gains_at.clientWidth) });
      gains_at.replaceChildren(legend, ...(svg ? [svg] : []));
    }
    if (table) {
      curve = columnOf(table, nEmbd(), c);
      wpe_at.replaceChildren(
        curvesOf(
          Array.from(curve, (y, x) => ({ x, y, series: "wpe", css: "var(--accent)" })),
          { width: Math.max(240, wpe_at.clientWidth), x_label: "position", y_label: `wpe, channel ${c}` },
        ),
      );
    }
  }

  async function show() {
    const c = selection.channel;
    title.textContent = `Channel ${c}`;
    field.show();
    surgery.show();
    for (const { cloud } of clouds) cloud.element.setAttribute("data-channel", String(c));
    words.textContent = ask.has("wte")
      ? "Everything about one coordinate of the residual stream, from the weights alone."
      : "This file has no wte, so there are no tokens here: gains and positions are shown.";
    await Promise.all([showLayers(c), showTokens(c), circuits.show()]);
  }

  let shown_channel = -1;
  selection.subscribe(() => {
    if (!all.isConnected) return;
    if (selection.channel !== shown_channel) void show();
    else tables.forEach((table) => table.redraw());
    shown_channel = selection.channel;
  });
  let width = 0;
  new ResizeObserver(() => {
    if (all.clientWidth === 0 || all.clientWidth === width) return;
    width = all.clientWidth;
    void showLayers(selection.channel);
  }).observe(all);

  return {
    element: all,
    show() {
      shown_channel = selection.channel;
      return show();
    },
    redraw: circuits.redraw,
  };
}

export const view: View = { name: "channel", title: "One channel", needs: [], create };
