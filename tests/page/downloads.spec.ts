/** Downloads from a hub that misbehaves: what a person sees, and what was asked of the hub. */
import { tales } from "./checkpoints.ts";
import { asFiles, test } from "./hubmodels.ts";
import { download, expectNotice, lookUp, numbers, stored, waitForModel } from "./hubpage.ts";
import { expect, readText, waitForState } from "./site.ts";
import type { Faults } from "./hub.ts";

// The hub is answered by the network here, and scripts by the routes of a test, not by what is kept for offline use.
test.use({ serviceWorkers: "block" });

// `undisturbed` is asked for here, so that what it downloads is forgotten too.
test.beforeEach(({ hub, undisturbed }) => void (undisturbed && hub.reset()));

test("cuts, stalls, busy servers: the download goes on where it was, to the same digest", async ({
  page,
  site,
  hub,
  undisturbed,
}) => {
  await page.goto(site);
  await waitForState(page, "ready");
  for (const [name, fault, check] of [
    ["cut twice", { cut: [3_000_000, 1_000_000] }, (starts) => expect(starts).toEqual([0, 3_000_000, 4_000_000])],
    ["stalled", { stall: 2_000_000 }, (starts) => expect(starts).toEqual([0, 2_000_000])],
    [
      "busy",
      { busy: [{ status: 429, retry_after: "1" }, { status: 503 }] },
      (starts) => expect(starts).toEqual([0, 0, 0]),
    ],
    ["ranges ignored", { cut: [3_000_000], no_ranges: true }, (starts) => expect(starts).toEqual([0, 3_000_000])],
    ["no listing", { cut: [3_000_000], no_listing: true }, (starts) => expect(starts).toEqual([0, 3_000_000])],
  ] as [string, Faults, (starts: number[]) => void][]) {
    await test.step(name, async () => {
      hub.set("loupe/tales", fault);
      await download(page, "loupe/tales");
      if (name === "busy") {
        await expect(page.locator("#transfer-title")).toHaveText("Waiting 1 s to try again");
        await expect(page.locator("#transfer-text")).toContainText("answered 429");
      }
      await waitForModel(page, "loupe/tales");
      check(hub.starts("loupe/tales"));
      if (name === "busy") {
        const [first, second] = hub.asked("loupe/tales").filter(({ file }) => file.endsWith("safetensors"));
        expect(second.at - first.at, "Retry-After is honoured").toBeGreaterThan(990);
      }
      const [kept] = await stored(page);
      expect(kept.about.state).toBe("whole");
      expect(kept.sha256).toBe(undisturbed);
      await page.locator("#model-chip").click();
      await page.locator('[data-row="bundled"]').getByRole("button", { name: "Open" }).click();
      await waitForModel(page, "Tales");
      await page.evaluate((key) => (window as any).loupePage.engine.remove(key), kept.key);
    });
  }
});

test("a server that only fails is given up, and can be tried again", async ({ page, site, hub }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const before = await numbers(page);
  hub.set("loupe/tales", { always: 500 });
  await download(page, "loupe/tales");
  const notice = await expectNotice(page, "network");
  await expect(notice).toContainText("answered 500");
  await page.screenshot({ path: "test-results/models-failure.png" });
  expect(hub.starts("loupe/tales")).toHaveLength(6);
  await expect(page.locator("#picture")).toBeVisible();
  expect(await numbers(page), "the model in use and its picture stay").toEqual(before);
  await readText(page, "It still reads.");
  hub.set("loupe/tales");
  await notice.getByRole("button", { name: "Try again" }).click();
  await waitForModel(page, "loupe/tales");
  await expect(page.locator("#notice")).toBeHidden();
});

test("a file of the wrong length or with a wrong byte is corrupt, and nothing of it is kept", async ({
  page,
  site,
  hub,
}) => {
  await page.goto(site);
  await waitForState(page, "ready");
  for (const [name, fault, words] of [
    ["longer than announced", { announce: 5_000_000 }, "longer"],
    ["shorter than announced", { announce: 9_000_000 }, "changed on the server"],
    ["another byte", { flip: 7_000_000 }, "damaged"],
  ] as [string, Faults, string][]) {
    await test.step(name, async () => {
      hub.set("loupe/tales", fault);
      await download(page, "loupe/tales");
      const notice = await expectNotice(page, "corrupt");
      await expect(notice).toContainText(words);
      expect(await stored(page)).toEqual([]);
      await expect(page.locator("#model-chip")).toContainText("Tales");
      await notice.getByRole("button", { name: "Dismiss" }).click();
    });
  }
});

test("what the hub does not have or does not give is said, and by its name", async ({ page, site, hub }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  hub.set("loupe/shards", { refuse: 401 });
  hub.set("loupe/tales", { no_cors: true });
  for (const [id, ...words] of [
    ["loupe/nothing", "no config.json of loupe/nothing at revision main"],
    ["loupe/tales@v9", "loupe/tales at revision v9"],
    ["loupe/shards", "(401)", "licence", "never signs in"],
    ["loupe/no-weights", "no model.safetensors and no pytorch_model.bin of loupe/no-weights", "no index of shards"],
    ["loupe/no-tokenizer", "no tokenizer.json of loupe/no-tokenizer"],
    ["loupe/tales", "does not allow other pages to read", "CORS"],
    ["not a name", "not the name of a model"],
    ["../../etc", "not the name of a model"],
  ]) {
    await lookUp(page, id);
    for (const word of words) await expect(page.locator("#hub-status")).toContainText(word);
    await expect(page.locator("#hub-status")).toHaveClass(/bad/);
    await expect(page.locator("#hub-rows .row")).toHaveCount(0);
  }
  await page.context().setOffline(true);
  await lookUp(page, "loupe/wide");
  await expect(page.locator("#hub-status")).toContainText("You are offline");
  await page.context().setOffline(false);
});

test("a slow download shows rate and time left, can be cancelled, and is resumed", async ({
  page,
  site,
  hub,
  undisturbed,
}) => {
  await page.goto(site);
  await waitForState(page, "ready");
  hub.set("loupe/tales", { drip: 15_000 });
  await download(page, "loupe/tales");
  await expect(page.locator("#models")).toBeHidden();
  await expect(page.locator("#transfer-title")).toHaveText("Downloading loupe/tales");
  await expect(page.locator("#transfer-text")).toHaveText(/^\d\.\d\d of 8\.80 MB · \d[\d.]* [kM]B\/s · \d+ s left$/);
  await expect(page.locator("#picture")).toBeVisible();
  await readText(page, "The page reads on with the old model.");
  await page.screenshot({ path: "test-results/models-downloading.png" });
  await page.setViewportSize({ width: 390, height: 844 });
  await page.screenshot({ path: "test-results/models-downloading-390.png" });
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.locator("#files").setInputFiles(asFiles(tales()));
  await expect(page.locator("#notice-title")).toHaveText("One model at a time");
  await page.getByRole("button", { name: "Cancel" }).click();
  await expectNotice(page, "");
  await expect(page.locator("#notice-title")).toHaveText("Opening loupe/tales was cancelled");
  await expect(page.locator("#transfer")).toBeHidden();

  await page.locator("#model-chip").click();
  const row = page.locator('#model-rows [data-row^="loupe"]');
  await expect(row).toContainText(/\d+ % downloaded/);
  hub.set("loupe/tales", {});
  await row.locator(".row-head").click();
  await page.screenshot({ path: "test-results/models-unfinished.png" });
  await row.getByRole("button", { name: "Resume" }).click();
  await waitForModel(page, "loupe/tales");
  const starts = hub.starts("loupe/tales");
  expect(starts.at(-1)).toBeGreaterThan(100_000);
  const [kept] = await stored(page);
  expect(kept).toMatchObject({ sha256: undisturbed, about: { state: "whole" } });
});

test("a tab that is closed in the middle leaves an unfinished model, which is finished later", async ({
  page,
  site,
  hub,
}) => {
  await page.goto(site);
  await waitForState(page, "ready");
  await download(page, "loupe/wide");
  await waitForModel(page, "loupe/wide");
  const [whole] = await stored(page);
  await page.locator("#model-chip").click();
  await page.locator('[data-row="bundled"]').getByRole("button", { name: "Open" }).click();
  await waitForModel(page, "Tales");
  await page.evaluate((key) => (window as any).loupePage.engine.remove(key), whole.key);

  // It holds still where enough is stored to go on with, so that the tab is surely closed in the middle.
  hub.set("loupe/wide", { stall: 50_000_000 });
  await download(page, "loupe/wide");
  await page.waitForFunction(() => Number.parseFloat(document.getElementById("transfer-text")?.textContent ?? "") > 44);
  await page.close();

  const second = await page.context().newPage();
  hub.set("loupe/wide");
  await second.goto(`${site}#model=loupe/wide`);
  await waitForState(second, "ready");
  const notice = await expectNotice(second, "");
  await expect(notice).toContainText("This link was made with loupe/wide");
  await expect(second.locator("#model-chip")).toContainText("Tales");
  expect(hub.asked("loupe/wide"), "nothing is asked for by itself").toEqual([]);
  await notice.getByRole("button", { name: "Resume" }).click();
  await waitForModel(second, "loupe/wide");
  expect(hub.starts("loupe/wide").at(-1)).toBeGreaterThan(30_000_000);
  expect((await stored(second))[0]).toMatchObject({ sha256: whole.sha256, about: { state: "whole" } });
  await second.close();
});

test("a second tab that stores the same model opens it without keeping it", async ({
  page,
  site,
  hub,
  undisturbed,
}) => {
  await page.goto(site);
  await waitForState(page, "ready");
  hub.set("loupe/tales", { drip: 10_000 });
  await download(page, "loupe/tales");
  await expect(page.locator("#transfer-title")).toHaveText("Downloading loupe/tales");
  const second = await page.context().newPage();
  await second.goto(site);
  await waitForState(second, "ready");
  hub.set("loupe/tales");
  await lookUp(second, "loupe/tales");
  await expect(second.locator("#hub-status")).toHaveText("Found: one safetensors file. It is in the list above.");
  await second.locator(".row.chosen").getByRole("button", { name: "Resume" }).click();
  await waitForModel(second, "loupe/tales");
  await expect(await expectNotice(second, "NoModificationAllowedError")).toContainText("Another tab");
  await second.close();
  await waitForModel(page, "loupe/tales");
  expect((await stored(page))[0]).toMatchObject({ sha256: undisturbed, about: { state: "whole" } });
});
