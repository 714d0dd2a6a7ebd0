/** Documents of files, numbers over depth, and results of other models. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { rowsOf } from "../../../www/evidence/corpus.ts";
import { pythonOf } from "../../../www/export/python.ts";
import { jsonOf } from "../../../www/export/tables.ts";
import { correlationOf, spearmanInterval } from "../../../www/lib/correlation.ts";
import { documentCutter, documentsOf } from "../../../www/reading/documents.ts";
import { crossing, meanOf, meansByRow, relativeDepth, stepsOf, visitorsOf } from "../../../www/reading/depth.ts";
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

test("documents do not depend on the pieces in which a text comes", () => {
  const story = `${"word ".repeat(30)}\n`;
  const plain = `${story}\n\n${story.repeat(400)}\r\n \t\r\nlast\n\n`;
  const marked = `one\n\ntwo\n<|endoftext|>\n${story}<|endoftext|>${story.repeat(500)}`;
  for (const [text, has_end_tokens] of [
    [plain, false],
    [marked, true],
  ] as const)
    for (const size of [7, 1000, 60_000, 1 << 18]) {
      const cutter = documentCutter(has_end_tokens);
      const found: string[] = [];
      for (let at = 0; at < text.length; at += size) found.push(...cutter.push(text.slice(at, at + size)));
      found.push(...cutter.end());
      assert.deepEqual(found, documentsOf(text), `pieces of ${size}`);
    }
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

test("the interval of Spearman's correlation is Bonett and Wright's", () => {
  // By hand: atanh(0.5) = 0.549306, its error √(1.125 / 25) = 0.212132.
  const { low, high } = spearmanInterval(0.5, 28);
  near(low, Math.tanh(0.5493061443340549 - 1.96 * 0.21213203435596426));
  near(high, Math.tanh(0.5493061443340549 + 1.96 * 0.21213203435596426));
  assert.deepEqual(spearmanInterval(1, 9), { low: 1, high: 1 });
  for (const { low } of [spearmanInterval(0.2, 3), spearmanInterval(NaN, 30)]) assert.ok(Number.isNaN(low));
});

test("Spearman's correlation, with ties and gaps", () => {
  near(correlationOf([1, 2, 3, 4], [10, 20, 30, 45]).spearman, 1);
  near(correlationOf([1, 2, 3, 4], [4, 3, 2, 1]).spearman, -1);
  // scipy.stats.spearmanr([1, 2, 2, 3], [1, 3, 2, 4]) = 0.9486832980505138
  near(correlationOf([1, 2, 2, 3, 9], [1, 3, 2, 4, NaN]).spearman, 0.9486832980505138);
  assert.ok(Number.isNaN(correlationOf([1, 1, 1], [1, 2, 3]).spearman));
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
  const one = { mean: 1, low: 0, high: 2 };
  const rows = [{ tap: "input", n: 3, loss: one, kl: one, entropy: one, agreement: one, settled: one }];
  assert.equal(rowsOf({ kind: "corpus", rows }), rows);
  const saved = madeUp({
    taps: ["input", "h.0"],
    ids: [1, 2],
    tops: () => [4, 5],
    stat: (name, tap, position) => {
      if (name === "kl_final") return tap === 0 ? 1 + 2 * position : 0;
      if (name === "entropy") return tap === 0 ? 2 + 2 * position : 1;
      if (name === "logprob_next") return position === 1 ? NaN : tap === 0 ? -1 : -0.5;
      return name === "rank_final" ? 1 + 6 * position * (1 - tap) : 0;
    },
  });
  const file = JSON.parse(jsonOf(saved, {} as Parameters<typeof jsonOf>[1])) as Record<string, unknown>;
  const [input, last] = rowsOf(file);
  const means = (row: typeof input) => [row.kl, row.entropy, row.loss, row.agreement].map(({ mean }) => mean);
  assert.deepEqual(means(input), [2, 3, 1, 0.5]);
  assert.deepEqual([last.tap, ...means(last)], ["h.0", 0, 1, 0.5, 1]);
  for (const wrong of [{}, { kind: "corpus", rows: [{}] }, { ...file, format: "other" }, { ...file, statistics: {} }])
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
