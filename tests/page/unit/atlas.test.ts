/** The atlas' pure parts: gaps, histograms, outliers, pairs, axes, names, questions, selection. */
import assert from "node:assert/strict";
import { randomLcg, randomNormal } from "d3-random";
import { test } from "vitest";
import { createQueries } from "../../../www/atlas/queries.ts";
import { axesOf, logLabel, scaleFor, ticksOf } from "../../../www/graphics/axes.ts";
import { largestGainWords, rangesOf, standsOut } from "../../../www/atlas/stats/gain-summary.ts";
import { placed } from "../../../www/atlas/scatter/labels.ts";
import {
  columnOf,
  cutOf,
  defaultChannel,
  extremes,
  heavyOf,
  largestGap,
  robustDistance,
  runningMedian,
} from "../../../www/atlas/stats/maths.ts";
import { densestNear, isCluster, mostBeside } from "../../../www/atlas/stats/densest.ts";
import { logHistogram, sharedBins } from "../../../www/atlas/stats/bins.ts";
import { mostActive, pairOf, pairsOf, parseChannels } from "../../../www/atlas/stats/pairs.ts";
import { createPlaces } from "../../../www/atlas/scatter/point-index.ts";
import { groupsOf, pathsOf } from "../../../www/atlas/scatter/points.ts";
import { createSelection } from "../../../www/state/selection.ts";
import { significant } from "../../../www/lib/format.ts";

test("the largest gap: in the upper half, between two groups, not beside a lone value", () => {
  const low = Array.from({ length: 20 }, (_, i) => 0.001 * 1.1 ** i);
  const gap = largestGap([...low, 0.2, 0.21, 0.23]);
  assert.equal(gap?.n_above, 3);
  assert.ok(cutOf(gap) > low[19] && cutOf(gap) < 0.2);
  assert.equal(largestGap([...low, 100, 101, 1e6])?.n_above, 3, "one far value is no class");
  assert.equal(
    largestGap([1e-9, 1e-8, ...low])?.n_above !== low.length,
    true,
    "a gap below most of them does not count",
  );
  assert.equal(largestGap([0, 0, 1]), null);
  assert.deepEqual(
    [...heavyOf([...low, 0.2, 0.21, 0.23]).heavy].map((is, c) => (is ? c : -1)).filter((c) => c >= 0),
    [20, 21, 22],
  );
  const chosen = heavyOf([0.1, 0.2, 0.3], 0.15);
  assert.deepEqual([chosen.cut, chosen.is_chosen, chosen.n_heavy], [0.15, true, 2]);
  assert.equal(heavyOf([1]).cut, null, "too few for a gap, and none was chosen");
});

test("histograms: every number is in a bin, zeros have none on a log scale", () => {
  const { bins, n_left_out } = logHistogram([0, -1, 0.01, 0.1, 1, 10, NaN], 3);
  assert.equal(n_left_out, 3);
  assert.deepEqual(
    bins.map(({ count }) => count),
    [1, 1, 2],
  );
  assert.ok(Math.abs(bins[0].from - 0.01) < 1e-12 && Math.abs(bins[2].to - 10) < 1e-9);
  assert.deepEqual(
    sharedBins(
      [
        [1, 2, 3, 4],
        [4, NaN, 2.5],
      ],
      2,
    ),
    {
      edges: [1, 2.5, 4],
      counts: [
        [2, 2],
        [0, 2],
      ],
    },
  );
  assert.deepEqual(sharedBins([[5, 5]], 2).counts, [[2, 0]]);
});

test("outliers: far from the cloud at their place, not far from its mean", () => {
  const xs = Array.from({ length: 200 }, (_, i) => i);
  const ys = xs.map((x) => 0.01 * x + 0.1 * Math.sin(7 * x));
  ys[50] += 3;
  ys[150] -= 4;
  const far = robustDistance(xs, ys, 11);
  assert.deepEqual(standsOut(far, 2), [50, 150], "above first, then below; the slope's ends are usual");
  assert.deepEqual(runningMedian([3, 1, 2], [30, 10, 20], 1), [30, 10, 20]);
  assert.deepEqual(standsOut(new Array(50).fill(1), 2), []);
});

test("gains in words, and the channel that a model suggests", () => {
  const gain = (block: number, weight: number[]) => ({
    name: `h.${block}.ln_2`,
    weight: Float32Array.from(weight),
    bias: new Float32Array(3),
  });
  const gains = [gain(0, [1, -2, 0.5]), gain(1, [3, 1, 1]), gain(2, [1, 2, 1]), gain(3, [0, 5, 1])];
  assert.equal(largestGainWords(gains, "ln_2"), "Channel 1 has the largest |ln_2 gain| in 3 of 4 blocks (0, 2, 3).");
  assert.equal(
    largestGainWords(gains.slice(0, 2), "ln_2"),
    "No channel has the largest |ln_2 gain| in more than one block.",
  );
  assert.equal(largestGainWords([], "ln_2"), "");
  assert.equal(rangesOf([0, 2, 3, 4, 7, 8]), "0, 2–4, 7, 8");
  assert.equal(
    defaultChannel([...gains, { name: "ln_f", weight: Float32Array.of(1, 1, 1e9), bias: new Float32Array(3) }]),
    1,
  );
  assert.equal(defaultChannel([]), null);
});

test("pairs: of their class, two channels, the same for the same seed", () => {
  const heavy = Uint8Array.from({ length: 20 }, (_, c) => Number(c >= 15));
  for (const [kind, wanted] of [
    ["heavy", 2],
    ["neither", 0],
    ["each", 1],
  ] as ["heavy" | "neither" | "each", number][]) {
    for (const [a, b] of pairsOf(kind, heavy, 10, 3)) {
      assert.notEqual(a, b);
      assert.equal(heavy[a] + heavy[b], wanted);
    }
  }
  assert.deepEqual(pairsOf("random", heavy, 5, 1), pairsOf("random", heavy, 5, 1));
  assert.notDeepEqual(pairsOf("random", heavy, 5, 1), pairsOf("random", heavy, 5, 2));
  assert.equal(pairsOf("heavy", Uint8Array.of(1, 1, 1, 0), 9, 1).length, 3, "three channels make three pairs");
  assert.equal(pairOf("heavy", new Uint8Array(4), Math.random), null);
  assert.deepEqual(mostActive([1, 3, 2], 2), [1, 2]);
  assert.deepEqual(parseChannels("5.5.99.x.2.-1", 10, 4), [5, 2]);
  assert.deepEqual(parseChannels(null, 10, 4), []);
});

test("columns and extremes", () => {
  assert.deepEqual([...columnOf(Float32Array.of(1, 2, 3, 4, 5, 6), 3, 1)], [2, 5]);
  assert.deepEqual(extremes([3, 9, -1, 9], 2), { highest: [1, 3], lowest: [2, 0] });
  assert.deepEqual(extremes([1], 2), { highest: [0], lowest: [0] });
});

test("axes: ticks inside, plain numbers or powers, as many as there is room for", () => {
  assert.deepEqual(["0.001", "1000", "10⁻⁴", "3·10⁻⁵", "10⁶"], [1e-3, 1e3, 1e-4, 3e-5, 1e6].map(logLabel));
  for (const extent of [
    [1e-6, 0.5],
    [0.003, 0.6],
    [1, 9],
    [0.5, 0.6],
  ] as [number, number][]) {
    const scale = scaleFor("log", extent, [0, 400]);
    const ticks = ticksOf(scale, "log", 5);
    assert.ok(ticks.length >= 2 && ticks.length <= 12, `${extent.join()}: ${ticks.map(({ label }) => label).join()}`);
    for (const { at } of ticks) assert.ok(at >= 0 && at <= 400);
    assert.equal(new Set(ticks.map(({ label }) => label)).size, ticks.length);
  }
  const linear = ticksOf(scaleFor("linear", [-1, 1], [0, 100]), "linear", 4).map(({ label }) => label);
  assert.ok(linear.includes("−0.5") && linear.includes("0.5"));
  assert.ok(ticksOf(scaleFor("linear", [2, 2], [0, 100]), "linear", 3).length > 0, "one value has an axis too");
  const frame = { left: 50, top: 10, right: 250, bottom: 110, width: 260, height: 150 };
  const marks = axesOf({
    x: scaleFor("linear", [0, 1], [50, 250]),
    y: scaleFor("log", [1, 100], [110, 10]),
    x_kind: "linear",
    y_kind: "log",
    x_label: "some x",
    y_label: "some y",
    frame,
    palette: { ink: "#000", muted: "#666", line: "#eee" },
  });
  const texts = marks.flatMap((mark) => (mark.kind === "text" ? [mark.text] : []));
  assert.ok(texts.includes("some x") && texts.includes("↑ some y") && texts.includes("100"));
});

test("names: none over another, none beyond the frame", () => {
  const frame = { left: 0, top: 0, right: 100, bottom: 60 };
  const names = placed(
    [
      { x: 50, y: 30, width: 30 },
      { x: 52, y: 31, width: 30 },
      { x: 97, y: 52, width: 40 },
      { x: 50, y: 30, width: 300 },
    ],
    frame,
  );
  assert.equal(names.length, 3, "the one that is too wide is left out");
  names.forEach((a, i) =>
    names
      .slice(0, i)
      .forEach((b) =>
        assert.ok(Math.abs(a.at_y - b.at_y) >= 14 || a.at_x + a.width < b.at_x || b.at_x + b.width < a.at_x),
      ),
  );
  for (const { at_x, width } of names) assert.ok(at_x >= 0 && at_x + width <= 100);
});

test("places: what has no place on a log axis is counted, beyond the limits means on the edge, nearest and ahead", () => {
  const places = createPlaces();
  places.resize({ left: 0, top: 0, right: 100, bottom: 100, width: 100, height: 100 });
  places.show(
    {
      x: [1, 10, 100, 0, 1],
      y: [1, 2, 3, 4, 900],
      ids: [7, 8, 7, 9, 5],
      x_label: "",
      y_label: "",
      x_kind: "log",
      y_extent: [1, 3],
      colours: {
        classes: [
          { name: "a", css: "" },
          { name: "b", css: "" },
        ],
        of: Uint8Array.of(0, 0, 1, 1, 1),
      },
    },
    Uint8Array.of(0, 0, 1, 1, 1),
    2,
  );
  assert.equal(places.nLeftOut(), 1);
  const { xs, ys } = places.places();
  assert.ok(xs[0] < xs[1] && xs[1] < xs[2] && ys[0] > ys[1]);
  assert.ok(Math.abs(xs[1] - 50) < 1e-9, "the middle decade is in the middle");
  assert.equal(ys[4], 0, "900 stands on the upper edge");
  assert.deepEqual(places.pointsOf(7), [0, 2]);
  assert.equal(places.nearest(xs[1] + 3, ys[1], 10), 1);
  assert.equal(places.nearest(xs[1] + 30, ys[1] + 20, 5), null);
  assert.equal(places.ahead(0, 1, 0), 1);
  assert.deepEqual(places.within({ left: -1, top: -1, right: 60, bottom: 101 }), [0, 1, 4]);
  places.hide([1]);
  assert.deepEqual(places.within({ left: -1, top: -1, right: 101, bottom: 101 }), [0, 1]);
  assert.deepEqual(
    places.groups().map((group) => [...group]),
    [[0, 1], []],
  );
});

test("points as paths: one a colour, a stroke of no length each", () => {
  const groups = groupsOf(Uint8Array.of(0, 1, 0), 2, 3);
  assert.deepEqual(
    groups.map((group) => [...group]),
    [[0, 2], [1]],
  );
  const paths = pathsOf(
    Float64Array.of(1, 2, 300),
    Float64Array.of(1, 2, 3),
    groups,
    ["red", "blue"],
    { left: 0, top: 0, right: 10, bottom: 10 },
    { radius: 1, opacity: 0.5 },
  );
  assert.equal(
    paths,
    '<path d="M1 1h0" fill="none" stroke="red" stroke-opacity="0.5" stroke-width="2" stroke-linecap="round"/>\n<path d="M2 2h0" fill="none" stroke="blue" stroke-opacity="0.5" stroke-width="2" stroke-linecap="round"/>',
  );
});

test("selection: tells of changes only, and the model's channel gives way to the chosen one", () => {
  const selection = createSelection({ channel: null, tokens: [3] });
  let n = 0;
  const stop = selection.subscribe(() => n++);
  selection.setDefault(138);
  assert.deepEqual([selection.channel, selection.chosen_channel, n], [138, null, 1]);
  selection.setChannel(5);
  selection.setChannel(5);
  selection.setDefault(7);
  assert.deepEqual([selection.channel, n], [5, 2]);
  selection.setTokens([3]);
  selection.toggleToken(4);
  selection.toggleToken(3);
  assert.deepEqual([[...selection.tokens], n], [[4], 4]);
  stop();
  selection.setTokens([]);
  assert.equal(n, 4);
});

/** An engine that answers when it is told to. */
function slowEngine() {
  const asked: {
    name: string;
    args: any;
    options: any;
    signal: AbortSignal;
    onProgress: (p: any) => void;
    answer: (value: any) => void;
    fail: (error: Error) => void;
  }[] = [];
  return {
    asked,
    atlas: (name: string, args: any, options: any, { signal, onProgress }: any) =>
      new Promise((answer, fail) => asked.push({ name, args, options, signal, onProgress, answer, fail })),
  };
}

test("questions: asked once, shared, cancelled when nobody waits, forgotten with the model", async () => {
  const engine = slowEngine();
  const ask = createQueries(() => engine as any);
  ask.model({ n_embd: 8 });
  const [first, second] = [new AbortController(), new AbortController()];
  const heard: number[] = [];
  const one = ask.spectrum({ signal: first.signal });
  const two = ask.spectrum({ signal: second.signal, onProgress: ({ done }) => heard.push(done) });
  assert.equal(engine.asked.length, 1, "one job for both");
  assert.deepEqual(engine.asked[0].args, [8], "not more directions than channels");
  engine.asked[0].onProgress({ done: 0.5 });
  first.abort();
  await assert.rejects(one, { code: "aborted" });
  assert.equal(engine.asked[0].signal.aborted, false, "the other one still waits");
  engine.asked[0].answer({ tokens: new Float32Array(2) });
  assert.equal((await two).tokens.length, 2);
  assert.deepEqual(heard, [0.5]);
  await ask.spectrum();
  assert.equal(engine.asked.length, 1, "remembered");

  const third = new AbortController();
  const long = ask.zero_layer({ step: 4 }, { signal: third.signal });
  third.abort();
  await assert.rejects(long, { code: "aborted" });
  assert.equal(engine.asked[1].signal.aborted, true, "nobody waits any more");
  const again = ask.zero_layer({ step: 4 });
  assert.equal(engine.asked.length, 3, "asked anew");
  ask.model({ n_embd: 4 });
  await assert.rejects(again, { code: "aborted" });
  void ask.spectrum().catch(() => {});
  assert.equal(engine.asked.length, 4);

  const failing = ask.norms();
  engine.asked[4].fail(Object.assign(new Error("no wte"), { code: "missing-tensor" }));
  await assert.rejects(failing, { code: "missing-tensor" });
  void ask.norms().catch(() => {});
  assert.equal(engine.asked.length, 6, "a failure is not remembered");
});

test("a partial model has what its facts say", () => {
  const ask = createQueries(() => null as any);
  ask.model({ partial: true, has_wte: false, has_wpe: true, n_norms: 3 });
  assert.deepEqual([ask.has("wte"), ask.has("wpe"), ask.has("norms")], [false, true, true]);
  ask.model({ partial: false, has_wte: true, has_wpe: true });
  assert.equal(ask.has("norms"), true);
});

test("numbers with three digits that count", () => {
  assert.deepEqual(
    [0.0039234, -12.3456, 1234.5, 0, 0.00001234, NaN].map((value) => significant(value)),
    ["0.00392", "−12.3", "1,235", "0", "1.23e−5", "–"],
  );
});

test("a cluster is fuller than every place beside it; the edge of a cloud is not", () => {
  const next = randomNormal.source(randomLcg(0.5))();
  const n = 4000;
  const xs = Float32Array.from({ length: n }, () => 3 + 0.5 * next());
  const ys = Float32Array.from(xs, (x) => 2 * x + 0.3 * next());
  const verdict = () => {
    const { x, y, n } = densestNear(xs, ys);
    return isCluster(n, mostBeside(xs, ys, { x, y }));
  };
  assert.equal(verdict(), false, "the edge of a normal distribution");
  for (let i = 0; i < 60; i++) [xs[i], ys[i]] = [1.5, 3];
  assert.equal(verdict(), true, "sixty tokens at one place");
  assert.equal(mostBeside([0.5, 1.5, 1.6, 2.5, -5], [0.5, 0.5, 0.5, 0.5, 0.5], { x: [0, 1], y: [0, 1] }), 2);
});

test("the axes of a scatter plot: faint places of its line do not stretch them, a marked origin is spanned", () => {
  const frame = { left: 0, top: 0, right: 100, bottom: 100, width: 100, height: 100 };
  const spanOf = (data: object) => {
    const places = createPlaces();
    places.resize(frame);
    places.show({ x: [1, 2], y: [1, 2], x_label: "", y_label: "", ...data }, null, 1);
    return places.scales().x.domain();
  };
  const over = { x: [50, 3, 4], y: [1, 1, 1], name: "", css: "" };
  assert.ok(spanOf({ over })[1] >= 50);
  assert.ok(spanOf({ over: { ...over, n_faint: 1 } })[1] < 10);
  assert.ok(spanOf({})[0] > 0.5);
  assert.ok(spanOf({ has_origin: true })[0] <= 0);
});
