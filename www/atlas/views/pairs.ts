/** Two channels at a time: the tokens' cloud with the positions over it, curves over the positions, and Lissajous figures. */
import { createCurves } from "../charts/position-curves.ts";
import { createCloudOfPairs } from "../charts/pair-grid.ts";
import { heavyOf } from "../stats/maths.ts";
import { KINDS, mostActive, nFirst, pairOf } from "../stats/pairs.ts";
import { extentOf } from "../../lib/extent.ts";
import { numberField } from "../../ui/fields.ts";
import { button, element } from "../../ui/dom.ts";
import { columnOf } from "../stats/maths.ts";
import type { Stage, View } from "../types.ts";
import type { Pair } from "../stats/pairs.ts";

function create(stage: Stage) {
  const { ask, selection, options, card, cloud } = stage;
  /** What the engine said, once it did. */
  let known: { wpe_std: Float32Array; positions: Float32Array; heavy: Uint8Array } | null = null;
  let pair: Pair = [0, 1];
  const nEmbd = () => Number(ask.facts.n_embd);
  const column = (c: number) => columnOf(known?.positions ?? new Float32Array(0), nEmbd(), c);
  const classWords = (a: number, b: number) =>
    a && b
      ? "Both are position-heavy."
      : !a && !b
        ? "Neither is position-heavy."
        : `Only ${pair[a ? 0 : 1]} is position-heavy.`;

  /** of the tokens, or empty */
  let values: Float32Array[] = [];
  const figure = card({
    name: "pair",
    title: "Two channels",
    csv: () => ({
      head: ["what", "number", `channel_${pair[0]}`, `channel_${pair[1]}`],
      lines: [
        ...Array.from(values[0] ?? [], (x, id) => ["token", id, x, values[1][id]]),
        ...Array.from(column(pair[0]), (x, position) => ["position", position, x, column(pair[1])[position]]),
      ],
    }),
  });
  const at = element("div", "");
  figure.body.append(at);
  const scatter = cloud(at, {
    selects: "tokens",
    label: "Tokens by two channels of wte, positions by the same channels of wpe",
  });
  const [x_field, y_field] = ["x: channel", "y: channel"].map((label, i) =>
    numberField(
      label,
      () => nEmbd() - 1,
      (c) => setPair(i === 0 ? [c, pair[1]] : [pair[0], c]),
    ),
  );
  const presets = KINDS.map(([kind, label]) => {
    const made = button("chip small", label, () => {
      const chosen = known && pairOf(kind, known.heavy, Math.random);
      if (chosen) setPair(chosen);
    });
    made.dataset.kind = kind;
    return made;
  });
  const with_selected = button("chip small", "x = selected channel", () => setPair([selection.channel, pair[1]]));
  figure.tools.append(x_field.element, y_field.element, ...presets, with_selected);

  const loops = card({
    name: "lissajous",
    title: "Lissajous view",
    csv: () => ({
      head: ["position", `channel_${pair[0]}`, `channel_${pair[1]}`],
      lines: Array.from(column(pair[0]), (x, position) => [position, x, column(pair[1])[position]]),
    }),
  });
  const loops_at = element("div", "");
  loops.body.append(loops_at);
  const lissajous = cloud(loops_at, {
    selects: null,
    label: "Two channels of wpe against each other, by position",
    height: 400,
  });

  const curves = createCurves(stage);
  const others = createCloudOfPairs(stage, (chosen) => setPair(chosen));
  const all = element("div", "", figure.element, curves.element, loops.element, others.element);

  function setPair(chosen: Pair) {
    options.set("x", String(chosen[0]));
    options.set("y", String(chosen[1]));
    void showPair();
    figure.element.scrollIntoView({ block: "nearest" });
  }

  function pairNow(heavy: Uint8Array, wpe_std: Float32Array) {
    const [first, second] = mostActive(wpe_std, 2);
    // What another model had is not what is shown here.
    for (const name of ["x", "y"])
      if (
        options.get(name) !== null &&
        !(Number(options.get(name)) < heavy.length && /^\d+$/.test(options.get(name) ?? ""))
      )
        options.set(name, null);
    const wanted = ["x", "y"].map((name) =>
      /^\d{1,6}$/.test(options.get(name) ?? "") ? Number(options.get(name)) : NaN,
    );
    return wanted.map((c, i) => (c < heavy.length ? c : [first, second][i])) as Pair;
  }

  async function showPair() {
    if (!known) return;
    const { heavy, wpe_std, positions } = known;
    pair = pairNow(heavy, wpe_std);
    const [x, y] = pair;
    x_field.set(x);
    y_field.set(y);
    presets.forEach((preset, i) => (preset.disabled = pairOf(KINDS[i][0], heavy, () => 0) === null));
    showLissajous();
    const has_tokens = ask.has("wte");
    const found = await figure.run(async (watch) => {
      if (!has_tokens) return { columns: [new Float32Array(0), new Float32Array(0)], shown: [] as string[] };
      const columns = [await ask.channel(x, watch), await ask.channel(y, watch)];
      return { columns, shown: (await ask.vocabulary()).shown };
    });
    if (!found || known?.positions !== positions) return;
    values = found.columns;
    figure.setTitle(`Channels ${x} and ${y}`);
    figure.setWords(
      `${has_tokens ? "One point a token, by two channels of wte; the line goes through the positions, by the same channels of wpe" : "This file has no wte, so there are no tokens here: the line goes through the positions, by two channels of wpe"}${nFirst(column(x)) > 0 ? `, faint at the first ${nFirst(column(x))}, which the axes need not span` : ""}. ${classWords(heavy[x], heavy[y])}`,
    );
    scatter.show({
      key: `${x} ${y}`,
      x: values[0],
      y: values[1],
      x_label: `channel ${x}`,
      y_label: `channel ${y}`,
      colours: {
        classes: has_tokens
          ? [{ name: `${values[0].length.toLocaleString("en")} tokens`, css: "var(--series-0)" }]
          : [],
        of: null,
      },
      name: (id) => found.shown[id] ?? `#${id}`,
      about: (id) => `id ${id} · channel ${x}: ${values[0][id].toFixed(3)} · channel ${y}: ${values[1][id].toFixed(3)}`,
      over: {
        x: column(x),
        y: column(y),
        name: `${column(x).length.toLocaleString("en")} positions`,
        css: "var(--series-4)",
        n_faint: nFirst(column(x)),
        ends: [`position ${nFirst(column(x))}`, `position ${column(x).length - 1}`],
      },
    });
  }

  function showLissajous() {
    const [x, y] = pair;
    const [xs, ys] = [column(x), column(y)];
    const last = xs.length - 1;
    loops.setTitle(`Channel ${x} against channel ${y}, over the positions`);
    loops.setWords(
      `wpe of the two channels, a point a position: sinusoids of one frequency draw an ellipse, of several a Lissajous figure. ${nFirst(xs) > 0 ? `The axes span the positions from ${nFirst(xs)} on; earlier ones stand on the edge.` : ""}`,
    );
    lissajous.show({
      key: `${x} ${y}`,
      x: xs,
      y: ys,
      // The first few positions would stretch the axes.
      x_extent: extentOf(xs.subarray(nFirst(xs))),
      y_extent: extentOf(ys.subarray(nFirst(ys))),
      x_label: `wpe, channel ${x}`,
      y_label: `wpe, channel ${y}`,
      colours: { label: "position", values: Float32Array.from(xs, (_, position) => position) },
      name: (position) => (position === 0 ? "start: 0" : position === last ? `end: ${last}` : `position ${position}`),
      about: (position) => `channel ${x}: ${xs[position].toFixed(3)} · channel ${y}: ${ys[position].toFixed(3)}`,
      labelled: [0, last],
    });
  }

  async function show() {
    const found = await figure.run((watch) => Promise.all([ask.channels(watch), ask.positions(watch)]));
    if (!found) return;
    const [{ wpe_std }, positions] = found;
    const now = (known = { wpe_std, positions, heavy: heavyOf(wpe_std, stage.threshold.get()).heavy });
    curves.show(now);
    await showPair();
    if (known === now && all.isConnected) others.show(now);
  }

  return { element: all, show, hide: others.hide };
}

export const view: View = { name: "pairs", title: "Pairs of channels", needs: ["wpe"], create };
