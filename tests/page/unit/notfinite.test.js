// @ts-check
/** Cells whose logits are not finite have no tokens, no ranks and no agreement, wherever the page looks. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { decisionsOf } from "../../../www/decisions.js";
import { linesOf } from "../../../www/filters.js";
import { entry } from "../../../www/findings.js";
import { keptOf } from "../../../www/kept.js";
import { defaultIds, linesFrom, measured } from "../../../www/paths.js";
import { topOfColumn } from "../../../www/quantities.js";
import { NO_TOKEN, agrees, candidates, guessIsRight, statAt, topToken } from "../../../www/reading.js";
import { spokenCell } from "../../../www/strip.js";
import { csvOf, jsonOf } from "../../../www/tables.js";
import { viewNamed } from "../../../www/views.js";
import { madeUp } from "./readings.js";

const TAPS = ["input", "h.0", "h.1"];
/** From row h.0 on the first position is not finite. @param {number} tap @param {number} position */
const isBad = (tap, position) => position === 0 && tap > 0;
const reading = madeUp({
  taps: TAPS,
  ids: [0, 1],
  tops: (tap, position) => (isBad(tap, position) ? [NO_TOKEN, NO_TOKEN] : [1, 2]),
  stat: (name, tap, position) => (isBad(tap, position) ? (name.startsWith("rank_") ? 0 : NaN) : 2),
});
reading.not_finite = [{ tap: "h.0", position: 0 }, { tap: "h.1", position: 0 }];
const cell = { tap: 1, position: 0 };

test("such a cell says what it is, and nothing else", () => {
  const printing = { prints: /** @type {const} */ ("both"), words_only: false, hide_prompt: false };
  assert.deepEqual(linesOf(reading, null, cell, printing, viewNamed("probability"), NaN, 2), ["NaN", "–"]);
  assert.equal(topToken(reading, cell).shown, "NaN");
  assert.deepEqual(candidates(reading, cell), []);
  assert.equal(spokenCell(/** @type {any} */ ({ reading, comparison: null }), cell, false), "h.0, position 0, token ␣the: top-1 NaN, –, rank of final –");
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
  assert.ok(Number.isNaN(measured("rank", { logit: [NaN], logprob: [NaN], rank: [0] }, 0)));
  const track = (/** @type {number[]} */ logprob) => /** @type {any} */ ({ logprob, logit: logprob, rank: logprob.map(() => 1) });
  const tracks = new Map([[3, track([-5, NaN])], [4, track([-1, NaN])], [5, track([NaN, -3])]]);
  assert.deepEqual(linesFrom(tracks, [], [3, 4, 5]).lines.map(({ ids }) => ids[0]), [4, 5, 3], "the likeliest first");
});

test("exports name the cells and have no number for them", () => {
  const origin = /** @type {any} */ ({ model: {}, adapter: {}, made_by: "a test" });
  const lines = csvOf(reading, origin).split("\r\n");
  const line = lines.find((each) => each.startsWith("h.0,0,")) ?? "";
  assert.ok(!line.includes(String(NO_TOKEN)) && !/nan/i.test(line), line);
  const json = JSON.parse(jsonOf(reading, origin));
  assert.deepEqual(json.not_finite, reading.not_finite);
  assert.deepEqual(json.top_ids[1][0], [null, null]);
  assert.equal(json.statistics.entropy[1][0], null);
});
