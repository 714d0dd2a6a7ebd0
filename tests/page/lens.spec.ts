/** The lens view as a person uses it, against the numbers of the API and the pixels of the canvas. */
import { lab, rgb } from "d3-color";
import { channels, expect, pixel, readText, test, waitForState } from "./site.ts";
import type { Page } from "@playwright/test";

test.use({ device: "gpu" });

const STATS = [
  "logit_final",
  "prob_final",
  "rank_final",
  "rank_input",
  "rank_next",
  "kl_final",
  "entropy",
  "logsumexp",
];

/** Reads the text the page shows once more, through the embeddable module alone. */
const readByApi = (page: Page) =>
  page.evaluate(async (stats) => {
    const { default: init, Loupe } = await import(new URL("loupe/loupe.js", document.baseURI).href);
    await init();
    const loupe = await Loupe.open({ device: "gpu" });
    const get = (name: string) => fetch(`models/tales/${name}`);
    await loupe.load({
      config: await (await get("config.json")).text(),
      tokenizer: await (await get("tokenizer.json")).text(),
      weights: (await get("model.safetensors")).body,
    });
    const text = (document.getElementById("text") as HTMLTextAreaElement).value;
    const reading = await loupe.read(text, { top_k: 20 });
    return {
      taps: reading.taps,
      shown: reading.tokens.map((t: any) => t.shown),
      top_ids: Array.from(reading.top_ids),
      stats: Object.fromEntries(stats.map((name) => [name, Array.from(reading.stat(name) as Float32Array)])),
    };
  }, STATS);

/** What the page shows, as plain values. */
const shownByPage = (page: Page) =>
  page.evaluate((stats) => {
    const reading = (window as any).loupePage.reading();
    return {
      taps: reading.taps,
      shown: reading.tokens.map((t: any) => t.shown),
      top_ids: Array.from(reading.top_ids),
      stats: Object.fromEntries(stats.map((name) => [name, Array.from(reading.stats[name] as Float32Array)])),
    };
  }, STATS);

test("opens on a reading of the bundled model that is the API's own", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const [api, shown] = [await readByApi(page), await shownByPage(page)];
  expect(shown).toEqual(api);
  expect(shown.taps).toEqual(["input", "h.0", "h.1", "h.2", "h.3", "h.4", "h.5", "h.6", "h.7"]);
  await expect(page.locator("#status")).toContainText(`${shown.shown.length} of 256 tokens`);
  await expect(page.getByText("nothing leaves this page")).toBeVisible();
  // README's picture: LOUPE_PICTURES=1 cargo xtask test page
  const folder = process.env.LOUPE_PICTURES ? "tests/page" : "test-results";
  await page.screenshot({ path: `${folder}/lens-light.png` });
});

test("cells have the colour of their value and the outline of agreement", async ({ page, site }) => {
  await page.goto(`${site}#view=probability`);
  await waitForState(page, "ready");
  const cells = await page.evaluate(() => {
    const hook = (window as any).loupePage;
    const { taps, n_tokens, stats, top_ids, top_k } = hook.reading();
    const last = taps.length - 1;
    const top = (tap: number, position: number) => top_ids[(tap * n_tokens + position) * top_k];
    const cells = [];
    for (let tap = 1; tap <= last; tap++) {
      for (let position = 0; position < n_tokens; position++) {
        cells.push({
          tap,
          position,
          probability: stats.prob_final[tap * n_tokens + position],
          agrees: top(tap, position) === top(last, position),
          rect: hook.cellRect(tap, position),
          colour: hook.cellColour(tap, position),
          outlined: hook.outlined(tap, position),
        });
      }
    }
    return cells.sort((a, b) => a.probability - b.probability);
  });
  // The final row agrees with itself, which needs no mark.
  const last = Math.max(...cells.map(({ tap }) => tap));
  for (const cell of cells)
    expect(cell.outlined, `outline of ${cell.tap}, ${cell.position}`).toBe(cell.agrees && cell.tap < last);

  // The selected cell has an outline of its own; these three are others.
  const right = await page.locator("#heatmap").evaluate((canvas) => canvas.clientWidth - 30);
  const plain = cells.filter(({ position, rect }) => position > 0 && rect.x + rect.width < right);
  const quiet = plain.filter((cell) => !cell.outlined);
  const loud = plain.filter((cell) => cell.outlined);
  const three = [quiet[0], loud[Math.floor(loud.length / 2)], loud[loud.length - 1]];
  const api = await readByApi(page);
  const lightness = [];
  for (const { tap, position, rect, colour, outlined } of three) {
    const fill = await pixel(page, rect.x + 5, rect.y + 5);
    expect(fill).toEqual(channels(colour));
    // The map's law, apart from its code: CIE lightness falls from 97 at 0 to 27 at 1 in a straight line.
    const [r, g, b] = fill;
    const probability = api.stats.prob_final[tap * api.shown.length + position];
    expect(Math.abs(lab(rgb(r, g, b)).l - (97 - 70 * probability))).toBeLessThan(1);
    const edges = [await pixel(page, rect.x + 8, rect.y + 1), await pixel(page, rect.x + 8, rect.y + 2)];
    expect(edges).toEqual(outlined ? [channels("rgb(217, 221, 228)"), channels("rgb(32, 36, 44)")] : [fill, fill]);
    lightness.push(fill[0] + fill[1] + fill[2]);
  }
  // In the light theme a higher probability is darker, whatever the map.
  expect(lightness[0]).toBeGreaterThan(lightness[1]);
  expect(lightness[1]).toBeGreaterThan(lightness[2]);
});

test("reads while one types, and only the newest text stays", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  await readText(page, "The red fox");
  await page.locator("#text").focus();
  await page.keyboard.press("End");
  await page.keyboard.type(" and the blue bird sat on the wall", { delay: 30 });
  const wanted = "The red fox and the blue bird sat on the wall";
  await page.waitForFunction(
    (wanted) =>
      (window as any).loupePage
        .reading()
        .tokens.map((t: any) => t.text)
        .join("") === wanted,
    wanted,
  );
  await waitForState(page, "ready");
  expect(await shownByPage(page)).toEqual(await readByApi(page));
  await expect(page).toHaveURL(/#.*red\+fox/);
});

test("the views show their own quantity, unit and rows", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  for (const [view, quantity, unit, shows_input] of [
    ["logit", "logit of the final top-1", "5th–95th percentile", false],
    ["probability", "probability of the final top-1", "0 to 1", true],
    ["rank", "rank of the final top-1", "log scale", false],
    ["kl_final", "KL(final ‖ row)", "nats", true],
  ] as [string, string, string, boolean][]) {
    await page.locator(`[data-view="${view}"]`).click();
    await expect(page.locator(`[data-view="${view}"]`)).toBeChecked();
    await expect(page.locator("#legend-quantity")).toHaveText(quantity);
    await expect(page.locator("#legend-unit")).toContainText(unit);
    const rect = await page.evaluate(() => (window as any).loupePage.cellRect(0, 0));
    expect(rect !== null, `row input in ${view}`).toBe(shows_input);
    // Final on top: a deeper row stands higher.
    const [deep, shallow] = await page.evaluate(() =>
      [8, 1].map((tap) => (window as any).loupePage.cellRect(tap, 3).y),
    );
    expect(deep).toBeLessThan(shallow);
    await page.screenshot({ path: `test-results/view-${view}.png` });
  }
  // The address brings the view back.
  await page.reload();
  await waitForState(page, "ready");
  expect(await page.evaluate(() => (window as any).loupePage.view())).toBe("kl_final");
});

test("hovering and the arrow keys fill the panel with the API's numbers", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const { stats, shown, taps } = await shownByPage(page);
  const n = shown.length;
  const rect = await page.evaluate(() => (window as any).loupePage.cellRect(5, 7));
  const canvas = page.locator("#heatmap");
  await canvas.hover({ position: { x: rect.x + rect.width / 2, y: rect.y + rect.height / 2 } });
  const panel = page.locator("#cell-panel");
  await expect(panel).toContainText(taps[5]);
  await expect(panel).toContainText("position 7");
  await expect(panel).toContainText(shown[7]);
  const cell = 5 * n + 7;
  await expect(panel).toContainText(stats.kl_final[cell].toFixed(2));
  await expect(panel).toContainText(stats.entropy[cell].toFixed(2));
  const facts = await panel.locator(".fact dd").allInnerTexts();
  const numbers = facts.map((text) => Number(text.replace(/[^\d.]/g, "")));
  expect(numbers.slice(0, 3)).toEqual([stats.rank_final[cell], stats.rank_input[cell], stats.rank_next[cell]]);
  expect(await panel.locator("#candidates li").count()).toBe(10);

  // A click pins: hovering elsewhere changes nothing until Escape.
  await canvas.click({ position: { x: rect.x + rect.width / 2, y: rect.y + rect.height / 2 } });
  await canvas.hover({ position: { x: rect.x + rect.width * 3, y: rect.y + rect.height * 2 } });
  await expect(panel).toContainText("position 7");
  await page.keyboard.press("Escape");
  await canvas.focus();
  const before = await panel.innerText();
  await page.keyboard.press("ArrowRight");
  await expect(panel).not.toHaveText(before);
});

test("fits every width from 360 to 2560 pixels, light and dark", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  for (const width of [360, 768, 1440, 2560]) {
    for (const scheme of ["light", "dark"] as const) {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme: scheme });
      await page.waitForTimeout(100);
      const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
      expect(overflow, `sideways scroll at ${width}`).toBeLessThanOrEqual(0);
      const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      const [r] = channels(background);
      expect(scheme === "light" ? r > 200 : r < 60, `${background} in ${scheme}`).toBe(true);
      await page.screenshot({ path: `test-results/width-${width}-${scheme}.png` });
    }
  }
});
