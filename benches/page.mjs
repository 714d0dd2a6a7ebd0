// @ts-check
/** Times the first picture of the bundled model after navigation, and readings after it, in headless Chromium. */
import { chromium } from "@playwright/test";
import { createJiti } from "jiti";

const load = createJiti(import.meta.url);
const { default: config } = await load.import("../playwright.config.ts");
const { serveSite } = await load.import("../tests/page/site.ts");

const RUNS = 5;
const TEXT = "The old king and the young queen went home to the castle by the sea.";

/** @param {number[]} values */
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];

const site = await serveSite();
const browser = await chromium.launch(config.use?.launchOptions);
let n_tokens = 0;
/** @param {string} device */
async function measure(device) {
  const [first, whole, typed] = [
    /** @type {number[]} */ ([]),
    /** @type {number[]} */ ([]),
    /** @type {number[]} */ ([]),
  ];
  for (let run = 0; run < RUNS; run++) {
    // A new context, so that nothing is cached from the previous run.
    const context = await browser.newContext({ viewport: { width: 1440, height: 900 } });
    const page = await context.newPage();
    await page.addInitScript((device) => localStorage.setItem("loupe:device", device), device);
    await page.goto(`${site.origin}/a/b/`);
    await page.waitForFunction(() => performance.getEntriesByName("loupe:first-picture").length > 0);
    first.push(await page.evaluate(() => performance.getEntriesByName("loupe:first-picture")[0].startTime));
    const facts = await page.evaluate(async (text) => {
      const hook = /** @type {any} */ (window).loupePage;
      const options = {
        asked: { norm: "affine", subblocks: false, contributions: false, decoder: [] },
        part: { kept: "first", with_end_token: false },
        track: [],
        is_second: false,
        signal: new AbortController().signal,
        onBlock: () => {},
      };
      const whole = await hook.engine.read(text, options);
      const typed = await hook.engine.read(`${text} There`, options);
      return { whole: whole.read_ms, typed: typed.read_ms, n_tokens: whole.n_tokens };
    }, TEXT);
    whole.push(facts.whole);
    typed.push(facts.typed);
    n_tokens = facts.n_tokens;
    await context.close();
  }
  console.log(
    `${device}: first picture ${median(first).toFixed(0)} ms after navigation (${first.map((ms) => ms.toFixed(0)).join(", ")}); ` +
      `another text ${median(whole).toFixed(0)} ms, T=${n_tokens}; one more word ${median(typed).toFixed(0)} ms`,
  );
}

try {
  console.log(`chromium ${browser.version()}, WebGPU on SwiftShader, median of ${RUNS} fresh contexts`);
  await measure("cpu");
  await measure("gpu");
} finally {
  await browser.close();
  site.close();
}
