/** The benchmark's page: what it measures, says, copies and saves, on both devices. */
import { readFileSync } from "node:fs";
import { expectAccessible } from "./axe.ts";
import { expect, test } from "./site.ts";

const MODEL = "2,64,512";

test("readings beside the adapter's ceilings, with exact costs, to copy and to save", async ({
  page,
  site,
  context,
}) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.goto(`${site}bench.html#model=${MODEL}&tokens=8,70`);
  await page.locator("#start").click();
  const status = page.locator("#status");
  await expect(status).toHaveText("Done.", { timeout: 200_000 });
  await expectAccessible(page, "measured");
  const rows = await page
    .locator("#rows tr")
    .evaluateAll((rows) => rows.map((row) => [...row.querySelectorAll("td")].map(({ textContent }) => textContent)));
  expect(rows.map(([tokens]) => tokens)).toEqual(["8", "70"]);
  await page.locator("#copy").click();
  const text = await page.evaluate(() => navigator.clipboard.readText());
  expect(text).toContain("2 blocks, 64 channels, 512 tokens, f16");
  expect(text).toMatch(/multiplies and adds at up to [\d.,]+ GFLOP\/s and copies at up to [\d.,]+ GB\/s/);
  expect(text).toContain(rows[1].join(" | "));
  await page.screenshot({ path: "test-results/bench.png", fullPage: true });

  const downloading = page.waitForEvent("download");
  await page.locator("#save").click();
  const report = JSON.parse(readFileSync(await (await downloading).path(), "utf8"));
  expect(report).toMatchObject({ device: "webgpu", left_out: null });
  // Forms for this adapter, without a measurement.
  expect(report.tuning).toMatch(/^wide wide wide invocation [0-9a-f]{8}$/);
  expect(report.ceilings.gflops).toBeGreaterThan(0.1);
  expect(report.ceilings.gb_per_second).toBeGreaterThan(0.1);
  // Tied embeddings, positions, and for each block 12 C² + 13 C; matrices but the positions in halves; and what is bound
  // in place of operands that are not given.
  const [matrices, rest] = [512 * 64 + 2 * 12 * 64 ** 2, 1024 * 64 + 2 * 13 * 64 + 2 * 64];
  expect(report.model.parameters_bytes).toBe(2 * matrices + 4 * rest + 48);
  const [short, long] = report.readings;
  // An embedding, seven dispatches for each of two blocks, one of three norms, and six of the lens, which keeps all logits; of two
  // blocks of 35 positions those of the middle row are computed and folded apart.
  expect([short.dispatches, long.dispatches]).toEqual([1 + 14 + 1 + 6, 2 * (1 + 14 + 1 + 8)]);
  // The second block of positions has the tensors of the first.
  expect([short.bind_groups, long.bind_groups]).toEqual([22, 24]);
  expect(short.encoding_ms).toBeGreaterThan(0);
  expect(short.read_bytes).toBe(8 * 3 * (11 + 3 + 3 + 20) * 4);
  expect(short.times_ms).toHaveLength(5);
  expect(short.peak_bytes).toBeGreaterThan(0);
  expect(short.share).toBeCloseTo(short.gflops / report.ceilings.gflops, 6);
  // 8 tokens: 2 · 12 C² of each block, attention over 36 pairs, and the unembedding of three rows, each multiplied and added.
  const median = short.times_ms.toSorted((a: number, b: number) => a - b)[2];
  expect(short.gflops * median * 1e6).toBeCloseTo(3_164_160, -1);
});

test("the CPU has no ceilings; a run can be stopped; lengths that do not fit are said", async ({ page, site }) => {
  await page.goto(`${site}bench.html#model=${MODEL}&device=cpu&tokens=0,2000`);
  const [start, status] = [page.locator("#start"), page.locator("#status")];
  await start.click();
  await expect(status).toContainText("Enter lengths from 1 to 1024");
  await page.locator("#lengths").fill("16");
  await start.click();
  await expect(status).toHaveText("Done.", { timeout: 200_000 });
  await expect(page.locator("#summary")).toContainText("On the CPU, one thread.");
  await expect(page.locator("#rows td").nth(4)).toHaveText("–");
  await page.locator("#lengths").fill("1024");
  await page.locator("#shape").selectOption("4,256,8192");
  await start.click();
  await page.locator("#stop").click();
  await expect(status).toHaveText("Stopped.", { timeout: 200_000 });
  await expect(start).toBeEnabled();
});
