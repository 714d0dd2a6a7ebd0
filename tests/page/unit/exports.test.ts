/** What leaves the page: the sheet as SVG, the tables, and hostile token text in all of them. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { figureSheetOf } from "../../../www/export/figure-sheet.ts";
import { pythonOf } from "../../../www/export/python.ts";
import { scaleOf } from "../../../www/reading/scales.ts";
import { escaped, svgOf } from "../../../www/graphics/svg.ts";
import { csvOf, jsonOf, quoted } from "../../../www/export/tables.ts";
import { VIEWS, viewNamed } from "../../../www/reading/views.ts";
import { madeUp } from "./readings.ts";

const TAPS = ["input", "h.0", "h.1"];
const reading = madeUp({
  taps: TAPS,
  ids: [7, 8, 0, 2],
  tops: (tap, position) => [(tap + position) % 10, 7],
  stat: (name, tap, position) => (name === "kl_final" ? 8 * (2 - tap) + position / 3 : position === 3 ? NaN : -1.5),
});
const origin = { made_by: "a test", model: { name: "made up", sha256: "ab".repeat(32) }, adapter: { vendor: "none" } };
const palette = { ink: "#000", muted: "#666", quiet: "#bbb", accent: "#b30", surface: "#fff" };
const view = viewNamed("kl_final");
const values = view.values(reading, []);
const shown = {
  reading,
  comparison: null,
  view,
  values,
  rows: [2, 1, 0],
  span: { start: 0, end: 4 },
  transposed: false,
  font: 1,
  palette,
  theme: "light" as const,
  scale: scaleOf(view, values, { limits: "own", from: null, to: null }),
  printing: { prints: "both" as const, words_only: false, hide_prompt: false },
};

test("an SVG has every cell, row and token as text, and markup in tokens stays text", () => {
  for (const transposed of [false, true]) {
    const sheet = figureSheetOf({ ...shown, transposed }, { frame_width: 300, words: ["<script>alert(1)</script>"] });
    const svg = svgOf(sheet.marks, { ...sheet, background: "#fff", cutText: ({ text }) => text });
    const texts = [...svg.matchAll(/<text [^>]*>([^<]*)<\/text>/g)].map(([, text]) => text);
    for (const tap of TAPS) assert.ok(texts.includes(tap), tap);
    for (const value of values) assert.ok(texts.includes(value.toFixed(value < 9.95 ? 2 : 1)), `${value} is printed`);
    assert.ok(texts.includes("&lt;b&gt;") && texts.includes("=cmd"));
    assert.ok(!/<script|<b>/.test(svg));
    assert.equal(texts.filter((text) => text.startsWith("KL(final ‖ row)")).length, 2, "title and legend");
    // Twelve cells, each a filled rectangle within the sheet.
    const cells = [
      ...svg.matchAll(/<rect x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)" rx="3" fill="rgb/g),
    ].map((match) => match.slice(1).map(Number));
    assert.equal(cells.length, 12);
    for (const [x, y, width, height] of cells)
      assert.ok(x >= 0 && y >= 0 && x + width <= sheet.width && y + height <= sheet.height);
  }
  assert.equal(
    escaped(`<img src=x onerror="a">&\u0000\ud800`),
    "&lt;img src=x onerror=&quot;a&quot;&gt;&amp;\ufffd\ufffd",
  );
});

test("CSV: one line per cell, notes before it, no formula", () => {
  const lines = csvOf(reading, origin).split("\r\n");
  const notes = lines.filter((line) => line.startsWith("# "));
  assert.ok(
    notes.includes(`# sha256: ${"ab".repeat(32)}`) &&
      notes.includes("# norm: affine") &&
      notes.includes("# adapter_vendor: none"),
  );
  const [head, ...cells] = lines.slice(notes.length, -1);
  assert.equal(cells.length, 12);
  const column = head.split(",").indexOf("kl_final");
  assert.equal(Number(cells[5].split(",")[column]), Number(values[5].toPrecision(9)));
  assert.ok(cells[1].includes(`"'=cmd"`));
  assert.ok(cells[0].includes(`"<b>"`));
  assert.deepEqual(["=1", "+1", "-1", "@a", " =1", "\t=1", '"', "a"].map(quoted), [
    `"'=1"`,
    `"'+1"`,
    `"'-1"`,
    `"'@a"`,
    `"' =1"`,
    `"'\t=1"`,
    `""""`,
    `"a"`,
  ]);
});

test("JSON brings back every number", () => {
  const read = JSON.parse(jsonOf(reading, origin));
  assert.deepEqual(read.statistics.kl_final.flat().map(Math.fround), [...values]);
  assert.deepEqual(read.top_ids.flat(2), [...reading.top_ids]);
  assert.equal(read.statistics.logprob_next[0][3], null);
  assert.equal(read.model.sha256.length, 64);
  assert.deepEqual(read.rows, TAPS);
});

test("the Python script knows every view, norm and decoder", () => {
  for (const { name } of VIEWS.filter(({ between }) => !between))
    assert.ok(!pythonOf(reading, name, [1], { family: "gpt2", source: "gpt2" }).includes("undefined"), name);
  const other = { ...reading, asked: { ...reading.asked, norm: "plain" as const, decoder: ["h.0.mlp", "h.1"] } };
  for (const family of ["gpt2", "gpt_neo", "ctrl"]) {
    const script = pythonOf(other, "kl_final", [], { family, source: `"""; import os` });
    assert.ok(script.includes("blocks[0]") && script.includes("blocks[1]") && !script.includes("undefined"));
    assert.ok(script.includes(JSON.stringify(`"""; import os`)));
  }
});
