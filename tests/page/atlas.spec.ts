/** The Atlas tab: its frame, and its views of channels, against numbers computed here from the file of weights. */
import { readFileSync } from "node:fs";
import { expectAccessible } from "./axe.ts";
import { numbersOf, tales, tensorsOf } from "./checkpoints.ts";
import { channels as rgbOf, expect, inBlankPage, pixel, readText, test, waitForState } from "./site.ts";
import type { Locator, Page } from "@playwright/test";

const [C, V, N_CTX, N_LAYER] = [192, 4096, 256, 8];
const tensors = new Map(
  tensorsOf(tales()["model.safetensors"]).map((tensor) => [tensor.name.replace(/^transformer\./, ""), tensor]),
);
const tensor = (name: string) => numbersOf(tensors.get(name) as any);
const [wte, wpe] = [tensor("wte.weight"), tensor("wpe.weight")];
const column = (table: Float64Array, c: number) =>
  Float64Array.from({ length: table.length / C }, (_, row) => table[row * C + c]);
function statistics(values: ArrayLike<number>) {
  const all = Array.from(values);
  const mean = all.reduce((sum, value) => sum + value, 0) / all.length;
  return { mean, std: Math.sqrt(all.reduce((sum, value) => sum + (value - mean) ** 2, 0) / all.length) };
}
const wpe_std = Array.from({ length: C }, (_, c) => statistics(column(wpe, c)).std);
/** Channels by falling std(wpe). */
const by_activity = wpe_std.map((_, c) => c).sort((a, b) => wpe_std[b] - wpe_std[a]);

/** The channel whose |ln_2 gain|, averaged over the blocks on a log scale, is largest: the one that is shown first. */
const outstanding = (() => {
  const gains = Array.from({ length: N_LAYER }, (_, i) => tensor(`h.${i}.ln_2.weight`));
  const sums = Array.from({ length: C }, (_, c) => gains.reduce((sum, gain) => sum + Math.log(Math.abs(gain[c])), 0));
  return sums.indexOf(Math.max(...sums));
})();

/** The largest gap of the logarithms in the upper half, by another way than the page's. */
function heavyChannels() {
  const logs = by_activity.map((c) => Math.log10(wpe_std[c]));
  const gaps = logs.slice(0, C / 2).map((log, i) => log - logs[i + 1]);
  const n = gaps.indexOf(Math.max(...gaps.slice(1))) + 1;
  return by_activity.slice(0, n);
}

async function open(page: Page, address: string) {
  await page.goto(address);
  await waitForState(page, "ready");
}

/** A card of the atlas by its title. */
const card = (page: Page, title: string | RegExp) =>
  page.locator(".atlas-card", { has: page.getByRole("heading", { name: title, level: 2 }) });

/** What a card's export saves. */
async function exported(page: Page, from: Locator, kind: "csv" | "svg" | "png") {
  const menu = from.locator(".menu");
  if (!(await menu.locator(".menu-sheet").isVisible())) await menu.locator("> button").click();
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    menu.locator(`[data-export="${kind}"]`).click(),
  ]);
  const bytes = readFileSync(await download.path());
  await page.keyboard.press("Escape");
  return { name: download.suggestedFilename(), bytes, text: bytes.toString() };
}

/** Lines of a CSV without its notes, as fields. */
const fieldsOf = (text: string) =>
  text
    .replace(/^\ufeff/, "")
    .split("\r\n")
    .filter((line) => line && !line.startsWith("#"))
    .map((line) => line.split(","));

/** Where a point of a cloud is in the window. */
const placeOf = (page: Page, label: string, index: number) =>
  page
    .waitForFunction(
      ([label, index]) => {
        const cloud = (window as any).loupePage.atlas()?.cloud(label);
        const at = cloud?.at(index);
        if (!at || !Number.isFinite(at.x)) return null;
        const top = cloud.element.querySelector(".cloud-top");
        top.scrollIntoView({ block: "center" });
        const { left, top: from } = top.getBoundingClientRect();
        return { x: left + at.x, y: from + at.y };
      },
      [label, index] as [string, number],
    )
    .then((handle) => handle.jsonValue())
    .then((at) => at as { x: number; y: number });

test("two tabs: the address, the title and Back follow; the lens is as it was", async ({ page, site }) => {
  await open(page, `${site}#view=rank`);
  const scripts = () =>
    page.evaluate(
      () => performance.getEntriesByType("resource").filter(({ name }) => /\/atlas-[^/]*\.js$/.test(name)).length,
    );
  expect(await scripts(), "the atlas comes only when it is opened").toBe(0);
  await page.getByRole("link", { name: "Atlas", exact: true }).click();
  await expect(card(page, /^Channels by/)).toBeVisible();
  await expect(page.locator("#text")).toBeHidden();
  await expect(page.getByRole("link", { name: "Atlas", exact: true })).toHaveAttribute("aria-current", "page");
  expect(await scripts()).toBe(1);
  await expect(page).toHaveTitle("Channels · Atlas · Loupe");
  await page.getByRole("link", { name: "LayerNorm gains" }).click();
  await expect(page).toHaveURL(/atlas=gains/);
  await expect(page).toHaveTitle("LayerNorm gains · Atlas · Loupe");
  await page.goBack();
  await expect(card(page, /^Channels by/)).toBeVisible();
  await page.goBack();
  await expect(page.locator("#heatmap")).toBeVisible();
  await expect(page).toHaveURL(/^(?!.*atlas=).*view=rank/);
  await page.goForward();
  await expect(card(page, /^Channels by/)).toBeVisible();
  await page.reload();
  await expect(card(page, /^Channels by/)).toBeVisible();
  // A reading that nobody saw is there once the lens is.
  await page.getByRole("link", { name: "Lens", exact: true }).click();
  await readText(page, "The red fox");
  await page.locator("#heatmap").hover({ position: { x: 300, y: 200 } });
  await expect(page.locator("#cell-title")).toContainText("position");
});

test("channels: the scatter's, the table's and the histograms' numbers are the file's", async ({ page, site }) => {
  await open(page, `${site}#atlas=channels`);
  const figure = card(page, /^Channels by/);
  const heavy = heavyChannels();
  await expect(figure).toContainText(`${heavy.length} channels above 0.`);
  const { text, name } = await exported(page, figure, "csv");
  expect(name).toBe("loupe-tales-channels.csv");
  const [head, ...lines] = fieldsOf(text);
  expect(head).toEqual(["channel", "wte_mean", "wte_std", "wpe_mean", "wpe_std", "position_heavy"]);
  expect(lines).toHaveLength(C);
  for (const c of [0, 36, 138, 191]) {
    const [tokens, positions] = [statistics(column(wte, c)), statistics(column(wpe, c))];
    [tokens.mean, tokens.std, positions.mean, positions.std].forEach((wanted, i) =>
      expect(Math.abs(Number(lines[c][i + 1]) - wanted), `channel ${c}, ${head[i + 1]}`).toBeLessThan(2e-6),
    );
    expect(Number(lines[c][5])).toBe(Number(heavy.includes(c)));
  }

  // Point 3·C + c is channel c's std(wpe): the name on hover, the selection on a click.
  const chosen = by_activity[0];
  const at = await placeOf(page, "Mean and standard deviation", 3 * C + chosen);
  await page.mouse.move(at.x, at.y);
  await expect(figure.locator(".cloud-readout")).toContainText(`channel ${chosen}`);
  await expect(figure.locator(".cloud-readout")).toContainText(`std(wpe) ${wpe_std[chosen].toPrecision(3)}`);
  await page.mouse.click(at.x, at.y);
  await expect(page.getByLabel("Selected channel", { exact: true }).locator("input")).toHaveValue(String(chosen));
  await expect(page).toHaveURL(new RegExp(`channel=${chosen}(&|$)`));

  // A series that is switched off is not found any more, and the address says so.
  // Tried on the point of it that lies farthest from those of the others.
  const lonely = await page.evaluate((C) => {
    const cloud = (window as any).loupePage.atlas().cloud("Mean and standard deviation");
    const places = Array.from({ length: 4 * C }, (_, i) => cloud.at(i)).map((place) =>
      Number.isFinite(place.x + place.y) ? place : { x: 1e6, y: 1e6 },
    );
    const room = (i: number) =>
      Math.min(...places.slice(0, 3 * C).map(({ x, y }) => Math.hypot(x - places[i].x, y - places[i].y)));
    const [index] = Array.from({ length: C }, (_, c) => 3 * C + c).sort((a, b) => room(b) - room(a));
    return { index, room: room(index) };
  }, C);
  expect(lonely.room, "farther than a pointer reaches").toBeGreaterThan(16);
  const there = await placeOf(page, "Mean and standard deviation", lonely.index);
  await page.mouse.move(there.x, there.y);
  await expect(figure.locator(".cloud-readout")).toContainText(`channel ${lonely.index - 3 * C}`);
  await figure.getByRole("button", { name: "std(wpe)" }).click();
  await expect(page).toHaveURL(/channels\.hidden=3/);
  await page.mouse.move(there.x + 1, there.y);
  await page.mouse.move(there.x, there.y);
  await expect(figure.locator(".cloud-readout")).toContainText("points");

  const bars = card(page, "Histograms over the channels");
  await expect(bars.locator(".chart svg")).toHaveCount(4);
  const counts = await bars.locator("figure").nth(3).locator("rect title").allTextContents();
  expect(
    counts.reduce((sum, words) => sum + Number(words.split(" ")[0]), 0),
    "every channel is in a bin",
  ).toBe(C);
  await expect(bars).toContainText(`${heavy.length} channels above 0.`);

  // Plot's charts leave the page too, with the page's colours written out.
  const { text: drawn } = await exported(page, bars, "svg");
  expect(drawn).toContain("4 channels above".replace("4", String(heavy.length)));
  expect(drawn).not.toMatch(/var\(--|currentColor| class=/);
  expect(
    await inBlankPage(
      page,
      (text) => new DOMParser().parseFromString(text, "image/svg+xml").querySelector("parsererror") === null,
      drawn,
    ),
  ).toBe(true);
  expect((await exported(page, bars, "png")).bytes.length).toBeGreaterThan(10_000);

  await page.getByText("Show the table").click();
  const first = page.locator(".sortable tbody tr").first();
  await expect(first).toContainText(String(by_activity[0]));
  await page.getByRole("button", { name: "mean(wte)", exact: true }).click();
  const most = Array.from({ length: C }, (_, c) => c).sort(
    (a, b) => statistics(column(wte, b)).mean - statistics(column(wte, a)).mean,
  )[0];
  await expect(first.locator("td").first()).toHaveText(String(most));
  await first.getByRole("button").click();
  await expect(page).toHaveURL(new RegExp(`channel=${most}(&|$)`));
});

test("gains: which channel is largest, same axes, switches in the address, exports", async ({ page, site }) => {
  await open(page, `${site}#atlas=gains`);
  const figure = card(page, /gain against position activity/);
  const largest = (norm: string) =>
    Array.from({ length: N_LAYER }, (_, i) => {
      const gain = tensor(`h.${i}.${norm}.weight`);
      return gain.reduce((best, value, c) => (Math.abs(value) > Math.abs(gain[best]) ? c : best), 0);
    });
  const sentence = (norm: string) => {
    const winners = largest(norm);
    const counts = new Map(winners.map((c) => [c, winners.filter((other) => other === c).length]));
    const most = Math.max(...counts.values());
    const best = winners.find((c) => counts.get(c) === most);
    return most < 2
      ? "No channel has the largest"
      : `Channel ${best} has the largest |${norm} gain| in ${most} of ${N_LAYER} blocks`;
  };
  await expect(figure).toContainText(sentence("ln_2"));
  await expect(figure.locator(".multiple")).toHaveCount(N_LAYER);
  await figure.getByRole("radio", { name: "ln_1" }).click();
  await expect(page).toHaveURL(/gains\.norm=ln_1/);
  await expect(figure).toContainText(sentence("ln_1"));
  await figure.getByLabel("Linear y").check();
  await expect(page).toHaveURL(/gains\.y=linear/);
  await expect(figure).toContainText("linear scale");
  await page.reload();
  await expect(figure.getByLabel("Linear y")).toBeChecked();
  await expect(figure.getByRole("radio", { name: "ln_1" })).toBeChecked();

  const { text } = await exported(page, figure, "csv");
  const lines = fieldsOf(text).slice(1);
  expect(lines).toHaveLength(N_LAYER * C);
  const gain = tensor("h.3.ln_1.weight");
  for (const c of [5, 138]) expect(Number(lines[3 * C + c][4])).toBeCloseTo(gain[c], 6);
  const { text: svg } = await exported(page, figure, "svg");
  for (let block = 0; block < N_LAYER; block++) expect(svg).toContain(`>block ${block}</text>`);
  // Every point of every panel is in a path, a stroke of no length each.
  expect((svg.match(/h0/g) ?? []).length).toBeGreaterThanOrEqual(N_LAYER * C);
  expect(svg).not.toContain("var(--");
  const { bytes } = await exported(page, figure, "png");
  expect([...bytes.subarray(1, 4)].map((byte) => String.fromCharCode(byte)).join("")).toBe("PNG");
  expect(bytes.readUInt32BE(16), "twice the size").toBeGreaterThan(1200);

  await figure.getByRole("radio", { name: "ln_f" }).click();
  await expect(figure.locator(".multiple")).toHaveCount(1);
  await figure.getByRole("radio", { name: "ln_2" }).click();
  await expect(figure.locator(".multiple")).toHaveCount(N_LAYER);
  const at = await placeOf(page, `panel 3 of ${N_LAYER}`, 60);
  await page.mouse.move(at.x, at.y);
  await expect(figure.locator(".cloud-readout").first()).toContainText("h.2.ln_2 · channel");
  const named = Number(/channel (\d+)/.exec((await figure.locator(".cloud-readout").first().textContent()) ?? "")?.[1]);
  await page.mouse.click(at.x, at.y);
  await expect(page.getByLabel("Selected channel", { exact: true }).locator("input")).toHaveValue(String(named));
});

test("pairs: the clouds' columns, presets by class, curves, Lissajous, all in the address", async ({ page, site }) => {
  const heavy = heavyChannels();
  await open(page, `${site}#atlas=pairs&pairs.x=7&pairs.y=138`);
  const figure = card(page, "Channels 7 and 138");
  await expect(figure).toContainText("4,096 tokens");
  await expect(figure).toContainText("256 positions");
  const { text } = await exported(page, figure, "csv");
  const lines = fieldsOf(text.replace(/"/g, "")).slice(1);
  expect(lines).toHaveLength(V + N_CTX);
  for (const id of [0, 817, 4095])
    [7, 138].forEach((c, i) => expect(Number(lines[id][2 + i])).toBeCloseTo(wte[id * C + c], 6));
  for (const position of [0, 255])
    [7, 138].forEach((c, i) => expect(Number(lines[V + position][2 + i])).toBeCloseTo(wpe[position * C + c], 6));
  await expect(card(page, "Channel 7 against channel 138, over the positions")).toBeVisible();

  const numberIn = async (axis: string) => Number(await page.getByLabel(`${axis}: channel`).inputValue());
  for (const [label, wanted] of [
    ["Both position-heavy", 2],
    ["Neither", 0],
    ["One of each", 1],
  ] as [string, number][]) {
    await page.getByRole("button", { name: label, exact: true }).click();
    await expect(async () => {
      const pair = [await numberIn("x"), await numberIn("y")];
      expect(pair[0]).not.toBe(pair[1]);
      expect(pair.filter((c) => heavy.includes(c)).length).toBe(wanted);
      expect(page.url()).toContain(`pairs.x=${pair[0]}&pairs.y=${pair[1]}`);
    }).toPass();
  }
  await page.getByLabel("y: channel").fill("500");
  await page.getByLabel("y: channel").press("Enter");
  expect(await numberIn("y"), "there is no channel 500").toBeLessThan(C);

  const curves = card(page, "wpe over the positions");
  const names = async () =>
    (await curves.locator(".curve-list:visible .legend-toggle").allInnerTexts()).map((text) =>
      Number(text.replace("channel ", "")),
    );
  expect((await names()).toSorted()).toEqual([...by_activity.slice(0, 8), outstanding].toSorted());
  await expect(curves.locator(".chart svg"), "those of low variance have an axis of their own").toHaveCount(2);
  await curves.getByLabel("Add channel").fill("3");
  await curves.getByLabel("Add channel").press("Enter");
  await expect(page).toHaveURL(new RegExp(`pairs\\.channels=${by_activity.slice(0, 8).join("\\.")}\\.3`));
  await curves.getByRole("button", { name: `Take channel ${by_activity[0]} away` }).click();
  expect(await names()).not.toContain(by_activity[0]);
  const table = fieldsOf((await exported(page, curves, "csv")).text);
  expect(table[0]).toContain("channel_3");
  expect(Number(table[11][table[0].indexOf("channel_3")])).toBeCloseTo(wpe[10 * C + 3], 6);

  const some = card(page, "Some other pairs");
  await expect(some.locator(".multiple:visible").first()).toBeVisible();
  const before = await some.locator(".multiple-title:visible").allInnerTexts();
  await some.getByRole("button", { name: "Other pairs", exact: true }).click();
  await expect(page).toHaveURL(/pairs\.seed=1/);
  await expect.poll(() => some.locator(".multiple-title:visible").allInnerTexts()).not.toEqual(before);
  await expect(some).not.toHaveAttribute("aria-busy", "true");
  const title = some.locator(".multiple-title:visible").last();
  const [x, y] = (await title.innerText()).split(" and ");
  await title.click();
  await expect(card(page, `Channels ${x} and ${y}`)).toBeVisible();
});

test("one channel: extremes, gains and steps", async ({ page, site }) => {
  await open(page, `${site}#atlas=channel&channel=36`);
  const values = column(wte, 36);
  const order = Array.from(values, (_, id) => id).sort((a, b) => values[b] - values[a]);
  const ids = (which: string) =>
    page.getByLabel(`The ${which} tokens`).locator("tbody tr td:nth-child(2)").allInnerTexts();
  await expect.poll(async () => (await ids("highest")).map(Number)).toEqual(order.slice(0, 20));
  expect((await ids("lowest")).map(Number)).toEqual(order.slice(-20).reverse());
  const norm = Math.hypot(...wte.subarray(order[0] * C, (order[0] + 1) * C));
  await expect(page.getByLabel("The highest tokens").locator("tbody tr").first()).toContainText(norm.toPrecision(3));

  const { text } = await exported(page, card(page, "Gains over the layers"), "csv");
  const lines = fieldsOf(text.replace(/"/g, ""));
  expect(lines.slice(1).map(([name]) => name)).toEqual([
    ...Array.from({ length: N_LAYER }, (_, i) => [`h.${i}.ln_1`, `h.${i}.ln_2`]).flat(),
    "ln_f",
  ]);
  expect(Number(lines[8][1])).toBeCloseTo(tensor("h.3.ln_2.weight")[36], 6);

  await page.locator(".channel-head").getByRole("button", { name: "Next channel" }).click();
  await expect(page.getByRole("heading", { name: "Channel 37", exact: true })).toBeVisible();
  await expect(page).toHaveURL(/channel=37(&|$)/);
  const first = column(wte, 37).reduce((best, value, id, all) => (value > all[best] ? id : best), 0);
  await expect.poll(async () => Number((await ids("highest"))[0])).toBe(first);
});

test("what is selected in one picture is marked in the others and in the lens", async ({ page, site }) => {
  await open(page, `${site}#atlas=channel`);
  const [cloud, other] = [
    "Value of the channel against the token’s norm",
    "Value of the channel against the token’s id",
  ];
  // ␣the stands in the text; its point by the norm is clicked.
  const id = await page.evaluate(async () => (await (window as any).loupePage.atlas().ask.encode(" the"))[0]);
  const at = await placeOf(page, cloud, id);
  await page.mouse.move(at.x, at.y);
  const readout = (await card(page, /norm$/).locator(".cloud-readout").innerText()) ?? "";
  const hit = Number(/id (\d+)/.exec(readout)?.[1]);
  await page.mouse.click(at.x, at.y);
  const side = page.getByLabel("Selected tokens", { exact: true });
  await expect(side.locator("li")).toHaveCount(1);
  await expect(side).toContainText(String(hit));
  await expect(page).toHaveURL(new RegExp(`picked=${hit}(&|$)`));
  // The other cloud draws it in the accent colour.
  await placeOf(page, other, hit);
  const accent = await page.evaluate(() =>
    getComputedStyle(document.documentElement).getPropertyValue("--accent").trim(),
  );
  const colour = await page.evaluate(
    ({ label, index }) => {
      const found = (window as any).loupePage.atlas().cloud(label);
      const canvas = found.element.querySelector(".cloud-top");
      const ratio = canvas.width / canvas.clientWidth;
      const { x, y } = found.at(index);
      return [...canvas.getContext("2d").getImageData(Math.round(x * ratio), Math.round(y * ratio), 1, 1).data].slice(
        0,
        3,
      );
    },
    { label: other, index: hit },
  );
  expect(colour).toEqual(rgbOf(accent));

  // A rectangle takes every token in it: here all of them.
  const box = (await card(page, /id$/).locator(".cloud-top").boundingBox()) as any;
  await page.keyboard.down("Shift");
  await page.mouse.move(box.x + 59, box.y + 27);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.move(box.x + box.width - 13, box.y + box.height - 43);
  await page.mouse.up();
  await page.keyboard.up("Shift");
  await expect(side).toContainText("4,096 of 4,096");
  await side.getByRole("button", { name: "Clear" }).click();
  await expect(side.locator("li")).toHaveCount(0);

  // By the keyboard: to a point, and select it.
  await card(page, /id$/).locator(".cloud-top").focus();
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  await expect(side.locator("li")).toHaveCount(1);
  await page.keyboard.press("+");
  await page.keyboard.press("0");

  await page.goto(`${site}#picked=${id}`);
  await page.reload();
  await waitForState(page, "ready");
  await expect(page.locator("#picked-legend")).toContainText("1 selected token");
  const cells = await page.evaluate((id) => {
    const hook = (window as any).loupePage;
    const { taps, n_tokens, top_ids, top_k } = hook.reading();
    const all = [];
    for (let tap = 1; tap < taps.length; tap++)
      for (let position = 0; position < n_tokens; position++)
        all.push({
          is_picked: top_ids[(tap * n_tokens + position) * top_k] === id,
          rect: hook.cellRect(tap, position),
          colour: hook.cellColour(tap, position),
        });
    return all;
  }, id);
  const right = await page.locator("#heatmap").evaluate((canvas) => canvas.clientWidth - 30);
  const seen = cells.filter(({ rect }) => rect.x > 90 && rect.x + rect.width < right);
  const [marked, plain] = [seen.filter(({ is_picked }) => is_picked), seen.filter(({ is_picked }) => !is_picked)];
  expect(marked.length).toBeGreaterThan(2);
  for (const { rect } of marked.slice(0, 4))
    expect(await pixel(page, rect.x + rect.width - 3, rect.y + 3)).toEqual(rgbOf(accent));
  for (const { rect } of plain.slice(0, 4))
    expect(await pixel(page, rect.x + rect.width - 3, rect.y + 3)).not.toEqual(rgbOf(accent));
  await page.locator("#export").click();
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.locator('[data-export="svg"]').first().click(),
  ]);
  const svg = readFileSync(await download.path(), "utf8");
  expect((svg.match(/<path d="M[\d.]+ [\d.]+h10v10z"/g) ?? []).length).toBe(
    cells.filter(({ is_picked }) => is_picked).length,
  );
  expect(svg).toContain("◥ 1 selected token");
  await page.locator("#picked-clear").click();
  await expect(page.locator("#picked-legend")).toBeHidden();
  await expect(page).toHaveURL(/^(?!.*picked=)/);
});

test("what the address cannot hold survives Back, and what the model lacks is not selected", async ({ page, site }) => {
  await open(page, `${site}#atlas=outliers&picked=3.99999`);
  const side = page.getByLabel("Selected tokens", { exact: true });
  await expect(side).toContainText("1 of 4,096");
  await page.getByRole("button", { name: "Select these tokens" }).click();
  const words = await side.locator("p").first().innerText();
  const n = Number(/^\d+/.exec(words)?.[0]);
  expect(n, "more than a link names").toBeGreaterThan(200);
  await page.locator('[data-atlas="channel"]').click();
  await page.goBack();
  await expect(page).toHaveURL(/atlas=outliers/);
  await expect(side).toContainText(`${n} of 4,096`);
});

test("what was cancelled is drawn when it is started again", async ({ page, site }) => {
  await open(page, `${site}#atlas=gains`);
  await expect(page.locator(".multiple")).toHaveCount(N_LAYER);
  // At once: on so small a model the work would be over before a hand is there.
  await page.evaluate(async () => {
    (document.querySelector('[data-atlas="channel"]') as HTMLElement).click();
    const busy = () => document.querySelector(".atlas-stand .atlas-card[aria-busy]");
    while (!busy()) await new Promise((done) => setTimeout(done));
    (busy()?.querySelector(".card-busy button") as HTMLElement).click();
  });
  const figure = card(page, /^Value against the embedding/);
  await expect(figure.locator(".card-trouble")).toContainText("Cancelled.");
  await figure.getByRole("button", { name: "Start again" }).click();
  await expect(figure.locator(".cloud-readout")).toContainText("4,096 points");
  await expect(figure.locator(".card-trouble")).toBeHidden();
});

test("axe, and every width, light and dark", async ({ page, site }) => {
  for (const [view, title] of [
    ["channels", /^Channels by/],
    ["pairs", /^Some other pairs/],
    ["gains", /gain against/],
    ["channel", /^Gains over/],
  ] as [string, RegExp][]) {
    await open(page, `${site}#atlas=${view}&picked=11.13`);
    await expect(card(page, title)).toBeVisible();
    await page.waitForTimeout(400);
    for (const scheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme: scheme });
      for (const width of scheme === "light" ? [360, 800, 1440] : [1440]) {
        await page.setViewportSize({ width, height: 900 });
        await page.waitForTimeout(250);
        expect(
          await page.evaluate(() => document.documentElement.scrollWidth - innerWidth),
          `sideways scroll of ${view} at ${width}`,
        ).toBeLessThanOrEqual(0);
        await page.screenshot({ path: `test-results/atlas-${view}-${width}-${scheme}.png`, fullPage: true });
      }
      await expectAccessible(page, `${view}, ${scheme}`);
    }
  }
});

test("another model: what was known and selected is forgotten", async ({ page, site }) => {
  await open(page, `${site}#atlas=channel&channel=36&picked=11`);
  await expect(page.getByRole("heading", { name: "Channel 36", exact: true })).toBeVisible();
  const files = tales();
  await page
    .locator("#files")
    .setInputFiles(
      Object.entries(files).map(([name, buffer]) => ({ name, mimeType: "application/octet-stream", buffer })),
    );
  await expect(page.locator("#model-chip")).toContainText("Files of this computer", { timeout: 200_000 });
  await expect(page.getByRole("heading", { name: `Channel ${outstanding}`, exact: true })).toBeVisible();
  await expect(page.getByLabel("Selected tokens", { exact: true }).locator("li")).toHaveCount(0);
  await expect(page).toHaveURL(/^(?!.*(channel=36|picked=))/);
});

test("the threshold of the position-heavy channels is a person's to drag, and holds in every view", async ({
  page,
  site,
}) => {
  await open(page, `${site}#atlas=channels`);
  const words = card(page, "Channels by how much the position moves them");
  await expect(words).toContainText("the largest gap");
  const usual = page.getByRole("button", { name: "Largest gap" });
  await expect(usual).toBeDisabled();
  const slider = page.getByLabel("Threshold");
  const cut = (wpe_std[by_activity[9]] + wpe_std[by_activity[10]]) / 2;
  // As dragging does: the value follows the pointer, and counts once that is let go.
  await slider.evaluate((input: HTMLInputElement, value) => {
    input.value = String(value);
    input.dispatchEvent(new Event("input"));
    input.dispatchEvent(new Event("change"));
  }, Math.log10(cut));
  await expect(words).toContainText("the threshold chosen here");
  await expect.poll(() => page.url()).toContain("channels.cut=");
  // A slider has steps, so it is read back.
  const held = Number(new URLSearchParams(new URL(page.url()).hash.slice(1)).get("channels.cut"));
  expect(Math.abs(Math.log10(held / cut))).toBeLessThan(0.006);
  const chosen = wpe_std.filter((std) => std > held).length;
  await expect(words).toContainText(`${chosen} channels above`);
  await expect(slider).toHaveAttribute("aria-valuetext", new RegExp(`^${chosen} channels above`));
  await page.locator('[data-atlas="gains"]').click();
  await expect(page.locator(".atlas-stand")).toContainText(
    `${chosen} position-heavy channels, above the chosen threshold`,
  );
  await page.reload();
  await waitForState(page, "ready");
  await expect(page.locator(".atlas-stand")).toContainText(
    `${chosen} position-heavy channels, above the chosen threshold`,
  );
  await page.locator('[data-atlas="channels"]').click();
  await usual.click();
  await expect(words).toContainText("the largest gap");
  await expect.poll(() => page.url()).not.toContain("channels.cut");
});

test("a threshold is not that of another model", async ({ page, site }) => {
  await open(page, `${site}#atlas=channels&channels.cut=0.05`);
  await expect(page.locator(".atlas-stand")).toContainText("the threshold chosen here");
  await page
    .locator("#files")
    .setInputFiles(
      Object.entries(tales()).map(([name, buffer]) => ({ name, mimeType: "application/octet-stream", buffer })),
    );
  await expect(page.locator("#model-chip")).toContainText("Files of this computer", { timeout: 200_000 });
  await expect(page.locator(".atlas-stand")).toContainText("the largest gap");
  await expect.poll(() => page.url()).not.toContain("channels.cut");
});
