/** wpe against the position for some channels; those of low variance on an axis of their own, where they can be seen. */
import { seriesKey } from "../../ui/chart-legend.ts";
import { button, element, replaceKeyed } from "../../ui/dom.ts";
import { colourOf } from "../../graphics/series.ts";
import { columnOf } from "../stats/maths.ts";
import { mostActive, parseChannels } from "../stats/pairs.ts";
import { curvesOf } from "./stat-charts.ts";
import { numberField } from "../../ui/fields.ts";
import type { Stage } from "../types.ts";

/** What the engine said. */
export type Known = { wpe_std: Float32Array; positions: Float32Array; heavy: Uint8Array };

const N_FIRST = 8;
/** More curves than these nobody tells apart. */
const MAX_CURVES = 16;
/** The accent colour is for what is selected. */
const COLOURS = [...[0, 2, 3, 4, 5, 6, 7].map(colourOf), "var(--ink)"];

export function createCurves({ ask, selection, options, card }: Stage) {
  let known: Known | null = null;
  const nEmbd = () => Number(ask.facts.n_embd);
  const figure = card({
    name: "wpe-curves",
    title: "wpe over the positions",
    csv: () => {
      const channels = shownNow();
      const columns = channels.map((c) => columnOf(known?.positions ?? new Float32Array(0), nEmbd(), c));
      return {
        head: ["position", ...channels.map((c) => `channel_${c}`)],
        lines: Array.from(columns[0] ?? [], (_, position) => [position, ...columns.map((column) => column[position])]),
      };
    },
  });
  const add = numberField(
    "Add channel",
    () => nEmbd() - 1,
    (c) => set([...listed(), c]),
  );
  const usual = button("chip small", `The ${N_FIRST} most active`, () => {
    options.set("channels", null);
    draw();
  });
  figure.tools.append(add.element, usual, element("span", "muted", "A name selects its channel everywhere."));
  const [list, low_list] = [element("ul", "series curve-list"), element("ul", "series curve-list")];
  const [high, low] = [element("div", "chart"), element("div", "chart")];
  const low_title = element("p", "muted curve-note", "Of low variance, on an axis of their own:");
  low_title.dataset.caption = "";
  figure.body.append(list, high, low_title, low_list, low);

  const listed = () => {
    const asked = parseChannels(options.get("channels"), nEmbd(), MAX_CURVES);
    return asked.length > 0 ? asked : mostActive(known?.wpe_std ?? [], N_FIRST);
  };
  const shownNow = () => [...new Set([...listed(), selection.channel])].filter((c) => c < nEmbd());

  function set(channels: number[]) {
    options.set("channels", [...new Set(channels)].slice(-MAX_CURVES).join("."));
    draw();
  }

  function drawOne(at: HTMLElement, names: HTMLElement, channels: number[]) {
    const all = listed();
    const cssOf = (c: number) =>
      c === selection.channel ? "var(--accent)" : COLOURS[Math.max(0, all.indexOf(c)) % COLOURS.length];
    replaceKeyed(
      names,
      ...channels.map((c) => {
        const select = button("legend-toggle", `channel ${c}`, () => selection.setChannel(c));
        select.dataset.key = `select ${c}`;
        const item = element("li", c === selection.channel ? "chosen" : "", seriesKey(cssOf(c)), select);
        if (all.length > 1 && all.includes(c)) {
          const drop = button("picked-drop", "×", () => set(all.filter((other) => other !== c)));
          drop.setAttribute("aria-label", `Take channel ${c} away`);
          drop.dataset.key = `drop ${c}`;
          item.append(drop);
        }
        return item;
      }),
    );
    const points = channels.flatMap((c) =>
      Array.from(columnOf(known?.positions ?? new Float32Array(0), nEmbd(), c), (y, x) => ({
        x,
        y,
        series: String(c),
        css: cssOf(c),
      })),
    );
    const width = Math.max(260, figure.body.clientWidth);
    at.replaceChildren(
      ...(points.length > 0
        ? [
            curvesOf(points, {
              width,
              height: 250,
              x_label: "position",
              y_label: "wpe",
              front: String(selection.channel),
            }),
          ]
        : []),
    );
  }

  function draw() {
    if (!known || figure.body.clientWidth === 0) return;
    const { heavy } = known;
    add.set(selection.channel);
    const channels = shownNow();
    const active = listed();
    const [strong, weak] = [channels.filter((c) => heavy[c]), channels.filter((c) => !heavy[c])];
    const is_usual = options.get("channels") === null;
    usual.disabled = is_usual;
    figure.setWords(
      `${is_usual ? `The ${active.length} channels with the largest std(wpe), and the selected one.` : "The channels of the list, and the selected one."}`,
    );
    // One axis is enough where there are no two kinds.
    const is_split = strong.length > 0 && weak.length > 0;
    low_title.hidden = low.hidden = low_list.hidden = !is_split;
    drawOne(high, list, is_split ? strong : channels);
    if (is_split) drawOne(low, low_list, weak);
  }

  selection.subscribe(draw);
  let width = 0;
  new ResizeObserver(() => {
    if (figure.body.clientWidth === 0 || figure.body.clientWidth === width) return;
    width = figure.body.clientWidth;
    draw();
  }).observe(figure.body);

  return {
    element: figure.element,
    show(now: Known) {
      known = now;
      draw();
    },
  };
}
