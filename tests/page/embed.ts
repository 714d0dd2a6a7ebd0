/** The README's example, type-checked against the declarations that dist/loupe/ ships (never run). */
import init, { Loupe, type Token } from "../../dist/loupe/loupe.js";

await init();
const loupe: Loupe = await Loupe.open();
const file = (name: string) => fetch(`models/tales/${name}`);
await loupe.load({
  config: await (await file("config.json")).text(),
  tokenizer: null,
  weights: (await file("model.safetensors")).body!,
  precision: "f16",
  onProgress: ({ received, total, tensor }) => console.log(received / (total ?? Infinity), tensor),
});
const reading = await loupe.read("Once upon a time", { norm: "affine", top_k: 10, track: [11] });
const tokens: Token[] = reading.tokens;
const kl: Float32Array = reading.stat("kl_final");
const [line] = await reading.trace([11, 262], { position: tokens.length - 1 });
console.log(kl.length, line.logprob.length, reading.tracked(11).rank[0]);

const other = await loupe.read("Once upon a hill");
const edited = await loupe.read("Once upon a time", {
  edits: [
    { at: "h.5", positions: [3], from: { reading: other } },
    { at: "h.3.attn_out", head: 2, to: "zero" },
    { at: "h.4", add: new Float32Array(192), scale: 2 },
    { weights: "h.1.ln_2", channel: 138, scale: 0 },
    { weights: "wpe", smooth: 2 },
  ],
});
const swept = await loupe.sweep({
  clean: reading,
  corrupt: other,
  what: "stream",
  metric: { plus: 11, minus: 262 },
});
const { components, sum, shown } = await edited.attribute({ tap: "h.7", position: 3, tokens: [11, 262] });
console.log(edited.edits.length, swept.values.length, swept.columns, components[0].name, sum - shown);

// @ts-expect-error: an edit that does nothing
await loupe.read("Once", { edits: [{ at: "h.5" }] });
// @ts-expect-error: a sweep of nothing
await loupe.sweep({ clean: reading, corrupt: other, metric: { plus: 11, minus: 262 } });
// @ts-expect-error: an option that does not exist
await loupe.read("Once", { topk: 3 });
// @ts-expect-error: a statistic that does not exist
reading.stat("kl");
// @ts-expect-error: a trace along nothing
await reading.trace([11], {});
