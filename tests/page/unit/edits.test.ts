/** Edits as links have them, what they can change, and sets of tokens. */
import assert from "node:assert/strict";
import { test } from "vitest";
import {
  coneOf,
  depthOf,
  editWords,
  formatEdits,
  outsideOf,
  parseEdits,
  parsePositions,
  positionsText,
  withWeights,
  suitsAnyText,
} from "../../../www/reading/edits.ts";
import { lossChange } from "../../../www/reading/loss-change.ts";
import { classesOf, matchingSet, textsOf } from "../../../www/reading/token-classes.ts";
import { strengthsOf } from "../../../www/atlas/stats/circuits.ts";
import { editedPythonOf } from "../../../www/causes/python.ts";
import { stepsOf } from "../../../www/causes/waterfall.ts";
import type { EditedRun, PageEdit } from "../../../www/reading/edits.ts";
import { madeUp } from "./readings.ts";

const EDITS: PageEdit[] = [
  { at: "h.3", positions: [4], from: { text: "a" } },
  { at: "h.5.attn_out", head: 2, from: { text: "b", at: "h.1.attn_out", positions: [0, 1] }, positions: [2, 3] },
  { at: "h.0.mlp_out", to: "zero" },
  { at: "h.0.attn_out", head: 0, to: { mean: "b" } },
  { at: "h.2", positions: [1, 2, 3, 7], add: { tokens: [5, 9] }, scale: -2 },
  { at: "input", add: { plus: { text: "a", position: 3 }, minus: { text: "b", position: 4 } }, scale: 1 },
  { weights: "h.2.ln_2", channel: 138, scale: 0 },
  { weights: "wpe", smooth: 2 },
];

test("an edit suits any text if it names neither a text nor positions", () => {
  const edits: [PageEdit, boolean][] = [
    [{ weights: "ln_f", channel: 3, scale: 0 }, true],
    [{ at: "h.2.attn_out", head: 1, to: "zero" }, true],
    [{ at: "h.2.attn_out", to: "zero", positions: [3] }, false],
    [{ at: "h.2.attn_out", to: { mean: "b" } }, false],
    [{ at: "h.2", from: { text: "b" } }, false],
  ];
  for (const [edit, suits] of edits) assert.equal(suitsAnyText(edit), suits, JSON.stringify(edit));
});

test("edits come back from a link as they were, and nothing else does", () => {
  const run: EditedRun = { of: "b", edits: EDITS };
  assert.deepEqual(parseEdits(formatEdits(run)), run);
  assert.equal(formatEdits({ of: "a", edits: [] }), "");
  const hostile: unknown[] = [
    { at: ["h.3"], to: "zero" },
    { at: "h.3.mlp", to: "zero" },
    { at: "<img>", to: "zero" },
    { at: "h.3", to: "one" },
    { at: "h.3", positions: [], to: "zero" },
    { at: "h.3", positions: [-1], to: "zero" },
    { at: "h.3", positions: [1.5], to: "zero" },
    { at: "h.3", positions: "3", to: "zero" },
    { at: "h.3" },
    { at: "h.3", from: { text: "c" } },
    { at: "h.3", from: { text: "a", reading: 4 } },
    { at: "h.3", add: { tokens: [] }, scale: 1 },
    { at: "h.3", add: { tokens: [1] } },
    { at: "h.3", add: { plus: { text: "a", position: -1 }, minus: { text: "b", position: 0 } }, scale: 1 },
    { at: "h.3", add: { tokens: [1] }, scale: "1e400" },
    { weights: "h.2.ln_3", scale: 0 },
    { weights: "ln_f", channel: 1 },
    { weights: "wpe", scale: 1, smooth: 1 },
    null,
    [],
  ];
  for (const edit of hostile)
    assert.equal(parseEdits(JSON.stringify({ of: "a", edits: [edit] })), null, JSON.stringify(edit));
  for (const text of ["", "{", "[]", '{"of":"c","edits":[]}', '{"of":"a"}', "null"])
    assert.equal(parseEdits(text), null);
  const many = Array.from({ length: 1025 }, () => ({ at: "h.0", to: "zero" }));
  assert.equal(parseEdits(JSON.stringify({ of: "a", edits: many })), null);
});

test("positions are typed as ranges", () => {
  assert.deepEqual(parsePositions("3, 5-7"), [3, 5, 6, 7]);
  assert.equal(parsePositions(" "), undefined);
  assert.equal(positionsText([3, 5, 6, 7]), "3, 5-7");
  for (const wrong of ["a", "7-5", "-1", "0-99999", "1.5"]) assert.throws(() => parsePositions(wrong), RangeError);
});

test("an edit in words", () => {
  assert.deepEqual(
    EDITS.map((edit) => editWords(edit, (id) => `t${id}`)),
    [
      "h.3, position 4 ← text A",
      "h.5.attn_out head 2, positions 2-3 ← text B, h.1.attn_out, positions 0-1",
      "h.0.mlp_out, all positions ← zero",
      "h.0.attn_out head 0, all positions ← its mean over text B",
      "h.2, positions 1-3, 7 + -2 · (t5 − t9)",
      "input, all positions + 1 · (text A at 3 − text B at 4)",
      "h.2.ln_2 channel 138 × 0",
      "wpe smoothed over σ = 2 positions",
    ],
  );
});

const TAPS = ["input", "h.0.attn", "h.0", "h.1.attn", "h.1"];
const reading = (stat: (name: string, tap: number, position: number) => number = () => 0) =>
  madeUp({ taps: TAPS, ids: [0, 1, 2], tops: () => [1, 2], stat });

test("the cone of an edit is what stands above it, from its first position on", () => {
  assert.deepEqual(TAPS.map(depthOf), [0, 1, 2, 3, 4]);
  assert.deepEqual(["h.0.attn_out", "h.0.mlp_out", "h.1.ln_1", "h.1.ln_2"].map(depthOf), [1, 2, 3, 4]);
  const of = reading();
  const rows = (edits: PageEdit[], decoder: string[] = []) => {
    const cone = coneOf({ ...of, asked: { ...of.asked, decoder } }, edits);
    return TAPS.map((_, tap) =>
      cone
        .slice(tap * 3, tap * 3 + 3)
        .map(Number)
        .join(""),
    );
  };
  assert.deepEqual(rows([{ at: "h.0", positions: [1], to: "zero" }]), ["000", "000", "011", "011", "011"]);
  assert.deepEqual(rows([{ at: "h.1.attn_out", head: 1, positions: [2], to: "zero" }]), [
    "000",
    "000",
    "000",
    "001",
    "001",
  ]);
  assert.deepEqual(rows([{ weights: "unembed", channel: 1, scale: 0 }]), ["111", "111", "111", "111", "111"]);
  assert.deepEqual(rows([{ weights: "h.1.ln_2", channel: 1, scale: 0 }]), ["000", "000", "000", "000", "111"]);
  // A borrowed half reads every row through the same weights.
  assert.deepEqual(rows([{ weights: "h.1.ln_2", channel: 1, scale: 0 }], ["h.1.mlp"]), Array(5).fill("111"));
});

test("a number outside the cone that changes is found, but for what compares with a changed final row", () => {
  const edits: PageEdit[] = [{ at: "h.1", positions: [1], to: "zero" }];
  const changed = (name: string, tap: number, position: number) =>
    reading((each, t, p) => (each === name && t === tap && p === position ? 1 : 0));
  assert.deepEqual(outsideOf(reading(), reading(), edits), { cells: 13, changed: 0 });
  assert.equal(outsideOf(reading(), changed("entropy", 0, 2), edits).changed, 1);
  assert.equal(outsideOf(reading(), changed("kl_final", 0, 2), edits).changed, 0);
  assert.equal(outsideOf(reading(), changed("kl_final", 0, 0), edits).changed, 1, "before the first position");
  assert.equal(outsideOf(reading(), changed("entropy", 4, 1), edits).changed, 0, "inside");
});

test("a channel that is scaled again replaces what it was; one takes it away", () => {
  const first = withWeights([EDITS[0]], { weights: "ln_f", channel: 3, scale: 0.5 });
  const second = withWeights(first, { weights: "ln_f", channel: 3, scale: 2 });
  assert.deepEqual(second, [EDITS[0], { weights: "ln_f", channel: 3, scale: 2 }]);
  assert.deepEqual(withWeights(second, { weights: "ln_f", channel: 3, scale: 1 }), [EDITS[0]]);
});

test("the change of a loss has the interval of the differences", () => {
  const losses = (values: number[]) =>
    madeUp({
      taps: ["input", "h.0"],
      ids: [0, 1, 2, 3],
      tops: () => [1],
      stat: (name, tap, position) => (name === "logprob_next" && tap === 1 ? -values[position] : 0),
    });
  const { before, mean, low, high, n } = lossChange(losses([1, 2, 3, 99]), losses([2, 2, 5, -99]));
  assert.equal(n, 3);
  assert.equal(before, 2);
  assert.equal(mean, 1);
  // Differences 1, 0, 2: deviation 1.
  assert.ok(Math.abs(high - mean - 1.96 / Math.sqrt(3)) < 1e-6 && Math.abs(mean - low - (high - mean)) < 1e-9);
});

test("classes divide a vocabulary; expressions choose from it", () => {
  const words = [" the", "the", " 12", "7", ",", " …", "\n", " king", "Ω"];
  const encoded = [...words.map((word) => new TextEncoder().encode(word)), Uint8Array.of(0xe2)];
  const bytes = Uint8Array.from(encoded.flatMap((each) => [...each]));
  let end = 0;
  const ends = Uint32Array.from(encoded, (each) => (end += each.length));
  const texts = textsOf({ bytes, ends });
  assert.deepEqual(texts, [...words, null]);
  const classes = classesOf(texts, new Set([7]));
  assert.deepEqual(Object.fromEntries(classes.map(({ name, ids }) => [name, [...ids]])), {
    "in this text": [7],
    "parts of characters": [9],
    digits: [2, 3],
    punctuation: [4, 5],
    "words with a space before": [0],
    "words without": [1, 8],
    "all others": [6],
  });
  assert.deepEqual([...matchingSet(texts, "^ ?the$").ids], [0, 1]);
  for (const wrong of ["(", "never", "x".repeat(201)]) assert.throws(() => matchingSet(texts, wrong), RangeError);
});

test("components of a half are one step; strengths are against the median channel", () => {
  const steps = stepsOf([
    { name: "wte", value: 1 },
    { name: "h.0.attn.0", value: 2 },
    { name: "h.0.attn.1", value: 3 },
    { name: "h.0.attn.bias", value: 4 },
    { name: "edit.0", value: 1 },
    { name: "h.0.mlp", value: 5 },
  ]);
  assert.deepEqual(steps, [
    { name: "wte", value: 1 },
    { name: "h.0.attn", value: 9 },
    { name: "edit.0", value: 1 },
    { name: "h.0.mlp", value: 5 },
  ]);
  const names = ["q.0", "k.0", "v.0", "o.0", "in", "out"];
  const strengths = Float32Array.from({ length: 6 * 3 }, (_, i) => i + 1);
  const found = strengthsOf({ names, strengths }, { channel: 2, n_embd: 3, kind: "o" });
  assert.deepEqual(
    [found.columns, found.n_layer, [...found.ratios]],
    [["0", "mlp"], 1, [Math.fround(12 / 11), Math.fround(18 / 17)]],
  );
});

test("the script has the edits, both texts and the family's modules", () => {
  const run: EditedRun = { of: "b", edits: EDITS };
  const script = editedPythonOf(run, { a: reading(), b: reading() }, "kl_final", {
    family: "ctrl",
    source: "owner/name",
  });
  assert.ok(script.includes(JSON.stringify(EDITS)) && script.includes('"owner/name"'));
  assert.ok(script.includes("block.multi_head_attention.dense") && script.includes("core.w.register_forward_hook"));
  assert.ok(
    !editedPythonOf(run, { a: reading(), b: null }, "kl_final", { family: "gpt2", source: "x" }).includes("ctrl"),
  );
});
