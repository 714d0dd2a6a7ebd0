/** The page's pure modules: scales, layout, rows, filters, decisions, quantities, switches, addresses. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { findSplitCharacters } from "../../../www/reading/reading.ts";
import { decisionsOf, histogramOf, lossByDepth } from "../../../www/reading/settling.ts";
import { isWordLike, linesOf, printedPlace } from "../../../www/reading/cell-text.ts";
import { cellAt, cellRect, layoutOf, maxScroll, scrollTo, visibleColumns } from "../../../www/lens/figure/layout.ts";
import { pack, unpack } from "../../../www/state/text-packing.ts";
import { linesFrom, rankChange } from "../../../www/reading/trajectories.ts";
import { joined, klGain } from "../../../www/reading/derived.ts";
import { blockOf, rowsOf } from "../../../www/reading/visible-rows.ts";
import { scaleOf } from "../../../www/reading/scales.ts";
import { formatHash, parseHash } from "../../../www/state/page-state.ts";
import { DEFAULTS, decoderOf, spanOf } from "../../../www/state/options.ts";
import { VIEWS, viewBeside, viewNamed } from "../../../www/reading/views.ts";
import { madeUp } from "./readings.ts";

const TAPS = ["input", "h.0", "h.1", "h.2", "h.3"];
const own = { limits: "own", from: null, to: null } as const;

test("scales: natural limits, caps and percentiles, marked where they clip", () => {
  // One cell that is far from all others takes no colour from them.
  const divergences = Float32Array.from({ length: 100 }, (_, i) => (i === 99 ? 55 : i / 50));
  const kl = scaleOf({ kind: "kl" }, divergences, own);
  assert.deepEqual([kl.place(2), kl.place(1), kl.place(55)], [1, 0.5, 1]);
  assert.equal(kl.ticks.at(-1)?.label, "≥ 2");
  const post = scaleOf({ kind: "kl" }, divergences, { ...own, limits: "post" });
  assert.deepEqual([post.place(30), post.place(15)], [1, 0.5]);
  assert.equal(post.ticks.at(-1)?.label, "≥ 30");

  const rank = scaleOf({ kind: "rank", cap: 1000 }, Float32Array.of(1, 4000), own);
  assert.deepEqual([1, 1000, 4000].map(rank.place), [0, 1, 1]);
  assert.ok(Math.abs(rank.place(10) - 1 / 3) < 1e-9, "logarithmic");

  const values = Float32Array.from({ length: 101 }, (_, i) => i);
  const logit = scaleOf({ kind: "logit" }, values, own);
  assert.deepEqual([5, 95, 50].map(logit.place), [0, 1, 0.5]);
  assert.match(logit.rule, /5th–95th percentile/);
  const auto = scaleOf(
    { kind: "probability" },
    values.map((v) => v / 100),
    { ...own, limits: "auto" },
  );
  assert.ok(auto.place(0.05) < 1e-6 && auto.place(0.951) === 1);

  const change = scaleOf({ kind: "change" }, Float32Array.of(-3, -2, 1, 2, 40), own);
  assert.equal(change.place(0), 0.5);
  assert.ok(Math.abs(change.place(1) + change.place(-1) - 1) < 1e-9);
  const fixed = scaleOf({ kind: "kl" }, values, { limits: "fixed", from: 2, to: 4 });
  assert.deepEqual([2, 3, 4, 9].map(fixed.place), [0, 0.5, 1, 1]);
});

test("layout: a cell is found where it is painted, both ways round", () => {
  for (const transposed of [false, true]) {
    const layout = layoutOf({ width: 700, height: 400, n_columns: 40, n_rows: 5, n_taps: 6, transposed });
    for (const scroll of [0, 137, maxScroll(layout)]) {
      const { first, end } = visibleColumns(layout, scroll);
      assert.ok(end - first < 40, "not all can be seen");
      for (let column = first + 1; column < end - 1; column++) {
        const { x, y, width, height } = cellRect(layout, 3, column, scroll);
        assert.deepEqual(cellAt(layout, x + width / 2, y + height / 2, scroll), { row: 3, column });
      }
    }
    const scroll = scrollTo(layout, 20, 0);
    const { first, end } = visibleColumns(layout, scroll);
    assert.ok(first <= 20 && end > 20);
    assert.equal(scrollTo(layout, 39, 0), maxScroll(layout));
    assert.equal(scrollTo(layout, 0, 99), 0);
  }
});

test("rows: a step keeps the last block, halves stay together, input follows the view", () => {
  const reading = madeUp({ taps: TAPS, ids: [0, 1], tops: () => [0, 1] });
  const names = (view: any, switches: any) =>
    rowsOf(reading, view, { ...DEFAULTS, ...switches }).map((tap) => TAPS[tap]);
  assert.deepEqual(names({ shows_input: true }, {}), ["h.3", "h.2", "h.1", "h.0", "input"]);
  assert.deepEqual(names({ shows_input: false }, { step: 2 }), ["h.3", "h.1"]);
  assert.deepEqual(names({ shows_input: false }, { step: 9 }), ["h.3"]);
  assert.deepEqual(names({ shows_input: true }, { final_on: "bottom" }), [...TAPS]);
  assert.deepEqual(names({ shows_input: true }, { transposed: true }), [...TAPS]);
  const halves = madeUp({ taps: ["input", "h.0.attn", "h.0", "h.1.attn", "h.1"], ids: [0], tops: () => [0] });
  assert.deepEqual(rowsOf(halves, { shows_input: false }, { ...DEFAULTS, step: 2 }), [4, 3]);
  assert.deepEqual(["input", "h.12.mlp_out", "h.3"].map(blockOf), [-1, 12, 3]);
});

test("filters choose what is printed and say which place it has; nothing else changes", () => {
  const printing = { prints: "token" as const, words_only: false, hide_prompt: false };
  const reading = madeUp({ taps: ["input", "h.0"], ids: [1, 2], tops: (tap) => (tap ? [3, 5, 1, 4] : [3, 2, 1, 0]) });
  const cell = { tap: 1, position: 0 };
  assert.equal(printedPlace(reading, cell, printing), 0);
  assert.equal(
    printedPlace(reading, cell, { ...printing, words_only: true }),
    2,
    "a comma and half a character are no words",
  );
  assert.equal(
    printedPlace(reading, cell, { ...printing, words_only: true, hide_prompt: true }),
    3,
    "the old king is in the prompt",
  );
  assert.equal(printedPlace(reading, { tap: 0, position: 1 }, { ...printing, words_only: true, hide_prompt: true }), 3);
  const view = { kind: "kl" as const };
  assert.deepEqual(linesOf(reading, null, cell, { ...printing, words_only: true }, view, 1.234, null), ["␣old³"]);
  assert.deepEqual(linesOf(reading, null, cell, { ...printing, prints: "both" }, view, 1.234, null), [",", "1.23"]);
  assert.deepEqual(
    linesOf(reading, null, { tap: 0, position: 0 }, { ...printing, prints: "change" }, view, 0, 1),
    [""],
    "the next row has the same",
  );
  assert.deepEqual(["␣x", " Paris", "don’t", "3rd", "—", " "].map(isWordLike), [
    false,
    true,
    true,
    false,
    false,
    false,
  ]);
});

test("decisions: first there, and never changed any more", () => {
  const tops = [
    [9, 9, 4],
    [4, 9, 4],
    [9, 9, 4],
    [4, 9, 4],
    [4, 4, 4],
  ];
  const reading = madeUp({
    taps: TAPS,
    ids: [0, 1, 2],
    tops: (tap, position) => [tops[tap][position]],
    stat: (_, tap, position) => (position === 2 ? NaN : -tap - position),
  });
  assert.deepEqual(decisionsOf(reading), [
    { first: 1, settled: 3 },
    { first: 4, settled: 4 },
    { first: 0, settled: 0 },
  ]);
  const counts = histogramOf(reading, { start: 0, end: 2 });
  assert.deepEqual(
    counts.map(({ first }) => first),
    [0, 1, 0, 0, 1],
  );
  assert.deepEqual(
    counts.map(({ settled }) => settled),
    [0, 0, 0, 1, 1],
  );
  const [, second] = lossByDepth(reading, { start: 0, end: 3 });
  // Losses 1 and 2: mean 1.5, standard error 0.5.
  assert.equal(second.n, 2);
  assert.ok(Math.abs(second.loss - 1.5) < 1e-6 && Math.abs(second.high - (1.5 + 1.96 * 0.5)) < 1e-6);
});

test("quantities: groups are summed, gains telescope", () => {
  const one = { logit: Float32Array.of(2), logprob: Float32Array.of(Math.log(0.25)), rank: Float32Array.of(7) };
  const two = { logit: Float32Array.of(2), logprob: Float32Array.of(Math.log(0.5)), rank: Float32Array.of(3) };
  const both = joined([one, two]);
  assert.ok(Math.abs(Math.exp(both.logprob[0]) - 0.75) < 1e-6);
  assert.ok(Math.abs(both.logit[0] - (2 + Math.log(2))) < 1e-6);
  assert.equal(both.rank[0], 3);

  const stat = (_: string, tap: number, position: number) => 10 - 2 * tap + position / 7;
  const a = madeUp({ taps: TAPS, ids: [0, 1, 2], tops: () => [0, 1], stat });
  const gain = klGain(a);
  assert.ok(Number.isNaN(gain[0]));
  assert.ok([...gain.slice(3)].every((value) => Math.abs(value - 2) < 1e-6));
});

test("trajectories: followed groups first, then the likeliest; a rise is positive", () => {
  const track = (id: number, p: number) => ({
    id,
    logit: Float32Array.of(1, 2),
    logprob: Float32Array.of(Math.log(p), Math.log(p / 2)),
    rank: Float32Array.of(9, 4),
  });
  const tracks = new Map([1, 2, 3].map((id) => [id, track(id, id / 10)]));
  const { lines } = linesFrom(tracks, [[1]], [1, 2, 3]);
  assert.deepEqual(
    lines.map(({ ids }) => ids),
    [[1], [3], [2]],
  );
  assert.equal(rankChange(track(1, 0.1), 1), 5);
  assert.ok(Number.isNaN(rankChange(track(1, 0.1), 0)));
});

test("switches: decoder names and windows hold for every model", () => {
  assert.deepEqual(decoderOf(2, "mlp", 12), ["h.10", "h.11"]);
  assert.deepEqual(decoderOf(1, "mlp", 12), ["h.11.mlp"]);
  assert.deepEqual(decoderOf(99, "", 2), ["h.0", "h.1"]);
  assert.deepEqual(decoderOf(0, "attn", 12), []);
  assert.deepEqual(spanOf({ start: 3, end: 90 }, 10), { start: 3, end: 10 });
  assert.deepEqual(spanOf({ start: 30, end: 90 }, 10), { start: 0, end: 10 });
});

test("views: names are unique, and the brackets walk through all of them", () => {
  assert.equal(new Set(VIEWS.map(({ name }) => name)).size, VIEWS.length);
  let view = VIEWS[0];
  for (let i = 0; i < VIEWS.length; i++) view = viewBeside(view, 1, true);
  assert.equal(view, VIEWS[0]);
  assert.equal(viewBeside(VIEWS[0], -1, true), VIEWS[VIEWS.length - 1]);
});

test("an address brings back everything, also long texts and odd characters", async () => {
  const long = "The old king 👑 sat ↵\n\tdown & said: #=+%. ".repeat(300);
  const state = {
    model: "openai-community/gpt2",
    file: "some norms & more.safetensors",
    text: long,
    second: "short & sweet",
    compare: "beside" as const,
    view: viewNamed("rank_input"),
    switches: {
      ...DEFAULTS,
      prints: "both" as const,
      step: 3,
      transposed: true,
      limits: "fixed" as const,
      from: -1.5,
      to: 4,
      span: { start: 5, end: 9 },
      borrowed: 1,
      part: "mlp" as const,
      font: 1.25,
      norm: "none" as const,
      row_kind: "subblocks" as const,
      words_only: true,
    },
    pins: [
      { tap: "h.3.attn", position: 17 },
      { tap: "h.0.attn_out", position: 3 },
    ],
    groups: [[11, 13], [29]],
    tracked: 1,
    theme: "dark" as const,
    atlas: "pairs",
    causes: false,
    evidence: false,
    edits: '{"of":"b","edits":[{"at":"h.3","positions":[4],"from":{"text":"a"}}]}',
    atlas_options: { "pairs.x": "138", "pairs.y": "378" },
    channel: 36,
    picked: [50256, 11],
  };
  const hash = await formatHash(state);
  assert.ok(hash.length < 1500, `${hash.length} characters`);
  assert.deepEqual(await parseHash(hash), state);
  assert.equal(await formatHash(await parseHash("")), "");
  assert.equal(await unpack(await pack(long)), long);
  assert.equal(await unpack("no such thing"), null);
  assert.equal(
    await unpack(await pack("a".repeat(3_000_000))),
    null,
    "a link that unfolds without end is not followed",
  );
  assert.deepEqual((await parseHash("#pin=9@<img>&window=9-2&step=-4&tokens=x_1.y")).pins, []);
  const options = { "matrix.typed": "1".repeat(2000), "matrix.range": "1".repeat(2001) };
  const brief = await formatHash({ ...state, atlas_options: options });
  assert.ok(!brief.includes("matrix.range"));
  assert.deepEqual(
    (await parseHash(brief)).atlas_options,
    { "matrix.typed": options["matrix.typed"] },
    "what is written is read",
  );
  const odd = await parseHash("#atlas=<b>&channel=-1&picked=3.x.5&pairs.x=1&nobody.x=2&pairs.<x>=3");
  assert.deepEqual([odd.atlas, odd.channel, odd.picked, odd.atlas_options], [null, null, [3, 5], { "pairs.x": "1" }]);
});

test("characters that are spread over tokens are found with their tokens, broken ones are not", () => {
  const tokens = (...pieces: number[][]) => pieces.map((bytes) => ({ bytes: Uint8Array.from(bytes) }));
  const [letter, face] = [[0x61], [0xf0, 0x9f, 0x98, 0x80]];
  assert.deepEqual(findSplitCharacters(tokens(letter, face, letter)), []);
  assert.deepEqual(findSplitCharacters(tokens(letter, [0x20, 0xf0, 0x9f], [0x98], [0x80], letter)), [
    { from: 1, to: 4, text: "😀" },
  ]);
  // Two characters that share a token are one group.
  assert.deepEqual(findSplitCharacters(tokens([0xc3], [0xa9, 0xc3], [0xa8])), [{ from: 0, to: 3, text: "éè" }]);
  assert.deepEqual(findSplitCharacters(tokens([0x80], [0x80])), []);
  assert.deepEqual(findSplitCharacters(tokens([0xf0, 0x9f])), []);
});
