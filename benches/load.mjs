// @ts-check
/**
 * Times the load of a model of GPT-2's shape and the channel statistics of its atlas in headless Chromium, as
 * ratios between builds of the engine: `node benches/load.mjs MODEL ENGINE…`, with a folder that
 * `cargo xtask synth` wrote and folders with loupe.js.
 */
import { createServer } from "node:http";
import { chromium } from "@playwright/test";
import sirv from "sirv";
import { createJiti } from "jiti";

const { default: config } = await createJiti(import.meta.url).import("../playwright.config.ts");

const RUNS = 5;
const [model, ...engines] = process.argv.slice(2);

/** @param {number[]} values */
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

// Each folder under its own path: /model/, /engine0/, …
const folders = new Map([["model", sirv(model, { dev: true })]]);
engines.forEach((folder, i) => folders.set(`engine${i}`, sirv(folder, { dev: true })));
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
const times = engines.map(() => ({ load: /** @type {number[]} */ ([]), channels: /** @type {number[]} */ ([]) }));
try {
  // The builds take turns, so that a slow minute of the machine does not favour one of them.
  for (let run = 0; run < RUNS; run++) {
    for (const [i, found] of times.entries()) {
      const page = await browser.newPage();
      await page.goto(`http://127.0.0.1:${port}/`);
      const measured = await page.evaluate(async (engine) => {
        const { default: init, Loupe } = await import(`/${engine}/loupe.js`);
        await init();
        const loupe = await Loupe.open();
        const config = await (await fetch("/model/config.json")).text();
        const weights = (await fetch("/model/model.safetensors")).body;
        const start = performance.now();
        await loupe.load({ config, weights });
        const loaded = performance.now();
        await loupe.atlas().channels();
        return { load: loaded - start, channels: performance.now() - loaded };
      }, `engine${i}`);
      found.load.push(measured.load);
      found.channels.push(measured.channels);
      await page.close();
    }
  }
} finally {
  await browser.close();
  server.close();
}
console.log(`chromium ${browser.version()}, SwiftShader, median of ${RUNS}; in brackets, relative to the first build`);
const [first] = times;
for (const [i, { load, channels }] of times.entries()) {
  const column = (/** @type {number[]} */ values, /** @type {number[]} */ base) =>
    `${median(values).toFixed(0)} ms (${(median(values) / median(base)).toFixed(2)})`;
  console.log(`${engines[i]}: load ${column(load, first.load)}, channels ${column(channels, first.channels)}`);
}
