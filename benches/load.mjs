// @ts-check
/**
 * Times the load of a model of GPT-2's shape and the channel statistics of its atlas in headless Chromium, as
 * ratios between builds of the engine: `node benches/load.mjs MODEL ENGINE…`, with a folder that
 * `cargo xtask synth` wrote and folders with loupe.js.
 */
import { median, served } from "./common/served.mjs";

const RUNS = 5;
const [model, ...engines] = process.argv.slice(2);

// Each folder under its own path: /model/, /engine0/, …
const engine_folders = Object.fromEntries(engines.map((folder, i) => [`engine${i}`, folder]));
const { browser, address, close } = await served({ model, ...engine_folders });
const times = engines.map(() => ({ load: /** @type {number[]} */ ([]), channels: /** @type {number[]} */ ([]) }));
try {
  // The builds take turns, so that a slow minute of the machine does not favour one of them.
  for (let run = 0; run < RUNS; run++) {
    for (const [i, found] of times.entries()) {
      const page = await browser.newPage();
      await page.goto(address);
      const measured = await page.evaluate(async (engine) => {
        const { default: init, Loupe } = await import(`/${engine}/loupe.js`);
        await init();
        const loupe = await Loupe.open({ device: "gpu" });
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
  await close();
}
console.log(`chromium ${browser.version()}, SwiftShader, median of ${RUNS}; in brackets, relative to the first build`);
const [first] = times;
for (const [i, { load, channels }] of times.entries()) {
  const column = (/** @type {number[]} */ values, /** @type {number[]} */ base) =>
    `${median(values).toFixed(0)} ms (${(median(values) / median(base)).toFixed(2)})`;
  console.log(`${engines[i]}: load ${column(load, first.load)}, channels ${column(channels, first.channels)}`);
}
