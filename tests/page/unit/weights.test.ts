/** The atlas' parts that read counts from files, compare tokens with positions, and say what a space adds. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { countsOf, looksLikeCounts } from "../../../www/atlas/stats/count-files.ts";
import { componentsOf, partsOf } from "../../../www/atlas/stats/components.ts";
import { correlationOf, cosineOf } from "../../../www/lib/correlation.ts";
import { distancesToMean } from "../../../www/atlas/stats/distances.ts";
import { overlapOf } from "../../../www/atlas/stats/overlap.ts";
import { holdsCounts, readCounts } from "../../../www/atlas/token-counts.ts";

/** Six tokens; “␣” is what is shown of a space and, as a text, the last one. */
const TOKENS: (string | number[])[] = ["!", " the", "a", [0xe2, 0x80], " ", "␣"];
const encoded = TOKENS.map((token) => (typeof token === "string" ? [...new TextEncoder().encode(token)] : token));
const vocabulary = {
  bytes: Uint8Array.from(encoded.flat()),
  ends: Uint32Array.from(encoded, (_, i) => encoded.slice(0, i + 1).flat().length),
  shown: ["!", "␣the", "a", "‹E2 80›", "␣", "␣"],
};
const counts = (text: string) => [...countsOf(text, vocabulary).counts];
const problem = (text: string) => {
  let message = "";
  assert.throws(
    () => countsOf(text, vocabulary),
    (error: Error & { code: string }) => {
      message = error.message;
      return error.code === "bad-counts";
    },
  );
  return message;
};

test("counts from two columns: tabs, commas or spaces, a head or none, ids in any order", () => {
  const expected = [5, 0, 0, 7, 0, 0.5];
  for (const text of [
    "0\t5\n3\t7\n5\t0.5\n",
    "0,5\n3, 7\n5,5e-1",
    "id count\r\n5 .5\r\n0  5\r\n\r\n3 7\r\n",
    "token_id,count\n3,7\n0,5\n5,0.5\n",
    '# made_by: Loupe\n# words: how often, and so on\ntoken_id,token,count\n3,"‹E2 80›",7\n0,"a ""b"", c",5\n5,"␣",0.5\n',
    "id\ttoken\tcount\n0\t!\t5\n3\t?\t7\n5\t␣\t0.5",
  ]) {
    assert.deepEqual(counts(text), expected, text);
    assert.ok(looksLikeCounts(text, false, vocabulary), text);
  }
  assert.equal(countsOf("0\t5", vocabulary).form, "two columns, token id and count");
});

test("counts from two columns: texts of tokens, as they are and as the page shows them", () => {
  const text = "token\tcount\n!\t1\n the\t20\na\t3\n‹E2 80›\t4";
  assert.deepEqual(counts(text), [1, 20, 3, 4, 0, 0]);
  assert.deepEqual(counts("!\t1\n␣the\t20\n \t2"), [1, 20, 0, 0, 2, 0]);
  assert.equal(countsOf(text, vocabulary).form, "two columns, token text and count");
  assert.ok(looksLikeCounts(text, false, vocabulary));
});

test("counts from one number a line, and from JSON", () => {
  assert.deepEqual(counts("1\n2\n3\n4\n5\n6\n"), [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(counts("count\n1\n2\n3\n4.5\n5\n0"), [1, 2, 3, 4.5, 5, 0]);
  assert.deepEqual(counts(" [1, 2,\n3, 4, 5, 6e1]"), [1, 2, 3, 4, 5, 60]);
  assert.deepEqual(counts('{"3": 7, "0": 5}'), [5, 0, 0, 7, 0, 0]);
  assert.deepEqual(counts('{" the": 7, "a": 5, "!": 0}'), [0, 7, 5, 0, 0, 0]);
  assert.equal(countsOf("[1,2,3,4,5,6]", vocabulary).form, "a JSON array");
  assert.equal(countsOf('{"3": 7}', vocabulary).form, "a JSON object, token id and count");
});

test("counts: what was expected, what was found, and where", () => {
  const id = "expected a token id below 6 and its count";
  const count = "expected a finite number of 0 or more as the count";
  for (const [text, message] of [
    ["0\t5\n6\t1", `Line 2: ${id}, found “6\t1”.`],
    ["id,count\n0,5\n1.5,1", `Line 3: ${id}, found “1.5,1”.`],
    ["0 5\n1 2\nthe 1", `Line 3: ${id}, found “the 1”.`],
    ["0 5\n1 2\n3", `Line 3: ${id}, found “3”.`],
    ["0 5\n\n1 -2", `Line 3: ${count}, found “1 -2”.`],
    ["0,5\n1,nan", `Line 2: ${count}, found “1,nan”.`],
    ["0,5\n1,inf", `Line 2: ${count}, found “1,inf”.`],
    ["0,5\n1,", `Line 2: ${count}, found “1,”.`],
    ["0,x\n1,2", `Line 1: ${count}, found “0,x”.`],
    ["0,5\n1,2\n0,1", "Line 3: expected each token once, found token 0 again."],
    ["!\t5\nthe\t1", "Line 2: expected a token id, or a token’s text and a tab, and its count, found “the\t1”."],
    ["!\t5\na 1", "Line 2: expected a token id, or a token’s text and a tab, and its count, found “a 1”."],
    ["!\t5\n␣\t1", "Line 2: expected the text of one token, found “␣”, which is that of several."],
    ["1\n2\n3", "Expected 6 numbers, one for each token of the vocabulary, found 3."],
    ["1\n2\n-3\n4\n5\n6", `Line 3: ${count}, found “-3”.`],
    ["1\n2 3", "Line 2: expected one number, as in the lines before, found “2 3”."],
    ["[1, 2]", "Expected 6 numbers, one for each token of the vocabulary, found 2."],
    ['[1, "2"]', `Number 2: ${count}, found “"2"”.`],
    ["[1, 1e999, 3, 4, 5, 6]", `Number 2: ${count}, found “Infinity”.`],
    ['{"0": -1}', `Entry 1: ${count}, found “"0": -1”.`],
    ['{"0": 1, "9": 1}', `Entry 2: ${id}, found “"9": 1”.`],
    ["", "Expected counts, found none."],
    ["[]", "Expected counts, found none."],
  ])
    assert.equal(problem(text), message);
  assert.match(problem("[1, 2"), /^Expected JSON, which this is not: .*JSON/);
  assert.match(problem(`0 1\n${"9".repeat(99)} 1`), /found “9{40}…”/);
});

test("counts or a text, by its look", async () => {
  for (const text of [
    "The old king\nsaid no.",
    "[1] See there, 2019.",
    "[2024-01-01] started\n[2024-01-02] ended",
    '{"id": 5, "text": "no"}\n{"id": 6, "text": "yes"}',
    "1 2 3\n4 5 6",
    "a great film\t1\na poor film\t0",
    "42",
    "",
    "one\ntwo\nthree",
  ])
    assert.ok(!looksLikeCounts(text, false, vocabulary), text);
  for (const text of ["[1, 2, 3]", '{"0": 5, "1": 2}', '{"0": 5}', "1\n2\n3", "0,5\n1,nan\n2,5"])
    assert.ok(looksLikeCounts(text, false, vocabulary), text);
  assert.ok(looksLikeCounts("0\t5\n1\t7\n2", true, vocabulary), "a line that is cut is not looked at");
  const long = `${"0 1\n".repeat(9000)}`;
  assert.ok(await holdsCounts(new Blob([long]), vocabulary));
  const read = await readCounts(new Blob(["\ufeffid,count\n0,2\n1,0\n2,0.5"]), "c.csv", vocabulary);
  assert.deepEqual([...read.counts], [2, 0, 0.5, 0, 0, 0]);
  assert.deepEqual([read.name, read.n_tokens, read.n_distinct, read.n_cut], ["c.csv", 2.5, 2, 0]);
});

const close = (a: number, b: number) => assert.ok(Math.abs(a - b) < 1e-6, `${a}, not ${b}`);

test("correlations: linear, by rank with ties, without what is no number", () => {
  const line = correlationOf([1, 2, 3, 4], [2, 4, 6, 8]);
  close(line.pearson, 1);
  close(line.spearman, 1);
  // By hand: ranks 0.5, 0.5, 2, 3 and 3, 2, 1, 0.
  const tied = correlationOf([1, 1, 5, 100, NaN, 7], [9, 8, 7, 0, 3, Infinity]);
  close(tied.spearman, -4.5 / Math.sqrt(4.5 * 5));
  close(tied.pearson, -0.9857493);
  assert.equal(tied.n, 4);
  assert.ok(Number.isNaN(correlationOf([1, 1], [1, 2]).pearson));
  close(cosineOf([1, 0], [1, 1]), Math.SQRT1_2);
});

/** wte of three channels, and what gives its rows. */
const wte = [
  [3, 4, 0],
  [0, 2, 0],
  [0, 0, 0],
  [1, 1, 1],
];
const rows = async (ids: Uint32Array) => Float32Array.from([...ids].flatMap((id) => wte[id % 4]));

test("overlap with the heavy channels, and the space vector", async () => {
  const found = await overlapOf(Uint8Array.of(1, 0, 1), (id) => id === 1 || id === 3, 4, rows, {});
  [9 / 25, 0, NaN, 2 / 3].forEach((share, id) =>
    Number.isNaN(share) ? assert.ok(Number.isNaN(found.shares[id])) : close(found.shares[id], share),
  );
  assert.deepEqual([...found.mean], [1, 7 / 4, 1 / 4]);
  assert.deepEqual([...found.space], [0.5 - 1.5, 1.5 - 2, 0.5]);
  assert.equal(found.n_spaced, 2);
});

test("rows go by in pieces that the engine gives, with progress", async () => {
  const [sizes, done]: number[][] = [[], []];
  const n = 4096 * 2 + 5;
  const distances = await distancesToMean(
    Float32Array.of(0, 0, 0),
    n,
    (ids) => {
      sizes.push(ids.length);
      return rows(ids);
    },
    { onProgress: (progress) => done.push(progress.done) },
  );
  assert.deepEqual(sizes, [4096, 4096, 5]);
  assert.equal(done.at(-1), 1);
  assert.deepEqual([...distances.subarray(0, 3), distances[n - 1]], [5, 2, 0, 5]);
});

test("components by their tokens, and tokens by their components", () => {
  // Two components of four tokens.
  const tokens = Float32Array.of(0, 3, 3, 1, 2, 0, 4, 0);
  const startsWithSpace = (id: number) => id === 2;
  const [first, second] = componentsOf(tokens, { n: 2, k: 2, squares: 100, startsWithSpace });
  // The lower id of equals is first, and a loading of 0 is none.
  assert.deepEqual(first.tokens, [
    { id: 1, loading: 3 },
    { id: 2, loading: 3 },
  ]);
  assert.deepEqual(second.tokens, [
    { id: 2, loading: 4 },
    { id: 0, loading: 2 },
  ]);
  assert.deepEqual([first.share, first.n_strongest, first.n_spaced], [0.19, 2, 0]);
  assert.deepEqual([second.share, second.n_strongest, second.n_spaced], [0.2, 2, 1]);
  assert.deepEqual(partsOf(tokens, 2, 2, 5), [
    { component: 1, loading: 4 },
    { component: 0, loading: 3 },
  ]);
  assert.deepEqual(partsOf(tokens, 2, 1, 5), [{ component: 0, loading: 3 }]);
});
