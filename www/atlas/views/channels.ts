/** Every channel's mean and standard deviation, in wte over the tokens and in wpe over the positions. */
import { button, element } from "../../ui/dom.ts";
import { decimal, significant } from "../../lib/format.ts";
import { heavyOf } from "../stats/maths.ts";
import { slider } from "../../ui/fields.ts";
import { logHistogram } from "../stats/bins.ts";
import { histogramOf } from "../charts/stat-charts.ts";
import { createTable } from "../../ui/sortable-table.ts";
import type { Channels } from "../queries.ts";
import type { Stage, View } from "../types.ts";

export type Row = { c: number; wte_mean: number; wte_std: number; wpe_mean: number; wpe_std: number; heavy: number };

const N_BINS = 48;
const SERIES = [
  { name: "|mean(wte)|", of: "wte_mean", css: "var(--series-0)" },
  { name: "std(wte)", of: "wte_std", css: "var(--series-4)" },
  { name: "|mean(wpe)|", of: "wpe_mean", css: "var(--series-2)" },
  { name: "std(wpe)", of: "wpe_std", css: "var(--series-3)" },
] as const;
const COLUMNS = ["wte_mean", "wte_std", "wpe_mean", "wpe_std"] as const;
const nameOf = (column: string) => `${column.endsWith("mean") ? "mean" : "std"}(${column.slice(0, 3)})`;

/** Of the threshold's slider, in powers of ten. */
const STEP = 0.01;

/** "69 channels above 0.0637 (log₁₀ −1.2)" */
const cutWords = (cut: number, n_heavy: number) =>
  `${n_heavy} channels above ${significant(cut)} (log₁₀ ${decimal(Math.log10(cut), 1)})`;

function create({ ask, selection, options, card, cloud, threshold }: Stage) {
  let rows: Row[] = [];
  const csv = () => ({
    head: ["channel", ...COLUMNS, "position_heavy"],
    lines: rows.map((row) => [row.c, ...COLUMNS.map((column) => row[column]), row.heavy]),
  });
  const figure = card({ name: "channels", title: "Channels by how much the position moves them", csv });
  const at = element("div", "");
  figure.body.append(at);
  const scatter = cloud(at, {
    selects: "channel",
    label: "Mean and standard deviation of every channel against its standard deviation over the positions",
    onHidden: (hidden) => options.set("hidden", hidden.length > 0 ? hidden.join(".") : null),
  });
  const bars = card({
    name: "channel-histograms",
    title: "Histograms over the channels",
    words:
      "How many channels have a mean or standard deviation of this size. The line in the accent colour is the selected channel.",
    csv,
  });
  const grid = element("div", "charts histograms");
  bars.body.append(grid);
  const cut_slider = slider("Threshold", STEP, (log, is_over) => setThreshold(10 ** log, is_over));
  const usual = button("chip small", "Largest gap", () => {
    setThreshold(null, true);
    // This button is disabled then.
    cut_slider.input.focus();
  });
  const figures = SERIES.map((series) => {
    const [picture, note] = [element("div", "chart"), element("p", "muted")];
    const tools = series.of === "wpe_std" ? [element("div", "card-tools threshold", cut_slider.element, usual)] : [];
    return { ...series, picture, note, box: element("figure", "", picture, ...tools, note) };
  });
  grid.append(...figures.map(({ box }) => box));
  const listed = card({
    name: "channel-table",
    title: "All channels",
    words: "A column’s title sorts by it; a channel’s number selects it everywhere.",
    csv,
    is_picture: false,
  });
  const channelButton = ({ c }: Row) => {
    const choose = button("token-button", String(c), () => selection.setChannel(c));
    choose.dataset.key = String(c);
    return choose;
  };
  const table = createTable({
    label: "All channels",
    sort: { column: 4, is_down: true },
    columns: [
      { name: "channel", by: ({ c }: Row) => c, show: channelButton },
      ...COLUMNS.map((column) => ({
        name: nameOf(column),
        by: (row: Row) => row[column],
        show: (row: Row) => significant(row[column]),
      })),
      { name: "position-heavy", by: ({ heavy }: Row) => heavy, show: ({ heavy }: Row) => (heavy ? "yes" : "") },
    ],
    isChosen: ({ c }) => c === selection.channel,
  });
  const details = element("details", "", element("summary", "", "Show the table"), table.element);
  listed.body.append(details);
  const all = element("div", "", figure.element, bars.element, listed.element);
  let stats: Channels | null = null;

  /** The threshold while it is dragged. */
  let dragged: number | null = null;
  /** The histogram follows the slider; the threshold itself changes, and all that depends on it, once that stands. */
  function setThreshold(value: number | null, is_over: boolean) {
    dragged = is_over ? null : value;
    if (!is_over) return drawBars();
    threshold.set(value);
    void show();
  }

  function drawBars() {
    if (!stats || !all.isConnected) return;
    const width = Math.max(250, innerWidth >= 760 ? Math.floor((grid.clientWidth - 36) / 2) : grid.clientWidth);
    const found = stats;
    const { cut, n_heavy } = heavyOf(found.wpe_std, dragged ?? threshold.get());
    for (const { of, name, css, box, picture, note } of figures) {
      box.hidden = found[of].length === 0;
      if (box.hidden) continue;
      const values = found[of].map(Math.abs);
      const { bins, n_left_out } = logHistogram(values, N_BINS);
      const chosen = values[selection.channel] > 0 ? values[selection.channel] : null;
      const is_cut = of === "wpe_std" && cut !== null;
      const marked = is_cut ? { at: cut, words: cutWords(cut, n_heavy) } : null;
      picture.replaceChildren(
        histogramOf(bins, { width, label: name, css, unit: "channels", log: true, cut: marked, chosen }),
      );
      note.textContent = n_left_out > 0 ? `${n_left_out} channels with zero are left out.` : "";
      if (!is_cut) continue;
      const ends: [number, number] = [Math.log10(bins[0].from), Math.log10(bins[bins.length - 1].to)];
      cut_slider.set(Math.log10(cut), ends, cutWords(cut, n_heavy));
      usual.disabled = threshold.get() === null;
    }
  }

  async function show() {
    const found = await figure.run((watch) => ask.channels(watch));
    if (!found) return;
    stats = found;
    const n = Math.max(found.wpe_std.length, found.wte_std.length);
    const { cut, is_chosen, heavy, n_heavy } = heavyOf(found.wpe_std, threshold.get());
    rows = Array.from({ length: n }, (_, c) => ({
      c,
      heavy: heavy[c] ?? NaN,
      ...Object.fromEntries(COLUMNS.map((column) => [column, found[column][c] ?? NaN])),
    })).map((row) => row as Row);
    const missing = ask.has("wte") ? "" : "This file has no wte: of the four series, the two of wpe are shown. ";
    figure.setWords(
      `${missing}One point a channel and series, against the channel’s standard deviation over the positions${cut === null ? "" : `; ${cutWords(cut, n_heavy)}, ${is_chosen ? "the threshold chosen here" : "the largest gap"}`}.`,
    );
    at.hidden = found.wpe_std.length === 0;
    if (at.hidden)
      figure.say(
        "This file has no wpe, against which the channels would stand here. The histograms and the table show its wte.",
      );
    else drawScatter(found, n);
    drawBars();
    table.show(rows);
  }

  function drawScatter(found: Channels, n: number) {
    const there = SERIES.filter(({ of }) => found[of].length > 0);
    scatter.hide((options.get("hidden") ?? "").split(".").filter(Boolean).map(Number));
    scatter.show({
      key: `${there.length} ${n}`,
      x: Float32Array.from({ length: there.length * n }, (_, i) => found.wpe_std[i % n]),
      y: Float32Array.from(there.flatMap(({ of }) => Array.from(found[of], Math.abs))),
      ids: Uint32Array.from({ length: there.length * n }, (_, i) => i % n),
      x_kind: "log",
      y_kind: "log",
      x_label: "std(wpe) over the positions, log scale",
      y_label: "|mean| or standard deviation, log scale",
      colours: {
        classes: there.map(({ name, css }) => ({ name, css })),
        of: Uint8Array.from({ length: there.length * n }, (_, i) => Math.floor(i / n)),
      },
      name: (c) => `channel ${c}`,
      about: (i) =>
        COLUMNS.filter((column) => found[column].length > 0)
          .map((column) => `${nameOf(column)} ${significant(found[column][i % n])}`)
          .join(" · "),
    });
  }

  selection.subscribe(() => {
    if (!all.isConnected) return;
    drawBars();
    if (details.open) table.redraw();
  });
  let width = 0;
  new ResizeObserver(() => {
    if (grid.clientWidth === 0 || grid.clientWidth === width) return;
    width = grid.clientWidth;
    drawBars();
  }).observe(grid);

  return { element: all, show };
}

export const view: View = { name: "channels", title: "Channels", needs: [], create };
