/** The gains of every LayerNorm against the channel's position activity: small multiples by block, on the same axes. */
import { element } from "../../ui/dom.ts";
import { decimal, significant } from "../../lib/format.ts";
import { createLegend } from "../scatter/legend.ts";
import { extentOf } from "../../lib/extent.ts";
import { largestGainWords, standsOut } from "../stats/gain-summary.ts";
import { heavyOf, robustDistance } from "../stats/maths.ts";
import { checkbox } from "../../ui/fields.ts";
import { segmented } from "../../ui/segmented.ts";
import type { Cloud } from "../scatter/scatter.ts";
import type { Gains } from "../queries.ts";
import type { Stage, View } from "../types.ts";

const HEIGHT = 168;
const LARGE = 420;
/** Channels that are named on either side: in each of many panels, and in a large one. */
const FEW = 2;
const MANY = 8;
const NORMS = ["ln_1", "ln_2", "ln_f"];
/** Gains near zero would take half of every panel: a few, and this share of all, stand on the edge. */
const BEYOND = { few: 2, share: 0.0005 };

const titleOf = ({ name }: Gains) => (name === "ln_f" ? "ln_f, before the unembedding" : `block ${name.split(".")[1]}`);

function create({ ask, options, card, cloud, threshold }: Stage) {
  const figure = card({
    name: "gains",
    title: "LayerNorm gains",
    csv: () => ({
      head: ["norm", "channel", "wpe_std", "position_heavy", "gain", "bias", "mads_from_the_cloud"],
      lines,
    }),
  });
  let lines: (string | number)[][] = [];
  const grid = element("div", "multiples");
  const readout = element("p", "cloud-readout muted");
  readout.setAttribute("aria-live", "polite");
  const legend = createLegend((hidden) => panels.forEach((panel) => panel.cloud.hide(hidden)));
  figure.body.append(legend.element, readout, grid);
  let panels: { at: HTMLElement; title: HTMLElement; cloud: Cloud }[] = [];
  /** What a point of a panel says when the pointer is over it. */
  let about: (panel: number, channel: number) => string = () => "";

  const which = segmented({
    label: "LayerNorm",
    choices: NORMS.map((name) => [name, name] as const),
    onChoose: (name) => set("norm", name === "ln_2" ? null : name),
  });
  const linear = checkbox("Linear y", (on) => set("y", on ? "linear" : null));
  const by_index = checkbox("Colour by index", (on) => set("colour", on ? "index" : null));
  figure.tools.append(which.element, linear.element, by_index.element);

  function set(name: string, value: string | null) {
    options.set(name, value);
    void show();
  }

  function panelsFor(n: number) {
    if (panels.length === n) return;
    const is_one = n === 1;
    panels.forEach((panel) => panel.cloud.destroy());
    panels = Array.from({ length: n }, (_, i) => {
      const [at, title] = [element("div", ""), element("h3", "multiple-title")];
      title.dataset.caption = "";
      const made = cloud(at, {
        selects: "channel",
        is_small: !is_one,
        height: is_one ? LARGE : HEIGHT,
        label: `Gains, panel ${i + 1} of ${n}`,
        onHover: (channel) => readout.replaceChildren(channel === null ? hint() : about(i, channel)),
      });
      return { at, title, cloud: made };
    });
    grid.replaceChildren(...panels.map(({ at, title }) => element("div", "multiple", title, at)));
  }
  const hint = () => "Point at a channel for its numbers; a click selects it everywhere.";

  async function show() {
    const found = await figure.run((watch) => Promise.all([ask.gains(watch), ask.channels(watch)]));
    if (!found) return;
    const [all, { wpe_std }] = found;
    const norm = options.get("norm") ?? "";
    // A partial model may have only some of them.
    const there = NORMS.filter((each) => all.some(({ name }) => name.endsWith(each)));
    const asked = [norm, "ln_2"].find((each) => there.includes(each)) ?? there[0] ?? "ln_2";
    const [is_linear, is_by_index] = [options.get("y") === "linear", options.get("colour") === "index"];
    which.set(asked, there);
    linear.set(is_linear);
    by_index.set(is_by_index);
    const shown = all.filter(({ name }) => name.endsWith(asked));
    const { heavy, n_heavy, is_chosen } = heavyOf(wpe_std, threshold.get());
    const x_extent = extentOf(wpe_std.filter((value) => value > 0));
    const { y_extent, n_beyond } = limitsOf(shown, is_linear);
    const classes = [
      { name: `${wpe_std.length - n_heavy} other channels`, css: "var(--series-0)" },
      {
        name: `${n_heavy} position-heavy channels, above the ${is_chosen ? "chosen threshold" : "largest gap"} of std(wpe)`,
        css: "var(--series-5)",
      },
    ];
    const log_x = Array.from(wpe_std, (value) => Math.log(Math.max(value, 1e-30)));

    figure.setTitle(`${asked} gain against position activity${asked === "ln_f" ? "" : ", by block"}`);
    const axes = `x: std(wpe) over the positions, log scale; y: ${is_linear ? "gain, linear scale" : "|gain|, log scale"}${shown.length > 1 ? "; the same axes everywhere" : ""}`;
    figure.setWords(
      `${largestGainWords(shown, asked)} One point a channel, ${axes}${n_beyond > 0 ? `; ${n_beyond} smaller gains stand on the lower edge` : ""}.`,
    );
    const colours = is_by_index ? { label: "channel", values: wpe_std.map((_, c) => c) } : { classes, of: heavy };
    legend.show(colours, undefined, new Set());
    panelsFor(shown.length);
    // A large panel has its own.
    legend.element.hidden = readout.hidden = shown.length === 1;
    lines = [];
    const distances = shown.map(({ weight }) =>
      robustDistance(
        log_x,
        Array.from(weight, (value) => Math.log(Math.max(Math.abs(value), 1e-12))),
      ),
    );
    shown.forEach((gains, p) => {
      const panel = panels[p];
      panel.title.textContent = titleOf(gains);
      panel.cloud.hide([]);
      panel.cloud.show({
        x: wpe_std,
        y: is_linear ? gains.weight : gains.weight.map(Math.abs),
        x_kind: "log",
        y_kind: is_linear ? "linear" : "log",
        x_extent,
        y_extent,
        x_label: "std(wpe)",
        y_label: "gain",
        colours,
        about: (c) => about(p, c),
        labelled: standsOut(distances[p], shown.length > 1 ? FEW : MANY),
      });
      gains.weight.forEach((gain, c) =>
        lines.push([gains.name, c, wpe_std[c], heavy[c], gain, gains.bias[c], distances[p][c]]),
      );
    });
    about = (p, c) =>
      `${shown[p].name} · channel ${c}: gain ${significant(shown[p].weight[c])}, bias ${significant(shown[p].bias[c])}, std(wpe) ${significant(wpe_std[c])}, ${decimal(Math.abs(distances[p][c]), 1)} MADs ${distances[p][c] < 0 ? "below" : "above"} its neighbours`;
    readout.replaceChildren(hint());
  }

  return { element: figure.element, show };
}

/** Of all panels together. */
function limitsOf(shown: Gains[], is_linear: boolean): { y_extent: [number, number]; n_beyond: number } {
  const all = shown.flatMap(({ weight }) => Array.from(weight));
  if (is_linear) return { y_extent: extentOf(all), n_beyond: 0 };
  const sizes = all
    .map(Math.abs)
    .filter((value) => value > 0)
    .sort((a, b) => a - b);
  const n_beyond = shown.length > 1 ? BEYOND.few + Math.floor(sizes.length * BEYOND.share) : 0;
  return { y_extent: [sizes[n_beyond], sizes[sizes.length - 1]], n_beyond };
}

export const view: View = { name: "gains", title: "LayerNorm gains", needs: ["norms", "wpe"], create };
