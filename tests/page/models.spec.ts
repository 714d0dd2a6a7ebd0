/** Models from a hub that misbehaves, from the store and from files: what a person sees, and what was asked of the hub. */
import { mkdirSync, writeFileSync } from "node:fs";
import { tales, talesBeyondF16, talesInShards, talesOfOld, wide } from "./checkpoints.ts";
import { download, expectNotice, lookUp, numbers, stored, waitForModel, withHub, withModels } from "./hubpage.ts";
import { expect, readText, serveSite, waitForState } from "./site.ts";
import type { Faults } from "./hub.ts";
import type { Folder } from "./checkpoints.ts";

const TEXT = "The old king went home to the castle by the sea.";

const models = () => {
  const { "tokenizer.json": _, ...without_tokenizer } = tales();
  return {
    "loupe/tales": tales(),
    "loupe/shards": talesInShards(3),
    "loupe/wide": wide(),
    "loupe/beyond-f16": talesBeyondF16(),
    "loupe/no-weights": {
      "config.json": without_tokenizer["config.json"],
      "tokenizer.json": tales()["tokenizer.json"],
    },
    "loupe/no-tokenizer": without_tokenizer,
    "loupe/of-old": talesOfOld(),
  };
};

const test = withModels(models).extend<object, { undisturbed: string }>({
  /** The digest of the data of Tales as an undisturbed download keeps it; every other way must come to the same. */
  undisturbed: [
    async ({ browser, server }, use) => {
      const page = await browser.newPage();
      await page.goto(`${server.origin}/a/b/`);
      await waitForState(page, "ready");
      await download(page, "loupe/tales");
      await waitForModel(page, "loupe/tales");
      const [{ sha256 }] = await stored(page);
      await page.close();
      await use(String(sha256));
    },
    { scope: "worker" },
  ],
});

// The hub is answered by the network here, and scripts by the routes of a test, not by what is kept for offline use.
test.use({ serviceWorkers: "block" });

// `undisturbed` is asked for here, so that what it downloads is forgotten too.
test.beforeEach(({ hub, undisturbed }) => void (undisturbed && hub.reset()));

test("a model of the hub is downloaded, kept, opened without the hub, and deleted", async ({
  page,
  site,
  hub,
  undisturbed,
}) => {
  await page.goto(site);
  await waitForState(page, "ready");
  await readText(page, TEXT);
  const bundled = await numbers(page);

  await lookUp(page, "loupe/tales");
  const row = page.locator("#hub-rows .row");
  await expect(row).toContainText("8.80 MB to download");
  await expect(row).toContainText("Fits");
  await page.screenshot({ path: "test-results/models-looked-up.png" });
  expect(hub.starts("loupe/tales"), "nothing is downloaded before one says so").toEqual([]);
  await row.getByRole("button", { name: "Download 8.80 MB" }).click();
  await waitForModel(page, "loupe/tales");
  expect(await numbers(page)).toEqual(bundled);
  expect(new URL(page.url()).hash).toContain("model=loupe%2Ftales");
  await expect(page.locator("#note")).toBeHidden();

  const [kept] = await stored(page);
  expect(kept.about).toMatchObject({
    version: 1,
    state: "whole",
    name: "loupe/tales",
    precision: "f16",
    bytes: kept.bytes,
  });
  expect(kept.about.source).toMatchObject({ kind: "hub", id: "loupe/tales", revision: "main" });
  expect(kept.about.source.commit).toMatch(/^[0-9a-f]{40}$/);
  expect(kept.sha256).toBe(undisturbed);

  await hub.close();
  try {
    await page.reload();
    await waitForModel(page, "loupe/tales");
    await expect(page.locator("#notice")).toBeHidden();
    expect(await numbers(page)).toEqual(bundled);
    // Without a model in the address, the one last used is opened.
    await page.goto("about:blank");
    await page.goto(`${site}#text=All+is+well`);
    await waitForModel(page, "loupe/tales");
  } finally {
    await hub.reopen();
  }

  await page.locator("#model-chip").click();
  const listed = page.locator('#model-rows [data-row^="loupe"]');
  await expect(listed).toContainText("in use");
  await expect(page.locator("#kept")).toContainText("1 model, ");
  await listed.locator(".row-head").click();
  await listed.getByRole("button", { name: "Delete" }).click();
  await expect(listed).toContainText("from this browser?");
  await listed.getByRole("button", { name: "Keep it" }).click();
  expect(await stored(page)).toHaveLength(1);
  await listed.getByRole("button", { name: "Delete" }).click();
  await listed.getByRole("button", { name: "Delete" }).click();
  await expect(page.locator("#kept")).toContainText("No model is kept yet");
  expect(await stored(page)).toEqual([]);
  // The model in use stays in use.
  await page.keyboard.press("Escape");
  await readText(page, "All is still well");
});

test("shards come to the same model", async ({ page, site, hub }) => {
  await page.goto(`${site}#text=${encodeURIComponent(TEXT)}`);
  await waitForState(page, "ready");
  const bundled = await numbers(page);
  await lookUp(page, `${hub.base}/loupe/shards/tree/main`);
  await expect(page.locator("#hub-status")).toHaveText("Found: 3 safetensors files.");
  await page
    .locator("#hub-rows")
    .getByRole("button", { name: /^Download/ })
    .click();
  await waitForModel(page, "loupe/shards");
  expect(await numbers(page)).toEqual(bundled);
  expect(hub.starts("loupe/shards")).toEqual([0, 0, 0]);
});

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

test("a link's model that is not here is offered, not downloaded", async ({ page, site, hub }) => {
  await page.goto(`${site}#model=openai-community/gpt2&text=All+is+well`);
  await waitForState(page, "ready");
  await expect(page.locator("#notice-title")).toHaveText("This link was made with GPT-2 124M (548 MB to download)");
  await page.screenshot({ path: "test-results/models-link.png" });
  expect(hub.asked()).toEqual([]);
  expect(new URL(page.url()).hash).toContain("model=openai-community%2Fgpt2");
  await page.getByRole("button", { name: "Not now" }).click();
  expect(new URL(page.url()).hash).toBe("#text=All+is+well");

  await page.goto(`${site}#model=loupe/tales&text=All+is+well`);
  await expect(page.locator("#notice-title")).toHaveText("This link was made with loupe/tales");
  await page.locator("#notice").getByRole("button", { name: "Download" }).click();
  await waitForModel(page, "loupe/tales");
  await expect(page.locator("#notice")).toBeHidden();
});

test("without room in the browser the model is opened, not kept, and nothing is left behind", async ({
  page,
  site,
}) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const devtools = await page.context().newCDPSession(page);
  await devtools.send("Storage.overrideQuotaForOrigin", { origin: new URL(site).origin, quotaSize: 4_000_000 });
  await download(page, "loupe/tales");
  await waitForModel(page, "loupe/tales");
  await expect(await expectNotice(page, "QuotaExceededError")).toContainText("no more room");
  await page.screenshot({ path: "test-results/models-quota.png" });
  expect(await stored(page)).toEqual([]);
  await readText(page, "It reads all the same.");
  await devtools.send("Storage.overrideQuotaForOrigin", { origin: new URL(site).origin });
});

test("what is not to be kept is not; a kept copy that is damaged is said and replaced", async ({
  page,
  site,
  hub,
  undisturbed,
}) => {
  await page.goto(site);
  await waitForState(page, "ready");
  await page.locator("#model-chip").click();
  await page.locator("#keep").uncheck();
  await download(page, "loupe/tales");
  await waitForModel(page, "loupe/tales");
  expect(await stored(page)).toEqual([]);
  await page.reload();
  await waitForModel(page, "Tales");
  await expect(page.locator("#notice-title")).toContainText("This link was made with loupe/tales");
  await page.locator("#model-chip").click();
  await expect(page.locator("#keep")).not.toBeChecked();
  await page.locator("#keep").check();
  await download(page, "loupe/tales");
  await waitForModel(page, "loupe/tales");

  await page.evaluate(async () => {
    let folder = await (
      await (await navigator.storage.getDirectory()).getDirectoryHandle("loupe")
    ).getDirectoryHandle("models");
    for await (const [, each] of (folder as any).entries()) folder = each;
    const out = await (await folder.getFileHandle("model.safetensors")).createWritable({ keepExistingData: true });
    await out.write({ type: "write", position: 5_000_000, data: new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]) });
    await out.close();
  });
  hub.set("loupe/tales");
  await page.reload();
  const notice = await expectNotice(page, "corrupt");
  await expect(notice).toContainText("The kept copy of loupe/tales is damaged");
  await waitForModel(page, "Tales");
  expect(hub.asked(), "nothing is downloaded by itself").toEqual([]);
  await notice.getByRole("button", { name: "Delete and download again" }).click();
  await waitForModel(page, "loupe/tales");
  expect((await stored(page))[0]).toMatchObject({ sha256: undisturbed, about: { state: "whole" } });
});

test("a tokenizer of two files, from the hub, from the store and from this computer", async ({ page, site }) => {
  await page.goto(`${site}#text=${encodeURIComponent(TEXT)}`);
  await waitForState(page, "ready");
  const bundled = await numbers(page);
  await download(page, "loupe/of-old");
  await waitForModel(page, "loupe/of-old");
  expect(await numbers(page)).toEqual(bundled);
  // Kept: the next visit asks the hub for nothing.
  await page.reload();
  await waitForModel(page, "loupe/of-old");
  expect(await numbers(page)).toEqual(bundled);
  const [kept] = await page.evaluate(() => (window as any).loupePage.engine.list());
  await page.evaluate((key) => (window as any).loupePage.engine.remove(key), kept.key);

  await page.goto(`${site}#text=${encodeURIComponent(`${TEXT} again`)}`);
  await page.reload();
  await waitForState(page, "ready");
  const again = await numbers(page);
  await page.locator("#files").setInputFiles(asFiles(talesOfOld()));
  await waitForModel(page, "Files of this computer");
  expect(await numbers(page)).toEqual(again);
});

const asFiles = (folder: Folder) =>
  Object.entries(folder).map(([name, buffer]) => ({ name, mimeType: "application/octet-stream", buffer }));

test("files from this computer: whole, in shards, dropped, and what is missing by its name", async ({
  page,
  site,
  hub,
}) => {
  await page.goto(`${site}#text=${encodeURIComponent(TEXT)}`);
  await waitForState(page, "ready");
  const bundled = await numbers(page);
  const { "tokenizer.json": _, ...incomplete } = tales();
  await page.locator("#files").setInputFiles(asFiles(incomplete));
  await expect(await expectNotice(page, "not-found")).toContainText("These files lack tokenizer.json.");
  const { "model-00002-of-00003.safetensors": __, ...gap } = talesInShards(3);
  await page.locator("#files").setInputFiles(asFiles(gap));
  await expect(page.locator("#notice")).toContainText("These files lack model-00002-of-00003.safetensors.");

  await page.locator("#files").setInputFiles(asFiles(talesInShards(3)));
  await waitForModel(page, "Files of this computer");
  await expect(page.locator("#notice")).toBeHidden();
  expect(await numbers(page)).toEqual(bundled);
  expect((await stored(page))[0].about).toMatchObject({ state: "whole", source: { kind: "files" } });
  await page.reload();
  await waitForModel(page, "Tales");

  const dropped = await page.evaluateHandle(async () => {
    const transfer = new DataTransfer();
    for (const name of ["config.json", "tokenizer.json", "model.safetensors"]) {
      const bytes = await (await fetch(`models/tales/${name}`)).arrayBuffer();
      transfer.items.add(new File([bytes], name));
    }
    return transfer;
  });
  await page.dispatchEvent("body", "dragover", { dataTransfer: dropped });
  await expect(page.getByText("Drop the model’s files here")).toBeVisible();
  await page.dispatchEvent("body", "drop", { dataTransfer: dropped });
  await waitForModel(page, "Files of this computer");
  await expect(page.getByText("Drop the model’s files here")).toBeHidden();
  expect(await numbers(page)).toEqual(bundled);
  expect(hub.asked()).toEqual([]);
});

test("a weight beyond f16 is refused by its name, and f32 is offered", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  await download(page, "loupe/beyond-f16");
  const notice = await expectNotice(page, "bad-dtype");
  await expect(notice).toContainText("h.3.mlp.c_fc.weight");
  expect(await stored(page)).toEqual([]);
  await notice.getByRole("button", { name: "Open in f32" }).click();
  await waitForModel(page, "f32");
  expect((await stored(page))[0].about).toMatchObject({ state: "whole", precision: "f32" });
  // The kept copy is the one that the address means.
  await page.reload();
  await waitForModel(page, "f32");
});

/** A GPU with this much room: what is allocated beyond is out of memory, as a real one says it. */
const smallGpu = (bytes: number) => `
  {
    let [used, is_over, filters] = [0, false, []];
    const sizes = new Map();
    const { createBuffer, pushErrorScope, popErrorScope } = GPUDevice.prototype;
    GPUDevice.prototype.createBuffer = function (wanted) {
      const buffer = createBuffer.call(this, wanted);
      const destroy = buffer.destroy.bind(buffer);
      used += wanted.size;
      if (used > ${bytes}) is_over = true;
      let is_there = true;
      buffer.destroy = () => { if (is_there) used -= wanted.size; is_there = false; destroy(); };
      return buffer;
    };
    GPUDevice.prototype.pushErrorScope = function (filter) {
      filters.push(filter);
      if (filter === "out-of-memory") is_over = false;
      return pushErrorScope.call(this, filter);
    };
    GPUDevice.prototype.popErrorScope = async function () {
      const filter = filters.pop();
      const has_failed = filter === "out-of-memory" && is_over;
      const error = await popErrorScope.call(this);
      return error ?? (has_failed ? new GPUOutOfMemoryError("no room left") : null);
    };
  }
`;

test("a model without room on the GPU: the trial says so, and the old model gives way only if it can come back", async ({
  page,
  hub,
}) => {
  const server = await serveSite({ html: withHub(hub), worker: smallGpu(100_000_000) });
  await page.goto(`${server.origin}/a/b/`);
  await waitForState(page, "ready");
  await page.locator("#model-chip").click();
  const row = page.locator('[data-row="openai-community/gpt2"]');
  await expect(row).toContainText("548 MB to download");
  await row.locator(".row-head").click();
  await expect(row).toContainText("Does not fit beside Tales");
  await page.screenshot({ path: "test-results/models-no-room.png" });
  await expect(row.getByRole("button", { name: "Download anyway" })).toBeVisible();
  // Nothing was taken for good: the page reads on.
  await page.keyboard.press("Escape");
  await readText(page, "There is room for this.");
  expect(hub.asked()).toEqual([]);

  // There is room for this one, but not twice. The kept one gives way, because it can be opened again.
  await download(page, "loupe/wide");
  await waitForModel(page, "loupe/wide");
  await page.locator("#model-chip").click();
  await page.locator("#keep").uncheck();
  const folder = test.info().outputPath("wide-folder");
  mkdirSync(folder, { recursive: true });
  for (const [name, bytes] of Object.entries(wide())) writeFileSync(`${folder}/${name}`, bytes);
  await page.locator("#folder").setInputFiles(folder);
  await waitForModel(page, "wide-folder");
  // This one could not be: it stays, and the other is refused.
  await page.locator("#model-chip").click();
  await page.locator('[data-row^="loupe"]').getByRole("button", { name: "Open" }).click();
  await expectNotice(page, "out-of-memory");
  await expect(page.locator("#model-chip")).toContainText("wide-folder");
  await readText(page, "It still reads.");
  server.close();
});

test("the panel: by keyboard, on a phone, in the dark", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const chip = page.locator("#model-chip");
  await chip.focus();
  await page.keyboard.press("Enter");
  const panel = page.locator("#models");
  await expect(panel).toBeVisible();
  for (const words of [
    "GPT-2 124M",
    "GPT-2 355M",
    "GPT-2 774M",
    "GPT-2 1558M",
    "DistilGPT2",
    "GPT-Neo 125M",
    "GPT-Neo 1.3B",
    "GPT-Neo 2.7B",
    "CTRL 1.6B",
  ])
    await expect(panel).toContainText(words);
  await expect(panel).toContainText("548 MB to download");
  await expect(panel).toContainText("6.43 GB to download");
  await expect(page.locator('[data-row="bundled"]')).toContainText("in use");
  await expect(page.locator("#safety")).toHaveText(/may clear it|Safe/);
  await page.locator('[data-row="openai-community/gpt2"] .row-head').focus();
  await page.keyboard.press("Enter");
  await expect(page.locator('[data-row="openai-community/gpt2"]')).toContainText("Fits");
  await expect(page.locator('[data-row="openai-community/gpt2"] .row-head')).toBeFocused();
  for (const [width, height] of [
    [1440, 900],
    [390, 844],
  ]) {
    for (const scheme of ["light", "dark"] as const) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme: scheme });
      const overflow = await panel.evaluate((dialog) => dialog.scrollWidth - dialog.clientWidth);
      expect(overflow, `sideways scroll at ${width}`).toBeLessThanOrEqual(0);
      await panel.evaluate((dialog) => dialog.scrollTo(0, 0));
      await page.screenshot({ path: `test-results/models-${width}-${scheme}.png` });
      // README's picture: LOUPE_PICTURES=1 cargo xtask test page
      if (process.env.LOUPE_PICTURES && width === 1440 && scheme === "light")
        await page.screenshot({ path: "tests/page/models-light.png" });
      await panel.evaluate((dialog) => dialog.scrollTo(0, 1e6));
      await page.screenshot({ path: `test-results/models-${width}-${scheme}-end.png` });
    }
  }
  const devtools = await page.context().newCDPSession(page);
  const { targetInfo } = await devtools.send("Target.getTargetInfo");
  await devtools.send("Browser.grantPermissions", {
    permissions: ["durableStorage"],
    browserContextId: targetInfo.browserContextId,
  });
  await page.getByRole("button", { name: "Make storage persistent" }).click();
  await expect(page.locator("#safety")).toHaveText(/^Safe: /);
  await expect(page.getByRole("button", { name: "Make storage persistent" })).toBeHidden();
  await page.keyboard.press("Escape");
  await expect(panel).toBeHidden();
  await expect(chip).toBeFocused();
  await chip.click();
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.mouse.click(20, 450);
  await expect(panel).toBeHidden();
});
