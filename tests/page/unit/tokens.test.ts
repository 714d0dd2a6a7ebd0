/** The pure modules behind the atlas' views of tokens: orders, axes, groups, lengths, counts. */
import assert from "node:assert/strict";
import { test } from "vitest";
import {
  cellAt,
  fitted,
  isWhole,
  panned,
  placeOf,
  rates,
  resized,
  seen,
  windowed,
  zoomed,
} from "../../../www/atlas/matrix/axis.ts";
import {
  bytesOf,
  groupOf,
  isBytes,
  isSpaceAdded,
  returnsBytes,
  straysOf,
} from "../../../www/atlas/stats/returned-tokens.ts";
import { aboutText, flopOf, flopText, rowsFor, stepFor } from "../../../www/atlas/stats/cost.ts";
import { countTokens, cutOf, piecesOf } from "../../../www/atlas/token-counts.ts";
import { densest } from "../../../www/atlas/stats/densest.ts";
import { pixelsOf } from "../../../www/atlas/matrix/frame.ts";
import {
  NOTHING,
  central,
  fit,
  isAll,
  middleOf,
  panBy,
  partOf,
  placeAt,
  reveal,
  stepFrom,
  toPart,
  whole,
  zoomAt,
} from "../../../www/atlas/matrix/viewport.ts";
import { lengthQuestion } from "../../../www/atlas/stats/norm-question.ts";
import { logTicks } from "../../../www/graphics/log-ticks.ts";
import { coarser, descending, parseIndices, samplesOf, strideFor } from "../../../www/atlas/stats/orders.ts";
import { positionProblem, settingWords } from "../../../www/atlas/stats/zero-layer-text.ts";
import { pickedCells, pickedWords } from "../../../www/lens/figure/legend-words.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

test("a token that does not return itself lost its space, is bytes, or is something else", () => {
  assert.equal(groupOf(bytes(" door"), bytes("door")), "space removed");
  assert.equal(groupOf(bytes("door"), bytes(" door")), "other");
  assert.ok(isSpaceAdded(bytes("door"), bytes(" door")));
  assert.equal(groupOf(bytes(" door"), bytes(" Door")), "other");
  assert.equal(groupOf(bytes(" "), bytes("")), "other", "nothing is left of a lone space");
  assert.equal(groupOf(Uint8Array.of(0xe2, 0x80), bytes(" the")), "bytes");
  assert.equal(groupOf(bytes(" the"), Uint8Array.of(0x99)), "other", "a word stays a word, whatever it returns");
  assert.ok(returnsBytes(bytes("0"), Uint8Array.of(0xf5)) && returnsBytes(bytes(" greatest"), Uint8Array.of(0xf5)));
  assert.ok(
    !returnsBytes(Uint8Array.of(0xf5), Uint8Array.of(0xe2)) &&
      !returnsBytes(bytes(" the"), bytes("the")) &&
      !returnsBytes(bytes(" \u0001"), bytes("\u0001")),
  );
  assert.equal(groupOf(Uint8Array.of(0x20, 0xe2), Uint8Array.of(0xe2)), "space removed");
  assert.ok(isBytes(Uint8Array.of(0x01)) && isBytes(Uint8Array.of(0x7f)));
  assert.ok(!isBytes(bytes("\n")) && !isBytes(bytes("é")) && !isBytes(bytes(" ")) && !isBytes(bytes("")));

  const vocabulary = { bytes: bytes("a bb a"), ends: Uint32Array.of(1, 3, 4, 6) };
  assert.deepEqual(
    Array.from({ length: 4 }, (_, id) => new TextDecoder().decode(bytesOf(vocabulary, id))),
    ["a", " b", "b", " a"],
  );
  const found = {
    argmax: Uint32Array.of(0, 2, 2, 1),
    logit: Float32Array.of(1, 2, 3, 4),
    self_logit: Float32Array.of(1, 1, 3, 2),
  };
  assert.deepEqual(
    straysOf(found, 1, vocabulary).map(({ id, returned, group, logit, self_logit }) => [
      id,
      returned,
      group,
      logit,
      self_logit,
    ]),
    [
      [1, 2, "space removed", 2, 1],
      [3, 1, "other", 4, 2],
    ],
  );
  const every_2nd = { argmax: Uint32Array.of(0, 1), logit: Float32Array.of(1, 2), self_logit: Float32Array.of(1, 1) };
  const not_finite = {
    argmax: Uint32Array.of(0xffffffff),
    logit: Float32Array.of(NaN),
    self_logit: Float32Array.of(NaN),
  };
  assert.deepEqual(straysOf(not_finite, 1, vocabulary), [], "a row that is not finite returns nothing");
  assert.deepEqual(
    straysOf(every_2nd, 2, vocabulary).map(({ id, returned }) => [id, returned]),
    [[2, 1]],
  );
});

test("the zero-layer model's setting in words, and positions that it has not", () => {
  assert.match(settingWords({ norm: "none", position: null }), /its row of wte, ln_f left out/);
  assert.match(
    settingWords({ norm: "affine", position: 3 }),
    /its row of wte \+ wpe of position 3, ln_f with gain and bias/,
  );
  assert.equal(positionProblem(null, 256), "");
  assert.equal(positionProblem("255", 256), "");
  for (const wrong of ["256", "9999", "-1", "1.5", "x"])
    assert.equal(positionProblem(wrong, 256), "This model has positions 0 to 255.");
  assert.equal(positionProblem("9999", 0), "", "a partial model may not say how many it has");
});

test("a log axis has 1, 2 and 5 of each decade, where there is room", () => {
  assert.deepEqual(logTicks(3, 120, 200), [5, 10, 20, 50, 100]);
  assert.deepEqual(logTicks(1e-3, 1e3, 200), [1e-3, 1e-2, 0.1, 1, 10, 100, 1e3]);
  assert.deepEqual(logTicks(2.5, 4.5, 200), [3, 4]);
  const px = (ratio: number, span: number) => (200 * Math.log(ratio)) / Math.log(span);
  for (const [low, high] of [
    [1, 8],
    [0.3, 900],
    [1e-9, 1e9],
    [40, 47],
  ]) {
    const ticks = logTicks(low, high, 200);
    assert.ok(ticks.length > 0);
    ticks.slice(1).forEach((tick, i) => assert.ok(px(tick / ticks[i], high / low) >= 14));
  }
});

test("the legend says in how many cells a selected token is first", () => {
  const reading = { n_tokens: 2, top_k: 2, top_ids: Uint32Array.of(7, 1, 8, 7, 9, 1, 7, 2) } as any;
  assert.equal(pickedCells(reading, [0, 1], new Set([7])), 2);
  assert.equal(pickedCells(reading, [1], new Set([7, 9])), 2);
  assert.equal(pickedCells(reading, [0, 1], new Set([1, 2])), 0, "second is not first");
  assert.equal(pickedWords(278, 0), "278 selected tokens, first in 0 cells of this reading");
  assert.equal(pickedWords(1, 1), "1 selected token, first in 1 cell of this reading");
});

test("orders: largest first, ranges as one writes them, strides that keep what is there", () => {
  assert.deepEqual([...descending([1, 3, 2, 3])], [1, 3, 2, 0]);
  assert.deepEqual([...parseIndices("2-4, #7 3 9–10, 99", 10)], [2, 3, 4, 7, 9]);
  assert.deepEqual([...parseIndices("no numbers", 10)], []);
  assert.deepEqual(
    [1000, 1400, 1500, 2001, 50_257].map((n) => strideFor(n, 1000)),
    [1, 1, 2, 2, 64],
  );
  assert.deepEqual(samplesOf(5, 13, 4), [4, 8, 12]);
  assert.deepEqual(samplesOf(0, 0, 4), []);
  const there = new Set([0, 8, 12]);
  const has = (place: number) => there.has(place);
  assert.deepEqual(
    [13, 11, 7].map((place) => coarser(place, 1, has)),
    [12, 8, 0],
  );
  assert.equal(
    coarser(3, 1, () => false),
    null,
  );
});

test("axes: zooming keeps the cell under the pointer, nothing lies beyond the ends", () => {
  const all = fitted(4096, 800, 40);
  assert.ok(isWhole(all));
  assert.deepEqual(seen(all), { start: 0, end: 4096 });
  const before = cellAt(all, 301);
  const near = zoomed(all, 17.3, 301);
  assert.equal(cellAt(near, 301), before);
  assert.ok(Math.abs(placeOf(near, Number(before)) - 301) < near.size);
  assert.deepEqual(seen(panned(near, 1e9)).start, 0);
  assert.deepEqual(seen(panned(near, -1e9)).end, 4096);
  assert.equal(zoomed(all, 1e9, 0).size, 40);
  assert.ok(isWhole(zoomed(near, 1e-9, 5)));
  assert.deepEqual(seen(windowed(all, 100, 200)), { start: 100, end: 200 });
  const wider = resized(windowed(all, 100, 200), 1200);
  assert.deepEqual(seen(wider), { start: 100, end: 200 });
  assert.equal(cellAt(all, -1), null);
  assert.equal(cellAt(fitted(3, 300, 40), 299), 2, "few cells fill the picture");
  const [tokens, channels] = rates(fitted(50_257, 800, 40), fitted(768, 500, 20));
  assert.equal(tokens, 1);
  assert.ok(channels > 0.3 && channels < 1);
});

test("the matrix' window: a cell is found where it stands, however far one zooms, both ways round", () => {
  for (const transposed of [false, true]) {
    const all = fit(NOTHING, { transposed, width: 800, height: 500, n_tokens: 4096, n_channels: 192 });
    assert.ok(isAll(all));
    assert.deepEqual(partOf(all), { tokens: [0, 4096], channels: [0, 192] });
    const aim = middleOf(all, { token: 1600, channel: 77 });
    const near = zoomAt(all, 40, aim);
    assert.ok(!isAll(near));
    for (const place of [{ token: 1600, channel: 77 }, central(near)]) {
      const found = placeAt(near, ...middleOf(near, place));
      assert.ok(
        found && Math.abs(found.token - place.token) < 8 && found.channel === place.channel,
        JSON.stringify({ place, found }),
      );
    }
    const part = toPart(all, { tokens: [100, 115], channels: [20, 40] });
    for (const place of [
      { token: 101, channel: 22 },
      { token: 112, channel: 37 },
    ])
      assert.deepEqual(placeAt(part, ...middleOf(part, place)), place);
    const on = stepFrom(part, { token: 101, channel: 22 }, 1, 0);
    assert.deepEqual(on, transposed ? { token: 101, channel: 23 } : { token: 102, channel: 22 });
    assert.deepEqual(stepFrom(part, { token: 4095, channel: 191 }, 1, 1), { token: 4095, channel: 191 });
    const far = reveal(part, { token: 900, channel: 150 });
    const [x, y] = middleOf(far, { token: 900, channel: 150 });
    assert.ok(x > 0 && x < 800 && y > 0 && y < 500);
    assert.ok(isAll(whole(panBy(part, -300, 40))));
    // Beside the grid only one of the two zooms.
    const left = zoomAt(all, 4, [5, 200]);
    assert.deepEqual(partOf(left)[transposed ? "channels" : "tokens"], partOf(all)[transposed ? "channels" : "tokens"]);
    assert.equal(placeAt(all, 2, 200), null);
  }
});

test("the matrix' pixels: orange below zero, blue above, coarser tokens stand in for those to come", () => {
  const rows = new Map([
    [0, Float32Array.of(-1, 0, 1)],
    [2, Float32Array.of(0.5, -0.5, 0.1)],
  ]);
  const window = fit(NOTHING, { transposed: false, width: 300, height: 300, n_tokens: 4, n_channels: 3 });
  const order = Uint32Array.of(0, 1, 2, 3);
  const palette = { ink: "", muted: "", quiet: "", accent: "", surface: "" };
  const { width, height, pixels } = pixelsOf({
    ...window,
    token_order: order,
    channel_order: Uint32Array.of(2, 1, 0),
    row: (id) => rows.get(id),
    limit: 1,
    theme: "light",
    palette,
    shown: String,
    tokenTick: String,
    channelTick: String,
    token_title: "",
    channel_title: "",
    token_marks: [],
    channel_mark: null,
    cursor: null,
  });
  assert.deepEqual([width, height], [4, 3]);
  const signs = Array.from(pixels, (colour) => Math.sign(((colour >> 16) & 255) - (colour & 255)));
  assert.deepEqual(
    signs.slice(0, 4),
    [1, 1, signs[2], signs[2]],
    "channel 2: token 1 is stood in for by token 0, token 3 by token 2",
  );
  assert.deepEqual(signs.slice(8), [-1, -1, 1, 1]);
});

test("the length question: what a constant cosine cannot explain", () => {
  const n = 400;
  const norms = Float64Array.from({ length: n }, (_, i) => 1 + i / 100);
  // All at cosine 0.5 or near it, but the four longest at 0.9.
  const projections = norms.map((norm, i) => norm * (i >= n - 4 ? 0.9 : 0.5 + 0.01 * Math.sin(i)));
  const answer = lengthQuestion(projections, norms, 4);
  assert.deepEqual(answer.longest.ids, [399, 398, 397, 396]);
  assert.deepEqual(answer.shortest.ids, [0, 1, 2, 3]);
  assert.ok(Math.abs(answer.longest.mean - 0.9) < 1e-9);
  assert.ok(Math.abs(answer.median - 0.5) < 0.01 && answer.low < answer.mean && answer.mean < answer.high);
  assert.deepEqual([answer.longest.n_outside, answer.shortest.n_outside], [4, 0]);
  assert.equal(lengthQuestion([1, 1, 1], [1, 2, 3], 50).longest.ids.length, 1);
});

test("counts: a text cut into pieces gives the tokens of the whole", async () => {
  assert.deepEqual(cutOf("one two  three", 12), { at: 3, is_clean: true });
  assert.deepEqual(cutOf("unbroken".repeat(10), 20), { at: 20, is_clean: false });
  assert.equal(cutOf("👑".repeat(10), 5).at, 4, "a character stays whole");
  assert.deepEqual(cutOf("word  ", 5).is_clean, false, "what follows the last space is not known yet");

  // A stand-in for the tokenizer: a word with its space is one token, by its length.
  const encode = async (text: string) => (text.match(/ ?\S+|\s+(?!\S)|\s+/g) ?? []).map((word) => word.length);
  const text = `${"The old king sat by the fire, é 👑  and said\nnothing at all. ".repeat(40)}end`;
  const n_vocabulary = 64;
  const how = { n_vocabulary, encode, signal: new AbortController().signal, onProgress: () => {} };
  const pieces = [];
  for await (const piece of piecesOf(new Blob([text]), 50)) pieces.push(piece.text);
  assert.equal(pieces.join(""), text);
  assert.ok(pieces.length > 30 && pieces.every((piece) => piece.length <= 51));
  const counted = await countTokens(new Blob([text]), "a text", { ...how, piece_chars: 50 });
  const counts = new Uint32Array(n_vocabulary);
  for (const id of await encode(text)) counts[id]++;
  assert.deepEqual(counted.counts, counts);
  assert.equal(counted.n_cut, 0);
  assert.equal(counted.n_tokens, (await encode(text)).length);
  assert.equal((await countTokens(new Blob([""]), "nothing", how)).n_tokens, 0);
  const stop = new AbortController();
  stop.abort();
  await assert.rejects(countTokens(new Blob([text]), "a text", { ...how, signal: stop.signal }), { code: "aborted" });
});

test("what the zero-layer model costs", () => {
  assert.equal(flopText(flopOf(50_257, 768)), "3.9 TFLOP");
  assert.equal(flopText(flopOf(4096, 192)), "6.4 GFLOP");
  assert.equal(rowsFor(4096, stepFor(4096)), 64);
  assert.equal(rowsFor(50_257, 64), 786);
  assert.equal(stepFor(10), 1);
  assert.deepEqual([400, 4200, 33_000, 1_800_000, 9_000_000].map(aboutText), [
    "less than a second",
    "about 5 s",
    "about 35 s",
    "about 30 minutes",
    "about 2.5 hours",
  ]);
});

test("the densest place of a cloud", () => {
  const spread = Array.from({ length: 2000 }, (_, i) => [(i * 0.618) % 1, (i * 0.414) % 1]);
  const clump = Array.from({ length: 60 }, (_, i) => [0.2 + (i % 8) * 1e-3, 0.8 + (i % 7) * 1e-3]);
  const points = [...spread, ...clump, [50, 50]];
  const { x, y, n } = densest(
    points.map(([x]) => x),
    points.map(([, y]) => y),
  );
  assert.ok(x[0] < 0.2 && x[1] > 0.207 && y[0] < 0.8 && y[1] > 0.806);
  assert.ok(n >= 60 && n < 90);
});
