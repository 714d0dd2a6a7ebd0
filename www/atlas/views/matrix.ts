/** View 1: wte as a heatmap, any tokens and channels in any order, and histograms of some of them. */
import { quantileSorted } from "d3-array";
import { button, element } from "../../ui/dom.ts";
import { decimal, integer } from "../../lib/format.ts";
import { checkbox, choiceOf, fieldOf } from "../../ui/fields.ts";
import { createLatest } from "../../lib/latest.ts";
import { createHeat } from "../matrix/matrix.ts";
import { createHeatLegend } from "../matrix/legend.ts";
import { createLookup } from "../token-input.ts";
import { pick } from "../token-table.ts";
import { channelOrder, tokenOrder } from "../matrix/order-choices.ts";
import { inOrder } from "../stats/orders.ts";
import { createRowStore } from "../matrix/rows.ts";
import { createHistograms } from "./histograms.ts";
import type { Shown, Stage, View } from "../types.ts";
import type { Place } from "../matrix/viewport.ts";
import type { Watch } from "../queries.ts";
import type { Content } from "../matrix/matrix.ts";

/** So many tokens, evenly spread, set the ends of the colours, whatever is in sight. */
const N_SAMPLE = 256;
const CLIPS = ["99", "95", "100"] as const;

const hint = () =>
  matchMedia("(pointer: coarse)").matches
    ? "Pinch zooms, two fingers move, a tap selects token and channel; left of and below the picture only one of them zooms"
    : "Ctrl + wheel zooms, a drag moves, a click selects token and channel; left of and below the picture only one of them zooms";

export const view: View = { name: "matrix", title: "Token matrix", needs: ["wte"], create };

function create(stage: Stage): Shown {
  const { ask, selection, options } = stage;
  const latest = createLatest();
  const store = createRowStore((ids, watch) => ask.rows(ids, watch));
  const card = stage.card({
    name: "matrix",
    title: "Token matrix",
    words: "wte, one column a token, one row a channel.",
    csv,
  });
  const histograms = createHistograms(stage, store);
  const whole = element("div", "atlas-view", card.element, histograms.element);

  let norms = new Float32Array(0) as Float32Array;
  let shown: string[] = [];
  let [token_order, channel_order]: Uint32Array[] = [inOrder(0), inOrder(0)];
  /** What each is ordered by, at its place; null: its own number. */
  let token_values: ArrayLike<number> | null = null;
  let channel_values: ArrayLike<number> | null = null;
  let token_title = "";
  let channel_title = "";
  let limit = 1;
  let stride = 1;
  /** Whether another picture is on its way. */
  let is_showing = false;
  let hovered: Place | null = null;

  const set = (name: string, value: string | null) => {
    options.set(name, value);
    // Another order shows other places.
    if (name !== "clip") options.set("window", null);
    void show(name === "clip" ? undefined : null);
  };
  const tokens_by = choiceOf(
    "Tokens",
    [
      ["id", "all, by id"],
      ["norm", "all, by norm"],
      ["channel", "all, by the selected channel"],
      ["selected", "the selected ones"],
      ["range", "a range of ids"],
      ["typed", "typed in"],
    ],
    (value) => set("tokens", value === "id" ? null : value),
  );
  const range = fieldOf("Ids", "0-255, 1000", (value) => set("range", value || null));
  const typed = createLookup({
    label: "Tokens of a text",
    button: "Show",
    is_one: false,
    ask: () => ask,
    onTokens: (ids) => set("typed", [...new Set(ids)].join(".")),
  });
  const channels_by = choiceOf(
    "Channels",
    [
      ["index", "all, by index"],
      ["wpe", "all, by std(wpe)"],
      ["wte", "all, by std(wte)"],
      ["mean", "all, by mean"],
      ["chosen", "chosen ones"],
    ],
    (value) => set("channels", value === "index" ? null : value),
  );
  const chosen = fieldOf("Channels", "138, 36-40", (value) => set("chosen", value || null));
  const turned = checkbox("Transpose", (is_on) => set("transposed", is_on ? "1" : null));
  const clip = choiceOf(
    "Colour range",
    CLIPS.map((p) => [p, p === "100" ? "all values" : `${p} % of values`]),
    (value) => set("clip", value === "99" ? null : value),
  );
  card.tools.append(
    tokens_by.element,
    range.element,
    typed.element,
    channels_by.element,
    chosen.element,
    turned.element,
    clip.element,
  );

  const heat = createHeat({
    store,
    need: (ids) => void fetchRows(ids),
    hover: say,
    choose: (place, is_more) => {
      pick(selection, token_order[place.token], is_more);
      selection.setChannel(channel_order[place.channel]);
    },
    moved(part, now) {
      options.set("window", part ? [...part.tokens, ...part.channels].join(".") : null);
      stride = now;
      sayStride();
    },
  });
  const zooms = element(
    "div",
    "cloud-tools",
    ...[
      ["+", "Zoom in", heat.zoomIn],
      ["−", "Zoom out", heat.zoomOut],
      ["All", "Show all", heat.whole],
    ].map(([label, name, act]) => {
      const made = button("chip small", label as string, act as () => void);
      made.setAttribute("aria-label", name as string);
      return made;
    }),
  );
  const stride_words = element("p", "muted heat-stride");
  stride_words.setAttribute("data-caption", "");
  const readout = element("p", "cloud-readout muted");
  const spoken = element("p", "unseen");
  spoken.setAttribute("aria-live", "polite");
  const legend = createHeatLegend("value in wte");
  const head = element("div", "cloud-head", stride_words, zooms);
  const foot = element("div", "heat-foot", readout, legend.element);
  card.body.append(head, heat.canvas, foot, spoken);

  const channel = (c: number) => `channel ${c}`;

  function say(place: Place | null, is_key: boolean) {
    hovered = place;
    if (!place) return void readout.replaceChildren(hint());
    const [id, c] = [token_order[place.token], channel_order[place.channel]];
    const value = store.get(id)?.[c];
    const words = ` #${integer(id)} · norm ${decimal(norms[id])} · ${channel(c)} · value ${value === undefined ? "not there yet" : decimal(value, 4)}`;
    readout.replaceChildren(element("span", "token cloud-name", shown[id] ?? ""), words);
    if (is_key) spoken.textContent = `${shown[id]}${words}`;
  }

  function sayStride() {
    // A stride is a power of two, and of those only 2, which has a word of its own, and 32 do not end in “th”.
    const every = stride === 2 ? "second" : stride % 100 === 32 ? `${integer(stride)}nd` : `${integer(stride)}th`;
    const skips = stride > 1 ? ` · every ${every} token is drawn; zooming in shows the others` : "";
    stride_words.textContent = `${integer(token_order.length)} tokens × ${integer(channel_order.length)} channels${skips}`;
  }

  async function fetchRows(ids: number[]) {
    // The picture to come asks for its own rows, and is not to be stopped for those of this one.
    if (ids.length === 0 || is_showing) return;
    await card.run((watch) => store.want(ids, watch, heat.refresh));
    heat.refresh();
    if (hovered) say(hovered, false);
  }

  function showControls() {
    const by = options.get("tokens") ?? "id";
    tokens_by.select.value = by;
    range.element.hidden = by !== "range";
    range.input.value = options.get("range") ?? "0-255";
    typed.element.hidden = by !== "typed";
    channels_by.select.value = options.get("channels") ?? "index";
    chosen.element.hidden = channels_by.select.value !== "chosen";
    chosen.input.value = options.get("chosen") ?? String(selection.channel);
    turned.set(options.get("transposed") === "1");
    clip.select.value = options.get("clip") ?? "99";
  }

  /** @param part null: show all of it; else what the address says */
  async function show(part?: null) {
    const isCurrent = latest.begin();
    showControls();
    void histograms.show();
    await card.run(async (watch) => {
      is_showing = true;
      try {
        await order(watch);
      } finally {
        if (isCurrent()) is_showing = false;
      }
      if (isCurrent()) draw(part);
    });

    async function order(watch: Watch) {
      const [lengths, words] = await Promise.all([ask.norms({ signal: watch.signal }), ask.vocabulary()]);
      norms = lengths;
      shown = words.shown;
      const [tokens, channels] = await Promise.all([tokenOrder(stage, norms), channelOrder(stage)]);
      const every = Math.max(1, Math.floor(norms.length / N_SAMPLE));
      const sample = Array.from({ length: Math.ceil(norms.length / every) }, (_, i) => i * every);
      await store.want(sample, watch);
      if (!isCurrent()) return;
      ({ order: token_order, values: token_values, title: token_title } = tokens);
      ({ order: channel_order, values: channel_values, title: channel_title } = channels);
      limit = limitOf(sample);
    }
  }

  function draw(part?: null) {
    const is_empty = token_order.length === 0 || channel_order.length === 0;
    card.say(
      !is_empty
        ? ""
        : token_order.length > 0
          ? "No channel is chosen: write some numbers above."
          : options.get("tokens") === "selected"
            ? "No token is selected: select some in any scatter or list."
            : "No token is chosen: write some above.",
    );
    for (const part of [head, heat.canvas, foot]) part.hidden = is_empty;
    if (is_empty) return;
    legend.show(limit, Number(options.get("clip") ?? 99));
    const wanted = (options.get("window") ?? "").split(".").map(Number);
    const window =
      wanted.length === 4 && wanted.every(Number.isInteger)
        ? { tokens: wanted.slice(0, 2) as [number, number], channels: wanted.slice(2) as [number, number] }
        : null;
    heat.show(content(), part === null ? null : window);
    say(null, false);
    heat.canvas.setAttribute(
      "aria-label",
      `Token matrix: ${integer(token_order.length)} tokens and ${integer(channel_order.length)} channels. Arrow keys move from cell to cell, plus and minus zoom, 0 shows all, Enter selects the token and the channel.`,
    );
  }

  /** The picture as it is, with what is selected. */
  function content(): Content {
    const place_of = new Map(Array.from(token_order, (id, place) => [id, place]));
    const at = channel_order.indexOf(selection.channel);
    const tick =
      (order: Uint32Array, values: ArrayLike<number> | null, plain: (i: number) => string) => (place: number) =>
        values ? decimal(values[order[place]], Math.abs(values[order[place]]) < 0.1 ? 3 : 2) : plain(order[place]);
    return {
      transposed: options.get("transposed") === "1",
      token_order,
      channel_order,
      limit,
      shown: (id) => shown[id] ?? `#${id}`,
      tokenTick: tick(token_order, token_values, (id) => `#${integer(id)}`),
      channelTick: tick(channel_order, channel_values, String),
      token_title,
      channel_title,
      token_marks: [...selection.tokens].flatMap((id) => place_of.get(id) ?? []),
      channel_mark: at < 0 ? null : at,
    };
  }

  function limitOf(sample: number[]) {
    const values = sample.flatMap((id) => Array.from(store.get(id) ?? [], Math.abs));
    const sorted = Float32Array.from(values).sort();
    return quantileSorted(Array.from(sorted), Number(options.get("clip") ?? 99) / 100) || 1;
  }

  function csv() {
    const { channels, places } = heat.seen();
    const columns = Array.from(channel_order.subarray(...channels));
    const ids = places.map((place) => token_order[place]).filter((id) => store.has(id));
    return {
      head: ["token_id", "token", ...columns.map((c) => `channel_${c}`)],
      lines: ids.map((id) => [id, shown[id], ...columns.map((c) => store.get(id)?.[c] ?? NaN)]),
    };
  }

  let [channel_before, tokens_before] = [selection.channel, selection.tokens];
  selection.subscribe(() => {
    if (!whole.isConnected) return;
    const depends =
      (selection.channel !== channel_before &&
        (options.get("tokens") === "channel" ||
          (options.get("channels") === "chosen" && options.get("chosen") === null))) ||
      (selection.tokens !== tokens_before && options.get("tokens") === "selected");
    [channel_before, tokens_before] = [selection.channel, selection.tokens];
    if (depends) return void show(null);
    if (token_order.length > 0) heat.show(content());
    void histograms.show();
  });

  return {
    element: whole,
    show: () => show(),
    redraw() {
      legend.show(limit, Number(options.get("clip") ?? 99));
      heat.refresh();
    },
    hide: () => card.stop(),
  };
}
