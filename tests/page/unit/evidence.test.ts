/** Documents of files, numbers over depth, and results of other models. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { rowsOf } from "../../../www/evidence/corpus.ts";
import { pythonOf } from "../../../www/export/python.ts";
import { documentsOf } from "../../../www/reading/documents.ts";
import {
  crossing,
  meanOf,
  meansByRow,
  relativeDepth,
  spearman,
  stepsOf,
  visitorsOf,
} from "../../../www/reading/depth.ts";
import { viewNamed } from "../../../www/reading/views.ts";
import { madeUp } from "./readings.ts";

const near = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-9, `${a}, expected ${b}`);

test("documents are separated by blank lines, or by end tokens where there are some", () => {
  assert.deepEqual(documentsOf("one\ntwo\n\nthree\r\n \r\nfour"), ["one\ntwo", "three", "four"]);
  assert.deepEqual(documentsOf("one\n\ntwo\n<|endoftext|>\nthree"), ["one\n\ntwo", "three"]);
  assert.deepEqual(documentsOf("\n\n \n"), []);
});

test("a long document is cut behind a line or before a space, and nothing of it is lost", () => {
  const line = `${"word ".repeat(30)}end\n`;
  const long = line.repeat(1000);
  const parts = documentsOf(long);
  assert.ok(parts.length > 1);
  assert.equal(parts.join(""), long);
  for (const part of parts.slice(0, -1)) assert.ok(part.length <= 50_000 && part.endsWith("\n"));
  const words = "word ".repeat(30_000).trim();
  const pieces = documentsOf(words);
  assert.equal(pieces.join(""), words);
  for (const piece of pieces.slice(1)) assert.ok(piece.startsWith(" word"));
  const emoji = "😀".repeat(40_000);
  const halves = documentsOf(emoji);
  assert.equal(halves.join(""), emoji);
  for (const half of halves) assert.ok(half.isWellFormed());
});

test("means by row leave out the first position, and have their interval", () => {
  const { mean, low, high, n } = meanOf([1, 2, 3, NaN]);
  near(mean, 2);
  assert.equal(n, 3);
  near(high - low, (2 * 1.96) / Math.sqrt(3));
  const rows = meansByRow([100, 1, 2, 100, 3, 5], 2, 3);
  near(rows[0].mean, 1.5);
  near(rows[1].mean, 4);
  // A text of one token has only that.
  near(meansByRow([7, 9], 2, 1)[1].mean, 9);
});

test("two curves cross where one rises above the other", () => {
  assert.deepEqual(relativeDepth(3), [0, 0.5, 1]);
  near(crossing([0, 1, 4], [3, 2, 0]) as number, 0.5 + 0.5 * (1 / 5));
  assert.equal(crossing([0, 1], [3, 2]), null);
});

test("Spearman's correlation, with ties and gaps", () => {
  near(spearman([1, 2, 3, 4], [10, 20, 30, 45]), 1);
  near(spearman([1, 2, 3, 4], [4, 3, 2, 1]), -1);
  // scipy.stats.spearmanr([1, 2, 2, 3], [1, 3, 2, 4]) = 0.9486832980505138
  near(spearman([1, 2, 2, 3, 9], [1, 3, 2, 4, NaN]), 0.9486832980505138);
  assert.ok(Number.isNaN(spearman([1, 1, 1], [1, 2, 3])));
});

test("steps and cosines of a stream", () => {
  // Three rows of three positions of two channels; the first position is left out.
  const rows = [
    [9, 9, 3, 4, 1, 0],
    [9, 9, 6, 8, 0, 1],
    [9, 9, -6, -8, 0, 2],
  ].map((row) => Float32Array.from(row));
  const { step, with_before, with_final } = stepsOf(rows, 3);
  assert.ok(Number.isNaN(step[0].mean));
  near(step[1].mean, (1 + Math.SQRT2) / 2);
  near(with_before[1].mean, 0.5);
  near(with_before[2].mean, 0);
  near(with_final[0].mean, (-1 + 0) / 2);
  near(with_final[2].mean, 1);
});

/** Four rows; token 9 is on top in the middle, at every position but the first. */
const text = () =>
  madeUp({
    taps: ["input", "h.0", "h.1", "h.2"],
    ids: [1, 2, 3],
    tops: (tap, position) => ((tap === 1 || tap === 2) && position > 0 ? [position + 1, 9] : [4, 5]),
  });

test("a visitor is likely in the middle, and not at the end nor the token itself", () => {
  const [first, ...others] = visitorsOf(text());
  assert.deepEqual(first, { id: 9, positions: 2, share: 2 / 3, row: "h.0", best: 2, example: 1 });
  assert.deepEqual(others, []);
});

test("rows of a saved corpus and of a saved reading; another file is refused", () => {
  const rows = [{ tap: "input", n: 3, loss: 1, low: 0, high: 2, kl: 1, entropy: 1, agreement: 0, settled: 0 }];
  assert.equal(rowsOf({ kind: "corpus", rows }), rows);
  const stats = {
    kl_final: [1, 3, 0, 0],
    entropy: [2, 4, 1, 1],
    logprob_next: [-1, null, -0.5, null],
    rank_final: [1, 7, 1, 1],
  };
  const [input, last] = rowsOf({ taps: ["input", "h.0"], n_tokens: 2, stats });
  assert.deepEqual([input.kl, input.entropy, input.loss, input.agreement], [2, 3, 1, 0.5]);
  assert.deepEqual([last.tap, last.kl, last.loss, last.agreement], ["h.0", 0, 0.5, 1]);
  for (const wrong of [{}, { kind: "corpus", rows: [{}] }, { taps: ["input"], n_tokens: 9, stats }])
    assert.throws(() => rowsOf(wrong), /expected a corpus or a reading/);
});

test("the Python of a reading under a lens reads the lens' file", () => {
  const reading = text();
  const code = (lens?: string) =>
    pythonOf({ ...reading, asked: { ...reading.asked, lens } }, viewNamed(null).name, [], {
      family: "gpt2",
      source: "x",
    });
  assert.match(code("my lens"), /safe_open\("lens\.safetensors", "pt"\)/);
  assert.match(code("my lens"), /return \[lens\(source\[name\], name\) for name in names\]/);
  assert.doesNotMatch(code(), /safetensors/);
});
