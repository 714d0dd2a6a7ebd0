/** What the page says about its examples is worked out, and follows the numbers. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { EXAMPLES } from "../../../www/reading/examples.ts";
import { entry, findingOf, positionsOf } from "../../../www/reading/findings.ts";
import { correlationOf } from "../../../www/lib/correlation.ts";
import { keptOf, occurrencesOf } from "../../../www/reading/retention.ts";
import { viewNamed, VIEWS } from "../../../www/reading/views.ts";
import { withCode } from "../../../www/lens/panels/control-codes.ts";
import { madeUp } from "./readings.ts";

const TAPS = ["input", "h.0", "h.1", "h.2"];
const example = (question: string) => EXAMPLES.find((each) => each.question === question) as any;

test("a token is in the top 10 from the row on from which it stays there", () => {
  const reading = madeUp({ taps: TAPS, ids: [0], tops: () => [0] });
  assert.equal(entry(reading, [3, 400, 10, 1]), "is in the top 10 from row h.1 on");
  assert.equal(entry(reading, [1, 1, 1, 11]), "does not stay in the top 10 up to the final row");
  assert.equal(entry(reading, [1, 2, 3, 4]), "is in the top 10 from row input on");
});

test("findings follow the reading", async () => {
  const none = async () => [];
  // The final guess is the next token at the first position only.
  const ids = [0, 1, 2, 1];
  const reading = madeUp({
    taps: TAPS,
    ids,
    tops: (tap, position) => (tap < 2 ? [5] : [[1, 3, 3, 2][position]]),
    stat: (name, tap, position) =>
      name === "rank_final"
        ? [900, 80, 7, 1][tap]
        : name === "prob_final"
          ? 0.25
          : name === "rank_input"
            ? 10 ** tap
            : -1 - position,
  });
  assert.match(
    await findingOf(example("passage"), reading, none),
    /right at 1 of 3 positions; half of the positions have settled by row h\.1;.*median rank of 80\./,
  );
  const copied = await findingOf(example("copied"), reading, none);
  assert.match(copied, /␣king \(25\.0 %\), which stands in the text: a copy; it is in the top 10 from row h\.1 on/);
  assert.match(
    await findingOf({ ...example("kept"), word: "old king" }, reading, none),
    /^␣old ␣king: the input token’s median rank is 10 at row h\.0 and 1,000 in the final row/,
  );
  const told = await findingOf({ ...example("told"), word: " king" }, reading, async (asked, position) => {
    assert.deepEqual([asked, position], [[2], 3]);
    return [
      {
        id: 2,
        logit: new Float32Array(4),
        logprob: Float32Array.of(-9, -9, -9, Math.log(0.5)),
        rank: Float32Array.of(99, 50, 20, 2),
      },
    ];
  });
  assert.match(told, /promised ␣king ends at rank 2 with 50\.0 %; it is in the top 10 from row h\.2 on/);
  assert.deepEqual(positionsOf(reading, "old king"), [1, 2]);
});

test("examples name views that exist, and their texts are distinct", () => {
  for (const { view } of EXAMPLES) assert.ok(VIEWS.includes(viewNamed(view)) && viewNamed(view).name === view);
  assert.equal(new Set(EXAMPLES.map(({ text }) => text)).size, EXAMPLES.length);
});

test("what is kept: occurrences, the typical rank, and a correlation that can be negative", () => {
  const reading = madeUp({
    taps: TAPS,
    ids: [4, 4, 9],
    tops: () => [0],
    stat: (_, tap, position) => (position === 2 ? 1 : 10 ** tap),
  });
  assert.deepEqual(occurrencesOf(reading), [
    { id: 4, positions: [0, 1] },
    { id: 9, positions: [2] },
  ]);
  const [four, nine] = keptOf(reading);
  assert.ok(Math.abs(four.kept - 100) < 1e-9 && Math.abs(nine.kept - 1) < 1e-9);
  assert.ok(Math.abs(correlationOf([1, 2, 3, 4], [9, 7, 5, 1]).spearman + 1) < 1e-12);
  assert.ok(Math.abs(correlationOf([1, 2, 2, 3], [1, 2, 2, 9]).spearman - 1) < 1e-12);
  assert.ok(Number.isNaN(correlationOf([1, 2], [5, 5]).spearman));
});

test("a control code replaces the one before it", () => {
  assert.equal(withCode("The sea", "Books"), "Books The sea");
  assert.equal(withCode("Books The sea", "Links"), "Links The sea");
  assert.equal(withCode("Books The sea", ""), "The sea");
});
