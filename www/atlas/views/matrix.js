// @ts-check
/** View 1: wte as a heatmap, any tokens and channels in any order, and histograms of some of them. */
import { quantileSorted } from "d3-array";
import { button, element } from "../../dom.js";
import { decimal, integer } from "../../format.js";
import { swatch } from "../../colour.js";
import { themeNow } from "../colours.js";
import { choiceOf, createTurns, fieldOf, switchOf } from "../fields.js";
import { createHeat } from "../heat.js";
import { createLookup } from "../lookup.js";
import { pick } from "../listing.js";
import { descending, inOrder, parseIndices } from "../orders.js";
import { createRowStore } from "../rowstore.js";
import { createHistograms } from "./histograms.js";

/** So many tokens, evenly spread, set the ends of the colours, whatever is in sight. */
const N_SAMPLE = 256;
const CLIPS = /** @type {const} */ (["99", "95", "100"]);

/** @type {import("./index.js").View} */
export const view = { name: "matrix", title: "Token matrix", needs: ["wte"], create };

/** @param {import("./index.js").Stage} stage @returns {import("./index.js").Shown} */
function create(stage) {
  const { ask, selection, options } = stage;
  const turns = createTurns();
  const store = createRowStore((ids, watch) => ask.rows(ids, watch));
  const card = stage.card({ name: "matrix", title: "Token matrix", words: "wte, one column a token, one row a channel.", csv });
  const histograms = createHistograms(stage, store);
  const whole = element("div", "atlas-view", card.element, histograms.element);

  let facts = ask.facts;
  let norms = /** @type {Float32Array} */ (new Float32Array(0));
  /** @type {string[]} */
  let shown = [];
  /** @type {Uint32Array[]} */
  let [token_order, channel_order] = [inOrder(0), inOrder(0)];
  /** What each is ordered by, at its place; null: its own number. @type {ArrayLike<number> | null} */
  let token_values = null;
  /** @type {ArrayLike<number> | null} */
  let channel_values = null;
  let token_title = "";
  let channel_title = "";
  let limit = 1;
  let stride = 1;
  /** @type {import("../heat.js").Place | null} */
  let hovered = null;

  const set = (/** @type {string} */ name, /** @type {string | null} */ value) => {
    options.set(name, value);
    // Another order shows other places.
    if (name !== "clip") options.set("window", null);
    void show(name === "clip" ? undefined : null);
  };
  const tokens_by = choiceOf("Tokens", [["id", "all, by id"], ["norm", "all, by norm"], ["channel", "all, by the selected channel"], ["selected", "the selected ones"], ["range", "a range of ids"], ["typed", "typed in"]], (value) => set("tokens", value === "id" ? null : value));
  const range = fieldOf("Ids", "0-255, 1000", (value) => set("range", value || null));
  const typed = createLookup({ label: "Tokens of a text", button: "Show", is_one: false, ask: () => ask, onTokens: (ids) => set("typed", [...new Set(ids)].join(".")) });
  const channels_by = choiceOf("Channels", [["index", "all, by index"], ["wpe", "all, by std(wpe)"], ["wte", "all, by std(wte)"], ["mean", "all, by mean"], ["chosen", "chosen ones"]], (value) => set("channels", value === "index" ? null : value));
  const chosen = fieldOf("Channels", "138, 36-40", (value) => set("chosen", value || null));
  const turned = switchOf("Tokens run down", (is_on) => set("transposed", is_on ? "1" : null));
  const clip = choiceOf("Colours span", CLIPS.map((p) => [p, p === "100" ? "all values" : `${p} % of values`]), (value) => set("clip", value === "99" ? null : value));
  card.tools.append(tokens_by.element, range.element, typed.element, channels_by.element, chosen.element, turned.element, clip.element);

  const heat = createHeat({
    store,
    need: (ids) => void fetchRows(ids),
    hover: say,
    choose: (place, is_more) => {
      pick(selection, token_order[place.token], is_more);
      selection.set_channel(channel_order[place.channel]);
    },
    moved(part, now) {
      options.set("window", part ? [...part.tokens, ...part.channels].join(".") : null);
      stride = now;
      sayStride();
    },
  });
  const zooms = element("div", "cloud-tools", ...[["+", "Zoom in", heat.zoom_in], ["−", "Zoom out", heat.zoom_out], ["All", "Show all", heat.whole]].map(([label, name, act]) => {
    const made = button("chip small", /** @type {string} */ (label), /** @type {() => void} */ (act));
    made.setAttribute("aria-label", /** @type {string} */ (name));
    return made;
  }));
  const stride_words = element("p", "muted heat-stride");
  stride_words.setAttribute("data-caption", "");
  const readout = element("p", "cloud-readout muted");
  const spoken = element("p", "unseen");
  spoken.setAttribute("aria-live", "polite");
  const bar = element("div", "bar");
  const ends = element("div", "ticks");
  const quantity = element("figcaption", "", "value in wte ");
  const legend = element("figure", "scale heat-scale", quantity, bar, ends);
  card.body.append(element("div", "cloud-head", stride_words, zooms), heat.canvas, element("div", "heat-foot", readout, legend), spoken);

  const channel = (/** @type {number} */ c) => `channel ${c}`;

  /** @param {import("../heat.js").Place | null} place @param {boolean} is_key */
  function say(place, is_key) {
    hovered = place;
    if (!place) return void readout.replaceChildren("Ctrl + wheel zooms, a drag moves, a click selects token and channel; left of and below the picture only one of them zooms");
    const [id, c] = [token_order[place.token], channel_order[place.channel]];
    const value = store.get(id)?.[c];
    const words = ` #${integer(id)} · norm ${decimal(norms[id])} · ${channel(c)} · value ${value === undefined ? "not there yet" : decimal(value, 4)}`;
    readout.replaceChildren(element("span", "token cloud-name", shown[id] ?? ""), words);
    if (is_key) spoken.textContent = `${shown[id]}${words}`;
  }

  function sayStride() {
    const n = token_order.length;
    const words = [
      `${integer(n)} tokens × ${integer(channel_order.length)} channels`,
      stride > 1 ? `every ${ordinal(stride)} token is drawn; zooming in shows the others` : "",
    ];
    stride_words.textContent = words.filter(Boolean).join(" · ");
  }

  /** @param {number[]} ids */
  async function fetchRows(ids) {
    if (ids.length === 0) return;
    const of = facts;
    await card.run((watch) => store.want(ids, watch, heat.refresh));
    if (of !== facts) return;
    heat.refresh();
    if (hovered) say(hovered, false);
  }

  /** @returns {Promise<{ order: Uint32Array, values: ArrayLike<number> | null, title: string }>} */
  async function tokensNow() {
    const all = (/** @type {ArrayLike<number>} */ values, /** @type {string} */ title) => ({ order: descending(values), values, title });
    const some = (/** @type {Iterable<number>} */ ids, /** @type {string} */ title) => ({ order: Uint32Array.from(ids).filter((id) => id < norms.length), values: null, title });
    switch (options.get("tokens")) {
      case "norm": return all(norms, "tokens, longest embedding first");
      case "channel": return all(await ask.channel(selection.channel), `tokens, by their value in channel ${selection.channel}`);
      case "selected": return some([...selection.tokens].sort((a, b) => a - b), "selected tokens, by id");
      case "range": return some(parseIndices(options.get("range") ?? "0-255", norms.length), "tokens, by id");
      case "typed": return some((options.get("typed") ?? "").split(".").filter((id) => /^\d{1,9}$/.test(id)).map(Number), "tokens typed in");
      default: return { order: inOrder(norms.length), values: null, title: "tokens, by id" };
    }
  }

  /** @returns {Promise<{ order: Uint32Array, values: ArrayLike<number> | null, title: string }>} */
  async function channelsNow() {
    const { wte_mean, wte_std, wpe_std } = await ask.channels();
    const n = wte_mean.length;
    const all = (/** @type {ArrayLike<number>} */ values, /** @type {string} */ title) => ({ order: descending(values), values, title });
    switch (options.get("channels")) {
      case "wpe": return wpe_std.length === n ? all(wpe_std, "channels, largest std(wpe) first") : { order: inOrder(n), values: null, title: "channels, by index (this file has no wpe)" };
      case "wte": return all(wte_std, "channels, largest std(wte) first");
      case "mean": return all(wte_mean, "channels, largest mean first");
      case "chosen": return { order: parseIndices(options.get("chosen") ?? String(selection.channel), n), values: null, title: "chosen channels" };
      default: return { order: inOrder(n), values: null, title: "channels, by index" };
    }
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
    turned.input.checked = options.get("transposed") === "1";
    clip.select.value = options.get("clip") ?? "99";
  }

  /** @param {null} [part] null: show all of it; else what the address says */
  async function show(part) {
    const isCurrent = turns.begin();
    if (facts !== ask.facts) {
      facts = ask.facts;
      store.clear();
    }
    showControls();
    void histograms.show();
    await card.run(async (watch) => {
      const [lengths, words] = await Promise.all([ask.norms({ signal: watch.signal }), ask.vocabulary()]);
      norms = lengths;
      shown = words.shown;
      const [tokens, channels] = await Promise.all([tokensNow(), channelsNow()]);
      const every = Math.max(1, Math.floor(norms.length / N_SAMPLE));
      const sample = Array.from({ length: Math.ceil(norms.length / every) }, (_, i) => i * every);
      await store.want(sample, watch);
      if (!isCurrent()) return;
      ({ order: token_order, values: token_values, title: token_title } = tokens);
      ({ order: channel_order, values: channel_values, title: channel_title } = channels);
      limit = limitOf(sample);
      draw(part);
    });
  }

  /** @param {null} [part] */
  function draw(part) {
    const is_empty = token_order.length === 0 || channel_order.length === 0;
    card.say(!is_empty ? "" : token_order.length > 0 ? "No channel is chosen: write some numbers above." : options.get("tokens") === "selected" ? "No token is selected: select some in any scatter or list." : "No token is chosen: write some above.");
    for (const part of [heat.canvas, legend]) part.hidden = is_empty;
    if (is_empty) return;
    showLegend();
    const wanted = (options.get("window") ?? "").split(".").map(Number);
    const window = wanted.length === 4 && wanted.every(Number.isInteger)
      ? { tokens: /** @type {[number, number]} */ (wanted.slice(0, 2)), channels: /** @type {[number, number]} */ (wanted.slice(2)) }
      : null;
    heat.show(content(), part === null ? null : window);
    say(null, false);
    heat.canvas.setAttribute("aria-label", `Token matrix: ${integer(token_order.length)} tokens and ${integer(channel_order.length)} channels. Arrow keys move from cell to cell, plus and minus zoom, 0 shows all, Enter selects the token and the channel.`);
  }

  /** The picture as it is, with what is selected. @returns {import("../heat.js").Content} */
  function content() {
    const place_of = new Map(Array.from(token_order, (id, place) => [id, place]));
    const at = channel_order.indexOf(selection.channel);
    const tick = (/** @type {Uint32Array} */ order, /** @type {ArrayLike<number> | null} */ values, /** @type {(i: number) => string} */ plain) =>
      (/** @type {number} */ place) => (values ? decimal(values[order[place]], Math.abs(values[order[place]]) < 0.1 ? 3 : 2) : plain(order[place]));
    return {
      transposed: options.get("transposed") === "1",
      token_order, channel_order, limit,
      shown: (id) => shown[id] ?? `#${id}`,
      token_tick: tick(token_order, token_values, (id) => `#${integer(id)}`),
      channel_tick: tick(channel_order, channel_values, String),
      token_title, channel_title,
      token_marks: [...selection.tokens].flatMap((id) => place_of.get(id) ?? []),
      channel_mark: at < 0 ? null : at,
    };
  }

  /** @param {number[]} sample */
  function limitOf(sample) {
    const values = sample.flatMap((id) => Array.from(store.get(id) ?? [], Math.abs));
    const sorted = Float32Array.from(values).sort();
    return quantileSorted(/** @type {any} */ (sorted), Number(options.get("clip") ?? 99) / 100) || 1;
  }

  function showLegend() {
    const stops = Array.from({ length: 17 }, (_, i) => swatch("diverging", themeNow(), i / 16).css);
    bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    const by = options.get("clip") ?? "99";
    const digits = limit < 0.1 ? 3 : 2;
    const is_clipped = by !== "100";
    ends.replaceChildren(...[[0, `${is_clipped ? "≤ " : ""}${decimal(-limit, digits)}`], [0.5, "0"], [1, `${is_clipped ? "≥ " : ""}${decimal(limit, digits)}`]].map(([at, label]) => {
      const tick = element("span", `tick${at === 0 ? " tick-first" : at === 1 ? " tick-last" : ""}`, String(label));
      tick.style.left = `${Number(at) * 100}%`;
      return tick;
    }));
    quantity.textContent = `value in wte${is_clipped ? ` · ${100 - Number(by)} % of the values lie beyond the ends` : ""}`;
  }

  function csv() {
    const { tokens, channels } = heat.state();
    const columns = Array.from(channel_order.subarray(channels.start, channels.end));
    const first = tokens.start - (tokens.start % stride);
    const ids = Array.from(token_order.subarray(first, tokens.end)).filter((_, i) => i % stride === 0).filter((id) => store.has(id));
    return { head: ["token_id", "token", ...columns.map((c) => `channel_${c}`)], lines: ids.map((id) => [id, shown[id], ...columns.map((c) => store.get(id)?.[c] ?? NaN)]) };
  }

  let [channel_before, tokens_before] = [selection.channel, selection.tokens];
  selection.subscribe(() => {
    if (!whole.isConnected) return;
    const depends = (selection.channel !== channel_before && (options.get("tokens") === "channel" || (options.get("channels") === "chosen" && options.get("chosen") === null))) || (selection.tokens !== tokens_before && options.get("tokens") === "selected");
    [channel_before, tokens_before] = [selection.channel, selection.tokens];
    if (depends) return void show(null);
    if (token_order.length > 0) heat.show(content());
    void histograms.show();
  });

  return {
    element: whole,
    show: () => show(),
    redraw() {
      showLegend();
      heat.refresh();
    },
    hide: () => card.stop(),
  };
}

/** 64 ─▶ 64th. @param {number} n */
function ordinal(n) {
  const last = n % 10;
  const is_teen = Math.floor(n / 10) % 10 === 1;
  return `${integer(n)}${is_teen || last === 0 || last > 3 ? "th" : ["st", "nd", "rd"][last - 1]}`;
}
