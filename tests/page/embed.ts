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

// @ts-expect-error: an option that does not exist
await loupe.read("Once", { topk: 3 });
// @ts-expect-error: a statistic that does not exist
reading.stat("kl");
// @ts-expect-error: a trace along nothing
await reading.trace([11], {});
