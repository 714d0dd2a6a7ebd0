/** Two readings that are compared: which positions, which tokens, and what the picture and the files say of them. */
import assert from "node:assert/strict";
import { test } from "vitest";
import {
  alignedColumns,
  alignmentWords,
  comparisonOf,
  counterpart,
  statsAt,
  targetAt,
  targetsOf,
} from "../../../www/reading/comparison.ts";
import { linesIn, linesOf } from "../../../www/reading/cell-text.ts";
import { pythonOf } from "../../../www/export/python.ts";
import { NO_TOKEN } from "../../../www/reading/reading.ts";
import { scaleOf } from "../../../www/reading/scales.ts";
import { spokenCell } from "../../../www/lens/figure/cell-facts.ts";
import { comparisonJson, csvOf } from "../../../www/export/tables.ts";
import { VIEWS, comparedValues, comparedView, numberIn, viewBeside, viewNamed } from "../../../www/reading/views.ts";
import { madeUp } from "./readings.ts";

const TAPS = ["input", "h.0"];
// "the old king , sat" against "the old , king sat down": the swapped tokens cannot both be aligned.
const stat = (base: number) => (name: string, tap: number, position: number) =>
  name.startsWith("rank") ? 1 + base + tap + position : base + 10 * tap + position / 8;
const first = madeUp({
  taps: TAPS,
  ids: [0, 1, 2, 3, 4],
  tops: (tap, position) => [tap === 1 ? position : 9, 7],
  stat: stat(0),
});
const second = madeUp({
  taps: TAPS,
  ids: [0, 1, 3, 2, 4, 6],
  tops: (tap, position) => [tap === 1 ? position : 9, 7],
  stat: stat(1),
});

const columns = alignedColumns(first, second);
const n = TAPS.length * columns.length;
/** Scores that say where they are from. */
const scores = (base: number) => ({
  logit: Float32Array.from({ length: n }, (_, i) => base + i),
  logprob: Float32Array.from({ length: n }, (_, i) => -base - i / 16),
  rank: Float32Array.from({ length: n }, (_, i) => base * (i + 1)),
});
const divergences = {
  kl: Float32Array.from({ length: n }, (_, i) => i / 4),
  kl_reverse: Float32Array.from({ length: n }, (_, i) => i / 8),
  js: Float32Array.from({ length: n }, (_, i) => i / 16),
  targets: [
    { a: scores(1), b: scores(4) },
    { a: scores(2), b: scores(1) },
  ],
};
const comparison = comparisonOf(first, second, columns, divergences);
const column = (position: number) => comparison.column_of[position];

test("columns: the shared prefix, then a longest common subsequence in order", () => {
  assert.equal(columns.length, 4);
  assert.deepEqual(columns.slice(0, 2), [
    [0, 0],
    [1, 1],
  ]);
  assert.deepEqual(columns[3], [4, 4]);
  for (const [i, j] of columns) assert.equal(first.tokens[i].id, second.tokens[j].id);
  for (let c = 1; c < columns.length; c++)
    assert.ok(columns[c][0] > columns[c - 1][0] && columns[c][1] > columns[c - 1][1]);
  const of = (ids: number[]) => madeUp({ taps: TAPS, ids, tops: () => [0] });
  assert.deepEqual(alignedColumns(of([1]), of([2])), []);
  assert.deepEqual(alignedColumns(of([1, 2, 3]), of([1, 2, 3])), [
    [0, 0],
    [1, 1],
    [2, 2],
  ]);
  assert.deepEqual(alignedColumns(of([1, 5, 2, 3]), of([1, 2, 3])), [
    [0, 0],
    [2, 1],
    [3, 2],
  ]);
  // A token that is inserted where the next one is the same is not taken for it: the prefix comes first.
  assert.deepEqual(alignedColumns(of([4, 4]), of([4, 4, 4])), [
    [0, 0],
    [1, 1],
  ]);
});

test("the tokens that are held fixed are the first text's", () => {
  const [top, next] = targetsOf(first, columns);
  assert.deepEqual(
    [...top],
    columns.map(([i]) => i),
    "made-up readings put the position's number first",
  );
  assert.deepEqual(
    [...next],
    columns.map(([i]) => first.tokens[i + 1]?.id ?? NO_TOKEN),
  );
});

test("each view's change: of one token, of a statistic, or none", () => {
  const at = (values: Float32Array, tap: number, position: number) => values[tap * first.n_tokens + position];
  const i = (tap: number, position: number) => tap * columns.length + column(position);
  const close = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-6, `${a} ${b}`);
  const of = (name: string) => comparedValues(viewNamed(name), comparison, []);
  const alone = [2, 3].find((position) => column(position) < 0) ?? -1;
  const aligned = [0, 1, 2, 3, 4].filter((position) => position !== alone);
  assert.ok(alone > 0);
  for (const view of VIEWS.filter(({ is_tracked }) => !is_tracked))
    assert.ok(Number.isNaN(at(of(view.name), 1, alone)), `${view.name}: a position without counterpart has no number`);
  for (const position of aligned) {
    for (const tap of [0, 1]) {
      const where = i(tap, position);
      close(at(of("logit"), tap, position), 3);
      close(at(of("probability"), tap, position), Math.exp(-4 - where / 16) - Math.exp(-1 - where / 16));
      close(at(of("rank"), tap, position), 2);
      close(at(of("loss_next"), tap, position), -1);
      close(at(of("rank_next"), tap, position), -1);
      close(at(of("between_js"), tap, position), where / 16);
      close(at(of("between_kl"), tap, position), where / 4);
      close(at(of("between_kl_reverse"), tap, position), where / 8);
      // The second reading's value is the one of its own position.
      const j = columns[column(position)][1];
      close(at(of("entropy"), tap, position), 1 + (j - position) / 8);
      close(at(of("rank_input"), tap, position), Math.log2((2 + tap + j) / (1 + tap + position)));
    }
  }
  // The rows' own top-1 is subtracted only where both have the same token: in h.0 the position's number.
  const own = of("logit_top");
  for (const position of aligned) {
    assert.equal(at(own, 0, position), 0);
    assert.equal(Number.isNaN(at(own, 1, position)), columns[column(position)][1] !== position);
  }
});

test("it is called what it is", () => {
  assert.equal(comparedView(viewNamed("logit")).quantity, "logit of the first text’s final top-1: second text − first");
  assert.equal(comparedView(viewNamed("rank")).quantity, "rank of the first text’s final top-1: second text ÷ first");
  assert.equal(comparedView(viewNamed("between_js")), viewNamed("between_js"), "a divergence is no difference");
  assert.deepEqual(
    [2, -1, 0, NaN].map((value) => numberIn({ kind: "ratio" }, value)),
    ["×4.0", "÷2.0", "×1.0", "–"],
  );
  const scale = scaleOf({ kind: "ratio" }, Float32Array.of(0, 0), { limits: "own", from: null, to: null });
  assert.deepEqual(
    scale.ticks.map(({ label }) => label),
    ["≤ ÷2", "×1", "≥ ×2"],
    "equal texts do not differ by a fraction of a rank",
  );
  assert.equal(
    scaleOf({ kind: "change" }, Float32Array.of(0, 0), { limits: "own", from: null, to: null }).ticks[0].label,
    "≤ −0.010",
  );
  assert.equal(
    viewBeside(viewNamed("logit"), -1, false).name,
    "tracked_rank",
    "without a second text nothing is between two",
  );
  assert.equal(viewBeside(viewNamed("logit"), -1, true).name, "between_kl_reverse");
});

test("a cell names both guesses where they differ", () => {
  const printing = { prints: "token" as const, words_only: false, hide_prompt: false };
  const moved = columns.find(([i, j]) => i !== j) ?? [0, 0];
  const cell = { tap: 1, position: moved[0] };
  const names = [first, second].map((reading, side) => reading.top_tokens[moved[side]].shown);
  assert.deepEqual(linesOf(first, comparison, cell, printing, viewNamed("logit"), 3, null), [
    names[0],
    `→ ${names[1]}`,
  ]);
  assert.deepEqual(linesOf(first, comparison, { tap: 1, position: 0 }, printing, viewNamed("logit"), 3, null), [
    "␣the",
  ]);
  assert.deepEqual(
    linesOf(first, comparison, cell, { ...printing, prints: "both" }, comparedView(viewNamed("logit")), 3, null),
    [`${names[0]} → ${names[1]}`, "3.00"],
  );
  assert.equal(linesIn(printing, true), 2);
  const view = comparedView(viewNamed("logit"));
  const spoken = spokenCell(
    { reading: first, comparison, view, values: comparedValues(viewNamed("logit"), comparison, []) } as any,
    cell,
    false,
  );
  assert.ok(spoken.includes(`second text: top-1 ${names[1]}`) && spoken.includes("second text − first 3.00"), spoken);
});

test("a cell's numbers in both texts", () => {
  const [i, j] = columns[2];
  const cell = { tap: 1, position: i };
  assert.deepEqual(counterpart(comparison, cell), { tap: 1, position: j });
  assert.deepEqual(statsAt(comparison, "rank_input", cell), [2 + i, 3 + j]);
  assert.deepEqual(targetAt(comparison, "top", "rank", cell), [columns.length + 3, 4 * (columns.length + 3)]);
  const alone = comparison.column_of.indexOf(-1);
  assert.equal(counterpart(comparison, { tap: 0, position: alone }), null);
  assert.deepEqual(targetAt(comparison, "top", "rank", { tap: 0, position: alone }), [NaN, NaN]);
  assert.equal(
    alignmentWords(comparison),
    "4 of 5 positions are compared: those whose tokens both texts have in the same order. 1 of the first and 2 of the second have no partner.",
  );
  const same = comparisonOf(first, first, alignedColumns(first, first), divergences);
  assert.match(alignmentWords(same), /^The same text/);
});

test("CSV, JSON and Python are of both texts", () => {
  const origin = { made_by: "a test", model: { name: "made up" }, adapter: {} };
  const lines = csvOf(first, origin, comparison).split("\r\n");
  const [head, ...cells] = lines
    .slice(
      lines.findIndex((line) => !line.startsWith("#")),
      -1,
    )
    .map((line) => line.split(/,(?=(?:[^"]*"[^"]*")*[^"]*$)/));
  assert.equal(new Set(head).size, head.length, "each column has a name of its own");
  const field = (tap: number, position: number, name: string) =>
    cells[tap * first.n_tokens + position][head.indexOf(name)];
  const [i, j] = columns[2];
  assert.equal(field(1, i, "second_position"), String(j));
  assert.equal(Number(field(1, i, "second_entropy")), second.stats.entropy[second.n_tokens + j]);
  assert.equal(Number(field(1, i, "jensen_shannon")), divergences.js[columns.length + 2]);
  assert.equal(field(1, i, "first_final_id"), String(i));
  assert.equal(Number(field(1, i, "second_first_final_logit")), 4 + columns.length + 2);
  assert.equal(field(1, comparison.column_of.indexOf(-1), "second_position"), "");
  const read = JSON.parse(comparisonJson(comparison, origin));
  assert.equal(read.format, "loupe-comparison");
  assert.deepEqual(read.columns, columns);
  assert.deepEqual(read.kl_first_second.flat(), [...divergences.kl]);
  assert.equal(read.second.statistics.entropy[1][j], second.stats.entropy[second.n_tokens + j]);
  assert.deepEqual(read.targets.first_final.second.rank.flat(), [...divergences.targets[0].b.rank]);
  for (const { name } of VIEWS) {
    const script = pythonOf(first, name, [1], { family: "gpt2", source: "gpt2" }, comparison);
    assert.ok(!script.includes("undefined") && script.includes(JSON.stringify(columns)), name);
  }
});

test("control characters of a token do not reach a table raw", () => {
  const odd = {
    ...first,
    tokens: first.tokens.map((token) => ({ ...token, text: "a\u0014\u007fb\tc\n", bytes: Uint8Array.of(0x61, 0x14) })),
  };
  const csv = csvOf(odd, { made_by: "a test", model: {}, adapter: {} });
  assert.ok(csv.includes("a␔␡b\tc\n") && csv.includes("61 14"));

  assert.doesNotMatch(csv, /[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/);
});
