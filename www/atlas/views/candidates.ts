/** View 7: what might say how frequent a token is, against each other and against counts from a text: the table that the study lacks. */
import { element, optionsOf } from "../../ui/dom.ts";
import { decimal, integer } from "../../lib/format.ts";
import { swatch } from "../../graphics/colormaps.ts";
import { themeNow } from "../../graphics/css-colours.ts";
import { checkbox, choiceOf } from "../../ui/fields.ts";
import { createLatest } from "../../lib/latest.ts";
import { createCounts } from "./counts.ts";
import type { Counted } from "../token-counts.ts";
import type { Shown, Stage, View } from "../types.ts";

export const view: View = { name: "candidates", title: "Frequency correlates", needs: ["wte"], create };

/** Pearson of raw counts would tell of the few most frequent tokens only. */
const LOG_NAME = "log count";

export type Found = {
  names: string[];
  pearson: ArrayLike<number>;
  spearman: ArrayLike<number>;
  variables: ArrayLike<number>[];
};

function create(stage: Stage): Shown {
  const { ask, selection, options } = stage;
  const latest = createLatest();
  const card = stage.card({ name: "candidates", title: "Correlates of token frequency", is_picture: false, csv });
  const counts = createCounts(stage, () => void show());
  const scatter_card = stage.card({
    name: "candidates-scatter",
    title: "One against another",
    words: "One point a token.",
    csv: scatterCsv,
  });
  const whole = element(
    "div",
    "atlas-view",
    element("div", "candidates-top", card.element, counts.element),
    scatter_card.element,
  );
  counts.accept(whole);
  let found: Found | null = null;
  let shown: string[] = [];

  const set = (name: string, value: string | null) => {
    options.set(name, value);
    void show();
  };
  const layout = choiceOf(
    "Table",
    [
      ["both", "Pearson above, Spearman below the diagonal"],
      ["pearson", "Pearson"],
      ["spearman", "Spearman"],
    ],
    (value) => set("table", value === "both" ? null : value),
  );
  const log = checkbox("Log counts", (is_on) => set("log", is_on ? null : "0"));
  card.tools.append(layout.element, log.element);
  const table = element("table", "numbers correlations");
  const box = element("div", "scroll-x", table);
  Object.assign(box, { tabIndex: 0, role: "region", ariaLabel: "Correlations between the candidates" });
  card.body.append(box);

  const x_choice = choiceOf("x", [], (value) => set("x", value));
  const y_choice = choiceOf("y", [], (value) => set("y", value));
  scatter_card.element.hidden = true;
  scatter_card.tools.append(x_choice.element, y_choice.element);
  const at = element("div", "");
  scatter_card.body.append(at);
  const scatter = stage.cloud(at, { selects: "tokens", label: "Two of the candidates against each other" });

  const isLog = () => options.get("log") !== "0";
  const logs: WeakMap<Counted["counts"], Float64Array> = new WeakMap();
  /** The fifth candidate: always the same array for the same counts, so that it is asked for once. */
  function fifth(of: Counted["counts"]) {
    if (!isLog()) return of;
    const known = logs.get(of) ?? Float64Array.from(of, (count) => Math.log10(1 + count));
    logs.set(of, known);
    return known;
  }

  async function show() {
    const isCurrent = latest.begin();
    const counted = counts.now();
    layout.select.value = options.get("table") ?? "both";
    log.set(isLog());
    log.element.hidden = counted === null;
    const { channel } = selection;
    const numbers = counted ? fifth(counted.counts) : null;
    await card.run(async (watch) => {
      const [of, norms, spectrum, values, words] = await Promise.all([
        ask.correlations({ channel, counts: numbers }, watch),
        ask.norms({ signal: watch.signal }),
        ask.spectrum({ signal: watch.signal }),
        ask.channel(channel, { signal: watch.signal }),
        ask.vocabulary(),
      ]);
      if (!isCurrent()) return;
      ({ shown } = words);
      const n = norms.length;
      const variables: ArrayLike<number>[] = [
        values,
        norms,
        spectrum.tokens.subarray(0, n),
        Uint32Array.from({ length: n }, (_, id) => id),
      ];
      if (numbers) variables.push(numbers);
      const names = numbers && isLog() ? of.names.with(4, LOG_NAME) : of.names;
      found = { ...of, names, variables };
      drawTable(found);
      drawScatter(found);
    });
  }

  function drawTable({ names, pearson, spearman }: Found) {
    const way = options.get("table") ?? "both";
    const m = names.length;
    const n = shown.length;
    card.setWords(
      `Over all ${integer(n)} tokens. ${way === "both" ? "Pearson’s r stands above the diagonal, Spearman’s ρ below it" : way === "pearson" ? "Pearson’s r" : "Spearman’s ρ"}; the channel is the selected one.${!counts.now() ? " Counts from a file make a fifth candidate." : isLog() ? " The log count is log₁₀(1 + count), which ranks as the count does." : ""}`,
    );
    const head = element("tr", "", element("th", "", ""), ...names.map((name) => scoped("col", name)));
    const rows = names.map((name, i) =>
      element(
        "tr",
        "",
        scoped("row", name),
        ...names.map((other, j) => {
          if (i === j) return element("td", "same", "1");
          const is_pearson = way === "pearson" || (way === "both" && j > i);
          const r = (is_pearson ? pearson : spearman)[i * m + j];
          const cell = element("td", "", decimal(r, 3));
          const { css, ink } = swatch("diverging", themeNow(), Number.isFinite(r) ? 0.5 + r / 2 : 0.5);
          [cell.style.background, cell.style.color] = [css, ink];
          cell.title = `${is_pearson ? "Pearson’s r" : "Spearman’s ρ"} of ${name} and ${other}`;
          cell.dataset.kind = is_pearson ? "pearson" : "spearman";
          return cell;
        }),
      ),
    );
    table.replaceChildren(element("thead", "", head), element("tbody", "", ...rows));
  }

  function drawScatter({ names, variables }: Found) {
    for (const [choice, option, otherwise] of [
      [x_choice, "x", names.length > 4 ? 4 : 1],
      [y_choice, "y", 0],
    ] as const) {
      choice.select.replaceChildren(...optionsOf(names.map((name, i) => [String(i), name] as const)));
      const wanted = Number(options.get(option) ?? otherwise);
      choice.select.value = String(wanted < names.length ? wanted : otherwise);
    }
    const [x, y] = [Number(x_choice.select.value), Number(y_choice.select.value)];
    scatter_card.element.hidden = false;
    scatter.show({
      x: variables[x],
      y: variables[y],
      x_label: axisName(names[x]),
      y_label: axisName(names[y]),
      name: (id) => shown[id],
      about: (id) =>
        `#${integer(id)} · ${names[x]}: ${plain(variables[x][id])} · ${names[y]}: ${plain(variables[y][id])}`,
      key: `${names[x]} ${names[y]}`,
    });
  }

  function csv() {
    if (!found) return { head: ["candidate"], lines: [] };
    const { names, pearson, spearman } = found;
    const m = names.length;
    const lines: (string | number)[][] = names.flatMap((name, i) =>
      names.map((other, j) => [name, other, pearson[i * m + j], spearman[i * m + j]]),
    );
    return { head: ["candidate", "other", "pearson", "spearman"], lines };
  }

  function scatterCsv() {
    if (!found) return { head: ["token_id"], lines: [] };
    const { names, variables } = found;
    return {
      head: ["token_id", "token", ...names.map((name) => name.replace(/\W+/g, "_"))],
      lines: shown.map((token, id) => [id, token, ...variables.map((of) => of[id])]),
    };
  }

  let before = selection.channel;
  selection.subscribe(() => {
    if (selection.channel === before) return;
    before = selection.channel;
    if (whole.isConnected) void show();
  });

  return {
    element: whole,
    show,
    redraw: () => found && drawTable(found),
  };
}

const axisName = (name: string) => (name === LOG_NAME ? "log₁₀(1 + count)" : name);

function scoped(scope: "row" | "col", name: string) {
  const cell = element("th", "", name);
  cell.scope = scope;
  return cell;
}

const plain = (value: number) => (Number.isInteger(value) ? integer(value) : decimal(value, 3));
