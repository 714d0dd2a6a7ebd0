/** The page compares the GPU with the CPU, and does not believe one that computes wrongly. */
import { expectAccessible } from "./axe.ts";
import { expect, inWorker, readText, test, waitForState } from "./site.ts";

test.use({ device: "gpu" });

test("a GPU that agrees with the CPU has a badge, and a report to copy; it is checked once", async ({
  page,
  site,
  context,
}) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.goto(site);
  await waitForState(page, "ready");
  const badge = page.locator("#device-check");
  await expect(badge).toHaveText("checked", { timeout: 200_000 });
  await expectAccessible(page, "checked");
  await badge.click();
  const words = page.locator("#device-check-words");
  await expect(words).toContainText("numbers of a short reading were computed on the CPU as well");
  await page.locator("#device-report").click();
  const report = await page.evaluate(() => navigator.clipboard.readText());
  for (const kernel of [
    "embed",
    "layer_norm",
    "matmul",
    "attention",
    "subtract",
    "gram",
    "gather_dot",
    "lens_fold",
    "lens_merge",
    "divergence",
  ])
    expect(report).toMatch(
      new RegExp(`^${kernel}: \\S+ over [\\d,]+ numbers of \\d+ dispatches; \\d+\\.\\d ms, \\d+\\.\\d ms$`, "m"),
    );
  expect(report).toContain("they agree");
  // 7 statistics of 9 rows at 15 positions; the last one has no next token.
  expect(report).toMatch(/transformers in float64: largest difference \d+e-[56] nats over 936 numbers/);
  await page.screenshot({ path: "test-results/checked.png" });
  await page.keyboard.press("Escape");
  await readText(page, "And the page reads on.");
  // A reading changes nothing of it.
  await expect(badge).toBeVisible();
  // A check that a reading has stopped is made once the page is idle again.
  await badge.click();
  await page.locator("#device-check-now").click();
  await expect(page.locator("#device-check-now")).toHaveText("Checking …");
  await page.keyboard.press("Escape");
  await readText(page, "And another text.");
  await expect(badge).toBeHidden();
  await expect(badge).toBeVisible();
  await expect(badge).toHaveText("checked");
});

test("a GPU with wrong results is not believed: the page says which kernel, and offers the CPU", async ({
  page,
  site,
}) => {
  await inWorker(
    page,
    `
    const { createShaderModule } = GPUDevice.prototype;
    GPUDevice.prototype.createShaderModule = function (given) {
      const code = given.code.replace("return fma(v.wwww, w3, c);", "return c;");
      return createShaderModule.call(this, { ...given, code });
    };
    `,
  );
  await page.goto(site);
  await waitForState(page, "ready");
  const notice = page.locator("#notice");
  await expect(notice).toContainText("This graphics adapter gives wrong results", { timeout: 200_000 });
  await expect(notice).toContainText("results differ from the CPU’s: matmul;");
  await expect(page.locator("#device-check")).toHaveText("results differ");
  await page.screenshot({ path: "test-results/checked-wrong.png" });
  await notice.getByRole("button", { name: "Compute on the CPU" }).click();
  await expect(page.locator("#model-chip")).toContainText("CPU");
  await waitForState(page, "ready");
  // The CPU is held to the stored reading, and agrees.
  await expect(page.locator("#device-check")).toHaveText("checked", { timeout: 200_000 });
});

test("the CPU is checked with the bundled model's stored reading: when a person asks, and against a wrong one", async ({
  page,
  site,
}) => {
  await page.addInitScript(() => localStorage.setItem("loupe:device", "cpu"));
  await page.goto(site);
  await waitForState(page, "ready");
  await page.locator("#model-chip").click();
  const [words, now] = [page.locator("#device-check-words"), page.locator("#device-check-now")];
  await now.click();
  await expect(words).toContainText("Checked: A reading agrees with that of Hugging Face transformers in float64");
  await page.route("**/models/tales/reading.json", async (route) => {
    const stored = await (await route.fetch()).json();
    stored.statistics.entropy[40] += 0.02;
    await route.fulfill({ json: stored });
  });
  await now.click();
  await expect(page.locator("#notice")).toContainText("This browser gives wrong results");
  await expect(words).toContainText("the largest difference is 0.020 nats");
  await expect(page.locator("#device-check")).toHaveText("results differ");
  await page.screenshot({ path: "test-results/checked-cpu.png" });
  // What was not compared is not called checked.
  await page.unroute("**/models/tales/reading.json");
  await page.route("**/models/tales/reading.json", (route) => route.fulfill({ status: 404, body: "" }));
  await now.click();
  await expect(words).toContainText("The stored reading could not be compared");
  await expect(words).toContainText("the server answered 404");
  await expect(page.locator("#device-check")).toBeHidden();
  await page.locator("#notice").getByRole("button", { name: "Dismiss" }).click();
  // A model without a stored reading has nothing to be held to on the CPU.
  const files = ["config.json", "tokenizer.json", "model.safetensors"];
  await page.locator("#files").setInputFiles(files.map((name) => `www/public/models/tales/${name}`));
  await expect(page.locator("#model-chip")).toContainText("Files of this computer");
  await waitForState(page, "ready");
  await expect(page.locator("#device-check")).toBeHidden();
  await page.locator("#model-chip").click();
  await expect(now).toBeHidden();
});

test("a reading does not wait for a check, which can be made afterwards", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const codes = await page.evaluate(async () => {
    const { engine } = (window as any).loupePage;
    const code = (promise: Promise<unknown>) =>
      promise.then(
        () => "fine",
        (error) => error.code,
      );
    const { signal } = new AbortController();
    const check = code(engine.check(signal));
    const options = {
      asked: { norm: "affine", subblocks: false, contributions: false, decoder: [] },
      part: { kept: "first", with_end_token: false },
      track: [],
      is_second: true,
      signal,
      onBlock: () => {},
    };
    const reading = code(engine.read("Once upon a time", options));
    return [await check, await reading, await code(engine.check(signal))];
  });
  expect(codes).toEqual(["aborted", "fine", "fine"]);
});

test("the forms of kernels are measured at the first load on an adapter, and kept in this browser", async ({
  page,
  site,
}) => {
  // The adapter here is one in software, which would not be measured.
  await inWorker(
    page,
    `
    for (const type of [GPUAdapter, GPUAdapterInfo])
      if ("isFallbackAdapter" in type.prototype)
        Object.defineProperty(type.prototype, "isFallbackAdapter", { value: false });
    `,
  );
  await page.goto(site);
  await waitForState(page, "ready");
  const kept = () => page.evaluate(() => localStorage.getItem("loupe:tuning"));
  const first = await kept();
  const measured = /\n((register|32|64|128) ){3}(invocation|workgroup) [0-9a-f]{8}$/;
  expect(first).toMatch(measured);
  // What is kept is used, not measured again; of another adapter or by another version it is measured.
  const [adapter, tuning] = (first ?? "").split("\n");
  const version = tuning.split(" ").at(-1);
  for (const [given, expected] of [
    [`${adapter}\n32 64 128 workgroup ${version}`, /^[^\n]*\n32 64 128 workgroup [0-9a-f]{8}$/],
    [`${adapter}\n32 64 512 workgroup ${version}`, measured],
    [`${adapter}\n32 64 128 workgroup 00000000`, measured],
  ] as [string, RegExp][]) {
    await page.evaluate((text) => localStorage.setItem("loupe:tuning", text), given);
    await page.reload();
    await waitForState(page, "ready");
    expect(await kept()).toMatch(expected);
  }
  await readText(page, "And the page reads on.");
});
