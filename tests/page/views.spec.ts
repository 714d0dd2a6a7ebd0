/** Every view, switch and window shows the API's numbers. */
import { chooseView, expectSame, readByApi, setSwitch, shownByPage } from "./drawn.ts";
import { expect, readText, test, waitForState } from "./site.ts";

test("every view colours the API's numbers", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const api = await readByApi(page, {});
  const { stats, n_tokens } = api;
  const id = api.top_ids[api.top_ids.length - 20];
  const {
    tracked: [tracked],
  } = await readByApi(page, { track: [id] });
  const gain = stats.kl_final.map((value, i) =>
    i < n_tokens ? NaN : Math.fround(stats.kl_final[i - n_tokens] - value),
  );
  const wanted = {
    logit: stats.logit_final,
    probability: stats.prob_final,
    rank: stats.rank_final,
    logit_top: api.top_logits.filter((_, i) => i % 20 === 0),
    kl_final: stats.kl_final,
    kl_final_reverse: stats.kl_final_reverse,
    kl_gain: gain,
    kl_input: stats.kl_input,
    kl_input_reverse: stats.kl_input_reverse,
    rank_input: stats.rank_input,
    loss_next: stats.logprob_next.map((value) => -value),
    rank_next: stats.rank_next,
    entropy: stats.entropy,
    tracked_logit: tracked.logit,
    tracked_probability: tracked.logprob.map(Math.exp),
    tracked_rank: tracked.rank,
  } as Record<string, number[]>;
  const scales = {} as Record<string, string[]>;
  for (const [name, values] of Object.entries(wanted)) {
    await chooseView(page, name);
    const shown = await shownByPage(page);
    expectSame(shown.values, values, name);
    scales[name] = shown.ends;
    await expect(page.locator("#legend-quantity")).not.toBeEmpty();
    await expect(page.locator("#explain")).not.toBeEmpty();
    const has_input = await page.evaluate(() => (window as any).loupePage.cellRect(0, 0) !== null);
    expect(has_input, `row input in ${name}`).toBe(!/logit|rank|gain/.test(name));
  }
  // A person may have them share a scale: that of the post, or their own.
  expect(scales.kl_final).not.toEqual(scales.kl_input);
  for (const [limits, end] of [
    ["post", /^≥ 30$/],
    ["shared", /^≥ \d+$/],
  ] as const) {
    await setSwitch(page, "limits", limits);
    const ends = new Set<string>();
    for (const name of ["kl_final", "kl_final_reverse", "kl_input", "kl_input_reverse"]) {
      await chooseView(page, name);
      ends.add((await shownByPage(page)).ends[1]);
    }
    expect(ends.size, "all KL views share a scale").toBe(1);
    expect([...ends][0]).toMatch(end);
  }
  await setSwitch(page, "limits", "own");
  await page.locator("#switches-close").click();
  await chooseView(page, Object.keys(wanted).at(-1) as string);
  expect(scales.rank[1]).toBe("≥ 100");
  expect(scales.rank_input[1]).toBe("≥ 1,000");

  // The brackets walk through them.
  await page.locator("#heatmap").focus();
  await page.keyboard.press("[");
  await expect.poll(async () => (await shownByPage(page)).name).toBe("tracked_probability");
  await page.keyboard.press("]");
  await expect.poll(async () => (await shownByPage(page)).name).toBe("tracked_rank");
});

test("half-blocks, contributions, norms and decoders are the API's own", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  await chooseView(page, "kl_final");
  const check = async (what: string, options: Record<string, any>) => {
    const api = await readByApi(page, options);
    await expect.poll(async () => (await shownByPage(page)).taps, what).toEqual(api.taps);
    const shown = await shownByPage(page);
    expectSame(shown.values, api.stats.kl_final, what);
    expect(shown.top_ids, what).toEqual(api.top_ids);
    expect(shown.final_is_model).toBe(api.final_is_model);
    await expect(page.locator("#not-model")).toBeVisible({ visible: !api.final_is_model });
  };
  await setSwitch(page, "row_kind", "subblocks");
  await check("half-blocks", { subblocks: true });
  await page.screenshot({ path: "test-results/half-blocks.png" });
  await setSwitch(page, "borrowed", "1");
  await check("half-blocks, last block in the decoder", { subblocks: true, decoder: ["h.7"] });
  await setSwitch(page, "part", "mlp");
  await check("the last mlp in the decoder", { subblocks: true, decoder: ["h.7.mlp"] });
  await setSwitch(page, "part", "attn");
  await check("the last attn in the decoder", { subblocks: true, decoder: ["h.7.attn"] });
  await setSwitch(page, "row_kind", "blocks");
  await setSwitch(page, "borrowed", "3");
  await check("three blocks in the decoder", { decoder: ["h.5", "h.6", "h.7"] });
  await setSwitch(page, "borrowed", "0");
  await setSwitch(page, "norm", "plain");
  await check("plain norm", { norm: "plain" });
  await setSwitch(page, "norm", "affine");
  await setSwitch(page, "row_kind", "contributions");
  await check("contributions", { contributions: true });
});

test("what is only shown differently changes no number", async ({ page, site }) => {
  await page.goto(`${site}#view=probability`);
  await waitForState(page, "ready");
  const before = await shownByPage(page);
  await setSwitch(page, "step", "3");
  let shown = await shownByPage(page);
  expect(shown.rows.map((tap: number) => shown.taps[tap])).toEqual(["h.7", "h.4", "h.1", "input"]);
  await setSwitch(page, "final_on", "bottom");
  shown = await shownByPage(page);
  expect(shown.rows.map((tap: number) => shown.taps[tap])).toEqual(["input", "h.1", "h.4", "h.7"]);
  const rect = (tap: number, position: number) =>
    page.evaluate(([tap, position]) => (window as any).loupePage.cellRect(tap, position), [tap, position]);
  expect((await rect(8, 0)).y).toBeGreaterThan((await rect(0, 0)).y);
  await setSwitch(page, "transposed", true);
  expect((await rect(8, 3)).y).toBeGreaterThan((await rect(8, 2)).y);
  expect((await rect(8, 3)).x).not.toBe((await rect(0, 3)).x);
  await setSwitch(page, "start", "4");
  await setSwitch(page, "end", "11");
  shown = await shownByPage(page);
  expect(shown.span).toEqual({ start: 4, end: 12 });
  await setSwitch(page, "words_only", true);
  await setSwitch(page, "hide_prompt", true);
  await setSwitch(page, "prints", "both");
  await expect(page.locator("#filters")).toContainText("word-like tokens only");
  await setSwitch(page, "limits", "fixed");
  await setSwitch(page, "from", "0.1");
  await setSwitch(page, "to", "0.2");
  shown = await shownByPage(page);
  expect(shown.ends.map((label) => Number(label.replace(/[^\d.]/g, "")))).toEqual([0.1, 0.2]);
  expect(shown.values).toEqual(before.values);
  expect(shown.top_ids).toEqual(before.top_ids);
  await page.screenshot({ path: "test-results/switches.png" });
  const outlined = await page.evaluate(() => {
    const { outlined, reading } = (window as any).loupePage;
    const { n_tokens, top_k, top_ids } = reading();
    const top = (tap: number, position: number) => top_ids[(tap * n_tokens + position) * top_k];
    return Array.from({ length: n_tokens }, (_, i) => outlined(7, i) === (top(7, i) === top(8, i)) && outlined(7, i));
  });
  expect(outlined).toContain(true);

  // The address brings all of it back.
  await page.reload();
  await waitForState(page, "ready");
  const again = await shownByPage(page);
  expect(again).toEqual(shown);
  await expect(page.locator("#filters")).toContainText("tokens of the prompt hidden");
});

test("a window is dragged by its edges on the overview, which is there where not all fits", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  await expect(page.locator("#overview")).toBeHidden();
  await page.setViewportSize({ width: 1000, height: 900 });
  await readText(page, Array.from({ length: 40 }, () => " house").join(""));
  await expect(page.locator("#overview")).toBeVisible();
  const boxNow = async () => (await page.locator("#overview-brush").boundingBox()) as any;
  const drag = async (from: number, to: number) => {
    await page.locator("#overview").scrollIntoViewIfNeeded();
    const box = await boxNow();
    await page.mouse.move(box.x + box.width * from, box.y + 8);
    await page.mouse.down();
    await page.mouse.move(box.x + box.width * to, box.y + 8, { steps: 4 });
    await page.mouse.up();
  };
  await drag(0.001, 0.25);
  await expect.poll(async () => (await shownByPage(page)).span).toEqual({ start: 10, end: 40 });
  await drag(0.999, 0.75);
  await expect.poll(async () => (await shownByPage(page)).span).toEqual({ start: 10, end: 30 });
  await expect.poll(() => new URL(page.url()).hash).toContain("window=10-30");
  // The selected cell is the last of the window; a pin stays where it is.
  const title = page.locator("#cell-title");
  await expect(title).toHaveText("h.7 (final), position 29");
  await page.locator("#cell-pin").click();
  await drag(0.75, 0.5);
  await expect(title).toHaveText("Pinned: h.7 (final), position 29 (outside the window)");
  await page.locator("#switches-toggle").click();
  await page.locator("#whole-text").click();
  await expect.poll(async () => (await shownByPage(page)).span).toEqual({ start: 0, end: 40 });
  await expect(title).toHaveText("Pinned: h.7 (final), position 29");

  // A click goes there, and what is in sight is marked.
  const view = () =>
    page.locator("#overview-view").evaluate((mark) => parseFloat((mark as HTMLElement).style.left) / 100);
  await page.locator("#switches-close").click();
  await page.locator("#overview").scrollIntoViewIfNeeded();
  const box = await boxNow();
  await page.mouse.click(box.x + box.width * 0.97, box.y + 8);
  await expect.poll(view).toBeGreaterThan(0.4);
  await page.mouse.click(box.x + box.width * 0.03, box.y + 8);
  await expect.poll(view).toBe(0);
});
