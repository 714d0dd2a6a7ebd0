/** Cells whose logits are not finite have no tokens, no ranks and no agreement, wherever the page looks. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { decisionsOf } from "../../../www/reading/settling.ts";
import { linesOf } from "../../../www/reading/cell-text.ts";
import { entry } from "../../../www/reading/findings.ts";
import { keptOf } from "../../../www/reading/retention.ts";
import { defaultIds, linesFrom, measured } from "../../../www/reading/trajectories.ts";
import { topOfColumn } from "../../../www/reading/derived.ts";
import { NO_TOKEN, agrees, candidates, guessIsRight, statAt, topToken } from "../../../www/reading/reading.ts";
import { spokenCell } from "../../../www/lens/figure/cell-facts.ts";
import { csvOf, jsonOf } from "../../../www/export/tables.ts";
import { viewNamed } from "../../../www/reading/views.ts";
import { madeUp } from "./readings.ts";

const TAPS = ["input", "h.0", "h.1"];
/** From row h.0 on the first position is not finite. */
const isBad = (tap: number, position: number) => position === 0 && tap > 0;
const reading = madeUp({
  taps: TAPS,
  ids: [0, 1],
  tops: (tap, position) => (isBad(tap, position) ? [NO_TOKEN, NO_TOKEN] : [1, 2]),
  stat: (name, tap, position) => (isBad(tap, position) ? (name.startsWith("rank_") ? 0 : NaN) : 2),
});
reading.not_finite = [
  { tap: "h.0", position: 0 },
  { tap: "h.1", position: 0 },
];
const cell = { tap: 1, position: 0 };

test("such a cell says what it is, and nothing else", () => {
  const printing = { prints: "both" as const, words_only: false, hide_prompt: false };
  assert.deepEqual(linesOf(reading, null, cell, printing, viewNamed("probability"), NaN, 2), ["NaN", "–"]);
  assert.equal(topToken(reading, cell).shown, "NaN");
  assert.deepEqual(candidates(reading, cell), []);
  assert.equal(
    spokenCell({ reading, comparison: null } as any, cell, false),
    "h.0, position 0, token ␣the: top-1 NaN, –, rank of final –",
  );
});

test("it agrees with nothing, not even with another one, and has no rank", () => {
  assert.equal(agrees(reading, cell), false);
  assert.equal(agrees(reading, { tap: 2, position: 0 }), false);
  assert.equal(agrees(reading, { tap: 1, position: 1 }), true);
  assert.equal(guessIsRight(reading, 0), false);
  assert.ok(Number.isNaN(statAt(reading, "rank_final", cell)));
  assert.equal(statAt(reading, "rank_final", { tap: 0, position: 0 }), 2);
  assert.deepEqual(decisionsOf(reading)[0], { first: 2, settled: 2 });
  assert.equal(entry(reading, [1, NaN, NaN]), "does not stay in the top 10 up to the final row");
  const ranks = keptOf(reading).map(({ kept }) => Math.round(1000 * kept) / 1000);
  assert.deepEqual(ranks, [NaN, 2], "the first token has no finite row but the input");
});

test("trajectories leave it out", () => {
  assert.deepEqual(topOfColumn(reading, 0), [1]);
  assert.deepEqual(defaultIds(reading, { tap: 1, position: 0 }, "positions"), [1]);
  assert.ok(
    Number.isNaN(
      measured("rank", { logit: Float32Array.of(NaN), logprob: Float32Array.of(NaN), rank: Float32Array.of(0) }, 0),
    ),
  );
  const track = (logprob: number[]) => ({ logprob, logit: logprob, rank: logprob.map(() => 1) }) as any;
  const tracks = new Map([
    [3, track([-5, NaN])],
    [4, track([-1, NaN])],
    [5, track([NaN, -3])],
  ]);
  assert.deepEqual(
    linesFrom(tracks, [], [3, 4, 5]).lines.map(({ ids }) => ids[0]),
    [4, 5, 3],
    "the likeliest first",
  );
});

test("exports name the cells and have no number for them", () => {
  const origin = { model: {}, adapter: {}, made_by: "a test" } as any;
  const lines = csvOf(reading, origin).split("\r\n");
  const line = lines.find((each) => each.startsWith("h.0,0,")) ?? "";
  assert.ok(!line.includes(String(NO_TOKEN)) && !/nan/i.test(line), line);
  const json = JSON.parse(jsonOf(reading, origin));
  assert.deepEqual(json.not_finite, reading.not_finite);
  assert.deepEqual(json.top_ids[1][0], [null, null]);
  assert.equal(json.statistics.entropy[1][0], null);
});
