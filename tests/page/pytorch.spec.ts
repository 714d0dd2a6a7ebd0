/** Files of PyTorch: CTRL from its own repository, files from this computer, a part of a model, and what is refused. */
import { readFileSync } from "node:fs";
import { download, expectNotice, lookUp, numbers, stored, waitForModel, withModels } from "./hubpage.ts";
import { ctrlOfTheHub } from "./pickles.ts";
import { expect, waitForState } from "./site.ts";
import type { Folder } from "./checkpoints.ts";

const GOLDEN = "tests/golden";
const TEXT = "the king";
const CTRL = "Salesforce/ctrl";

const golden = (name: string) => readFileSync(`${GOLDEN}/${name}`);

/** The small CTRL of the golden files, whose vocabulary is that of the golden tokens. */
const smallCtrl = (weights: Record<string, Buffer>) => ({
  "config.json": golden("ctrl/config.json"),
  "vocab.json": golden("ctrl_tokens/vocab.json"),
  "merges.txt": golden("ctrl_tokens/merges.txt"),
  ...weights,
});

/** A short text, because the small model has 16 positions, and the other one a vocabulary of 246,534 tokens. */
const withText = (site: string) => `${site}#text=${encodeURIComponent(TEXT)}`;

const filesOf = (folder: Folder) =>
  Object.entries(folder).map(([name, buffer]) => ({ name, mimeType: "application/octet-stream", buffer }));

const SHARD = "pytorch_model-00001-of-00001.bin";
const INDEX = JSON.stringify({ metadata: {}, weight_map: { "transformer.w.weight": SHARD, "lm_head.bias": SHARD } });

const test = withModels(() => ({
  [CTRL]: ctrlOfTheHub(),
  "loupe/both": smallCtrl({
    "model.safetensors": golden("ctrl/model.safetensors"),
    "pytorch_model.bin": golden("torch/hostile_system.bin"),
  }),
  "loupe/zip": smallCtrl({ "pytorch_model.bin": golden("torch/ctrl_zip.bin") }),
  "loupe/shards": smallCtrl({ "pytorch_model.bin.index.json": Buffer.from(INDEX), [SHARD]: golden("torch/ctrl.bin") }),
  "loupe/hostile": smallCtrl({ "pytorch_model.bin": golden("torch/hostile_system.bin") }),
}));
test.use({ serviceWorkers: "block" });
test.beforeEach(({ hub }) => void hub.reset());

test("CTRL 1.6B in the menu: a download that is cut and cancelled, resumed, verified, read and kept", async ({
  page,
  site,
  hub,
}) => {
  test.setTimeout(240_000);
  await page.goto(withText(site));
  await waitForState(page, "ready");
  await page.locator("#model-chip").click();
  const row = page.locator(`[data-row="${CTRL}"]`);
  await row.locator(".row-head").click();
  await expect(row).toContainText("weights on the hub: PyTorch");
  hub.set(CTRL, { cut: [1_000_000], drip: 100_000 });
  await row.getByRole("button", { name: /^Download/ }).click();
  await expect(page.locator("#transfer-title")).toHaveText("Downloading CTRL 1.6B");
  await expect.poll(() => hub.starts(CTRL), { timeout: 200_000 }).toEqual([0, 1_000_000]);
  await expect(page.locator("#transfer-text")).toContainText(/^([5-9]|1\d)\.\d of 34/, { timeout: 200_000 });
  await page.locator("#transfer").getByRole("button", { name: "Cancel" }).click();
  await expect(page.locator("#transfer")).toBeHidden();

  hub.set(CTRL);
  await page.locator("#model-chip").click();
  await expect(row).toContainText("% downloaded");
  if (!(await row.getByRole("button", { name: "Resume" }).isVisible())) await row.locator(".row-head").click();
  await row.getByRole("button", { name: "Resume" }).click();
  await waitForModel(page, "CTRL 1.6B");
  const [head, ...starts] = hub.starts(CTRL);
  expect(head, "the header is read, to know what the rest of the file is").toBe(0);
  expect(starts, "the blocks are not downloaded again").toHaveLength(1);
  expect(starts[0]).toBeGreaterThan(1_000_000);
  const { stats } = await numbers(page);
  expect(stats.kl_final).toHaveLength(49 * TEXT.split(" ").length);
  await page.screenshot({ path: "test-results/pytorch-ctrl.png" });

  const [kept] = await stored(page);
  expect(kept.about).toMatchObject({ state: "whole", name: "CTRL 1.6B", precision: "f16" });
  await page.locator("#model-chip").click();
  await expect(page.locator("#model-facts")).toContainText("ctrl: 48 blocks, 16 heads, n_embd 32");
  await expect(page.locator("#model-facts")).toContainText("512 tokens");
  await page.screenshot({ path: "test-results/pytorch-menu.png" });
  await page.keyboard.press("Escape");

  // What is kept opens without the hub, as the same model.
  const before = await numbers(page);
  await hub.close();
  try {
    await page.reload();
    await waitForModel(page, "CTRL 1.6B");
    expect(await numbers(page)).toEqual(before);
  } finally {
    await hub.reopen();
  }
});

test("safetensors comes before PyTorch; a zip file is read by its directory, and has the numbers of the other", async ({
  page,
  site,
  hub,
}) => {
  await page.goto(withText(site));
  await waitForState(page, "ready");
  await lookUp(page, "loupe/both");
  await expect(page.locator("#hub-status")).toHaveText("Found: one safetensors file.");
  await page
    .locator("#hub-rows")
    .getByRole("button", { name: /^Download/ })
    .click();
  await waitForModel(page, "loupe/both");
  const expected = await numbers(page);
  const [{ sha256 }] = await stored(page);

  await lookUp(page, "loupe/zip");
  await expect(page.locator("#hub-status")).toHaveText("Found: one PyTorch file.");
  await page
    .locator("#hub-rows")
    .getByRole("button", { name: /^Download/ })
    .click();
  await waitForModel(page, "loupe/zip");
  expect(await numbers(page)).toEqual(expected);
  const copies = await stored(page);
  expect(
    copies.map((copy) => copy.sha256),
    "the copies hold the same bits",
  ).toEqual([sha256, sha256]);
  await lookUp(page, "loupe/shards");
  await expect(page.locator("#hub-status")).toHaveText("Found: one PyTorch file.");
  await page
    .locator("#hub-rows")
    .getByRole("button", { name: /^Download/ })
    .click();
  await waitForModel(page, "loupe/shards");
  expect(await numbers(page), "by the index of its shards").toEqual(expected);
  const bytes = golden("torch/ctrl_zip.bin").length;
  const [first, tail] = hub.starts("loupe/zip");
  expect([first, tail], "the end is read before the rest").toEqual([0, Math.max(0, bytes - (1 << 16) - 128)]);
});

test("files of this computer: beside a config a model, by itself a part of one; a hostile one is refused", async ({
  page,
  site,
  hub,
}) => {
  await page.goto(withText(site));
  await waitForState(page, "ready");
  const give = (folder: Folder) => page.locator("#files").setInputFiles(filesOf(folder));
  await give(
    smallCtrl({ "pytorch_model.bin": golden("torch/ctrl.bin"), "training_args.bin": Buffer.from("none of ours") }),
  );
  await waitForModel(page, "Files of this computer");
  const old = await numbers(page);
  await give(smallCtrl({ "anything.pt": golden("torch/ctrl_zip.bin") }));
  const states = () =>
    page.evaluate(async () => (await (window as any).loupePage.engine.list()).map(({ about }: any) => about.state));
  await expect.poll(states).toEqual(["whole", "whole"]);
  await expect(page.locator("#transfer")).toBeHidden();
  await waitForState(page, "ready");
  expect(await numbers(page), "both formats hold the same model").toEqual(old);

  await give({ "ctrl.bin": golden("torch/ctrl.bin") });
  await expect(page.locator("#model-chip")).toHaveText("ctrl.bin · wte and LayerNorms only");
  await expect(page, "the gains need wpe, which CTRL computes").toHaveURL(/atlas=matrix/);
  await expect(page.locator(".atlas-stand canvas").first()).toBeVisible();

  await give({ "hostile.bin": golden("torch/hostile_system.bin") });
  const notice = await expectNotice(page, "unsupported-model");
  await expect(notice).toContainText("posix.system");
  await expect(notice).toContainText("runs nothing");
  await page.screenshot({ path: "test-results/pytorch-refused.png" });
  await expect(page.locator("#model-chip")).toContainText("ctrl.bin");

  await give({ "deflated.bin": golden("torch/bare_deflated.bin") });
  await expectNotice(page, "unsupported-model");
  await expect(page.locator("#notice")).toContainText("compressed");
  await give({ "cut.bin": golden("torch/bare_half.bin").subarray(0, 3000) });
  await expectNotice(page, "truncated");

  await page.getByRole("link", { name: "Lens", exact: true }).click();
  await page.locator("#problem").getByRole("button", { name: "Back to Tales" }).click();
  await waitForModel(page, "Tales");
  hub.set("loupe/hostile");
  await download(page, "loupe/hostile");
  await expectNotice(page, "unsupported-model");
  expect(
    (await stored(page)).map(({ about }) => about.name),
    "nothing of it is kept",
  ).not.toContain("loupe/hostile");
});
