/** The page in Debian's Firefox ESR with WebGPU switched on, which runs on lavapipe: driven over WebDriver BiDi. */
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "@playwright/test";
import puppeteer from "puppeteer-core";
import { serveSite } from "./site.ts";
import type { Page } from "puppeteer-core";

const MODEL = "www/public/models/tales";
const PATH = "/a/b/";

const WITH_WEBGPU = {
  "dom.webgpu.enabled": true,
  "dom.webgpu.workers.enabled": true,
  "gfx.webgpu.ignore-blocklist": true,
};

/** Firefox in a profile of its own, which saves files without a question. */
const launch = (downloads: string, prefs: object) =>
  puppeteer.launch({
    browser: "firefox",
    executablePath: "/usr/bin/firefox-esr",
    headless: true,
    extraPrefsFirefox: {
      "browser.download.dir": path.resolve(downloads),
      "browser.download.folderList": 2,
      "app.normandy.enabled": false,
      "network.captive-portal-service.enabled": false,
      "network.connectivity-service.enabled": false,
      ...prefs,
    },
  });

const isReady = (page: Page) =>
  page.waitForFunction(() => document.documentElement.dataset.state === "ready", { timeout: 200_000 });

const textOf = (page: Page, selector: string) => page.$eval(selector, (found) => found.textContent ?? "");

type Shown = { text: string; n: number; top_k: number; top_ids: number[]; taps: string[]; model: string };

/** The top-1 of the first positions, row by row. */
const topOf = ({ n, top_k, top_ids, taps }: Shown, n_positions: number) =>
  taps.map((_, tap) => Array.from({ length: n_positions }, (_, position) => top_ids[(tap * n + position) * top_k]));

const shown = (page: Page): Promise<Shown> =>
  page.evaluate(() => {
    const reading = (window as any).loupePage.reading();
    return {
      text: reading.tokens.map((token: any) => token.text).join(""),
      n: reading.n_tokens,
      top_k: reading.top_k,
      top_ids: [...reading.top_ids],
      taps: reading.taps,
      model: reading.model.in_use.name,
    };
  });

// eslint-disable-next-line no-empty-pattern -- Playwright asks for a pattern
test("the page in Firefox: a reading, typing, a view, a pin, an export, the atlas, a kept model", async ({}, info) => {
  const server = await serveSite();
  const downloads = info.outputPath("downloads");
  mkdirSync(downloads, { recursive: true });
  const browser = await launch(downloads, WITH_WEBGPU);
  const errors: string[] = [];
  try {
    const page = await browser.newPage();
    page.on("pageerror", (error) => errors.push(String(error)));
    page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
    await page.setViewport({ width: 1440, height: 900 });
    await page.goto(server.origin + PATH);
    await isReady(page);
    const first = await shown(page);
    expect(first.taps).toEqual(["input", ...Array.from({ length: 8 }, (_, i) => `h.${i}`)]);
    expect(await textOf(page, "#cell-title")).toContain("h.7 (final)");
    await page.screenshot({ path: "test-results/firefox-lens.png" });
    // The tour of a first visit.
    await page.click("#tour-skip");

    await page.click("#text");
    await page.keyboard.down("Control");
    await page.keyboard.press("End");
    await page.keyboard.up("Control");
    await page.keyboard.type(" by the sea");
    await page.waitForFunction(
      () =>
        document.documentElement.dataset.state === "ready" &&
        (window as any).loupePage.reading().tokens.at(-1).text.endsWith("sea"),
    );
    const typed = await shown(page);
    expect(typed.text.startsWith(first.text)).toBe(true);
    // What stands before the typed words is as it was, in every row.
    expect(topOf(typed, first.n)).toEqual(topOf(first, first.n));

    await page.goto(`${server.origin}${PATH}#view=kl_final`);
    await page.reload();
    await isReady(page);
    expect(await textOf(page, "#legend-quantity")).toContain("KL");
    const { x, y } = await page.evaluate(() => {
      const rect = (window as any).loupePage.cellRect(4, 3);
      const canvas = (document.getElementById("heatmap") as HTMLElement).getBoundingClientRect();
      return { x: canvas.x + rect.x + rect.width / 2, y: canvas.y + rect.y + rect.height / 2 };
    });
    await page.mouse.click(x, y);
    await page.waitForFunction(() => document.getElementById("cell-title")?.textContent === "Pinned: h.3, position 3");
    await page.waitForFunction(() => location.hash.includes("pin=3"));

    await page.click("#export");
    await page.click('[data-export="csv"]');
    await expect.poll(() => readdirSync(downloads).filter((name) => name.endsWith(".csv")).length).toBe(1);
    await expect.poll(() => readdirSync(downloads).some((name) => name.endsWith(".part"))).toBe(false);
    const [name] = readdirSync(downloads);
    const csv = readFileSync(path.join(downloads, name), "utf8");
    expect(csv).toContain("kl_final");
    expect(csv.split("\r\n").filter((line) => line && !line.startsWith("#")).length).toBeGreaterThan(9 * 10);
    await page.keyboard.press("Escape");

    await page.click("#tab-atlas");
    await page.waitForFunction(() =>
      /points/.test(document.querySelector(".atlas-stand .cloud-readout")?.textContent ?? ""),
    );
    await page.click('[data-atlas="outliers"]');
    await page.waitForFunction(() => /around it/.test(document.querySelector(".atlas-stand")?.textContent ?? ""));
    await page.screenshot({ path: "test-results/firefox-atlas.png" });
    await page.click("#tab-lens");

    await page.click("#model-chip");
    const input = await page.$("#files");
    await (input as any).uploadFile(
      ...["config.json", "tokenizer.json", "model.safetensors"].map((file) => path.resolve(MODEL, file)),
    );
    await page.waitForFunction(
      () =>
        (window as any).loupePage.reading()?.model.in_use.source.kind === "kept" &&
        document.documentElement.dataset.state === "ready",
      { timeout: 200_000 },
    );
    const kept = await shown(page);
    await page.goto("about:blank");
    await page.goto(server.origin + PATH);
    await isReady(page);
    const again = await shown(page);
    expect(again.model).toBe(kept.model);
    expect(again.top_ids).toEqual(first.top_ids);
    expect(errors).toEqual([]);
  } finally {
    await browser.close();
    server.close();
  }
});

// eslint-disable-next-line no-empty-pattern -- Playwright asks for a pattern
test("stock Firefox, which has no WebGPU on Linux, opens the page, reads, exports and opens the atlas", async ({}, info) => {
  const server = await serveSite();
  const downloads = info.outputPath("downloads");
  mkdirSync(downloads, { recursive: true });
  const browser = await launch(downloads, {});
  const errors: string[] = [];
  try {
    const page = await browser.newPage();
    page.on("pageerror", (error) => errors.push(String(error)));
    await page.setViewport({ width: 1440, height: 900 });
    await page.goto(server.origin + PATH);
    await isReady(page);
    expect(await textOf(page, "#model-chip")).toBe("Tales · 4.4 M · f16 · CPU");
    await page.screenshot({ path: "test-results/firefox-cpu.png" });
    await page.click("#tour-skip");
    await page.click("#text");
    await page.keyboard.down("Control");
    await page.keyboard.press("End");
    await page.keyboard.up("Control");
    await page.keyboard.type(" sea");
    await page.waitForFunction(
      () =>
        document.documentElement.dataset.state === "ready" &&
        (window as any).loupePage.reading().tokens.at(-1).text.endsWith("sea"),
    );
    await page.click("#export");
    await page.click('[data-export="json"]');
    await expect.poll(() => readdirSync(downloads).filter((name) => name.endsWith(".json")).length).toBe(1);
    await page.keyboard.press("Escape");
    await page.click("#tab-atlas");
    await page.waitForFunction(() =>
      /points/.test(document.querySelector(".atlas-stand .cloud-readout")?.textContent ?? ""),
    );
    expect(errors).toEqual([]);
  } finally {
    await browser.close();
    server.close();
  }
});
