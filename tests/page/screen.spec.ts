/** The first screen: what is in sight without scrolling, the one selected cell, pins, the tour and the terms. */
import { expectAccessible } from "./axe.ts";
import { expect, test, waitForState } from "./site.ts";
import type { Page } from "@playwright/test";

const centre = async (page: Page, tap: number, position: number) => {
  const { x, y, width, height } = await page.evaluate(
    ([tap, position]) => (window as any).loupePage.cellRect(tap, position),
    [tap, position],
  );
  return { x: x + width / 2, y: y + height / 2 };
};

test("text, all rows, both token axes, legend and panel are in sight without scrolling", async ({ page, site }) => {
  for (const [width, height] of [
    [1440, 900],
    [1366, 650],
    [1920, 1080],
  ]) {
    await page.setViewportSize({ width, height });
    await page.goto(site);
    await waitForState(page, "ready");
    await expect(page.locator("#example-finding")).toContainText("Tales here");
    for (const id of ["text", "examples", "heatmap", "legend", "cell-panel", "views"]) {
      const { y, height: h } = (await page.locator(`#${id}`).boundingBox()) as any;
      expect(y, `${id} at ${width} × ${height}`).toBeGreaterThanOrEqual(0);
      expect(y + h, `${id} at ${width} × ${height}`).toBeLessThanOrEqual(height);
    }
    const reader = (await page.locator(".reader").boundingBox()) as any;
    expect(reader.height).toBeLessThanOrEqual(120);
    // The picture is scrolled to the selected cell, or has no need to be.
    const [canvas, last] = [
      (await page.locator("#heatmap").boundingBox()) as any,
      await page.evaluate(() => (window as any).loupePage.cellRect(8, 19)),
    ];
    expect(last.x + last.width).toBeLessThanOrEqual(canvas.width);
  }
});

test("picture, panel and trajectories speak of one cell: the last one, the one pointed at, the newest pin", async ({
  page,
  site,
}) => {
  await page.setViewportSize({ width: 1000, height: 900 });
  await page.goto(`${site}#text=${"a+little+girl+and+".repeat(12)}house`);
  await waitForState(page, "ready");
  const title = page.locator("#cell-title");
  const n = await page.evaluate(() => (window as any).loupePage.reading().n_tokens as number);
  await expect(title).toHaveText(`h.7 (final), position ${n - 1}`);
  await expect(page.locator("#paths-chart")).toContainText(`rows at position ${n - 1}`);
  // It is scrolled to.
  const { width } = (await page.locator("#heatmap").boundingBox()) as any;
  const last = await centre(page, 8, n - 1);
  expect(last.x).toBeLessThan(width);

  const canvas = page.locator("#heatmap");
  await canvas.hover({ position: await centre(page, 4, n - 3) });
  await expect(title).toHaveText(`h.3, position ${n - 3}`);
  await expect(page.locator("#paths-chart")).toContainText(`rows at position ${n - 3}`);

  // Several pins: each has its lines, the panel speaks of the newest.
  await canvas.click({ position: await centre(page, 4, n - 3) });
  await canvas.click({ position: await centre(page, 6, n - 5), modifiers: ["Shift"] });
  await expect(title).toHaveText(`Pinned: h.5, position ${n - 5}`);
  await expect(page.locator("#pins li")).toHaveCount(2);
  await expect(page.locator("#paths-chart .dash-1")).toHaveText(`h.5, position ${n - 5}`);
  await expect(page.locator("#paths-chart [stroke-dasharray]").first()).toBeAttached();
  const pins = () => new URLSearchParams(new URL(page.url()).hash.slice(1)).get("pin");
  await expect.poll(pins).toBe(`${n - 3}@h.3-${n - 5}@h.5`);
  await page.locator("#pins button").first().click();
  await expect(title).toHaveText(`Pinned: h.3, position ${n - 3}`);
  await expectAccessible(page, "two pins");
  await page.reload();
  await waitForState(page, "ready");
  await expect(title).toHaveText(`Pinned: h.3, position ${n - 3}`);
  await page.getByRole("button", { name: `unpin h.3 · ${n - 3}` }).click();
  await expect(title).toHaveText(`Pinned: h.5, position ${n - 5}`);
  await page.locator("#cell-pin").click();
  await expect(title).not.toContainText("Pinned");

  // By keys: a pin, another one that the arrows move, and both unpinned one after the other.
  await canvas.focus();
  const places = () => page.evaluate(() => (window as any).loupePage.state().pins.map((pin: any) => pin.position));
  const { position: at } = await page.evaluate(() => {
    const [, position] = /position (\d+)/.exec(document.getElementById("cell-title")?.textContent ?? "") ?? [];
    return { position: Number(position) };
  });
  await page.keyboard.press("Enter");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("ArrowLeft");
  expect(await places()).toEqual([at, at - 2]);
  await page.keyboard.press("Enter");
  expect(await places()).toEqual([at]);
  await page.keyboard.press("Enter");
  expect(await places()).toEqual([]);
  await expect(title).toContainText(`position ${at}`);

  // Typing looks at the end again.
  await page.locator("#text").focus();
  await page.keyboard.press("Control+End");
  await page.keyboard.type(" by the");
  await expect(title).toHaveText(`h.7 (final), position ${n + 1}`);
});

test("options leave the picture in sight, and stay while it is used", async ({ page, site }) => {
  for (const [width, height] of [
    [1440, 900],
    [1000, 900],
    [390, 844],
  ]) {
    await page.setViewportSize({ width, height });
    await page.goto(site);
    await waitForState(page, "ready");
    await page.locator("#switches-toggle").click();
    const options = (await page.locator("#switches").boundingBox()) as any;
    const picture = (await page.locator("#scroller").boundingBox()) as any;
    if (width >= 1280) expect(options.x).toBeGreaterThanOrEqual(picture.x + picture.width);
    else expect(options.y).toBeGreaterThanOrEqual(height / 2);
    await page.locator("#heatmap").click({ position: { x: 120, y: 130 } });
    await expect(page.locator("#switches")).toBeVisible();
    await page.locator("#switches-close").click();
    await expect(page.locator("#switches")).toBeHidden();
  }
});

test("characters of several tokens stand over their tokens", async ({ page, site }) => {
  await page.goto(`${site}#text=${encodeURIComponent("a 😀 end")}`);
  await waitForState(page, "ready");
  await page.locator("#export").click();
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator('[data-export="svg"]').click()]);
  const chunks: Buffer[] = [];
  for await (const chunk of await download.createReadStream()) chunks.push(chunk as Buffer);
  const svg = Buffer.concat(chunks).toString();
  // In the middle of the first and the last of its tokens.
  const [x] = /<text x="([\d.]+)"[^>]*>😀<\/text>/.exec(svg)?.slice(1).map(Number) ?? [NaN];
  const [first, last] = await page.evaluate(() => {
    const { tokens } = (window as any).loupePage.reading();
    const inside = tokens.flatMap(({ bytes }: any, i: number) => (bytes.some((byte: number) => byte > 127) ? [i] : []));
    return [inside[0], inside.at(-1)].map((i) => (window as any).loupePage.cellRect(8, i));
  });
  // The sheet has a margin of 20 pixels.
  expect(Math.abs(x - 20 - (first.x + last.x + last.width) / 2)).toBeLessThan(first.width);
});

test("a tracked view has its token beside its name", async ({ page, site }) => {
  await page.goto(`${site}#view=tracked_rank`);
  await waitForState(page, "ready");
  await expect(page.locator("#legend-quantity")).toHaveText("rank of ␣house");
  await expect(page.locator("#track-group option:checked")).toHaveText("␣house");
  await page.locator("#track-text").fill(" door| old");
  await page.keyboard.press("Enter");
  await expect(page.locator("#legend-quantity")).toHaveText("rank of ␣door | ␣old");
  await expect(page.locator("#track-group option:checked")).toHaveText("␣door | ␣old");
  await page.locator("#track-text").fill("several words");
  await page.keyboard.press("Enter");
  await expect(page.locator("#track-token [role=alert]")).toContainText("tokens");
});

test("the first visit has a tour of three steps, the second has none", async ({ page, site }) => {
  // Before the fixture's script could say that it was done.
  await page.addInitScript(() => sessionStorage.getItem("visited") ?? localStorage.removeItem("loupe:tour"));
  await page.goto(site);
  await waitForState(page, "ready");
  const tour = page.locator("#tour");
  await expect(tour).toContainText("1 of 3");
  await expectAccessible(page, "tour");
  await page.getByRole("button", { name: "Next" }).click();
  await expect(page.locator(".toured")).toHaveAttribute("id", "picture");
  await page.getByRole("button", { name: "Next" }).click();
  await page.getByRole("button", { name: "Done" }).click();
  await expect(tour).toBeHidden();
  expect(await page.evaluate(() => localStorage.getItem("loupe:tour"))).toBe("done");
  await page.evaluate(() => sessionStorage.setItem("visited", "yes"));
  await page.reload();
  await page.waitForFunction(() => performance.getEntriesByName("loupe:first-picture").length > 0);
  await expect(tour).toBeHidden();
  await page.locator("#help-open").click();
  await page.getByRole("button", { name: "Show the tour" }).click();
  await expect(tour).toContainText("1 of 3");
  await page.getByRole("button", { name: "Skip" }).click();
  await expect(tour).toBeHidden();
});

test("terms explain themselves, in the words of Help", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const sheet = page.locator("#term-sheet");
  await page.locator("#legend-quantity").click();
  await expect(sheet).toContainText("The score of a token before it becomes a probability");
  await page.keyboard.press("Escape");
  await expect(sheet).toBeHidden();
  const terms = await page
    .locator("[data-term]")
    .evaluateAll((all) => all.map((each) => each.getAttribute("data-term")));
  expect(terms.length).toBeGreaterThanOrEqual(5);
  for (const term of new Set(terms))
    expect(await page.locator(`#term-${term} + dd`).textContent(), `${term}`).toMatch(/\w{3}/);
  await page.locator("#help-open").click();
  await expect(page.locator('#help a[href*="interpreting-gpt-the-logit-lens"]')).toBeVisible();
  await expect(page.locator('#help a[href*="gpt-2-s-embedding-weights"]')).toBeVisible();
});

test("on a phone the picture begins in the upper 55 % of the screen, and the toolbar has one row beside the views", async ({
  page,
  site,
}) => {
  await page.setViewportSize({ width: 390, height: 844 });
  await page.goto(site);
  await waitForState(page, "ready");
  const { y } = (await page.locator("#scroller").boundingBox()) as any;
  expect(y).toBeLessThan(0.55 * 844);
  const [options, more] = [
    (await page.locator("#switches-toggle").boundingBox()) as any,
    (await page.locator("#more-views").boundingBox()) as any,
  ];
  expect(Math.abs(options.y - more.y), "one row").toBeLessThan(8);
});

test("forced colours: what is a quantity keeps its colour, what is chosen is seen to be", async ({ browser, site }) => {
  const context = await browser.newContext({ forcedColors: "active", serviceWorkers: "block" });
  const page = await context.newPage();
  await page.goto(site);
  await waitForState(page, "ready");
  const style = (selector: string, property: string) =>
    page
      .locator(selector)
      .first()
      .evaluate((of, property) => getComputedStyle(of).getPropertyValue(property), property);
  expect(await style("#legend-bar", "background-image")).toContain("linear-gradient");
  const fill = await style(".candidate-bar > *", "background-color");
  expect(fill).not.toBe(await style(".candidate-bar", "background-color"));
  const [chosen, other] = [".segment:has(:checked)", ".segment:not(:has(:checked))"];
  expect(await style(chosen, "background-color")).not.toBe(await style(other, "background-color"));
  await page.goto(`${site}#atlas=channels`);
  await page.waitForFunction(() =>
    /points/.test(document.querySelector(".atlas-stand .cloud-readout")?.textContent ?? ""),
  );
  const keys = await page
    .locator(".cloud .series-key")
    .evaluateAll((all) => all.map((key) => getComputedStyle(key).backgroundColor));
  expect(new Set(keys).size, "four series, four colours").toBe(4);
  await context.close();
});
