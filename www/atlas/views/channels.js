// @ts-check
/** Every channel's mean and standard deviation, in wte over the tokens and in wpe over the positions. */
import { element } from "../../dom.js";

/** @typedef {import("./index.js").Stage} Stage */

/** @param {Stage} stage */
function create({ ask, card, cloud }) {
  const figure = card({ name: "channels", title: "Channels: position activity against the token embedding" });
  const at = element("div", "");
  figure.body.append(at);
  const scatter = cloud(at, { selects: "channel", label: "Mean and standard deviation of every channel against its std over the positions" });

  async function show() {
    const stats = await figure.run((watch) => ask.channels(watch));
    if (!stats) return;
    const n = stats.wpe_std.length;
    const series = [stats.wte_mean.map(Math.abs), stats.wte_std, stats.wpe_mean.map(Math.abs), stats.wpe_std];
    scatter.show({
      x: Float32Array.from({ length: 4 * n }, (_, i) => stats.wpe_std[i % n]),
      y: Float32Array.from(series.flatMap((each) => [...each])),
      ids: Uint32Array.from({ length: 4 * n }, (_, i) => i % n),
      x_label: "std(wpe) over the positions, log scale", y_label: "value, log scale", x_kind: "log", y_kind: "log",
      colours: { classes: ["|mean wte|", "std wte", "|mean wpe|", "std wpe"].map((name, i) => ({ name, css: `var(--series-${i})` })), of: Uint8Array.from({ length: 4 * n }, (_, i) => Math.floor(i / n)) },
      name: (c) => `channel ${c}`,
    });
  }

  return { element: figure.element, show };
}

/** @type {import("./index.js").View} */
export const view = { name: "channels", title: "Channels", needs: [], create };
