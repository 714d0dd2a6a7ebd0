/** Views, switches, the pinned cell, trajectories and exports, against the numbers of the API. */
import { readFile } from "node:fs/promises";
import { expect, readText, test, waitForState } from "./site.ts";
import type { Page } from "@playwright/test";
import type { Track } from "../../www/reading/reading.ts";

/** Reads the page's text once more, through the embeddable module alone, and gives back plain values. */
const readByApi = (page: Page, options: Record<string, any>, traced: number[] = []) =>
  page.evaluate(
    async ({ options, traced }) => {
      const scope = window as any;
      if (!scope.testLoupe) {
        const { default: init, Loupe } = await import(new URL("loupe/loupe.js", document.baseURI).href);
        await init();
        scope.testLoupe = await Loupe.open();
        const get = (name: string) => fetch(`models/tales/${name}`);
        await scope.testLoupe.load({
          config: await (await get("config.json")).text(),
          tokenizer: await (await get("tokenizer.json")).text(),
          weights: (await get("model.safetensors")).body,
        });
      }
      const text = (document.getElementById("text") as HTMLTextAreaElement).value;
      const reading = await scope.testLoupe.read(text, { top_k: 20, ...options });
      const names = [
        "logsumexp",
        "entropy",
        "logit_final",
        "prob_final",
        "rank_final",
        "logprob_input",
        "rank_input",
        "logprob_next",
        "rank_next",
        "kl_final",
        "kl_final_reverse",
        "kl_input",
        "kl_input_reverse",
      ];
      const track = ({ id, logit, logprob, rank }: any) => ({
        id,
        logit: [...logit],
        logprob: [...logprob],
        rank: [...rank],
      });
      const plain = {
        taps: [...reading.taps],
        n_tokens: reading.n_tokens,
        final_is_model: reading.final_is_model,
        top_ids: [...reading.top_ids],
        top_logits: [...reading.top_logits],
        stats: Object.fromEntries(names.map((name) => [name, [...reading.stat(name)]])),
        tracked: (options.track ?? []).map((id: number) => track(reading.tracked(id))),
        column: traced.length > 0 ? (await reading.trace(traced, { position: reading.n_tokens - 1 })).map(track) : [],
      };
      reading.free();
      return plain;
    },
    { options, traced },
  );

/** What the picture is drawn from. */
const shownByPage = (page: Page) =>
  page.evaluate(() => {
    const { rows, values, reading, span, view, scale } = (window as any).loupePage.shown();
    return {
      rows,
      span,
      taps: [...reading.taps],
      values: [...values],
      name: view.name,
      final_is_model: reading.final_is_model,
      top_ids: [...reading.top_ids],
      ends: [scale.ticks[0].label, scale.ticks[scale.ticks.length - 1].label],
    };
  });

function expectSame(actual: number[], expected: number[], what: string) {
  expect(actual.length, what).toBe(expected.length);
  const bad = actual.findIndex(
    (value, i) => !Object.is(value, Math.fround(expected[i])) && !(Number.isNaN(value) && Number.isNaN(expected[i])),
  );
  expect(bad, `${what}: ${actual[bad]} for ${expected[bad]}`).toBe(-1);
}

/** Chooses a view, by its button or in the menu. */
async function chooseView(page: Page, name: string) {
  const segment = page.locator(`[data-view="${name}"]`);
  if ((await segment.count()) > 0) await segment.click();
  else await page.locator("#more-views").selectOption(name);
  await page.waitForFunction((wanted) => {
    const { shown } = (window as any).loupePage;
    return (
      document.documentElement.dataset.state === "ready" &&
      shown().view.name === wanted &&
      shown().values.some((value: number) => !Number.isNaN(value))
    );
  }, name);
}

/** Sets a switch, and waits for what it asks the engine for. */
async function setSwitch(page: Page, name: string, value: string | boolean) {
  if (!(await page.locator("#switches").isVisible())) await page.locator("#switches-toggle").click();
  const field = page.locator(`#switches [name="${name}"]`);
  if (typeof value === "boolean") await field.setChecked(value);
  else if ((await field.evaluate((element) => element.tagName)) === "SELECT") await field.selectOption(value);
  else await field.fill(value);
  await waitForState(page, "ready");
}

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
  for (const name of ["kl_final_reverse", "kl_input", "kl_input_reverse"])
    expect(scales[name], "all KL views share a scale").toEqual(scales.kl_final);
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
  const outlined = await page.evaluate(() => (window as any).loupePage.outlined(8, 5));
  expect(outlined).toBe(true);

  // The address brings all of it back.
  await page.reload();
  await waitForState(page, "ready");
  const again = await shownByPage(page);
  expect(again).toEqual(shown);
  await expect(page.locator("#filters")).toContainText("tokens of the prompt hidden");
});

test("a window is dragged over the overview strip", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const box = (await page.locator("#overview").boundingBox()) as any;
  await page.mouse.move(box.x + box.width * 0.25, box.y + 8);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.75, box.y + 8, { steps: 4 });
  await page.mouse.up();
  await expect.poll(async () => (await shownByPage(page)).span).toEqual({ start: 5, end: 15 });
  await expect.poll(() => new URL(page.url()).hash).toContain("window=5-15");
  const title = page.locator("#cell-title");
  await expect(title).toHaveText("Final prediction: h.7 (final), position 19 (outside the window)");
  await page.locator("#switches-toggle").click();
  await page.locator("#whole-text").click();
  await expect.poll(async () => (await shownByPage(page)).span).toEqual({ start: 0, end: 20 });
  await expect(title).toHaveText("Final prediction: h.7 (final), position 19");
});

test("a pinned cell lists its twenty tokens, and followed tokens draw what trace says", async ({ page, site }) => {
  await page.goto(`${site}#pin=19@h.5`);
  await waitForState(page, "ready");
  await expect(page.locator("#cell-title")).toHaveText("Pinned: h.5, position 19");
  const api = await readByApi(page, {});
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

test("SVG, PNG, CSV and JSON hold what the page shows; hostile text stays text", async ({ page, site }) => {
  const text = 'He said: <img src=x onerror="alert(1)"> </script> =cmd|calc & "so"';
  await page.goto(`${site}#view=kl_final&cells=both&text=${encodeURIComponent(text)}`);
  await waitForState(page, "ready");
  const api = await readByApi(page, {});
  const save = async (what: string) => {
    if (await page.locator("#export-menu").isHidden()) await page.locator("#export").click();
    const coming = page.waitForEvent("download");
    await page.locator(`[data-export="${what}"]`).click();
    return readFile(await (await coming).path());
  };
  const svg = (await save("svg")).toString();
  const parsed = await page.evaluate((svg) => {
    const sheet = new DOMParser().parseFromString(svg, "image/svg+xml");
    return {
      error: sheet.querySelector("parsererror")?.textContent ?? null,
      names: [...new Set([...sheet.querySelectorAll("*")].map(({ localName }) => localName))].sort(),
      texts: [...sheet.querySelectorAll("text")].map(({ textContent }) => textContent),
      fills: [...sheet.querySelectorAll('rect[rx="3"]')].map((rect) => rect.getAttribute("fill")),
    };
  }, svg);
  expect(parsed.error).toBe(null);
  expect(parsed.names).toEqual(["circle", "g", "rect", "svg", "text", "title"]);
  for (const tap of api.taps) expect(parsed.texts).toContain(tap);
  for (const value of api.stats.kl_final)
    expect(parsed.texts).toContain(
      value
        .toFixed(value < 9.95 ? 2 : 1)
        .replace(/^-(?=0\.00$)/, "")
        .replace("-", "−"),
    );
  const colours = await page.evaluate(() => {
    const hook = (window as any).loupePage;
    const { rows, reading } = hook.shown();
    return rows.flatMap((tap: number) =>
      Array.from({ length: reading.n_tokens }, (_, position) => hook.cellColour(tap, position)),
    );
  });
  expect(parsed.fills).toEqual(colours);

  const png = await save("png");
  expect(png.subarray(1, 4).toString()).toBe("PNG");
  const [, width, height] = /<svg [^>]*width="(\d+)" height="(\d+)"/.exec(svg) as RegExpExecArray;
  expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([2 * Number(width), 2 * Number(height)]);

  const json = JSON.parse((await save("json")).toString());
  expect(json.statistics.kl_final.flat().map(Math.fround)).toEqual(api.stats.kl_final);
  expect(json.top_ids.flat(2)).toEqual(api.top_ids);
  expect(json.model).toMatchObject({ name: "Tales", family: "gpt2", precision: "f16" });
  const csv = (await save("csv")).toString();
  const cells = csv.split("\r\n").filter((line) => /^(input|h\.)/.test(line));
  expect(cells.length).toBe(api.taps.length * api.n_tokens);
  expect(csv).not.toMatch(/,"[=+\-@]/);

  await page.locator('[data-export="python"]').click();
  await expect(page.locator("#python-code")).toContainText("kl(F, logp)");
  expect(await page.evaluate(() => document.querySelectorAll("img").length)).toBe(0);
});

test("a long text, its view, pin and window come back from the address alone", async ({ page, site, context }) => {
  await page.goto(`${site}#view=entropy&window=20-60&pin=33@h.4`);
  await waitForState(page, "ready");
  const text = "The old king sat upon his throne and the queen sat beside him. ".repeat(12).trim();
  await readText(page, text);
  await page.locator("#more-views").selectOption("kl_input");
  await expect.poll(() => new URL(page.url()).hash).toMatch(/view=kl_input.*packed=/);
  const other = await context.newPage();
  await other.goto(page.url());
  await waitForState(other, "ready");
  expect(await other.locator("#text").inputValue()).toBe(text);
  expect(await shownByPage(other)).toEqual(await shownByPage(page));
});

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
  const strip = page.locator("#strip");
  await expect(strip).toContainText(`(${j} in the second text)`);
  await expect(strip).toContainText("shown: second − first");
  await expect(strip.locator(".fact", { hasText: "Jensen–Shannon" })).toContainText(
    between.between_js[(N - 1) * columns.length + columns.length - 1].toFixed(2),
  );
  await expect(strip.locator(".strip-second")).toContainText("Second text: ");
  await expect(page.locator("#cell-table th", { hasText: "2nd text" })).toBeVisible();
  await expect(page.locator("#paths-note")).toContainText("Dashed: the second text");
  await expect(
    page.locator("#paths-chart path[stroke-dasharray], #paths-chart g[stroke-dasharray]").first(),
  ).toBeAttached();
  await expect(page.locator("#passage-first")).toBeVisible();
  await page.screenshot({ path: "test-results/two-texts.png" });
  await page.getByRole("button", { name: "Show as a table" }).click();
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
