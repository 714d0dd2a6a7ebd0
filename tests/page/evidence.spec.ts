/** The tab of evidence: lenses from files, from the hub and fitted, their difference, the chapter on the input, a corpus. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { expectAccessible } from "./axe.ts";
import { expect, serveSite, test, waitForState } from "./site.ts";
import type { Page } from "@playwright/test";

const STORIES = [
  "Once upon a time there was a king who had a daughter, and she was the fairest of all the maidens in the land.",
  "The wolf came to the house in the wood and knocked at the door, but the old woman did not open it.",
  "The fisherman went to the sea and called to the fish, for his wife wanted to be a queen.",
  "A tailor sat at his table by the window one summer morning, and he sewed with all his might.",
].join("\n\n");

async function open(page: Page, site: string) {
  await page.goto(`${site}#tab=evidence`);
  await waitForState(page, "ready");
  await page.waitForFunction(() => (window as any).loupePage.evidence() !== null);
}

const lens = (page: Page, name: string) =>
  page.locator(".lens-entry").filter({ has: page.getByText(name, { exact: true }) });
const card = (page: Page, name: string) => page.getByRole("region", { name, exact: true });

async function fit(page: Page, target: "final" | "input") {
  const shelf = card(page, "Lenses");
  if (!(await page.getByLabel("Texts to fit on").isVisible()))
    await page.getByText("Fit one here", { exact: true }).click();
  await page.getByLabel("Texts to fit on").fill(STORIES);
  await shelf.getByLabel("predicts").selectOption(target);
  const before = await page.locator(".lens-entry").count();
  await shelf.getByRole("button", { name: "Fit", exact: true }).click();
  await expect(page.locator(".lens-entry")).toHaveCount(before + 1);
}

/** Makes sure that the picture is one under that lens. */
const readUnder = (page: Page, name: string | undefined) =>
  page.waitForFunction(
    (name) =>
      (window as any).loupePage.evidence() && (window as any).loupePage.state && (window as any).lensOf() === name,
    name,
  );

test.beforeEach(async ({ page }) => {
  await page.addInitScript(() => {
    // The reading of the text, in whatever tab.
    (window as any).lensOf = () => (window as any).loupePage.reading()?.asked.lens;
  });
});

test("a lens is fitted, used, exported, opened again from its file, and closed", async ({ page, site }) => {
  await open(page, site);
  await fit(page, "final");
  const fitted = lens(page, "fitted here");
  await expect(fitted).toContainText("fitted on 90 tokens");
  await fitted.getByText(/that were held out/).click();
  await expect(fitted.getByRole("table")).toContainText("h.6");

  // It is in use: the picture is read under it, and says so.
  await page.locator("#tab-lens").click();
  await expect(page.locator("#lens-in-use")).toHaveValue("fitted here");
  await readUnder(page, "fitted here");
  const under = await page.evaluate(() => [...(window as any).loupePage.reading().stats.entropy]);
  await page.locator("#lens-in-use").selectOption("");
  await readUnder(page, undefined);
  const plain = await page.evaluate(() => [...(window as any).loupePage.reading().stats.entropy]);
  expect(under).not.toEqual(plain);
  const n = await page.evaluate(() => (window as any).loupePage.reading().n_tokens);
  // The last row has no map.
  expect(under.slice(-n)).toEqual(plain.slice(-n));

  await page.locator("#tab-evidence").click();
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    fitted.getByRole("button", { name: "Export" }).click(),
  ]);
  expect(download.suggestedFilename()).toMatch(/\.safetensors$/);
  const bytes = readFileSync(await download.path());
  await page
    .getByLabel("Files of a lens")
    .setInputFiles({ name: "again.safetensors", mimeType: "application/octet-stream", buffer: bytes });
  await expect(lens(page, "again.safetensors")).toContainText("fitted here");
  await expect(lens(page, "again.safetensors").getByRole("button", { name: "In use" })).toBeVisible();

  // Both say the same of every cell.
  const difference = card(page, "Difference of two lenses");
  await difference.getByLabel("lens", { exact: true }).selectOption("fitted here");
  await difference.getByLabel("against").selectOption("again.safetensors");
  await difference.getByRole("button", { name: "Compare" }).click();
  await expect(difference).toContainText("100.0 % of the cells have the same top-1");
  const kl = await page.evaluate(() => [...(window as any).loupePage.evidence().difference.done().answer.kl]);
  expect(kl.every((value) => value === 0)).toBe(true);
  await difference.getByLabel("lens", { exact: true }).selectOption("");
  await difference.getByRole("button", { name: "Compare" }).click();
  await expect.poll(() => page.evaluate(() => (window as any).loupePage.evidence().difference.done().a)).toBe("");
  const apart = await page.evaluate(() => [...(window as any).loupePage.evidence().difference.done().answer.kl]);
  expect(Math.max(...apart)).toBeGreaterThan(0.1);
  expect(apart.slice(-n).every((value) => value === 0)).toBe(true);

  // Refined, it is no worse on what is held out.
  const shelf = card(page, "Lenses");
  await shelf.getByLabel("predicts").selectOption("input");
  await expect(shelf.getByLabel("refined by KL")).toBeHidden();
  await shelf.getByLabel("predicts").selectOption("final");
  await shelf.getByLabel("refined by KL").selectOption("6");
  await shelf.getByRole("button", { name: "Fit", exact: true }).click();
  await expect(lens(page, "fitted here (2)")).toContainText("refined by KL in 6 passes");
  const divergences = async (name: string) =>
    (await lens(page, name).locator("tbody tr td:first-of-type").allTextContents()).map(Number);
  const [before, refined] = [await divergences("fitted here"), await divergences("fitted here (2)")];
  expect(refined).toHaveLength(8);
  expect(refined.every((kl, row) => kl <= before[row])).toBe(true);

  // What is no lens, or of another model, is said.
  for (const [name, file, words] of [
    ["model.safetensors", readFileSync("www/public/models/tales/model.safetensors"), "This lens cannot be used"],
    ["width.pt", readFileSync("tests/golden/lenses/bad_width.pt"), "d_model"],
    ["sum.pt", readFileSync("tests/golden/lenses/bad_sum.pt"), "checkpoint of a fit"],
  ] as const) {
    await page
      .getByLabel("Files of a lens")
      .setInputFiles({ name, mimeType: "application/octet-stream", buffer: file });
    await expect(card(page, "Lenses")).toContainText(words);
  }
  await expect(page.locator(".lens-entry")).toHaveCount(4);
  await expectAccessible(page, "evidence");
  // The logit lens takes the place of the one in use.
  await lens(page, "again.safetensors").getByRole("button", { name: "Use", exact: true }).click();
  await lens(page, "again.safetensors").getByRole("button", { name: "Close" }).click();
  await expect(page.locator(".lens-entry")).toHaveCount(3);
  await expect(lens(page, "logit lens").getByRole("button", { name: "In use" })).toBeVisible();
});

test("the chapter on the input: what a probe recovers, alone and its control, curves and visitors", async ({
  page,
  site,
}) => {
  await open(page, site);
  const kept = card(page, "Is the input kept?");
  await kept.getByRole("button", { name: "Test it on this text" }).click();
  await expect(kept.locator(".evidence-chapter")).toHaveCount(5);
  await expect(kept).toContainText("fit a probe first");
  await fit(page, "input");
  await kept.getByRole("button", { name: "Test it on this text" }).click();
  await expect(kept.locator(".evidence-chapter")).toHaveCount(6);
  await expect(kept).toContainText("What can be decoded is not what is used");

  // The numbers are those of the engine.
  const { answer, tokens, kl } = await page.evaluate(async () => {
    const { answer, reading } = (window as any).loupePage.evidence().kept.done();
    return { answer, tokens: reading.tokens.map(({ id }: { id: number }) => id), kl: [...reading.stats.kl_final] };
  });
  const n = tokens.length;
  expect(Object.values(answer.alone)).toHaveLength(answer.taps.length * n);
  // At the first position there is no context: the last row is what the token says alone.
  expect(Math.abs(answer.alone[(answer.taps.length - 1) * n])).toBeLessThan(1e-4);
  expect(answer.control[(answer.taps.length - 1) * n]).toBeGreaterThan(0.01);
  expect(kl.slice(-n).every((value: number) => Math.abs(value) < 1e-4)).toBe(true);
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    (async () => {
      await kept.getByRole("button", { name: /^Export/ }).click();
      await kept.locator('[data-export="csv"]').click();
    })(),
  ]);
  const csv = readFileSync(await download.path(), "utf8");
  for (const name of ["kl_alone", "kl_alone_control", "recovered", "held_out_r2", "step"]) expect(csv).toContain(name);
  const of_surprise = csv.split("\r\n").filter((line) => line.includes("spearman_surprise"));
  expect(of_surprise).toHaveLength(answer.taps.length);
  const [low, rho, high] = [3, 2, 4].map((i) => Number(of_surprise.at(-1)?.split(",")[i]));
  expect(-1 <= low && low < rho && rho < high && high <= 1).toBe(true);
  await expectAccessible(page, "evidence");

  // The same cell by cell; a cell opens in the lens.
  const grid = kept.locator("canvas.heat-grid");
  await grid.focus();
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowDown");
  const rank = answer.recovered[(answer.taps.length - 2) * n];
  const place = rank === 1 ? "1st" : String(rank);
  await expect(kept.locator(".heat-grid-words")).toContainText(`${answer.taps.at(-2)}, position 0: `);
  await expect(kept.locator(".heat-grid-words")).toContainText(`is the ${place}`);
  await page.keyboard.press("Enter");
  await expect(page.locator("#heatmap")).toBeVisible();
});

test("a corpus: progress, means against the readings, cancel and resume, JSON and overlay, a window in the lens", async ({
  page,
  site,
}) => {
  await open(page, site);
  const corpus = card(page, "A corpus instead of a sentence");
  await corpus.getByRole("button", { name: "Read the corpus" }).click();
  await expect(corpus).toContainText("There are no texts");
  await page.getByLabel("Texts of the corpus").fill(STORIES);
  await corpus.getByLabel("window, tokens").fill("16");
  await corpus.getByRole("button", { name: "Read the corpus" }).click();
  await expect(corpus.getByRole("button", { name: "JSON" })).toBeVisible();
  await expect.poll(() => page.evaluate(() => localStorage.getItem("loupe:corpus:2"))).toBeNull();

  // The same, by the engine's own readings.
  const { part, mine } = await page.evaluate(async (text) => {
    const { part } = (window as any).loupePage.evidence().corpus.done();
    const { engine } = (window as any).loupePage;
    const asked = { norm: "affine", subblocks: false, contributions: false, decoder: [] };
    let [loss, n] = [0, 0];
    for (const document of text.split("\n\n")) {
      const ids: Uint32Array = await engine.ids(document);
      for (let start = 0; start < ids.length; start += 16) {
        if (ids.length - start < 2) continue;
        const words = await Promise.all(
          [...ids.subarray(start, start + 16)].map(async (id) => (await engine.tokens([id]))[0].text),
        );
        const reading = await engine.read(words.join(""), {
          asked,
          part: { kept: "first", with_end_token: false },
          track: [],
          is_second: false,
          signal: new AbortController().signal,
          onBlock: () => {},
        });
        if (reading.n_tokens !== Math.min(16, ids.length - start)) throw new Error("another split of the text");
        const last = reading.stats.logprob_next.slice(-reading.n_tokens);
        for (const value of last) if (Number.isFinite(value)) [loss, n] = [loss - value, n + 1];
      }
    }
    return { part, mine: { loss: loss / n, n } };
  }, STORIES);
  expect(part.rows.at(-1).n).toBe(mine.n);
  expect(Math.abs(part.rows.at(-1).loss.mean - mine.loss)).toBeLessThan(1e-4);
  const sum = part.classes.reduce((all: number, rows: { n: number }[]) => all + (rows[0]?.n ?? 0), 0);
  expect(sum).toBe(mine.n);

  await corpus.getByLabel("by class of the next token").check();
  await expect(corpus.getByText("words with a space before")).toBeVisible();
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    corpus.getByRole("button", { name: "JSON" }).click(),
  ]);
  const json = readFileSync(await download.path());
  await page
    .getByLabel("Another result as JSON")
    .setInputFiles({ name: "other.json", mimeType: "application/json", buffer: json });
  await expect(corpus.getByText("(other.json)")).toBeVisible();
  await page
    .getByLabel("Another result as JSON")
    .setInputFiles({ name: "wrong.json", mimeType: "application/json", buffer: Buffer.from("{}") });
  await expect(corpus).toContainText("expected a corpus or a reading");
  await expectAccessible(page, "evidence");

  // Broken off, and taken up after a reload.
  const long = Array.from({ length: 60 }, (_, i) => `${STORIES.split("\n\n")[i % 4]} ${i}`).join("\n\n");
  await page.getByLabel("Texts of the corpus").fill(long);
  await corpus.getByRole("button", { name: "Read the corpus" }).click();
  await page.waitForFunction(() => {
    const done = (window as any).loupePage.evidence().corpus.done();
    return done !== null && done.part.windows >= 6 && localStorage.getItem("loupe:corpus:2") !== null;
  });
  await page.reload();
  await open(page, site);
  await page.getByLabel("Texts of the corpus").fill(long);
  await corpus.getByLabel("window, tokens").fill("16");
  await corpus.getByRole("button", { name: "Resume" }).click();
  await expect.poll(() => page.evaluate(() => localStorage.getItem("loupe:corpus:2")), { timeout: 120_000 }).toBeNull();
  const resumed = await page.evaluate(() => (window as any).loupePage.evidence().corpus.done().part);
  await corpus.getByRole("button", { name: "Read the corpus" }).click();
  await expect(corpus).not.toHaveAttribute("aria-busy", "true", { timeout: 120_000 });
  const whole = await page.evaluate(() => (window as any).loupePage.evidence().corpus.done().part);
  expect(resumed.windows).toBe(whole.windows);
  for (const end of ["mean", "high"])
    expect(Math.abs(resumed.rows.at(-1).loss[end] - whole.rows.at(-1).loss[end])).toBeLessThan(1e-9);

  await corpus
    .getByRole("button", { name: /^document \d+, tokens \d+ to \d+: [\d.]+ nats$/ })
    .first()
    .click();
  await expect(page.locator("#text")).not.toHaveValue(/Once upon a time there was a little girl/);
  await expect(page.locator("#tab-lens")).toHaveAttribute("aria-current", "page");
});

test("a published lens that is another file is refused by its digest", async ({ page }) => {
  const file = readFileSync("tests/golden/lenses/gpt2_halves_tuned.pt");
  const hub = createServer((request, response) => {
    response.setHeader("Access-Control-Allow-Origin", "*");
    response.setHeader("Content-Length", String(file.length)).end(file);
  });
  await new Promise((done) => hub.listen(0, "127.0.0.1", () => done(undefined)));
  const at = hub.address() as { port: number };
  const server = await serveSite(
    { html: (text) => text.replaceAll("https://huggingface.co", `http://127.0.0.1:${at.port}`) },
    [`http://127.0.0.1:${at.port}`],
  );
  await page.goto(`${server.origin}/a/b/#tab=evidence`);
  await waitForState(page, "ready");
  await page.waitForFunction(() => (window as any).loupePage.evidence() !== null);
  // Tales is not GPT-2 124M: the two published lenses are not offered, and what is downloaded is verified all the same.
  await expect(page.getByRole("button", { name: /Download the tuned lens/ })).toBeHidden();
  const refused = await page.evaluate(() =>
    (window as any).loupePage.engine
      .evidence(
        "download",
        { name: "tuned", path: "spaces/lens.pt", sha256: "0".repeat(64), licence: "MIT", kind: "tuned" },
        { signal: new AbortController().signal },
      )
      .then(
        () => "opened",
        (error: { code: string }) => error.code,
      ),
  );
  expect(["corrupt", "bad-option"]).toContain(refused);
  server.close();
  hub.close();
});
