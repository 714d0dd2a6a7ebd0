/** View 9: the longest and shortest embeddings, the extremes of a channel, the neighbours of a token, and the cluster near the mean. */
import { button, element } from "../../ui/dom.ts";
import { decimal, integer } from "../../lib/format.ts";
import { distancesToMean } from "../stats/distances.ts";
import { densestNear, isCluster, mostBeside } from "../stats/densest.ts";
import { choiceOf } from "../../ui/fields.ts";
import { createLatest } from "../../lib/latest.ts";
import { createTokenTable, tokenButton } from "../token-table.ts";
import { descending } from "../stats/orders.ts";
import { createNeighbours } from "./neighbours.ts";
import type { Shown, Stage, View } from "../types.ts";
import type { Column } from "../../ui/sortable-table.ts";

const SIZES = ["10", "20", "50", "100"];
const DEFAULT_SIZE = "20";

export type Line = { id: number; value: number };

export const view: View = { name: "outliers", title: "Outlier tokens", needs: ["wte"], create };

function create(stage: Stage): Shown {
  const { ask, selection, options } = stage;
  const latest = createLatest();
  const cluster = stage.card({ name: "cluster", title: "Cluster near the mean embedding", csv: clusterCsv });
  const lengths = stage.card({
    name: "longest-and-shortest",
    title: "Longest and shortest embeddings",
    words: "By the length (norm) of the token’s row of wte.",
    is_picture: false,
    csv: () => csvOf(norms, "norm"),
  });
  const extremes = stage.card({
    name: "extremes",
    title: "Extremes of a channel",
    is_picture: false,
    csv: () => csvOf(values, `channel_${channel_of_values}`),
  });
  const neighbours = createNeighbours(stage);
  const whole = element("div", "atlas-view", cluster.element, lengths.element, extremes.element, neighbours.element);

  let norms = new Float32Array(0) as Float32Array;
  let values = norms;
  let channel_of_values = selection.channel;
  let distances = norms;
  let shown: string[] = [];

  const size = choiceOf(
    "At either end",
    SIZES.map((n) => [n, `${n} tokens`]),
    (value) => {
      options.set("n", value === DEFAULT_SIZE ? null : value);
      drawTables();
    },
  );
  lengths.tools.append(size.element);
  const table = (label: string, quantity: string) =>
    createTokenTable({
      label,
      selection,
      page_size: 100,
      columns: [
        { name: "token", show: ({ id }) => tokenButton(id, shown[id], selection), class_name: "token" },
        { name: "id", by: ({ id }) => id, show: ({ id }) => integer(id) },
        { name: quantity, by: ({ value }) => value, show: ({ value }) => decimal(value, 3) },
      ] as Column<Line>[],
    });
  const [longest, shortest] = [table("Longest embeddings", "norm"), table("Shortest embeddings", "norm")];
  const [largest, least] = [
    table("Largest values of the channel", "value"),
    table("Smallest values of the channel", "value"),
  ];
  lengths.body.append(beside(["Longest", longest.element], ["Shortest", shortest.element]));
  extremes.body.append(beside(["Largest", largest.element], ["Smallest", least.element]));
  const listings = [longest, shortest, largest, least];

  const zoom = button("chip", "Zoom to these tokens", () => {
    is_named = true;
    drawCloud();
    scatter.zoomTo(clustered);
  });
  const select = button("chip", "Select these tokens", () => selection.setTokens(clustered));
  cluster.tools.append(zoom, select);
  const at = element("div", "");
  cluster.body.append(at);
  const scatter = stage.cloud(at, {
    selects: "tokens",
    label: "Length of every embedding against its distance to the mean embedding",
  });
  let clustered: number[] = [];
  let is_named = false;

  async function show() {
    const isCurrent = latest.begin();
    void neighbours.show();
    void showExtremes();
    await lengths.run(async (watch) => {
      const [found, words] = await Promise.all([ask.norms(watch), ask.vocabulary()]);
      if (!isCurrent()) return;
      [norms, shown] = [found, words.shown];
      drawTables();
    });
    if (!isCurrent() || norms.length === 0) return;
    await cluster.run(async (watch) => {
      const { wte_mean } = await ask.channels(watch);
      const found =
        distances.length === norms.length ? distances : await distancesToMean(wte_mean, norms.length, ask.rows, watch);
      if (!isCurrent()) return;
      distances = found;
      drawCluster(wte_mean);
    });
  }

  function drawCluster(mean: Float32Array) {
    const { x, y } = densestNear(distances, norms);
    clustered = Array.from(distances.keys()).filter(
      (i) => distances[i] >= x[0] && distances[i] <= x[1] && norms[i] >= y[0] && norms[i] <= y[1],
    );
    const length = Math.sqrt(mean.reduce((sum, value) => sum + value * value, 0));
    cluster.setWords(
      `One point a token: its distance to the mean of all embeddings (which has length ${decimal(length)}), and its own length. Where the tokens nearest to the mean stand closest together there are ${integer(clustered.length)}: distance ${decimal(x[0])} to ${decimal(x[1])}, length ${decimal(y[0])} to ${decimal(y[1])}. ${besideWords(clustered.length, mostBeside(distances, norms, { x, y }))}`,
    );
    [zoom.disabled, select.disabled] = [clustered.length === 0, clustered.length === 0];
    is_named = false;
    drawCloud();
  }

  function drawCloud() {
    const is_in = new Set(clustered);
    scatter.show({
      x: distances,
      y: norms,
      x_label: "distance to the mean embedding",
      y_label: "length of the embedding",
      colours: {
        classes: [
          { name: "all tokens", css: "var(--series-0)" },
          { name: "the fullest place near the mean", css: "var(--series-3)" },
        ],
        of: Uint8Array.from(distances, (_, i) => Number(is_in.has(i))),
      },
      name: (id) => shown[id],
      about: (id) => `#${integer(id)} · distance ${decimal(distances[id], 3)} · length ${decimal(norms[id], 3)}`,
      // Nearest to the mean first: where there is no room for all names, these have it.
      labelled: is_named ? clustered.toSorted((a, b) => distances[a] - distances[b]) : [],
      key: "cluster",
    });
  }

  async function showExtremes() {
    const { channel } = selection;
    await extremes.run(async (watch) => {
      const [found, words] = await Promise.all([ask.channel(channel, watch), ask.vocabulary()]);
      if (channel !== selection.channel) return;
      [values, channel_of_values, shown] = [found, channel, words.shown];
      extremes.setTitle(`Extremes of channel ${channel}`);
      extremes.setWords(
        `The tokens with the largest and smallest value in channel ${channel} of wte, the selected one.`,
      );
      drawTables();
    });
  }

  function drawTables() {
    const wanted = options.get("n") ?? DEFAULT_SIZE;
    size.select.value = SIZES.includes(wanted) ? wanted : DEFAULT_SIZE;
    const n = Number(size.select.value);
    for (const [of, top, bottom] of [
      [norms, longest, shortest],
      [values, largest, least],
    ] as const) {
      const order = descending(of);
      const line = (id: number) => ({ id, value: of[id] });
      top.show(Array.from(order.subarray(0, n), line));
      bottom.show(Array.from(order.subarray(Math.max(0, order.length - n)), line).reverse());
    }
  }

  function csvOf(of: Float32Array, name: string) {
    return {
      head: ["place", "token_id", "token", name],
      lines: Array.from(descending(of), (id, place) => [place + 1, id, shown[id], of[id]]),
    };
  }

  function clusterCsv() {
    const is_in = new Set(clustered);
    return {
      head: ["token_id", "token", "distance_to_mean", "norm", "in_cluster"],
      lines: Array.from(distances, (distance, id) => [id, shown[id], distance, norms[id], Number(is_in.has(id))]),
    };
  }

  let before = selection.channel;
  selection.subscribe(() => {
    for (const listing of listings) listing.mark();
    if (selection.channel === before) return;
    before = selection.channel;
    if (whole.isConnected) void showExtremes();
  });

  return {
    element: whole,
    show,
    hide: () => cluster.stop(),
  };
}

const besideWords = (n: number, beside: number) =>
  isCluster(n, beside)
    ? `None of the eight places of the same size around it has more than ${integer(beside)}: it is a cluster of its own.`
    : n < 2 * beside
      ? `The fullest of the eight places of the same size around it has ${integer(beside)}: too many for this to be a cluster of its own.`
      : "These are too few to tell a cluster from chance.";

/** Two tables beside each other. */
const beside = (...halves: [string, HTMLElement][]) =>
  element("div", "atlas-halves", ...halves.map(([name, table]) => element("div", "", element("h3", "", name), table)));
