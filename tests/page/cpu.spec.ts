/** The engine on the CPU: where there is no WebGPU, where a person chooses it, and beside the GPU's numbers. */
import { expect, inWorker, readText, test, waitForState } from "./site.ts";
import type { Worker } from "@playwright/test";

test("a browser without WebGPU reads all the same, and the page says on what", async ({ page, site }) => {
  await inWorker(page, "Object.defineProperty(navigator, 'gpu', { value: undefined });\n");
  await page.goto(site);
  await waitForState(page, "ready");
  await expect(page.locator("#model-chip")).toHaveText("Tales · 4.4 M · f16 · CPU");
  await readText(page, "The old king sat by the window.");
  await page.locator("#model-chip").click();
  await expect(page.locator("#device-words")).toContainText("It is the CPU because");
  await expect(page.locator("#device-words")).toContainText("navigator.gpu is missing");
  await page.screenshot({ path: "test-results/cpu-models.png" });
  await page.keyboard.press("Escape");
  await page.goto(`${site}#atlas=spectrum`);
  await page.reload();
  await waitForState(page, "ready");
  await expect(page.locator(".atlas-stand .cloud-readout").first()).toContainText("4,096 points");
});

test("a person chooses what to compute on, and is asked when a GPU that was chosen is not there", async ({
  page,
  site,
}) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const chip = page.locator("#model-chip");
  await expect(chip).toContainText("CPU");
  const text = "The old king sat by the window.";
  await readText(page, text);
  await chip.click();
  await expect(page.locator("#device-words")).toContainText("the only graphics adapter is one in software");
  await page.locator("#device").selectOption("gpu");
  await expect(chip).toHaveText("Tales · 4.4 M · f16");
  await waitForState(page, "ready");
  const read = () =>
    page.evaluate(() =>
      (window as any).loupePage
        .reading()
        ?.tokens.map((t: any) => t.text)
        .join(""),
    );
  await expect.poll(read).toBe(text);
  // The choice is remembered; here the GPU is gone on the next visit.
  await inWorker(page, "navigator.gpu.requestAdapter = async () => null;\n");
  await page.reload();
  await expect(page.locator("#problem")).toHaveAttribute("data-code", "no-adapter");
  await page.getByRole("button", { name: "Compute on the CPU" }).click();
  await waitForState(page, "ready");
  await expect(chip).toHaveText("Tales · 4.4 M · f16 · CPU");
});

test("both devices give the same statistics, and the same row has the same bits however long the text is", async ({
  page,
  site,
}) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const found = await page.evaluate(async (base) => {
    const engine = await import(/* @vite-ignore */ `${base}loupe/loupe.js`);
    await engine.default();
    const code = (promise: Promise<unknown>) =>
      promise.then(
        () => "fine",
        (error) => `${error.code}: ${error.message}`,
      );
    const refused = await code(engine.Loupe.open({ device: "tpu" }));
    const file = (name: string) => fetch(`${base}models/tales/${name}`);
    const text = async (name: string) => (await file(name)).text();
    const config = await text("config.json");
    const open = async (device: string) => {
      const loupe = await engine.Loupe.open({ device });
      await loupe.load({
        config,
        tokenizer: await text("tokenizer.json"),
        weights: (await file("model.safetensors")).body,
      });
      return loupe;
    };
    const [cpu, gpu] = [await open("cpu"), await open("gpu")];
    const words = "Once upon a time there was a little girl who lived with her mother.";
    const options = { subblocks: true, track: [5, 300] };
    const [a, b] = [await cpu.read(words, options), await gpu.read(words, options)];
    const names = [
      "entropy",
      "kl_final",
      "kl_final_reverse",
      "kl_input",
      "kl_input_reverse",
      "logit_final",
      "logprob_next",
    ];
    const gaps = names.map((name) => {
      const [x, y] = [a.stat(name), b.stat(name)];
      let gap = 0;
      for (let i = 0; i < x.length; i++)
        if (Number.isFinite(x[i]) || Number.isFinite(y[i])) gap = Math.max(gap, Math.abs(x[i] - y[i]));
      return [name, gap, x.length];
    });
    // The first row of a longer text: the same numbers to the last bit.
    const longer = await cpu.read(`${words} ${words} ${words}`, options);
    const bits = names.map((name) => {
      const [x, y] = [a.stat(name), longer.stat(name)];
      const n = a.n_tokens - 1;
      return a.taps.every((_: string, tap: number) =>
        Array.from({ length: n }, (_, i) => Object.is(x[tap * a.n_tokens + i], y[tap * longer.n_tokens + i])).every(
          Boolean,
        ),
      );
    });
    // A long reading lets other tasks run, and stops when one of them says so.
    const controller = new AbortController();
    const reading = cpu.read(words.repeat(12), { signal: controller.signal });
    setTimeout(() => controller.abort());
    const aborted = await code(reading);
    const plan = await cpu.plan({
      config: JSON.stringify({
        ...JSON.parse(config),
        n_embd: 2560,
        n_layer: 32,
        n_head: 20,
        n_ctx: 2048,
        n_positions: 2048,
        vocab_size: 50257,
      }),
    });
    return {
      refused,
      gaps,
      bits,
      aborted,
      adapter: [cpu.adapter.backend, cpu.adapter.why, gpu.adapter.backend],
      problem: plan.problem,
    };
  }, site);
  expect(found.refused).toBe('bad-option: device: expected "auto", "gpu" or "cpu", got "tpu".');
  expect(found.adapter).toEqual(["cpu", "it was asked for", "webgpu"]);
  for (const [name, gap, n] of found.gaps) {
    expect(n, String(name)).toBeGreaterThan(100);
    expect(gap, String(name)).toBeLessThan(1e-4);
  }
  expect(found.bits).toEqual(found.bits.map(() => true));
  expect(found.aborted).toContain("aborted");
  // 2.65 billion parameters in two bytes each.
  expect(found.problem).toContain("Not enough memory");
});

test.describe("helpers", () => {
  // An error in a worker is reported in the console.
  test.use({ quiet: false });

  test("another core reads some positions, ends with its engine, and is done without where it fails", async ({
    page,
    site,
  }) => {
    await inWorker(page, "Object.defineProperty(navigator, 'hardwareConcurrency', { value: 3 });\n");
    // Helpers count the shares that they have answered.
    const helper = "**/assets/helper-*.js";
    await page.route(helper, async (route) => {
      const count = `
        const post = globalThis.postMessage;
        globalThis.answers = 0;
        globalThis.postMessage = (message, ...rest) => {
          if (message?.value?.merged) globalThis.answers++;
          return post.call(globalThis, message, ...rest);
        };
      `;
      const body = await (await route.fetch()).text();
      await route.fulfill({ body: count + body, contentType: "text/javascript" });
    });
    const answers = (worker: Worker) => worker.evaluate(() => (globalThis as any).answers);
    await page.goto(site);
    await waitForState(page, "ready");
    await expect.poll(() => page.workers().length).toBe(3);
    // Long enough to be shared.
    const text = "The old king and the young queen went home to the castle by the sea. ".repeat(4).trim();
    await readText(page, text);
    const ids = () => page.evaluate(() => [...(window as any).loupePage.reading().top_ids]);
    const shared = await ids();
    const [, ...helpers] = page.workers();
    // The first text is too short to be shared, and the one above may have come before the helpers were ready.
    let n_texts = 0;
    await expect
      .poll(async () => {
        // It begins in another way, so that nothing of the last one is reused.
        await readText(page, `${++n_texts} ${text}`);
        return Math.min(...(await Promise.all(helpers.map(answers))));
      })
      .toBeGreaterThan(0);
    // One that fails later is done without, and so are the others.
    await helpers[1].evaluate(
      () => void setTimeout(() => Promise.reject(new Error("no more")).catch((e) => reportError(e))),
    );
    await expect.poll(() => page.workers().length).toBe(1);
    await readText(page, text);
    expect(await ids()).toEqual(shared);
    // Another model has helpers of its own, and the old ones are gone.
    const files = ["config.json", "tokenizer.json", "model.safetensors"];
    await page.locator("#files").setInputFiles(files.map((name) => `www/public/models/tales/${name}`));
    await expect(page.locator("#model-chip")).toContainText("Files of this computer");
    await waitForState(page, "ready");
    await expect.poll(() => page.workers().length).toBe(3);
    await page.locator("#model-chip").click();
    await page.locator("#device").selectOption("gpu");
    await expect(page.locator("#model-chip")).not.toContainText("CPU");
    await waitForState(page, "ready");
    await expect.poll(() => page.workers().length).toBe(1);

    await page.unroute(helper);
    await page.route(helper, (route) =>
      route.fulfill({ body: "throw new Error('no good start');", contentType: "text/javascript" }),
    );
    await page.locator("#model-chip").click();
    await page.locator("#device").selectOption("cpu");
    await expect(page.locator("#model-chip")).toContainText("CPU");
    await waitForState(page, "ready");
    await expect.poll(() => page.workers().length).toBe(1);
    await readText(page, text);
    expect(await ids(), "with and without helpers").toEqual(shared);
  });
});
