/** The pinned cell, the followed tokens and the charts over the passage. */
import { readByApi, shownByPage } from "./drawn.ts";
import { expect, test, waitForState } from "./site.ts";
import type { Track } from "../../www/reading/reading.ts";

test("a pinned cell lists its twenty tokens, and followed tokens draw what trace says", async ({ page, site }) => {
  await page.goto(`${site}#pin=19@h.5`);
  await waitForState(page, "ready");
  await expect(page.locator("#cell-title")).toHaveText("Pinned: h.5, position 19");
  const api = await readByApi(page, {});
  await page.locator("#cell-all summary").click();
  const tap = api.taps.indexOf("h.5");
  const at = (tap * api.n_tokens + 19) * 20;
  const ids = api.top_ids.slice(at, at + 20);
  const { column } = await readByApi(page, {}, ids);
  const rows = page.locator("#cell-table tbody tr");
  await expect(rows).toHaveCount(20);
  await expect(rows.last().locator("td").last()).not.toBeEmpty();
  for (const [place, id] of ids.entries()) {
    const cells = await rows.nth(place).locator("td").allInnerTexts();
    const { logit, logprob, rank } = column[place];
    expect(cells[1]).toBe(String(id));
    expect(Number(cells[5].replace("−", "-"))).toBeCloseTo(logit[tap], 2);
    expect(Number(cells[4].replace("−", "-"))).toBeCloseTo(logprob[tap], 2);
    const change = rank[tap - 1] - rank[tap];
    expect(cells[6].replace(/\s/g, ""), `rank change of ${id}`).toBe(
      change === 0 ? "=" : `${change > 0 ? "↑" : "↓"}${Math.abs(change).toLocaleString("en")}`,
    );
  }

  await page.locator("#follow-text").fill(" house| door");
  await page.getByRole("button", { name: "Follow", exact: true }).click();
  await expect(page.locator("#followed li")).toHaveCount(1);
  await expect(page.locator("#followed")).toContainText("␣house | ␣door");
  const dots = page.locator("#paths-chart svg circle");
  await expect(dots.first()).toBeAttached();
  const [house, door] = await page.evaluate(async () =>
    (await Promise.all([" house", " door"].map((text) => (window as any).loupePage.engine.encode(text)))).map(
      ([{ id }]) => id,
    ),
  );
  const { column: traced } = await readByApi(page, {}, [house, door]);
  const titles = await page.locator("#paths-chart title").allTextContents();
  const final = titles.find((title) => title.startsWith("␣house | ␣door at h.7"));
  const [first, second] = traced.map(({ rank }: Track) => rank[rank.length - 1]);
  expect(final).toContain(`rank ${Math.min(first, second).toLocaleString("en")},`);
  const sum = traced.reduce((total: number, { logprob }: Track) => total + Math.exp(logprob[logprob.length - 1]), 0);
  expect(final).toContain(`${(sum * 100).toFixed(1)} %`);

  // The same group in the heatmap, and several words are refused with a reason.
  await page.locator("#followed button").first().click();
  await expect.poll(async () => (await shownByPage(page)).name).toBe("tracked_rank");
  await expect.poll(async () => (await shownByPage(page)).values.at(-1)).toBe(Math.min(first, second));
  await expect(page.locator("#legend-quantity")).toHaveText("rank of ␣house | ␣door");
  await page.locator("#follow-text").fill("several words here");
  await page.getByRole("button", { name: "Follow", exact: true }).click();
  await expect(page.locator("#follow-problem")).toContainText("tokens");
  await page.screenshot({ path: "test-results/pinned.png", fullPage: true });
  await page.locator("#paths-line").selectOption("positions");
  await expect(page.locator("#paths-chart")).toContainText("positions at row h.5");
});

test("the keyboard keeps its place when lists are drawn again", async ({ page, site }) => {
  await page.goto(`${site}#pin=19@h.5`);
  await waitForState(page, "ready");
  await page.locator("#cell-all summary").click();
  const tokens = page.locator("#cell-table .token-button");
  await expect(tokens).toHaveCount(20);
  const followed = page.locator("#followed li");
  // Following a token draws the table and the list again.
  for (const place of [3, 5]) {
    await tokens.nth(place).focus();
    const old = await tokens.nth(place).elementHandle();
    await page.keyboard.press("Enter");
    await expect(page.locator("#paths-chart svg circle").first()).toBeAttached();
    await expect.poll(() => old?.evaluate((node) => node.isConnected), "the table is drawn again").toBe(false);
    await expect(tokens.nth(place)).toBeFocused();
  }
  await expect(followed).toHaveCount(2);
  // Where the button itself is gone, the next one has the focus.
  await followed
    .first()
    .getByRole("button", { name: /stop following/ })
    .focus();
  await page.keyboard.press("Enter");
  await expect(followed).toHaveCount(1);
  await expect(followed.first().getByRole("button", { name: /stop following/ })).toBeFocused();
});

test("over the passage: decisions, losses and what is kept of the input are the API's numbers", async ({
  page,
  site,
}) => {
  await page.goto(`${site}#view=rank_input`);
  await waitForState(page, "ready");
  const api = await readByApi(page, {});
  const { n_tokens, taps, stats } = api;
  await page.locator("#passage").scrollIntoViewIfNeeded();
  const titles = (chart: string) => page.locator(`#${chart} title`).allTextContents();
  await expect(page.locator("#scatter-chart title").first()).toBeAttached();

  const top = (tap: number, position: number) => api.top_ids[(tap * n_tokens + position) * 20];
  const last = taps.length - 1;
  const firsts = taps.map(
    (_, tap) =>
      Array.from({ length: n_tokens }, (_, p) => p).filter(
        (p) => taps.findIndex((_, t) => top(t, p) === top(last, p)) === tap,
      ).length,
  );
  const bars = await titles("decisions-chart");
  taps.forEach((tap, i) =>
    expect(bars).toContain(`${tap}: ${firsts[i]} positions have the final top-1 for the first time`),
  );

  const losses = await titles("loss-chart");
  taps.forEach((tap, i) => {
    const mean =
      stats.logprob_next.slice(i * n_tokens, (i + 1) * n_tokens - 1).reduce((sum, value) => sum - value, 0) /
      (n_tokens - 1);
    expect(losses[i]).toContain(`${tap}: ${mean.toFixed(2)} nats`);
  });

  const [id, text, positions] = await page.evaluate(() => {
    const { tokens } = (window as any).loupePage.reading();
    const { id, shown } = tokens.find(({ id }: any) => tokens.filter((each: any) => each.id === id).length > 1);
    return [id, shown, tokens.flatMap((each: any, i: number) => (each.id === id ? [i] : []))];
  });
  await page.locator("#kept-token").selectOption(String(id));
  const second = `2nd ${text} (position ${positions[1]}) at ${taps[last]}: rank ${stats.rank_input[last * n_tokens + positions[1]].toLocaleString("en")}`;
  await expect.poll(() => titles("kept-chart")).toContain(second);

  await page.locator("#scatter-against").selectOption("norm");
  const norm = await page.evaluate(async (id) => (await (window as any).testLoupe.atlas().norms())[id], id);
  await expect
    .poll(
      async () =>
        (await titles("scatter-chart")).filter((title) => title.includes(`(id ${id}, norm ${norm.toFixed(2)})`)).length,
    )
    .toBe(1);
  await expect(page.locator("#scatter-words")).toContainText("correlation with the norm");

  // A window of positions narrows the charts as well.
  await page.evaluate(() => void (location.hash = "#view=rank_input&window=2-6"));
  await expect(page.locator("#decisions-words")).toContainText("of the 4 positions");
});
