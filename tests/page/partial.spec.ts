/** Files that hold only some tensors of a model: opened for the atlas, said so in the lens; and the real GPT-2 small's, where it lies. */
import { existsSync } from "node:fs";
import { fileOf, tales, tensorsOf } from "./checkpoints.ts";
import { expect, test, waitForState } from "./site.ts";
import type { Page } from "@playwright/test";

const REAL = "../shared/gpt2-small/positions-and-norms.safetensors";
const [C, N_LAYER] = [192, 8];

const asFile = (name: string, buffer: Buffer) => ({ name, mimeType: "application/octet-stream", buffer });

const partOfTales = (keeps: (name: string) => boolean) =>
  fileOf(tensorsOf(tales()["model.safetensors"]).filter(({ name }) => keeps(name)));
const isPositionOrNorm = (name: string) => /(^|\.)(wpe|ln_1|ln_2|ln_f)\./.test(name);

async function give(page: Page, files: any) {
  await page.locator("#files").setInputFiles(files);
}

const show = (page: Page, view: string) => page.locator(`[data-atlas="${view}"]`).click();

test("wpe and LayerNorms alone: the atlas opens, each view says what it lacks, the lens says why", async ({
  page,
  site,
}) => {
  await page.goto(site);
  await waitForState(page, "ready");
  await give(page, [asFile("some-norms.safetensors", partOfTales(isPositionOrNorm))]);
  await expect(page.locator("#model-chip")).toHaveText("some-norms.safetensors · wpe and LayerNorms only");
  await expect(page.locator(".multiple")).toHaveCount(N_LAYER);
  await expect(page).toHaveURL(/atlas=gains/);
  await show(page, "channels");
  await expect(page.locator("#atlas")).toContainText(
    "This file has no wte: of the four series, the two of wpe are shown.",
  );
  await expect(page.locator(".atlas-stand .legend-toggle")).toHaveText(["|mean(wpe)|", "std(wpe)"]);
  await expect(page.locator(".histograms svg")).toHaveCount(2);
  await page.getByText("Show the table").click();
  await expect(page.locator(".sortable tbody tr")).toHaveCount(C);
  await show(page, "pairs");
  await expect(page.locator("#atlas")).toContainText("This file has no wte, so there are no tokens here");
  await expect(page.locator(".cloud-readout").first()).not.toContainText("0 points");
  await show(page, "channel");
  await expect(page.locator("#atlas")).toContainText(
    "This file has no wte, so there are no tokens here: gains and positions are shown.",
  );
  await expect(page.getByLabel("The highest tokens")).toBeHidden();
  await expect(page.getByRole("heading", { name: "Gains over the layers" })).toBeVisible();
  for (const view of ["matrix", "spectrum", "components", "candidates", "zero", "outliers"]) {
    await show(page, view);
    await expect(page.locator(".atlas-stand"), view).toContainText(/This file has no wte/);
  }
  await expect(page.getByLabel("Selected tokens", { exact: true })).toContainText("This file has no tokens to select.");

  await page.getByRole("link", { name: "Lens", exact: true }).click();
  await expect(page.locator("#problem")).toContainText("This file is a partial model");
  await expect(page.locator("#problem")).toContainText("It has wpe and LayerNorms, and no wte");
  await page.screenshot({ path: "test-results/part-lens.png" });
  await page.locator("#problem").getByRole("button", { name: "Open the atlas" }).click();
  await expect(page.locator(".multiple").first()).toBeVisible();
  expect(await page.evaluate(() => (window as any).loupePage.engine.list()), "a part is never kept").toEqual([]);
  await page.getByRole("link", { name: "Lens", exact: true }).click();
  await page.locator("#problem").getByRole("button", { name: "Back to Tales" }).click();
  await expect(page.locator("#model-chip")).toContainText("Tales");
  await expect(page.locator("#heatmap")).toBeVisible();
  await expect(page).not.toHaveURL(/file=/);
});

test("a link that was made with a file asks for it, instead of showing another model in silence", async ({
  page,
  site,
}) => {
  await page.goto(site);
  await waitForState(page, "ready");
  await give(page, [asFile("some-norms.safetensors", partOfTales(isPositionOrNorm))]);
  await expect(page).toHaveURL(/atlas=gains/);
  await expect(page).toHaveURL(/file=some-norms.safetensors/);
  await show(page, "pairs");
  const channel = page.getByLabel("Selected channel", { exact: true }).locator("input");
  await channel.fill("191");
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/channel=191/);
  await page.reload();
  await expect(page.locator("#notice")).toContainText("This link was made with the file some-norms.safetensors");
  await expect(page.locator("#model-chip")).toContainText("Tales");
  await expect(page, "reloading once more still asks").toHaveURL(/file=some-norms.safetensors/);
  await give(page, [asFile("some-norms.safetensors", partOfTales(isPositionOrNorm))]);
  await expect(page.locator("#model-chip")).toContainText("some-norms.safetensors");
  await expect(page.locator("#notice")).toBeHidden();
  await expect(page, "the view of the link, not the usual one").toHaveURL(/atlas=pairs/);
  await expect(channel).toHaveValue("191");
  await expect(page.locator(".cloud-readout").first()).toContainText("zooms");
});

test("a whole model that lacks a tensor is not opened, but what there is can be explored", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const { "model.safetensors": _, ...texts } = tales();
  const files = { ...texts, "model.safetensors": partOfTales((name) => !name.includes("h.5.mlp")) };
  await give(
    page,
    Object.entries(files).map(([name, buffer]) => asFile(name, buffer)),
  );
  await expect(page.locator("#notice")).toHaveAttribute("data-code", "missing-tensor", { timeout: 200_000 });
  await expect(page.locator("#notice")).toContainText("h.5.mlp");
  await expect(page.locator("#model-chip"), "the old model stays").toContainText("Tales");
  await page.getByRole("button", { name: "Explore what there is" }).click();
  await expect(page.locator("#model-chip")).toHaveText("model.safetensors · wte, wpe and LayerNorms only", {
    timeout: 200_000,
  });
  await show(page, "channel");
  // The tokenizer came with it, so the tokens have names.
  await expect(page.getByLabel("The highest tokens").locator("tbody tr")).toHaveCount(20);
  await expect(page.getByLabel("The highest tokens")).not.toContainText("#1");
});

test("a file with nothing that the atlas knows is refused by name", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  await give(page, [
    asFile(
      "attention.safetensors",
      partOfTales((name) => name.includes(".attn.")),
    ),
  ]);
  await expect(page.locator("#notice")).toBeVisible();
  await expect(page.locator("#notice")).toContainText("attention.safetensors could not be opened");
  await expect(page.getByRole("button", { name: "Explore what there is" })).toHaveCount(0);
  await expect(page.locator("#model-chip")).toContainText("Tales");
});

test("real GPT-2 small: channel 138 stands out in ln_2, 69 channels carry the position", async ({ page, site }) => {
  test.skip(!existsSync(REAL), `${REAL} is not here`);
  await page.goto(site);
  await waitForState(page, "ready");
  await give(page, [REAL]);
  await expect(page.locator("#model-chip")).toHaveText("positions-and-norms.safetensors · wpe and LayerNorms only");
  const atlas = page.locator("#atlas");
  await expect(atlas).toContainText("Channel 138 has the largest |ln_2 gain| in 9 of 12 blocks (2–10).");
  await expect(atlas).toContainText("69 position-heavy channels");
  await expect(page.getByLabel("Selected channel", { exact: true }).locator("input")).toHaveValue("138");
  await page.mouse.move(5, 890);
  await page.waitForTimeout(500);
  // README's picture: LOUPE_PICTURES=1 cargo xtask test page
  const folder = process.env.LOUPE_PICTURES ? "tests/page" : "test-results";
  await page.screenshot({ path: `${folder}/atlas-light.png` });

  // Labelled though another channel is selected: it stands out by itself, far above the cloud around it.
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    (async () => {
      await page.getByLabel("Selected channel", { exact: true }).locator("input").fill("5");
      await page.keyboard.press("Enter");
      await page.locator(".atlas-stand .menu > button").click();
      await page.locator('.atlas-stand [data-export="svg"]').click();
    })(),
  ]);
  const chunks = [];
  for await (const chunk of await download.createReadStream()) chunks.push(chunk);
  const svg = Buffer.concat(chunks).toString();
  expect(
    (svg.match(/>138<\/text>/g) ?? []).length,
    "in each of the nine blocks where it is largest",
  ).toBeGreaterThanOrEqual(9);

  await show(page, "channels");
  await expect(atlas).toContainText(/69 channels above 0\.06\d+ \(log₁₀ −1\.2\)/);
  await show(page, "pairs");
  // Measured once with numpy from the same file: the eight channels with the largest std(wpe).
  const names = (await page.locator(".curve-list").first().locator(".legend-toggle").allInnerTexts()).map((text) =>
    Number(text.replace("channel ", "")),
  );
  expect(names.toSorted((a, b) => a - b)).toEqual([361, 374, 459, 496, 497, 525, 724, 762]);
});
