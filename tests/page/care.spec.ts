/** Care: no serious accessibility fault, keys and tables, examples, long texts drawn only where seen, a small shell. */
import { readFileSync } from "node:fs";
import { brotliCompressSync, constants } from "node:zlib";
import { expectAccessible } from "./axe.ts";
import { expect, readText, test, waitForState } from "./site.ts";
import type { Page } from "@playwright/test";

test("axe finds no serious fault, in either theme, with everything open", async ({ page, site }) => {
  await page.goto(`${site}#tokens=817.959&pin=7@h.4&cells=both&words=1`);
  await waitForState(page, "ready");
  await page.locator("#passage").scrollIntoViewIfNeeded();
  await expect(page.locator("#scatter-chart svg")).toBeVisible();
  for (const scheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.waitForTimeout(300);
    await expectAccessible(page, scheme);
  }
  await page.locator("#switches-toggle").click();
  await page.locator("#table-toggle").click();
  await page.getByRole("button", { name: "Compare with…" }).click();
  await page.locator("#export").click();
  await expectAccessible(page, "everything open");
  await page.keyboard.press("Escape");
  await page.locator("#help-open").click();
  await expectAccessible(page, "help");
  await page.screenshot({ path: "test-results/help.png" });
});

test("keys, sentences and the table", async ({ page, site }) => {
  await page.goto(`${site}#view=kl_final`);
  await waitForState(page, "ready");
  await page.locator("#heatmap").focus();
  await page.keyboard.press("?");
  await expect(page.locator("#help")).toBeVisible();
  await page.keyboard.press("Escape");
  await page.keyboard.press("Home");
  await expect(page.locator("#cell-title")).toContainText("position 0");
  await page.keyboard.press("PageDown");
  await expect(page.locator("#cell-title")).not.toHaveText(/position 0$/);
  await page.keyboard.press("Enter");
  await expect(page.locator("#cell-title")).toContainText("Pinned:");
  await page.keyboard.press("Escape");
  await expect(page.locator("#cell-title")).not.toContainText("Pinned:");

  await page.locator("#table-toggle").click();
  const reading = await page.evaluate(() => {
    const { taps, tokens, stats } = (window as any).loupePage.reading();
    return { taps, shown: tokens.map(({ shown }: any) => shown), kl: [...stats.kl_final] };
  });
  await expect(page.locator("#table tbody tr")).toHaveCount(reading.taps.length);
  await expect(page.locator("#row-sentences li")).toHaveCount(reading.taps.length);
  await expect(page.locator("#row-sentences li").first()).toContainText(
    `same top-1 as final at ${reading.shown.length} of ${reading.shown.length} positions`,
  );
  const lowest = await page.locator("#table tbody tr").last().locator("td").allInnerTexts();
  lowest.forEach((text, position) =>
    expect(Number(text.trim().split(/\s+/).at(-1)), `position ${position}`).toBeCloseTo(
      reading.kl[position],
      reading.kl[position] < 9.95 ? 2 : 1,
    ),
  );
});

test("each example opens with one click and says what this model shows", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const names = await page.locator("#examples .chip").allInnerTexts();
  expect(names.length).toBeGreaterThanOrEqual(6);
  for (const name of names) {
    await page.getByRole("button", { name, exact: true }).click();
    await expect(page.getByRole("button", { name, exact: true })).toHaveAttribute("aria-pressed", "true");
    await page.waitForFunction(() => {
      const hook = (window as any).loupePage;
      const text = hook
        .reading()
        ?.tokens.map((t: any) => t.text)
        .join("");
      return (
        document.documentElement.dataset.state === "ready" &&
        text === (document.getElementById("text") as HTMLTextAreaElement).value
      );
    });
    await expect(page.locator("#example")).toBeVisible();
    expect(await page.locator("#example-look").textContent()).not.toBe("");
    await expect(page.locator("#example-finding")).toContainText(/Tales here: .*(row|rank|nats)/);
  }
  // The last one's claim, held to the numbers.
  const [token, rank] = await page.evaluate(async () => {
    const hook = (window as any).loupePage;
    const { serial, n_tokens, taps, tokens } = hook.reading();
    const { id, shown } = tokens.find(({ text }: any) => text === " king");
    const [track] = await hook.engine.trace(serial, [id], { position: n_tokens - 1 }, new AbortController().signal);
    return [shown, track.rank[taps.length - 1]];
  });
  await expect(page.locator("#example-finding")).toContainText(
    `the promised ${token} ends at rank ${rank.toLocaleString("en")} `,
  );
  await readText(page, "No example at all.");
  await expect(page.locator("#example")).toBeHidden();
});

/** A reading of 25 rows and 1024 positions that no engine made. */
const showLong = (page: Page) =>
  page.evaluate(() => {
    const [n_taps, n_tokens, top_k] = [25, 1024, 20];
    const hook = (window as any).loupePage;
    const { stats, asked } = hook.reading();
    const noise = (i: number) => ((Math.imul(i + 1, 2654435761) >>> 0) % 1000) / 1000;
    const words = Array.from({ length: 500 }, (_, id) => ({
      id,
      text: ` word${id}`,
      bytes: new Uint8Array([id & 255]),
      shown: `␣word${id}`,
    }));
    hook.show({
      tokens: Array.from({ length: n_tokens }, (_, i) => words[Math.floor(noise(i) * 500)]),
      taps: ["input", ...Array.from({ length: n_taps - 1 }, (_, i) => `h.${i}`)],
      n_tokens,
      top_k,
      asked,
      final_is_model: true,
      tracked: {},
      serial: -1,
      read_ms: 0,
      top_tokens: words,
      stats: Object.fromEntries(
        Object.keys(stats).map((name) => [
          name,
          Float32Array.from({ length: n_taps * n_tokens }, (_, i) => 1 + 9 * noise(i)),
        ]),
      ),
      top_ids: Uint32Array.from({ length: n_taps * n_tokens * top_k }, (_, i) => Math.floor(noise(i) * 500)),
      top_logits: Float32Array.from({ length: n_taps * n_tokens * top_k }, (_, i) => 20 - (i % top_k)),
    });
  });

test("of 25 × 1024 cells only those in view are drawn, once a frame, and what that takes is said", async ({
  page,
  site,
}) => {
  await page.goto(site);
  await waitForState(page, "ready");
  await showLong(page);
  const { width } = (await page.locator("#scroller").boundingBox()) as any;
  const drawn = () => page.evaluate(() => (window as any).loupePage.drawn());
  const before = await drawn();
  const [n_rows, cell_width] = await page.evaluate(() => {
    const hook = (window as any).loupePage;
    return [hook.shown().rows.length, hook.cellRect(24, 1).x - hook.cellRect(24, 0).x];
  });
  expect(n_rows).toBe(24);
  expect(before.cells).toBeLessThanOrEqual(n_rows * (Math.ceil(width / cell_width) + 1));
  expect(before.cells).toBeGreaterThan(n_rows * 5);

  // A recorded trace: what our own script takes of each task while scrolling and hovering.
  const session = await page.context().newCDPSession(page);
  const events: any[] = [];
  session.on("Tracing.dataCollected", ({ value }) => void events.push(...value));
  await session.send("Tracing.start", {
    transferMode: "ReportEvents",
    traceConfig: { includedCategories: ["devtools.timeline", "toplevel"] },
  });
  const n_frames = await page.evaluate(async () => {
    const scroller = document.getElementById("scroller") as HTMLElement;
    const canvas = document.getElementById("heatmap") as HTMLElement;
    let frames = 0;
    for (let i = 0; i < 120; i++) {
      scroller.scrollLeft += i % 2 ? 180 : 260;
      const { left, top } = canvas.getBoundingClientRect();
      for (let j = 0; j < 3; j++)
        canvas.dispatchEvent(
          new PointerEvent("pointermove", {
            clientX: left + 200 + ((i * 37 + j * 61) % 500),
            clientY: top + 160 + ((i * 53) % 300),
            bubbles: true,
          }),
        );
      await new Promise(requestAnimationFrame);
      frames++;
    }
    return frames;
  });
  const done = new Promise((resolve) => session.once("Tracing.tracingComplete", resolve));
  await session.send("Tracing.end");
  await done;
  const after = await drawn();
  expect(after.frames - before.frames, "however often the pointer moves, one drawing per frame").toBeLessThanOrEqual(
    n_frames + 2,
  );
  expect(after.cells).toBeLessThanOrEqual(n_rows * (Math.ceil(width / cell_width) + 1));

  const ours = events
    .filter(
      ({ name, ph }) =>
        ph === "X" && (name === "FunctionCall" || name === "FireAnimationFrame" || name === "EventDispatch"),
    )
    .map(({ dur }) => (dur ?? 0) / 1000);
  expect(ours.length, "the trace saw our script").toBeGreaterThan(100);
  ours.sort((a, b) => b - a);
  console.log(
    `script of a task, ms: longest ${ours[0].toFixed(1)}, 99th percentile ${ours[Math.floor(ours.length / 100)].toFixed(1)}, median ${ours[Math.floor(ours.length / 2)].toFixed(2)}`,
  );
  await page.screenshot({ path: "test-results/long.png" });
});

/** @param name of a file of JavaScript */
const compressed = (name: string) =>
  brotliCompressSync(readFileSync(`dist/assets/${name}`), { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }).length;

test("what is loaded before the first picture is at most 85 kB of JavaScript after Brotli; charts and atlas come later", async ({
  page,
  site,
}) => {
  const loaded: string[] = [];
  page.on("request", (request) => {
    const { pathname } = new URL(request.url());
    if (pathname.includes("/assets/") && pathname.endsWith(".js")) loaded.push(pathname.split("/assets/")[1]);
  });
  await page.goto(site);
  await page.waitForFunction(() => performance.getEntriesByName("loupe:first-picture").length > 0);
  // Charts may be under way by now, but nothing needs them: the picture stands.
  const needed = loaded.filter((name) => /^(index|worker)-/.test(name));
  const kB = (names: string[]) => [...new Set(names)].reduce((sum, name) => sum + Number(compressed(name)) / 1000, 0);
  expect(needed.length).toBeGreaterThanOrEqual(2);
  expect(kB(needed)).toBeLessThanOrEqual(85);
  const before = new Set(loaded);
  await page.locator("#tab-atlas").click();
  await expect.poll(() => loaded.some((name) => name.startsWith("atlas-") && !before.has(name))).toBe(true);
});
