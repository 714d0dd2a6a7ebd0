/** An engine that panics: every call of it ends with an error, and the page starts another one. */
import { readFileSync } from "node:fs";
import { expect, readText, serveSite, test, waitForState } from "./site.ts";
import type { Page } from "@playwright/test";

/** A build of the engine with a function that panics (xtask/src/build.rs). */
const serveCrashingEngine = (page: Page) =>
  page.route(/\/loupe\/loupe(_bg\.wasm|\.js)$/, (route) => {
    const name = route.request().url().split("/").pop() ?? "";
    const content_type = name.endsWith(".js") ? "text/javascript" : "application/wasm";
    return route.fulfill({ body: readFileSync(`target/crash/loupe/${name}`), contentType: content_type });
  });

/** Panics inside the engine of the page's worker, which is older than its helpers on the CPU. */
const panic = (page: Page, site: string) =>
  page
    .workers()
    .at(0)
    ?.evaluate(async (url) => {
      const engine = await import(url);
      try {
        engine.panic_for_test();
      } catch {
        // What it throws is what the calls of the page get as well.
      }
    }, `${site}loupe/loupe.js`);

/** Errors in the console are what a crash should leave. */
const readings = (page: Page) =>
  page.evaluate(() =>
    (window as any).loupePage
      .reading()
      ?.tokens.map((t: any) => t.text)
      .join(""),
  );

test.describe("a crash", () => {
  // The panic is shown in the console, which the other tests want empty.
  test.use({ quiet: false });

  test("of the engine of a page without a worker ends every pending and every later call", async ({ page, site }) => {
    await serveCrashingEngine(page);
    await page.goto(site);
    await waitForState(page, "ready");
    const codes = await page.evaluate(async (base) => {
      const engine = await import(/* @vite-ignore */ `${base}loupe/loupe.js`);
      await engine.default();
      const loupe = await engine.Loupe.open();
      const file = (name: string) => fetch(`${base}models/tales/${name}`);
      const text = async (name: string) => (await file(name)).text();
      const model = { config: await text("config.json"), tokenizer: await text("tokenizer.json") };
      await loupe.load({ ...model, weights: (await file("model.safetensors")).body });
      const reading = await loupe.read("Once upon a time");
      const atlas = loupe.atlas();
      const code = (error: any) => `${error.name} ${error.code}`;
      const ofPromise = (promise: Promise<any>) => promise.then(() => "fine", code);
      const ofCall = (call: () => any) => {
        try {
          call();
          return "fine";
        } catch (error) {
          return code(error);
        }
      };
      // A load whose stream never ends, a reading and two that wait for it, a question to the atlas.
      const pending = [
        loupe.load({ ...model, weights: new ReadableStream() }),
        loupe.read("The old king sat by the window and looked at the sea."),
        loupe.read("Another text"),
        loupe.plan({ config: model.config }),
        atlas.spectrum(2),
      ].map(ofPromise);
      const panicked = ofCall(() => engine.panic_for_test());
      const after = [
        loupe.read("Once"),
        loupe.load({ ...model, weights: new ReadableStream() }),
        reading.trace([1], { tap: 0 }),
        atlas.norms(),
        engine.Loupe.open(),
      ].map(ofPromise);
      const calls = [
        () => loupe.encode("Once"),
        () => loupe.model,
        () => loupe.token(1),
        () => reading.stat("entropy"),
        () => loupe.atlas(),
      ].map(ofCall);
      // What is left to do about a crashed engine is to let it go.
      const freed = [loupe, reading, atlas].map((each) => ofCall(() => each.free()));
      let message = "";
      await engine.Loupe.open().catch((error: Error) => (message = error.message));
      return { panicked, pending: await Promise.all(pending), after: await Promise.all(after), calls, freed, message };
    }, site);
    const crashed = "LoupeError crashed";
    expect(codes.panicked).toBe(crashed);
    expect(codes.pending).toEqual(Array(5).fill(crashed));
    expect(codes.after).toEqual(Array(5).fill(crashed));
    expect(codes.calls).toEqual(Array(5).fill(crashed));
    expect(codes.freed).toEqual(Array(3).fill("fine"));
    expect(codes.message).toContain("The engine crashed: panicked at");
    expect(codes.message).toContain("called `Option::unwrap()`");
  });

  test("in the lens: the page starts another engine and reads the text again", async ({ page, site }) => {
    await serveCrashingEngine(page);
    await page.goto(site);
    await waitForState(page, "ready");
    const text = "The old king sat by the window.";
    await readText(page, text);
    // The next call of the page meets the crash.
    const meet = () => page.evaluate(() => (window as any).loupePage.engine.ids("Once").catch(() => {}));
    await panic(page, site);
    await meet();
    await expect(page.locator("#notice")).toContainText("crashed and was started again");
    await expect(page.locator("#notice")).toContainText("called `Option::unwrap()`");
    await waitForState(page, "ready");
    await expect.poll(() => readings(page)).toBe(text);
    await page.screenshot({ path: "test-results/crash-restarted.png" });

    // The same text again at once: the page reports it, and a person decides.
    await panic(page, site);
    await meet();
    const problem = page.locator("#problem");
    await expect(problem).toBeVisible();
    await expect(problem).toHaveAttribute("data-code", "crashed");
    await page.screenshot({ path: "test-results/problem-crashed.png" });
    await page.getByRole("button", { name: "Try again" }).click();
    await waitForState(page, "ready");
    await expect.poll(() => readings(page)).toBe(text);
    await readText(page, "And another one.");
  });

  test("in the atlas: its questions are asked again of another engine", async ({ page, site }) => {
    await serveCrashingEngine(page);
    await page.goto(`${site}#atlas=gains`);
    await waitForState(page, "ready");
    await page.waitForFunction(() => (window as any).loupePage.atlas() !== null);
    const [before] = page.workers();
    await panic(page, site);
    await page.evaluate(() =>
      (window as any).loupePage.engine
        .atlas("norms", [], {}, { signal: new AbortController().signal, onProgress: () => {} })
        .catch(() => {}),
    );
    await expect(page.locator("#notice")).toContainText("crashed and was started again");
    await waitForState(page, "ready");
    expect(page.workers().includes(before)).toBe(false);
    const norms = await page.evaluate(() => (window as any).loupePage.engine.norms([1, 2]));
    expect(norms.length).toBe(2);
  });
});

test("a call of what has been freed fails alone, and a second free() does nothing", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const found = await page.evaluate(async (base) => {
    const engine = await import(/* @vite-ignore */ `${base}loupe/loupe.js`);
    await engine.default();
    const [loupe, other] = [await engine.Loupe.open(), await engine.Loupe.open()];
    const file = (name: string) => fetch(`${base}models/tales/${name}`);
    await loupe.load({
      config: await (await file("config.json")).text(),
      weights: (await file("model.safetensors")).body,
    });
    const [reading, atlas] = [await loupe.read([1, 2, 3]), loupe.atlas()];
    for (const each of [reading, atlas, other]) for (let i = 0; i < 2; i++) each.free();
    const code = (error: any) => `${error.name} ${error.code}: ${error.message}`;
    const sync = [() => reading.stat("entropy"), () => reading.tokens, () => other.model, () => other.encode("a")].map(
      (call) => {
        try {
          return call();
        } catch (error) {
          return code(error);
        }
      },
    );
    const calls = [reading.trace([1], { tap: 0 }), atlas.norms(), other.read([1]), other.load({})];
    const settled = (await Promise.allSettled(calls)).map((each) => each.status === "rejected" && code(each.reason));
    const whole = await loupe.read([4, 5]);
    const compared = [loupe.compare(whole, reading), loupe.compare({} as any, whole), other.compare(whole, whole)];
    const comparisons = (await Promise.allSettled(compared)).map(
      (each) => each.status === "rejected" && code(each.reason),
    );
    const edits = (from: unknown) => loupe.read([4, 5], { edits: [{ at: "h.1", from: { reading: from } }] });
    const metric = { plus: 1, minus: 2 };
    const patched = [edits(reading), edits(1), loupe.sweep({ clean: whole, corrupt: reading, what: "heads", metric })];
    const patches = (await Promise.allSettled(patched)).map((each) => each.status === "rejected" && code(each.reason));
    const { js } = await loupe.compare(whole, whole);
    return { patches, sync, settled, comparisons, n_tokens: whole.n_tokens, js: [...js] };
  }, site);
  const freed = (name: string) => `LoupeError not-found: This ${name} has been freed.`;
  expect(found.sync).toEqual(["Reading", "Reading", "Loupe", "Loupe"].map(freed));
  expect(found.settled).toEqual(["Reading", "Atlas", "Loupe", "Loupe"].map(freed));
  expect(found.comparisons).toEqual([
    "LoupeError bad-option: b: expected a Reading, got one that has been freed.",
    "LoupeError bad-option: a: expected a Reading, got another value.",
    freed("Loupe"),
  ]);
  expect(found.patches).toEqual([
    "LoupeError bad-option: edits.from.reading: expected a reading, got one that has been freed.",
    "LoupeError bad-option: edits.from.reading: expected a complete reading of this Loupe, got 1.",
    "LoupeError bad-option: corrupt: expected a reading, got one that has been freed.",
  ]);
  expect(found.n_tokens).toBe(2);
  expect(found.js).toEqual(Array(9 * 2).fill(0));
});

test.describe("a worker", () => {
  test.use({ quiet: false });

  test("whose script cannot be loaded: the page says so", async ({ page, site }) => {
    await page.route(/\/assets\/worker-[^/]*\.js$/, (route) => route.fulfill({ status: 404, body: "nothing here" }));
    await page.goto(site);
    const problem = page.locator("#problem");
    await expect(problem).toHaveAttribute("data-code", "unexpected");
    await expect(problem).toContainText("its script could not be loaded");
  });

  test("that throws at its start: the page says what, and tries again when it is asked to", async ({ page }) => {
    const server = await serveSite({ worker: "throw new Error('no good start');" });
    await page.goto(`${server.origin}/a/b/`);
    const problem = page.locator("#problem");
    await expect(problem).toHaveAttribute("data-code", "unexpected");
    await expect(problem).toContainText("no good start");
    const again = page.waitForRequest(/\/assets\/worker-[^/]*\.js$/);
    await page.getByRole("button", { name: "Try again" }).click();
    await again;
    await expect(problem).toContainText("no good start");
    server.close();
  });

  test("that throws later, while nothing is asked of it: the page starts another one", async ({ page, site }) => {
    await page.goto(site);
    await waitForState(page, "ready");
    const text = "The old king sat by the window.";
    await readText(page, text);
    const [before] = page.workers();
    await before.evaluate(
      () =>
        void setTimeout(() => {
          throw new Error("later");
        }),
    );
    await expect(page.locator("#notice")).toContainText("later");
    await waitForState(page, "ready");
    await expect.poll(() => readings(page)).toBe(text);
    await readText(page, "And another one.");
    expect(page.workers().includes(before)).toBe(false);
  });

  test("that is closed: what is asked of it is settled, and so is what is asked afterwards", async ({ page, site }) => {
    await page.goto(site);
    await waitForState(page, "ready");
    const codes = await page.evaluate(async () => {
      const { engine } = (window as any).loupePage;
      const code = (promise: Promise<unknown>) =>
        promise.then(
          () => "fine",
          (error) => error.code,
        );
      const pending = [code(engine.ids("Once")), code(engine.norms([1])), code(engine.list())];
      engine.close();
      return Promise.all([...pending, code(engine.ids("Once"))]);
    });
    expect(codes).toEqual(Array(4).fill("aborted"));
  });
});
