/** View 6: the singular value decomposition of wte, the tokens along its directions, and what length has to do with it. */
import { element, onWidth, optionsOf } from "../../ui/dom.ts";
import { decimal, integer, ordinal, percent, significant } from "../../lib/format.ts";
import { N_DIRECTIONS } from "../queries.ts";
import { checkbox, choiceOf } from "../../ui/fields.ts";
import { createLatest } from "../../lib/latest.ts";
import { cosinesChart, loadingsChart, singularChart } from "../charts/token-charts.ts";
import { largest } from "../stats/gain-summary.ts";
import { createLengths } from "./lengths.ts";
import { createOverlap, hasText, spaceColours } from "./overlap.ts";
import type { Shown, Stage, View } from "../types.ts";
import type { Spectrum, Vocabulary } from "../queries.ts";

export const view: View = { name: "spectrum", title: "Singular directions", needs: ["wte"], create };

function create(stage: Stage): Shown {
  const { ask, options, selection } = stage;
  const latest = createLatest();
  const clouds = stage.card({
    name: "directions",
    title: "Tokens along singular directions",
    words:
      "The SVD of wte, uncentred: one point a token, at its projections on two directions; a plus sign marks the origin.",
    csv: tokensCsv,
  });
  const values = stage.card({ name: "singular-values", title: "Singular values", csv: valuesCsv });
  const cosines = stage.card({ name: "cosines-with-mean", title: "Cosine with the mean embedding", csv: cosinesCsv });
  const loadings = stage.card({ name: "loadings", title: "Loadings of direction 0", csv: loadingsCsv });
  const lengths = createLengths(stage);
  const overlap = createOverlap(stage);
  const pair = element("div", "atlas-pair", values.element, cosines.element);
  const whole = element(
    "div",
    "atlas-view is-waiting",
    clouds.element,
    pair,
    loadings.element,
    overlap.element,
    lengths.element,
  );

  let spectrum: Spectrum | null = null;
  let norms = new Float32Array(0) as Float32Array;
  let vocabulary: Vocabulary | null = null;
  let n_shown = 0;

  const set = (name: string, value: string | null) => {
    options.set(name, value);
    void show();
  };
  const x_choice = choiceOf("x", [], (value) => set("x", value === "0" ? null : value));
  const y_choice = choiceOf("y", [], (value) => set("y", value === "1" ? null : value));
  const colour = choiceOf(
    "Colour",
    [
      ["space", "starts with a space"],
      ["norm", "norm"],
      ["id", "token id"],
    ],
    (value) => set("colour", value === "space" ? null : value),
  );
  clouds.tools.append(x_choice.element, y_choice.element, colour.element);
  const linear = checkbox("Linear y", (is_on) => set("linear", is_on ? "1" : null));
  values.tools.append(linear.element);
  const at = element("div", "");
  clouds.body.append(at);
  const scatter = stage.cloud(at, { selects: "tokens", label: "Tokens along two singular directions of wte" });
  const [values_box, cosines_box, loadings_box] = ["chart", "chart", "chart"].map((name) => element("div", name));
  values.body.append(values_box);
  cosines.body.append(cosines_box);
  loadings.body.append(loadings_box);
  onWidth(values_box, () => spectrum && drawCharts(spectrum));

  /** A direction by its option, if there are so many. */
  function direction(name: string, otherwise: number) {
    const wanted = Number(options.get(name) ?? otherwise);
    return Number.isInteger(wanted) && wanted >= 0 && wanted < n_shown ? wanted : Math.min(otherwise, n_shown - 1);
  }

  const along = (d: number) => {
    const { tokens } = spectrum as Spectrum;
    const n = norms.length;
    return tokens.subarray(d * n, (d + 1) * n);
  };

  async function show() {
    const isCurrent = latest.begin();
    linear.set(options.get("linear") === "1");
    n_shown = Math.min(N_DIRECTIONS, Number(ask.facts.n_embd) || 1);
    fillChoices();
    await clouds.run(async (watch) => {
      const [found, lengths_of, words] = await Promise.all([
        ask.spectrum(watch),
        ask.norms({ signal: watch.signal }),
        ask.vocabulary(),
      ]);
      if (!isCurrent()) return;
      [spectrum, norms, vocabulary] = [found, lengths_of, words];
      whole.classList.remove("is-waiting");
      drawCloud(words);
      drawCharts(found);
      const first = { projections: along(0), vocabulary: words };
      lengths.show({ ...first, norms });
      void overlap.show({ ...first, direction: loadingsOf(found, 0) });
    });
  }

  function fillChoices() {
    for (const { select } of [x_choice, y_choice]) {
      if (select.options.length === n_shown) continue;
      const choices = Array.from({ length: n_shown }, (_, d) => [String(d), `direction ${d}`] as const);
      select.replaceChildren(...optionsOf(choices));
    }
    x_choice.select.value = String(direction("x", 0));
    y_choice.select.value = String(direction("y", 1));
  }

  function drawCloud(words: Vocabulary) {
    const [x, y] = [direction("x", 0), direction("y", 1)];
    const { shown } = words;
    const has_text = hasText(words);
    const by = options.get("colour") ?? (has_text ? "space" : "norm");
    colour.select.value = by;
    colour.select.options[0].disabled = !has_text;
    const colours =
      by === "norm"
        ? { label: "norm", values: norms }
        : by === "id"
          ? { label: "token id", values: Uint32Array.from(norms, (_, id) => id) }
          : spaceColours(words);
    scatter.show({
      x: along(x),
      y: along(y),
      colours,
      x_label: `projection on direction ${x}`,
      y_label: `projection on direction ${y}`,
      has_origin: true,
      name: (id) => shown[id],
      about: (id) =>
        `#${integer(id)} · norm ${decimal(norms[id])} · direction ${x}: ${decimal(along(x)[id], 3)} · direction ${y}: ${decimal(along(y)[id], 3)}`,
      key: `${x} ${y}`,
    });
  }

  function drawCharts({ singular_values, cosine_with_mean }: Spectrum) {
    const marked = [direction("x", 0), direction("y", 1)];
    const squares = singular_values.map((s) => s * s);
    const sum = squares.reduce((a, b) => a + b, 0);
    const share = (n: number) => percent(squares.subarray(0, n).reduce((a, b) => a + b, 0) / sum);
    values.setWords(
      `Direction 0 has ${share(1)} of the sum of squares, the first ${n_shown} have ${share(n_shown)}. The marked ones are the directions shown above: ${[...new Set(marked)].map((d) => `${d} with ${significant(singular_values[d])}`).join(" and ")}.`,
    );
    values_box.replaceChildren(
      singularChart({
        values: singular_values,
        marked,
        is_log: options.get("linear") !== "1",
        width: Math.max(260, values_box.clientWidth),
      }),
    );
    const first = cosine_with_mean[0];
    cosines.setWords(
      `Direction 0 has cosine ${decimal(first, 4)} with the mean embedding: ${Math.abs(first) > 0.95 ? "it all but is the mean" : Math.abs(first) > 0.7 ? "it leans to the mean" : "it is not the mean"}.`,
    );
    cosines_box.replaceChildren(
      cosinesChart({ values: cosine_with_mean, marked, width: Math.max(260, cosines_box.clientWidth) }),
    );
    drawLoadings();
  }

  const loadingsOf = ({ directions }: Spectrum, d: number) => {
    const n = directions.length / n_shown;
    return directions.subarray(d * n, (d + 1) * n);
  };

  /** What each channel has in the direction on the x axis, with the selected channel marked. */
  function drawLoadings() {
    if (!spectrum) return;
    const [d, { channel }] = [direction("x", 0), selection];
    const of = loadingsOf(spectrum, d);
    const most = largest(of);
    const place = of.filter((value) => Math.abs(value) > Math.abs(of[channel])).length + 1;
    const title = `Loadings of direction ${d}`;
    const others = place === 1 ? "" : ` The largest is that of channel ${most}, ${decimal(of[most], 3)}.`;
    loadings.setTitle(title);
    loadings.setWords(
      `What each of the ${of.length} channels has in it, as a vector of length 1. Channel ${channel}, the selected one, has ${decimal(of[channel], 3)}: the ${place === 1 ? "" : `${ordinal(place)} `}largest in size.${others}`,
    );
    loadings_box.replaceChildren(
      loadingsChart({
        values: of,
        marked: channel,
        label: title,
        width: Math.max(260, loadings_box.clientWidth),
      }),
    );
  }

  function tokensCsv() {
    const [x, y] = [direction("x", 0), direction("y", 1)];
    const lines =
      spectrum && vocabulary
        ? Array.from(norms, (norm, id) => [id, vocabulary?.shown[id] ?? "", norm, along(x)[id], along(y)[id]])
        : [];
    return { head: ["token_id", "token", "norm", `direction_${x}`, `direction_${y}`], lines };
  }

  function valuesCsv() {
    return {
      head: ["direction", "singular_value"],
      lines: Array.from(spectrum?.singular_values ?? [], (value, d) => [d, value]),
    };
  }

  function cosinesCsv() {
    return {
      head: ["direction", "cosine_with_mean"],
      lines: Array.from(spectrum?.cosine_with_mean ?? [], (value, d) => [d, value]),
    };
  }

  function loadingsCsv() {
    const d = direction("x", 0);
    return {
      head: ["channel", `direction_${d}`],
      lines: spectrum ? Array.from(loadingsOf(spectrum, d), (value, c) => [c, value]) : [],
    };
  }

  let before = selection.channel;
  selection.subscribe(() => {
    if (selection.channel === before) return;
    before = selection.channel;
    if (whole.isConnected) drawLoadings();
  });

  return { element: whole, show, hide: overlap.stop };
}
