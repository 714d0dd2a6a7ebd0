/**
 * Many models and many texts leave nothing behind. `LOUPE_SWITCHES=50 LOUPE_READINGS=500 npx playwright test leaks` is the
 * long run; the usual one is shorter.
 */
import { MIB, countBuffers, gpuBytes, heapOf, workersDebugger } from "./memory.ts";
import { expect, readText, test, waitForState } from "./site.ts";
import type { Page } from "@playwright/test";

test.use({ device: "gpu" });

const N_SWITCHES = Number(process.env.LOUPE_SWITCHES ?? 4);
const N_READINGS = Number(process.env.LOUPE_READINGS ?? 20);
const FILES = ["config.json", "tokenizer.json", "model.safetensors"].map((name) => `www/public/models/tales/${name}`);

/** Opens *Tales* from its files, and waits until the text is read with it. */
async function openFiles(page: Page) {
  const before = await page.evaluate(() => {
    const { model } = (window as any).loupePage.reading();
    (window as any).modelBefore = model;
    return model !== null;
  });
  expect(before).toBe(true);
  await page.locator("#files").setInputFiles(FILES);
  await page.waitForFunction(() => {
    const reading = (window as any).loupePage.reading();
    return (
      reading && reading.model !== (window as any).modelBefore && document.documentElement.dataset.state === "ready"
    );
  });
  await page.evaluate(() => ((window as any).modelBefore = null));
}

/** Reads a text that is not typed: the browser would keep what was typed, to undo it. */
const setText = (page: Page, text: string) =>
  page.evaluate(async (text) => {
    const box = document.getElementById("text") as HTMLTextAreaElement;
    box.value = text;
    box.dispatchEvent(new Event("input"));
    const isRead = () =>
      document.documentElement.dataset.state === "ready" &&
      (window as any).loupePage
        .reading()
        ?.tokens.map((token: any) => token.text)
        .join("") === text;
    while (!isRead()) await new Promise((done) => setTimeout(done, 20));
  }, text);

/** The atlas, whose cards are made anew for every model. */
async function lookAtAtlas(page: Page) {
  await page.locator("#tab-atlas").click();
  await expect(page.locator(".atlas-stand .cloud-readout").first()).toContainText("points");
  await page.locator("#tab-lens").click();
}

test("models and texts that came and went hold no listener, no GPU buffer and no heap", async ({ page, site }) => {
  test.setTimeout(60_000 + (N_SWITCHES * 10 + N_READINGS * 2) * 1000);
  await countBuffers(page);
  await page.addInitScript(() => localStorage.setItem("loupe:keep", "no"));
  await page.goto(site);
  await waitForState(page, "ready");
  const ask = await workersDebugger(page);
  const session = await page.context().newCDPSession(page);
  await session.send("Performance.enable");
  const metrics = async () => {
    // Twice: what the first collection finalises the second one frees.
    for (let i = 0; i < 2; i++) {
      await session.send("HeapProfiler.collectGarbage");
      await ask("HeapProfiler.collectGarbage");
    }
    const { metrics } = await session.send("Performance.getMetrics");
    const named = new Map(metrics.map(({ name, value }) => [name, value]));
    return {
      listeners: named.get("JSEventListeners") ?? NaN,
      nodes: named.get("Nodes") ?? NaN,
      heap: named.get("JSHeapUsedSize") ?? NaN,
      of_worker: await heapOf(page, ask),
      gpu: (await gpuBytes(page)).now,
    };
  };
  const end = "The old king sat by the window.";
  const rounds = async (n_switches: number, n_readings: number) => {
    for (let i = 0; i < n_switches; i++) {
      await openFiles(page);
      await lookAtAtlas(page);
    }
    for (let i = 0; i < n_readings; i++) await setText(page, `${"Once upon a time ".repeat(1 + (i % 3))}${i}`);
    await readText(page, end);
  };
  await rounds(2, 5);
  const before = await metrics();
  await rounds(N_SWITCHES, N_READINGS);
  const after = await metrics();
  console.log(`${N_SWITCHES} models, ${N_READINGS} texts: ${JSON.stringify(before)} to ${JSON.stringify(after)}`);
  expect(after.gpu, "GPU buffers").toBe(before.gpu);
  expect(after.listeners - before.listeners, "listeners").toBeLessThanOrEqual(20);
  expect(after.nodes - before.nodes, "nodes").toBeLessThanOrEqual(400);
  expect(after.heap - before.heap, "the page’s heap, which grows a little with code that is compiled").toBeLessThan(
    4 * MIB,
  );
  expect(after.of_worker - before.of_worker, "the worker's heap").toBeLessThan(4 * MIB);
});
