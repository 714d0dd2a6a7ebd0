/** What goes wrong is said where the picture would be, and the page stays usable. */
import { talesThatOverflows } from "./checkpoints.ts";
import { expect, inWorker, readText, test, waitForState } from "./site.ts";
import type { Page } from "@playwright/test";

// Half of what is tried here is what a GPU does.
test.use({ device: "gpu" });

async function expectProblem(page: Page, code: string) {
  const problem = page.locator("#problem");
  await expect(problem).toBeVisible();
  await expect(problem).toHaveAttribute("data-code", code);
  await expect(page.locator("#picture")).toBeHidden();
  await expect(page.locator("#cell-title"), "nothing beside it speaks of an older text").toBeHidden();
  await page.screenshot({ path: `test-results/problem-${code}.png` });
  return problem;
}

test("an empty text and half a character", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  await page.locator("#text").fill("");
  await expectProblem(page, "empty");

  await page.evaluate(() => {
    const box = document.getElementById("text") as HTMLTextAreaElement;
    box.value = "half a fox: \ud83e";
    box.dispatchEvent(new Event("input", { bubbles: true }));
  });
  await expectProblem(page, "bad-text");

  await readText(page, "All is well again.");
});

test("of a text with one token too many as much as fits is read, and the page says which part", async ({
  page,
  site,
}) => {
  await page.goto(site);
  await waitForState(page, "ready");
  // By the tokenizer itself: its pieces of a longer text, one more than fit.
  const long: string = await page.evaluate(async () => {
    const { engine } = (window as any).loupePage;
    const tokens = await engine.encode("The old king and the young queen went home. ".repeat(60));
    return tokens
      .slice(0, 257)
      .map(({ text }: { text: string }) => text)
      .join("");
  });
  const shown = () =>
    page.evaluate(() => {
      const { tokens, n_tokens } = (window as any).loupePage.reading();
      return { n_tokens, text: tokens.map((t: any) => t.text).join("") as string };
    });
  await page.locator("#text").fill(long);
  const status = page.locator("#status");
  await expect(status).toContainText("Read the first 256 of 257 tokens; the rest do not fit.", { timeout: 200_000 });
  const first = await shown();
  expect(first.n_tokens).toBe(256);
  expect(long.startsWith(first.text)).toBe(true);
  expect(first.text).not.toBe(long);
  await expect(page.locator("#text")).toHaveValue(long);

  await status.getByRole("button", { name: "Read the last 256 instead" }).click();
  await expect(status).toContainText("Read the last 256 of 257 tokens", { timeout: 200_000 });
  const last = await shown();
  expect(long.endsWith(last.text)).toBe(true);
  expect(last.text).not.toBe(long);
  await expect(page).toHaveURL(/kept=last/);
  await page.screenshot({ path: "test-results/long-text.png" });
});

test("the token that separates documents stands before the text if a person wants that", async ({ page, site }) => {
  await page.goto(`${site}#text=The+old+king`);
  await waitForState(page, "ready");
  const tokens = () => page.evaluate(() => (window as any).loupePage.reading().tokens.map((t: any) => t.shown));
  const without: string[] = await tokens();
  await page.locator("#switches-toggle").click();
  await expect(page.locator("#end-token-words")).toContainText("position 0");
  await page.locator('#switches [name="with_end_token"]').check();
  await expect.poll(tokens).toEqual(["<|endoftext|>", ...without]);
  await expect(page).toHaveURL(/endoftext=1/);
  await page.reload();
  await waitForState(page, "ready");
  expect(await tokens()).toEqual(["<|endoftext|>", ...without]);
});

test("a model file that is missing, cut short or not a model: say so, then try again", async ({ page, site }) => {
  const file = "**/model.safetensors";
  const config = "**/config.json";
  await page.route(file, (route) => route.fulfill({ status: 404, body: "nothing here" }));
  await page.goto(site);
  await expectProblem(page, "not-found");
  await page.unroute(file);

  await page.route(file, async (route) => {
    const whole = await (await route.fetch()).body();
    await route.fulfill({ body: whole.subarray(0, 1_000_000) });
  });
  await page.getByRole("button", { name: "Try again" }).click();
  await expectProblem(page, "truncated");
  await page.unroute(file);

  await page.route(file, (route) => route.fulfill({ body: "<!doctype html><title>Sign in to the Wi-Fi</title>" }));
  await page.getByRole("button", { name: "Try again" }).click();
  await expectProblem(page, "bad-header");
  await page.unroute(file);

  await page.route(config, (route) => route.fulfill({ json: { model_type: "llama" } }));
  await page.getByRole("button", { name: "Try again" }).click();
  await expectProblem(page, "unsupported-model");
  await page.unroute(config);

  await page.route(file, (route) => route.abort("connectionreset"));
  await page.getByRole("button", { name: "Try again" }).click();
  await expectProblem(page, "network");
  await page.unroute(file);

  await page.getByRole("button", { name: "Try again" }).click();
  await waitForState(page, "ready");
  await expect(page.locator("#picture")).toBeVisible();
});

test("a browser without WebGPU, and one without an adapter", async ({ page, site }) => {
  await inWorker(page, "Object.defineProperty(navigator, 'gpu', { value: undefined });\n");
  await page.goto(site);
  const problem = await expectProblem(page, "no-webgpu");
  await expect(problem).toContainText("Chrome");
  await page.unroute("**/assets/worker-*.js");
  await inWorker(page, "navigator.gpu.requestAdapter = async () => null;\n");
  await page.getByRole("button", { name: "Try again" }).click();
  await expectProblem(page, "no-adapter");
  await page.unroute("**/assets/worker-*.js");
  await page.getByRole("button", { name: "Try again" }).click();
  await waitForState(page, "ready");
});

/** Keeps the devices of every worker where `lose` can destroy them. */
async function holdDevices(page: Page) {
  await inWorker(
    page,
    `
    const devices = (globalThis.devices = []);
    const request = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = async function (...args) {
      const device = await request.apply(this, args);
      devices.push(device);
      return device;
    };
    `,
  );
}

/** Destroys the device of the newest worker. */
const lose = (page: Page) =>
  page
    .workers()
    .at(-1)
    ?.evaluate(() => (globalThis as any).devices.at(-1).destroy());

const textRead = (page: Page) =>
  page.evaluate(() =>
    (window as any).loupePage
      .reading()
      ?.tokens.map((token: any) => token.text)
      .join(""),
  );

test("a device that is lost while nothing is asked of it: the page opens another one and reads the text again", async ({
  page,
  site,
}) => {
  await holdDevices(page);
  await page.goto(site);
  await waitForState(page, "ready");
  const text = "The old king sat by the window.";
  await readText(page, text);
  // A model from the disk is opened again from its files.
  await page.locator("#model-chip").click();
  await page.locator("#keep").uncheck();
  const files = ["config.json", "tokenizer.json", "model.safetensors"];
  await page.locator("#files").setInputFiles(files.map((name) => `www/public/models/tales/${name}`));
  await expect(page.locator("#model-chip")).toContainText("Files of this computer");
  await waitForState(page, "ready");
  const before = page.workers().at(-1);
  await lose(page);
  const notice = page.locator("#notice");
  await expect(notice).toContainText("The graphics device was lost; the engine was started again");
  await waitForState(page, "ready");
  await expect.poll(() => textRead(page)).toBe(text);
  await expect(page.locator("#model-chip")).toContainText("Files of this computer");
  expect(page.workers().at(-1)).not.toBe(before);
  await page.screenshot({ path: "test-results/device-lost.png" });
});

test("a device that is lost during a reading, and during a load", async ({ page, site }) => {
  await holdDevices(page);
  await page.goto(site);
  await waitForState(page, "ready");
  const long = "The old king and the young queen went home. ".repeat(20).trim();
  await page.locator("#text").fill(long);
  await expect(page.locator("html")).toHaveAttribute("data-state", "busy");
  await lose(page);
  await expect(page.locator("#notice")).toContainText("The graphics device was lost");
  await expect.poll(() => textRead(page), { timeout: 200_000 }).toBe(long);
  await waitForState(page, "ready");
  await readText(page, "The old king.");

  // The weights of another model stop in the middle.
  await page.route("**/model.safetensors", () => {});
  await page.locator("#notice").getByRole("button", { name: "Dismiss" }).click();
  await page.evaluate(() => {
    const { engine } = (window as any).loupePage;
    const how = { precision: "f16", keep: false, signal: new AbortController().signal, onStep: () => {} };
    (window as any).loading = engine.load({ kind: "bundled" }, how).catch((error: any) => error.code);
  });
  await lose(page);
  expect(await page.evaluate(() => (window as any).loading)).toBe("device-lost");
  await page.unroute("**/model.safetensors");
  await expect.poll(() => textRead(page), { timeout: 200_000 }).toBe("The old king.");
});

test("three losses within a minute: the page stops, says so and offers the CPU", async ({ page, site }) => {
  await holdDevices(page);
  await page.goto(site);
  await waitForState(page, "ready");
  for (let i = 0; i < 2; i++) {
    const before = page.workers().at(-1);
    await lose(page);
    await expect.poll(() => page.workers().at(-1) !== before).toBe(true);
    await waitForState(page, "ready");
    await expect.poll(() => textRead(page)).toContain("Once upon a time");
  }
  await lose(page);
  await expectProblem(page, "device-lost");
  await page.getByRole("button", { name: "Compute on the CPU" }).click();
  await waitForState(page, "ready");
  await expect(page.locator("#model-chip")).toContainText("CPU");
});

test("a GPU process that crashes: the page reads on", async ({ page, site, browser }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const text = "The old king sat by the window.";
  await readText(page, text);
  const session = await browser.newBrowserCDPSession();
  await session.send("Browser.crashGpuProcess");
  await expect(page.locator("#notice")).toContainText("The graphics device was lost", { timeout: 200_000 });
  await waitForState(page, "ready");
  await expect.poll(() => textRead(page), { timeout: 200_000 }).toBe(text);
  await readText(page, "And another one.");
});

test("loading shows bytes and what it is doing", async ({ page, site }) => {
  let release: () => void = () => {};
  const held = new Promise((done) => (release = () => done(undefined)));
  await page.route("**/model.safetensors", async (route) => {
    await held;
    await route.continue();
  });
  await page.goto(site);
  await expect(page.locator("#loading")).toBeVisible();
  await expect(page.locator("#progress")).toBeVisible();
  await page.screenshot({ path: "test-results/loading.png" });
  release();
  const seen = page.waitForFunction(() => /MB/.test(document.getElementById("loading-text")?.textContent ?? ""));
  await seen;
  await waitForState(page, "ready");
  await expect(page.locator("#loading")).toBeHidden();
});

test("cells whose numbers overflow are shown as not finite, and counted", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const files = Object.entries(talesThatOverflows());
  await page
    .locator("#files")
    .setInputFiles(files.map(([name, buffer]) => ({ name, mimeType: "application/octet-stream", buffer })));
  await expect(page.locator("#model-chip")).toContainText("Files of this computer", { timeout: 200_000 });
  await readText(page, "The old king and the young queen went home.");
  const reading = () =>
    page.evaluate(() => {
      const { not_finite, n_tokens, taps } = (window as any).loupePage.reading();
      return { not_finite, n_tokens, taps };
    });
  const { not_finite, n_tokens, taps } = await reading();
  const expected = ["h.5", ...taps.slice(taps.indexOf("h.6"))].flatMap((tap: string) =>
    Array.from({ length: n_tokens - 6 }, (_, i) => ({ tap, position: 6 + i })).filter(
      ({ position }) => tap !== "h.5" || position === 6,
    ),
  );
  expect(not_finite).toEqual(expected);
  await expect(page.locator("#status")).toContainText(`${expected.length} cells are not finite`);
  await expect(page.locator("#cell-not-finite")).toBeVisible();
  await expect(page.locator("#paths-chart circle"), "the rows below are drawn").not.toHaveCount(0);
  for (const scheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme: scheme });
    for (const [width, height] of [
      [1440, 900],
      [390, 844],
    ]) {
      await page.setViewportSize({ width, height });
      await page.waitForTimeout(250);
      await page.screenshot({ path: `test-results/not-finite-${width}-${scheme}.png` });
    }
  }
});
