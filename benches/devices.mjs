// @ts-check
/**
 * Times readings of a model on the CPU and on WebGPU in headless Chromium, in turns in one page:
 * `node benches/devices.mjs MODEL TOKENS [cpu|gpu …]`, with a folder that has config.json and model.safetensors.
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

const folders = new Map([
  ["model", sirv(model, { dev: true })],
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
    async ({ devices, n_tokens, runs }) => {
      // The address is the server's, not a file's.
      const address = "/loupe/loupe.js";
      const { default: init, Loupe } = await import(address);
      const wasm = await init();
      const config = await (await fetch("/model/config.json")).text();
      const { vocab_size } = JSON.parse(config);
      const loupes = [];
      for (const device of devices) {
        const loupe = await Loupe.open({ device });
        await loupe.load({ config, weights: (await fetch("/model/model.safetensors")).body });
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
    { devices, n_tokens: Number(n_tokens), runs: RUNS },
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
