/** What the page reads of strangers' files, mutated: it is read or refused with a code, and never anything else. */
import assert from "node:assert/strict";
import { test } from "vitest";
import { codeOf } from "../../../www/engine/errors.ts";
import { FORMATS, formatOf, numbered, shardsOf } from "../../../www/sources/weights.ts";

const INDEX = JSON.stringify({
  metadata: { total_size: 548105171 },
  weight_map: { "wte.weight": "model-00001-of-00002.safetensors", "wpe.weight": "model-00002-of-00002.safetensors" },
});
const PIECES = [
  '"',
  "{",
  "}",
  "[",
  "]",
  ":",
  ",",
  "../",
  "/",
  "\\u0000",
  "null",
  "1e999",
  "__proto__",
  "weight_map",
  ".safetensors",
  "%2f",
  "é",
];
const N_MUTATIONS = 50_000;

/** Numbers that look random and are the same in every run. */
function noise(seed: number) {
  let state = seed;
  return (below: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const [SAFETENSORS, PYTORCH] = FORMATS;

test("a file's name tells its format, and its number how many there are", () => {
  for (const [name, format] of [
    ["model.safetensors", SAFETENSORS],
    ["pytorch_model.bin", PYTORCH],
    ["x.pt", PYTORCH],
    ["x.pth", PYTORCH],
    ["training_args.bin", null],
    ["optimizer.pt", null],
    ["rng_state_0.pth", null],
    ["tokenizer.json", null],
    ["x.bin.txt", null],
    // As browsers name a second download, and as people name files.
    ["model (1).safetensors", SAFETENSORS],
    ["größe.safetensors", SAFETENSORS],
    ["my model.bin", PYTORCH],
  ] as const)
    assert.equal(formatOf(name), format, name);
  const both = ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"];
  assert.deepEqual(numbered([both[1]]), both);
  assert.deepEqual(numbered(["a.bin", both[0]]), both);
  assert.deepEqual(numbered(["a.bin", "b.bin"]), ["a.bin", "b.bin"]);
  const index = JSON.stringify({ weight_map: { a: both[1], b: both[0] } });
  assert.deepEqual(shardsOf(index, "the index", PYTORCH), both);
  for (const name of ["../a.bin", "a/b.bin", "a b.bin", "a.safetensors"]) {
    assert.throws(
      () => shardsOf(JSON.stringify({ weight_map: { a: name } }), "the index", PYTORCH),
      /not an index of PyTorch files/,
      name,
    );
  }
  assert.throws(() => shardsOf(index, "the index", SAFETENSORS), /not an index of safetensors files/);
});

test("an index of shards names plain files beside it, or is refused", () => {
  assert.deepEqual(shardsOf(INDEX, "the index", SAFETENSORS), [
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
  ]);
  const next = noise(1);
  let n_read = 0;
  for (let i = 0; i < N_MUTATIONS; i++) {
    let text = INDEX;
    for (let n = 0; n <= next(4); n++) {
      const [at, length] = [next(text.length + 1), next(8)];
      text = text.slice(0, at) + PIECES[next(PIECES.length)] + text.slice(at + length);
    }
    try {
      const names = shardsOf(text, "the index", SAFETENSORS);
      n_read++;
      assert.ok(names.length > 0 && new Set(names).size === names.length);
      for (const name of names) assert.match(name, /^[^/\\%\0]+\.safetensors$/, text);
    } catch (error) {
      if ((error as Error).name === "AssertionError") throw error;
      assert.equal(codeOf(error), "bad-header", text);
    }
  }
  assert.ok(n_read > 100 && n_read < N_MUTATIONS, `${n_read} of ${N_MUTATIONS} were read`);
});
