/** Two texts beside each other. */
import { readFile } from "node:fs/promises";
import { chooseView, shownByPage } from "./drawn.ts";
import { expect, test, waitForState } from "./site.ts";

test("two texts: differences hold the token fixed, at aligned positions, and are the API's numbers", async ({
  page,
  site,
}) => {
  const [first, second] = [
    "The old king sat upon his throne and spoke",
    "The old king sat there upon his horse and rode away",
  ];
  await page.goto(`${site}#view=kl_final&text=${encodeURIComponent(first)}&second=${encodeURIComponent(second)}`);
  await waitForState(page, "ready");
  await page.waitForFunction(() => (window as any).loupePage.second().comparison !== null);
  await expect(page.locator("#legend-quantity")).toHaveText("KL(final ‖ row): second text − first");
  // An engine of its own reads both texts with every token that the first one's final row puts first, and compares them.
  const exact = await page.evaluate(
    async ([base, first, second]) => {
      const engine = await import(/* @vite-ignore */ `${base}loupe/loupe.js`);
      await engine.default();
      const loupe = await engine.Loupe.open();
      const file = (name: string) => fetch(`${base}models/tales/${name}`);
      await loupe.load({
        config: await (await file("config.json")).text(),
        tokenizer: await (await file("tokenizer.json")).text(),
        weights: (await file("model.safetensors")).body,
      });
      const once = await loupe.read(first, { top_k: 1 });
      const [T, N] = [once.n_tokens, once.taps.length];
      const top = [...once.top_ids.slice((N - 1) * T)];
      const next = once.tokens.slice(1).map(({ id }: any) => id);
      const track = [...new Set([...top, ...next])];
      const readings = [await loupe.read(first, { track }), await loupe.read(second, { track })];
      const plain = readings.map((reading) => ({
        T: reading.n_tokens,
        ids: reading.tokens.map(({ id }: any) => id),
        stats: Object.fromEntries(["kl_final", "entropy", "rank_input"].map((name) => [name, [...reading.stat(name)]])),
        tracked: Object.fromEntries(
          track.map((id) => [
            id,
            Object.fromEntries(["logit", "logprob", "rank"].map((what) => [what, [...reading.tracked(id)[what]]])),
          ]),
        ),
      }));
      const { columns } = (window as any).loupePage.second().comparison;
      const { kl, kl_reverse, js } = await loupe.compare(readings[0], readings[1], { columns });
      return {
        N,
        T,
        top,
        next,
        columns,
        readings: plain,
        between: { between_kl: [...kl], between_kl_reverse: [...kl_reverse], between_js: [...js] },
      };
    },
    [site, first, second],
  );
  const {
    N,
    T,
    top,
    next,
    columns,
    readings: [a, b],
    between,
  } = exact;
  for (const [i, j] of columns) expect(a.ids[i]).toBe(b.ids[j]);
  expect(columns.filter(([i, j]: [number, number]) => i === j).length, "a shared prefix").toBeGreaterThan(3);
  expect(columns.filter(([i, j]: [number, number]) => i !== j).length, "tokens behind the insertion").toBeGreaterThan(
    1,
  );
  expect(columns.length).toBeLessThan(T);

  const values: Record<string, (tap: number, i: number, j: number, c: number) => number> = {
    logit: (tap, i, j) => b.tracked[top[i]].logit[tap * b.T + j] - a.tracked[top[i]].logit[tap * T + i],
    probability: (tap, i, j) =>
      Math.exp(b.tracked[top[i]].logprob[tap * b.T + j]) - Math.exp(a.tracked[top[i]].logprob[tap * T + i]),
    rank: (tap, i, j) => Math.log2(b.tracked[top[i]].rank[tap * b.T + j] / a.tracked[top[i]].rank[tap * T + i]),
    loss_next: (tap, i, j) =>
      i + 1 < T ? a.tracked[next[i]].logprob[tap * T + i] - b.tracked[next[i]].logprob[tap * b.T + j] : NaN,
    rank_next: (tap, i, j) =>
      i + 1 < T ? Math.log2(b.tracked[next[i]].rank[tap * b.T + j] / a.tracked[next[i]].rank[tap * T + i]) : NaN,
    kl_final: (tap, i, j) => b.stats.kl_final[tap * b.T + j] - a.stats.kl_final[tap * T + i],
    entropy: (tap, i, j) => b.stats.entropy[tap * b.T + j] - a.stats.entropy[tap * T + i],
    rank_input: (tap, i, j) => Math.log2(b.stats.rank_input[tap * b.T + j] / a.stats.rank_input[tap * T + i]),
    ...Object.fromEntries(
      Object.entries(between).map(([name, numbers]) => [
        name,
        (tap: number, _i: any, _j: any, c: number) => numbers[tap * columns.length + c],
      ]),
    ),
  };
  for (const [view, value] of Object.entries(values)) {
    await chooseView(page, view);
    const { values: drawn } = await shownByPage(page);
    for (let tap = 0; tap < N; tap++) {
      for (let i = 0; i < T; i++) {
        const column = columns.findIndex(([at]: [number, number]) => at === i);
        const is = drawn[tap * T + i];
        if (column < 0) expect(is, `${view} at ${tap}, ${i}: no counterpart`).toBeNaN();
        else {
          const wanted = value(tap, i, columns[column][1], column);
          if (Number.isNaN(wanted)) expect(is).toBeNaN();
          else expect(Math.abs(is - wanted), `${view} at ${tap}, ${i}: ${is}, ${wanted}`).toBeLessThan(1e-5);
        }
      }
    }
  }
  // Equal up to the first difference, exactly.
  await chooseView(page, "logit");
  const { values: logits } = await shownByPage(page);
  for (let tap = 0; tap < N; tap++) expect(logits.slice(tap * T, tap * T + 3)).toEqual([0, 0, 0]);

  // Hovering, the pinned cell, trajectories, table and captions speak of both texts.
  const [i, j] = columns[columns.length - 1];
  await expect(page.locator("#legend-quantity")).toHaveText(
    "logit of the first text’s final top-1: second text − first",
  );
  await expect(page.locator("#filters")).toContainText("≠ this token is not in the second text");
  const rect = await page.evaluate(([tap, i]) => (window as any).loupePage.cellRect(tap, i), [N - 1, i]);
  await page.locator("#heatmap").click({ position: { x: rect.x + rect.width / 2, y: rect.y + rect.height / 2 } });
  const panel = page.locator("#cell-panel");
  await expect(panel).toContainText(`compared with position ${j} of the second text`);
  await expect(panel).toContainText("shown: second − first");
  await expect(panel.locator(".fact", { hasText: "Jensen–Shannon" })).toContainText(
    between.between_js[(N - 1) * columns.length + columns.length - 1].toFixed(2),
  );
  await expect(panel.locator("#cell-second")).toContainText("Second text: ");
  await page.locator("#cell-all summary").click();
  await expect(page.locator("#cell-table th", { hasText: "2nd text" })).toBeVisible();
  await expect(page.locator("#paths-note")).toContainText("Dashed: the second text");
  await expect(
    page.locator("#paths-chart path[stroke-dasharray], #paths-chart g[stroke-dasharray]").first(),
  ).toBeAttached();
  await expect(page.locator("#passage-first")).toBeVisible();
  await page.screenshot({ path: "test-results/two-texts.png" });
  await page.getByRole("button", { name: "Table", exact: true }).click();
  await expect(page.locator("#table caption")).toContainText("second text − first");
  await page.getByRole("button", { name: "Hide the table" }).click();

  // What leaves the page is of both texts.
  const saved = async (kind: string) => {
    await page.locator("#export").click();
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.locator(`[data-export="${kind}"]`).click(),
    ]);
    await page.keyboard.press("Escape");
    return readFile(await download.path(), "utf8");
  };
  const json = JSON.parse(await saved("json"));
  expect(json.format).toBe("loupe-comparison");
  expect([json.first.text, json.second.text]).toEqual([first, second]);
  expect(json.jensen_shannon.flat()).toEqual(between.between_js.map((value: number) => Number(value.toPrecision(9))));
  const csv = await saved("csv");
  expect(csv).toContain(`# second_text: ${second}`);
  expect(csv).toContain("second_first_final_logit");
  expect(await saved("svg")).toContain("compared with “The old king sat there upon his horse");
  await page.locator("#export").click();
  await page.locator('[data-export="python"]').click();
  await expect(page.locator("#python-code")).toContainText("(b - a).gather(-1, top)[:, 0]");
  await page.keyboard.press("Escape");
  await page.keyboard.press("Escape");

  await chooseView(page, "rank_next");
  await page.locator("#compare").selectOption("beside");
  await expect(page.locator("#heatmap-second")).toBeVisible();
  const beside = await page.evaluate(() => {
    const { second, shown } = (window as any).loupePage;
    return {
      values: [...second().shown.values],
      stat: [...second().reading.stats.rank_next],
      same_scale: second().shown.scale === shown().scale,
    };
  });
  expect(beside.values).toEqual(beside.stat);
  expect(beside.same_scale).toBe(true);
  await page.screenshot({ path: "test-results/two-texts-beside.png", fullPage: true });
  // A divergence has one picture, and goes with the second text.
  await chooseView(page, "between_js");
  await expect(page.locator("#heatmap-second")).toBeHidden();
  await page.getByRole("button", { name: "Close the second text" }).click();
  await expect(page.locator("#heatmap-second")).toBeHidden();
  await expect.poll(() => page.evaluate(() => (window as any).loupePage.view())).toBe("logit");
  await expect(page.locator('#more-views option[value="between_js"]')).toHaveCount(1);
  await expect(page.locator('#more-views optgroup[label="Between the two texts"]')).toBeDisabled();
});

test("a second text that is too long is read in part, and the page says so", async ({ page, site }) => {
  await page.goto(`${site}#text=The+old+king&second=${"The+old+king+and+the+queen+".repeat(60)}`);
  await waitForState(page, "ready");
  await expect(page.locator("#second-status")).toContainText("Read the first 256 of its");
});
