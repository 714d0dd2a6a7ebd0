/** Models from the hub, from the store and from files, as a person opens, keeps and deletes them. */
import { mkdirSync, writeFileSync } from "node:fs";
import { tales, talesInShards, talesOfOld, wide } from "./checkpoints.ts";
import { asFiles, TEXT, test } from "./hubmodels.ts";
import { download, expectNotice, lookUp, numbers, stored, waitForModel, withHub } from "./hubpage.ts";
import { expect, readText, serveSite, waitForState } from "./site.ts";

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
  await expect(row).toContainText("Within the limits of this device.");
  await page.screenshot({ path: "test-results/models-looked-up.png" });
  expect(hub.starts("loupe/tales"), "nothing is downloaded before one says so").toEqual([]);
  await row.getByRole("button", { name: "Download 8.80 MB" }).click();
  await waitForModel(page, "loupe/tales");
  expect(await numbers(page)).toEqual(bundled);
  await expect(page).toHaveURL(/model=loupe%2Ftales/);
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

test("a link's model that is not here is offered, not downloaded", async ({ page, site, hub }) => {
  await page.goto(`${site}#model=openai-community/gpt2&text=All+is+well`);
  await waitForState(page, "ready");
  await expect(page.locator("#notice-title")).toHaveText("This link was made with GPT-2 124M (548 MB to download)");
  await page.screenshot({ path: "test-results/models-link.png" });
  expect(hub.asked()).toEqual([]);
  await expect(page).toHaveURL(/model=openai-community%2Fgpt2/);
  await page.getByRole("button", { name: "Not now" }).click();
  await expect(page).toHaveURL(/\/#text=All\+is\+well$/);

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

test("files from this computer: whole, in shards, dropped, and what is missing by its name", async ({
  page,
  site,
  hub,
}) => {
  await page.goto(`${site}#text=${encodeURIComponent(TEXT)}`);
  await waitForState(page, "ready");
  const bundled = await numbers(page);
  const { "model-00002-of-00003.safetensors": _, ...gap } = talesInShards(3);
  await page.locator("#files").setInputFiles(asFiles(gap));
  const notice = await expectNotice(page, "not-found");
  await expect(notice).toContainText("These files lack model-00002-of-00003.safetensors.");
  await expect(notice).toContainText("A file of weights by itself opens in the atlas.");

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

test("a description that is torn while it is written loses nothing", async ({ page, site, hub }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  await download(page, "loupe/tales");
  await waitForModel(page, "loupe/tales");
  const [{ key, about }] = await stored(page);
  await page.evaluate(async (key) => {
    const root = await navigator.storage.getDirectory();
    const folder = await (
      await (await root.getDirectoryHandle("loupe")).getDirectoryHandle("models")
    ).getDirectoryHandle(key);
    const file = await (await folder.getFileHandle("about.json")).createWritable();
    await file.write('{"version":1,"sta');
    await file.close();
  }, key);
  hub.reset();
  await page.reload();
  await waitForModel(page, "loupe/tales");
  expect(hub.asked()).toEqual([]);
  await page.locator("#model-chip").click();
  await expect(page.locator("#model-rows")).toContainText("loupe/tales");
  expect(about).toMatchObject({ state: "whole" });
});

test("a model without a tokenizer reads token ids", async ({ page, site }) => {
  await page.goto(`${site}#text=${encodeURIComponent(TEXT)}`);
  await waitForState(page, "ready");
  const [bundled, ids] = [
    await numbers(page),
    await page.evaluate(() => (window as any).loupePage.reading().tokens.map((t: any) => t.id)),
  ];
  const { "tokenizer.json": _, ...bare } = tales();
  await page.locator("#files").setInputFiles(asFiles(bare));
  const problem = page.locator("#problem");
  await expect(problem).toBeVisible();
  await expect(problem).toContainText("This model reads token ids");
  await expect(problem).toContainText("“The” is not a token id");
  await page.screenshot({ path: "test-results/ids-mode.png" });
  await page.locator("#text").fill(ids.join(" "));
  await expect(problem).toBeHidden();
  expect(await numbers(page)).toEqual(bundled);
  await expect(page.locator("#cell-context")).toContainText("#");
  await page.locator("#switches-toggle").click();
  await expect(page.locator('#switches [name="with_end_token"]')).toBeDisabled();
  await page.locator("#switches-close").click();
  await page.locator("#text").fill("1 99999999");
  await expect(page.locator("#problem")).toHaveAttribute("data-code", "bad-token");
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
  await page.addInitScript(() => localStorage.setItem("loupe:device", "gpu"));
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
  await expect(page.locator('[data-row="openai-community/gpt2"]')).toContainText("Within the limits of this device.");
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
