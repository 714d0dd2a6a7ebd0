// @ts-check
/**
 * Times readings of a model on the CPU and on WebGPU in headless Chromium, in turns in one page:
 * `node benches/devices.mjs MODEL TOKENS [cpu|gpu …]`, with a folder that has config.json and model.safetensors, or with
 * `L,C,V` for random weights of a GPT-2 with so many blocks, channels and tokens.
 */
import { createServer } from "node:http";
import { chromium } from "@playwright/test";
import sirv from "sirv";
import { createJiti } from "jiti";

const { default: config } = await createJiti(import.meta.url).import("../playwright.config.ts");

const RUNS = 7;
const [model, n_tokens, ...given] = process.argv.slice(2);
const devices = given.length > 0 ? given : ["cpu", "gpu"];

/** @param {number[]} values */
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

const shape = /^\d+,\d+,\d+$/.test(model) ? model.split(",").map(Number) : null;
const folders = new Map([
  ["model", sirv(shape ? "." : model, { dev: true })],
  ["loupe", sirv("dist/loupe", { dev: true })],
]);
const server = createServer((request, response) => {
  const [, name, ...rest] = (request.url ?? "").split("/");
  const serve = folders.get(name);
  if (!serve) return response.setHeader("Content-Type", "text/html").end("<!doctype html>");
  request.url = `/${rest.join("/")}`;
  serve(request, response, () => response.writeHead(404).end());
});
await new Promise((done) => server.listen(0, "127.0.0.1", () => done(undefined)));
const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
const browser = await chromium.launch(config.use?.launchOptions);
try {
  const page = await browser.newPage();
  await page.goto(`http://127.0.0.1:${port}/`);
  const found = await page.evaluate(
    async ({ devices, n_tokens, runs, shape }) => {
      /**
       * config.json and the file of a random GPT-2 in f16.
       * @param {number[]} shape
       */
      function random([n_layer, c, v]) {
        const n_ctx = 256;
        const block = (/** @type {number} */ i) => ({
          [`h.${i}.ln_1.weight`]: [c],
          [`h.${i}.ln_1.bias`]: [c],
          [`h.${i}.attn.c_attn.weight`]: [c, 3 * c],
          [`h.${i}.attn.c_attn.bias`]: [3 * c],
          [`h.${i}.attn.c_proj.weight`]: [c, c],
          [`h.${i}.attn.c_proj.bias`]: [c],
          [`h.${i}.ln_2.weight`]: [c],
          [`h.${i}.ln_2.bias`]: [c],
          [`h.${i}.mlp.c_fc.weight`]: [c, 4 * c],
          [`h.${i}.mlp.c_fc.bias`]: [4 * c],
          [`h.${i}.mlp.c_proj.weight`]: [4 * c, c],
          [`h.${i}.mlp.c_proj.bias`]: [c],
        });
        const shapes = Object.assign(
          { "wte.weight": [v, c], "wpe.weight": [n_ctx, c], "ln_f.weight": [c], "ln_f.bias": [c] },
          ...Array.from({ length: n_layer }, (_, i) => block(i)),
        );
        /** @type {Record<string, object>} */
        const header = {};
        let end = 0;
        for (const [name, shape] of Object.entries(shapes)) {
          const start = end;
          end += 2 * shape.reduce((/** @type {number} */ a, /** @type {number} */ b) => a * b, 1);
          header[name] = { dtype: "F16", shape, data_offsets: [start, end] };
        }
        const json = new TextEncoder().encode(JSON.stringify(header));
        const bytes = new Uint8Array(8 + json.length + end);
        new DataView(bytes.buffer).setUint32(0, json.length, true);
        bytes.set(json, 8);
        const view = new DataView(bytes.buffer, 8 + json.length);
        // Halves of both signs between 2^-6 and 2^-5.
        for (let i = 0, x = 1; i < end; i += 2) {
          x = (x * 48271) % 2147483647;
          view.setUint16(i, 0x2400 | (x & 0x83ff), true);
        }
        const names = { n_layer, n_embd: c, vocab_size: v, n_head: c / 64, n_ctx, n_positions: n_ctx };
        return { config: JSON.stringify({ model_type: "gpt2", layer_norm_epsilon: 1e-5, ...names }), bytes };
      }
      const made = shape && random(shape);

      // The address is the server's, not a file's.
      const address = "/loupe/loupe.js";
      const { default: init, Loupe } = await import(address);
      const wasm = await init();
      const config = made ? made.config : await (await fetch("/model/config.json")).text();
      const { vocab_size } = JSON.parse(config);
      const loupes = [];
      for (const device of devices) {
        const loupe = await Loupe.open({ device });
        const weights = made ? new Blob([made.bytes]).stream() : (await fetch("/model/model.safetensors")).body;
        await loupe.load({ config, weights });
        loupes.push(loupe);
      }
      const times = devices.map(() => /** @type {number[]} */ ([]));
      let next = 1;
      // In turns, and forth and back, so that a slow minute favours neither. The first round is not counted.
      for (let run = 0; run <= runs; run++) {
        const order = loupes.map((_, i) => (run % 2 ? loupes.length - 1 - i : i));
        for (const i of order) {
          // Other tokens each time, so that nothing is reused.
          const ids = Uint32Array.from({ length: n_tokens }, () => (next = (next * 48271) % 2147483647) % vocab_size);
          const start = performance.now();
          (await loupes[i].read(ids)).free();
          if (run > 0) times[i].push(performance.now() - start);
        }
      }
      return { times, wasm_bytes: wasm.memory.buffer.byteLength };
    },
    { devices, n_tokens: Number(n_tokens), runs: RUNS, shape },
  );
  console.log(`chromium ${browser.version()}, T=${n_tokens}, median of ${RUNS} (least to most)`);
  for (const [i, times] of found.times.entries())
    console.log(
      `${devices[i]}: ${median(times).toFixed(0)} ms (${Math.min(...times).toFixed(0)} to ${Math.max(...times).toFixed(0)})`,
    );
  console.log(`WebAssembly memory: ${(found.wasm_bytes / 1e6).toFixed(0)} MB`);
} finally {
  await browser.close();
  server.close();
}
