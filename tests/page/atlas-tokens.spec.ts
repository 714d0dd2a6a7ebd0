/** The atlas' views of tokens, held to numbers that are computed here from Tales' own weights in double precision. */
import { readFileSync } from "node:fs";
import { expectAccessible } from "./axe.ts";
import { expect, inBlankPage, test } from "./site.ts";
import {
  C,
  V,
  channel,
  dot,
  firstDirection,
  mean,
  norms,
  parseCsv,
  pearson,
  ranks,
  row,
  tensor,
  wte,
} from "./tales.ts";
import type { Page } from "@playwright/test";

const CHANNEL = 138;
const first = firstDirection();
const longest = Array.from(norms, (_, id) => id).sort((a, b) => norms[b] - norms[a] || a - b);
/** A number as the page writes it. */
const number = (text: string) => Number(text.replace("−", "-").replaceAll(",", ""));
/** Numbers between −1 and 1, with three places. */
const cosinesIn = (text: string) => Array.from(text.matchAll(/−?\d\.\d{3}/g), ([found]) => number(found));
const card = (page: Page, title: string) =>
  page.locator(".atlas-card").filter({ has: page.getByRole("heading", { name: title, exact: true }) });

/** Opens a view and waits until nothing is under way. */
async function open(page: Page, site: string, hash: string) {
  await page.goto(`${site}#channel=${CHANNEL}&${hash}`);
  await settled(page);
}

async function settled(page: Page) {
  await expect(page.locator(".atlas-stand .atlas-card").first()).toBeVisible();
  await page.waitForFunction(() => !document.querySelector(".atlas-stand [aria-busy]"), null, { timeout: 200_000 });
}

/** @param title of a card */
async function exported(page: Page, title: string, kind: "csv" | "svg" | "png") {
  const of = card(page, title);
  await of.locator(".menu > button").click();
  const coming = page.waitForEvent("download");
  await of.locator(`[data-export="${kind}"]`).click();
  const path = await (await coming).path();
  await page.keyboard.press("Escape");
  return readFileSync(path, kind === "png" ? null : "utf8");
}

const csv = async (page: Page, title: string) => parseCsv(String(await exported(page, title, "csv")));

const readSvg = (page: Page, svg: unknown): Promise<{ is_well_formed: boolean; n_points: number; texts: string[] }> =>
  inBlankPage(
    page,
    (text) => {
      const parsed = new DOMParser().parseFromString(text, "image/svg+xml");
      const dots = [...parsed.querySelectorAll('path[stroke-linecap="round"]')];
      return {
        is_well_formed: !parsed.querySelector("parsererror"),
        n_points: dots.reduce((n, path) => n + (path.getAttribute("d")?.match(/h0/g)?.length ?? 0), 0),
        texts: [...parsed.querySelectorAll("text")].map((each) => each.textContent ?? ""),
      };
    },
    String(svg),
  );

test("token matrix: values, colours, orders, a click selects everywhere, the part in sight is in the address", async ({
  page,
  site,
}) => {
  await open(page, site, "atlas=matrix&matrix.window=200.240.100.140");
  const heat = page.locator(".heat");
  const box = (await heat.boundingBox()) as { x: number; y: number; width: number; height: number };
  // The grid lies inside its labels: 46 pixels of channels, 26 of title, 86 of tokens, 14 at the right.
  const [wide, high] = [(box.width - 60) / 40, (box.height - 112) / 40];
  const at = (id: number, c: number) => ({ x: 46 + (id - 200 + 0.5) * wide, y: 26 + (c - 100 + 0.5) * high });
  for (const [id, c] of [
    [203, 101],
    [217, 115],
    [239, 139],
  ]) {
    await heat.hover({ position: at(id, c) });
    await expect(card(page, "Token matrix").locator(".cloud-readout")).toContainText(
      `#${id} · norm ${norms[id].toFixed(2)} · channel ${c} · value ${wte[id * C + c].toFixed(4).replace("-", "−")}`,
    );
  }
  // Orange below zero, blue above.
  const cells = Array.from({ length: 38 }, (_, i) => [201 + i, 101 + ((i * 7) % 38)]).filter(
    ([id, c]) => Math.abs(wte[id * C + c]) > 0.06,
  );
  expect(cells.length).toBeGreaterThan(10);
  const seen = await heat.evaluate(
    (canvas: HTMLCanvasElement, points) => {
      const ctx = canvas.getContext("2d") as CanvasRenderingContext2D;
      const ratio = canvas.width / canvas.clientWidth;
      return points.map(({ x, y }) =>
        Array.from(ctx.getImageData(Math.round(x * ratio), Math.round(y * ratio), 1, 1).data),
      );
    },
    cells.map(([id, c]) => at(id, c)),
  );
  cells.forEach(([id, c], i) =>
    expect(Math.sign(seen[i][2] - seen[i][0]), `colour of ${id}, ${c}`).toBe(Math.sign(wte[id * C + c])),
  );

  await heat.click({ position: at(217, 115) });
  await expect(page.getByLabel("Selected channel", { exact: true }).locator("input")).toHaveValue("115");
  await expect(page.locator(".picked")).toContainText("217");
  await expect(page).toHaveURL(/picked=217/);
  await heat.click({ position: at(203, 115), modifiers: ["Shift"] });
  await expect(page.locator(".picked li")).toHaveCount(2);
  await page.waitForTimeout(600);
  await page.reload();
  await settled(page);
  await expect(page.locator(".picked li")).toHaveCount(2);
  const lines = await csv(page, "Token matrix");
  expect(lines.map((line) => Number(line.token_id))).toEqual(Array.from({ length: 40 }, (_, i) => 200 + i));
  for (const c of [100, 139]) expect(Math.abs(Number(lines[17][`channel_${c}`]) - wte[217 * C + c])).toBeLessThan(1e-6);

  // The keyboard goes from cell to cell, and 0 shows all.
  await heat.focus();
  await page.keyboard.press("0");
  await expect(page.locator(".heat-stride")).toContainText(
    /4,096 tokens × 192 channels · every (4|8)th token is drawn/,
  );
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await expect(card(page, "Token matrix").locator(".unseen[aria-live]")).toContainText("value");

  // The wheel keeps what is under the pointer, down to single cells; a drag moves it along.
  const readout = card(page, "Token matrix").locator(".cloud-readout");
  const named = async () => (/#([\d,]+) .* channel (\d+)/.exec(await readout.innerText()) ?? []).slice(1).map(number);
  const middle = { x: box.x + 300, y: box.y + 200 };
  await page.mouse.move(middle.x, middle.y);
  const before = await named();
  await page.keyboard.down("Control");
  for (let i = 0; i < 20; i++) await page.mouse.wheel(0, -200);
  await page.keyboard.up("Control");
  await expect(page.locator(".heat-stride")).not.toContainText("is drawn");
  await page.mouse.move(middle.x + 1, middle.y);
  const near = await named();
  expect(Math.abs(near[0] - before[0])).toBeLessThanOrEqual(8);
  expect(Math.abs(near[1] - before[1])).toBeLessThanOrEqual(1);
  await page.mouse.down();
  await page.mouse.move(middle.x - 120, middle.y, { steps: 4 });
  await page.mouse.up();
  await expect.poll(async () => (await named())[0]).toBe(near[0]);
  expect(await page.locator(".picked li").count()).toBe(2);

  await page.getByLabel("Tokens", { exact: true }).selectOption("norm");
  await settled(page);
  await page.waitForTimeout(500);
  const by_norm = await csv(page, "Token matrix");
  expect(Number(by_norm[0].token_id)).toBe(longest[0]);
  expect(by_norm.length).toBeGreaterThan(300);
  const drawn = by_norm.map((line) => norms[Number(line.token_id)]);
  expect(drawn.every((norm, i) => i === 0 || norm <= drawn[i - 1] + 1e-6)).toBe(true);
  const svg = await readSvg(page, await exported(page, "Token matrix", "svg"));
  expect(svg.is_well_formed).toBe(true);
  expect(svg.texts.join(" ")).toContain("longest embedding first");
  expect(svg.texts.join(" ")).toContain("of the values lie beyond the ends");
  const png = (await exported(page, "Token matrix", "png")) as Buffer;
  expect(png.subarray(1, 4).toString()).toBe("PNG");
});

test("histograms: every value counted once, with mean and deviation", async ({ page, site }) => {
  await open(page, site, "atlas=matrix&picked=300.1000&matrix.beside=7");
  const legend = card(page, "Histograms").locator(".series").last();
  for (const [i, c] of [
    [0, CHANNEL],
    [1, 7],
  ]) {
    const values = channel(c);
    const average = values.reduce((a, b) => a + b, 0) / V;
    const std = Math.sqrt(values.reduce((sum, value) => sum + (value - average) ** 2, 0) / V);
    await expect(legend.locator("li").nth(i)).toContainText(
      `channel ${c}mean ${average.toFixed(3).replace("-", "−")} · std ${std.toFixed(3)}`,
    );
  }
  const lines = await csv(page, "Histograms");
  const of = (series: string) => lines.filter((line) => line.series === series);
  for (const c of [CHANNEL, 7]) {
    const bins = of(`channel ${c}`);
    expect(bins.reduce((sum, { count }) => sum + Number(count), 0)).toBe(V);
    const middle = bins[Math.floor(bins.length / 2)];
    const [from, to] = [Number(middle.bin_from), Number(middle.bin_to)];
    const expected = channel(c).filter((value) => value >= from && value < to).length;
    expect(Math.abs(Number(middle.count) - expected)).toBeLessThanOrEqual(2);
  }
  const tokens = [...new Set(lines.map(({ series }) => series))].filter((series) => !series.startsWith("channel"));
  expect(tokens).toHaveLength(2);
  expect(of(tokens[0]).reduce((sum, { count }) => sum + Number(count), 0)).toBe(C);
  await page.getByLabel("Log counts").check();
  await expect(card(page, "Histograms").locator("svg").last()).toContainText("(log)");
});

test("singular directions: values, shares, cosines and the question of length", async ({ page, site }) => {
  await open(page, site, "atlas=spectrum");
  const squares = dot(wte, wte);
  const share = (100 * first.singular_value ** 2) / squares;
  await expect(card(page, "Singular values")).toContainText(
    `Direction 0 has ${share.toFixed(1)} % of the sum of squares`,
  );
  const values = (await csv(page, "Singular values")).map((line) => Number(line.singular_value));
  expect(values).toHaveLength(C);
  expect(Math.abs(values[0] / first.singular_value - 1)).toBeLessThan(1e-4);
  expect(Math.abs(values.reduce((sum, value) => sum + value * value, 0) / squares - 1)).toBeLessThan(1e-4);
  const with_mean = dot(first.direction, mean) / Math.sqrt(dot(mean, mean));
  await expect(card(page, "Cosine with the mean embedding")).toContainText(`cosine ${with_mean.toFixed(4)}`);

  const tokens = await csv(page, "Tokens along singular directions");
  expect(tokens).toHaveLength(V);
  for (const id of [0, 300, 4095])
    expect(Math.abs(Number(tokens[id].direction_0) - first.projections[id])).toBeLessThan(1e-3);
  const svg = await readSvg(page, await exported(page, "Tokens along singular directions", "svg"));
  expect(svg).toMatchObject({ is_well_formed: true, n_points: V });

  const cosines = first.projections.map((value, id) => value / norms[id]);
  const sorted = Array.from(cosines).sort((a, b) => a - b);
  const quantile = (p: number) => {
    const at = p * (V - 1);
    return sorted[Math.floor(at)] + (at % 1) * (sorted[Math.ceil(at)] - sorted[Math.floor(at)]);
  };
  const [low, high] = [quantile(0.025), quantile(0.975)];
  const average = (ids: number[]) => ids.reduce((sum, id) => sum + cosines[id], 0) / ids.length;
  const outside = (ids: number[]) => ids.filter((id) => cosines[id] < low || cosines[id] > high).length;
  const ends = [longest.slice(0, 50), longest.slice(-50)];
  const answer = await card(page, "Is it norm alone?").locator(".atlas-answer").innerText();
  const said = answer.match(/−?\d+\.\d+|\d+ of the/g) ?? [];
  const expected = [average(ends[0]), average(ends[1]), average(longest), low, high];
  [0, 1, 2].forEach((i) => expect(Math.abs(number(said[i]) - expected[i])).toBeLessThan(2e-3));
  expect(answer).toContain(`lie ${outside(ends[0])} of the longest and ${outside(ends[1])} of the shortest`);
  await page.getByLabel("At either end").selectOption("20");
  await expect(card(page, "Is it norm alone?").locator(".atlas-answer")).toContainText("the 20 longest");
  await expect(page).toHaveURL(/spectrum\.ends=20/);
});

test("components: what they explain, their tokens, what a token is made of", async ({ page, site }) => {
  await open(page, site, "atlas=components");
  const components = card(page, "Components that only add");
  await expect(components.locator(".component-card")).toHaveCount(16, { timeout: 120_000 });
  const squares = dot(wte, wte);
  const explainedBy = async (n: number) => {
    const { directions, tokens } = await page.evaluate(async (n) => {
      const found = await (window as any).loupePage.atlas().ask.components(n, 100);
      return {
        directions: Array.from(found.directions as Float32Array),
        tokens: Array.from(found.tokens as Float32Array),
      };
    }, n);
    expect(tokens.every((loading) => loading >= 0)).toBe(true);
    let error = 0;
    for (let id = 0; id < V; id++)
      for (let c = 0; c < C; c++) {
        let rest = wte[id * C + c];
        for (let i = 0; i < n; i++) rest -= tokens[i * V + id] * directions[i * C + c];
        error += rest * rest;
      }
    return { share: 1 - error / squares, tokens };
  };
  const { share, tokens } = await explainedBy(16);
  await expect(components).toContainText(`they explain ${(100 * share).toFixed(1)} % of the sum of squares`);
  const lines = await csv(page, "Components that only add");
  expect(lines).toHaveLength(16 * 12);
  const best = Array.from({ length: V }, (_, id) => id).sort((a, b) => tokens[b] - tokens[a] || a - b);
  expect(lines.slice(0, 12).map(({ token_id }) => Number(token_id))).toEqual(best.slice(0, 12));
  const n_strongest = new Map(lines.map((line) => [line.component, Number(line.tokens_with_no_larger)]));
  expect([...n_strongest.values()].reduce((sum, n) => sum + n, 0)).toBe(V);

  await components.locator(`[data-token="${best[0]}"]`).first().click();
  await expect(components.locator(`[data-token="${best[0]}"]`).first()).toHaveAttribute("aria-pressed", "true");
  const parts = card(page, "What the selected tokens are made of");
  const loadings = Array.from({ length: 16 }, (_, i) => tokens[i * V + best[0]]);
  const most = loadings.indexOf(Math.max(...loadings));
  await expect(parts).toContainText(`≈ ${loadings[most].toFixed(3)} × component ${most}`);
  await components.getByRole("button", { name: "Component 1", exact: true }).click();
  await expect(page.locator(".atlas-side")).toContainText("12 of 4,096");
  await expectAccessible(page, "components");

  await page.getByLabel("Components", { exact: true }).selectOption("8");
  await expect(components.locator(".component-card")).toHaveCount(8, { timeout: 120_000 });
  await expect(page).toHaveURL(/components\.n=8/);
  await expect(components).toContainText(`they explain ${(100 * (await explainedBy(8)).share).toFixed(1)} %`);
  await page.screenshot({ path: "test-results/atlas-components.png", fullPage: true });
});

test("singular directions: loadings, overlap with the positions, the space vector", async ({ page, site }) => {
  await open(page, site, "atlas=spectrum");
  const { direction, projections } = first;
  const by_size = Array.from(direction, (_, c) => c).sort((a, b) => Math.abs(direction[b]) - Math.abs(direction[a]));
  const said = (value: number) => value.toFixed(3).replace("-", "−");
  const loadings = card(page, "Loadings of direction 0");
  await expect(loadings).toContainText(`Channel ${CHANNEL}, the selected one, has ${said(direction[CHANNEL])}`);
  await expect(loadings.locator("svg.chart-svg text").last()).toHaveText(String(CHANNEL));
  for (const [c, line] of (await csv(page, "Loadings of direction 0")).entries())
    expect(Math.abs(Number(line.direction_0) - direction[c])).toBeLessThan(1e-4);
  await page.getByLabel("Selected channel", { exact: true }).locator("input").fill(String(by_size[0]));
  await page.keyboard.press("Enter");
  await expect(loadings).toContainText(
    `Channel ${by_size[0]}, the selected one, has ${said(direction[by_size[0]])}: the largest in size`,
  );
  await page.getByLabel("x", { exact: true }).selectOption("1");
  await settled(page);
  await expect(card(page, "Loadings of direction 1")).toBeVisible();

  const title = "Direction 0, positions and spaces";
  const of = card(page, title);
  const n_heavy = Number(/in the (\d+) of 192 channels/.exec(await of.locator(".card-words").innerText())?.[1]);
  const wpe = tensor("wpe.weight");
  const std = Array.from({ length: C }, (_, c) => {
    const values = Array.from({ length: wpe.shape[0] }, (_, t) => wpe.values[t * C + c]);
    const average = values.reduce((a, b) => a + b) / values.length;
    return Math.sqrt(values.reduce((sum, value) => sum + (value - average) ** 2, 0) / values.length);
  });
  const heavy = std
    .map((_, c) => c)
    .sort((a, b) => std[b] - std[a])
    .slice(0, n_heavy);
  const shares = Array.from({ length: V }, (_, id) =>
    heavy.reduce((sum, c) => sum + wte[id * C + c] ** 2 / norms[id] ** 2, 0),
  );
  const lines = await csv(page, title);
  expect(lines).toHaveLength(V);
  for (const id of [0, 300, 4095]) {
    expect(Math.abs(Number(lines[id].share_position_heavy) - shares[id])).toBeLessThan(1e-4);
    expect(Math.abs(Number(lines[id].projection_0) - projections[id])).toBeLessThan(1e-3);
  }
  const correlations = cosinesIn(await of.locator(".overlap-correlation").innerText());
  expect(Math.abs(correlations[0] - pearson(shares, projections))).toBeLessThan(2e-3);
  expect(Math.abs(correlations[1] - pearson(ranks(shares), ranks(projections)))).toBeLessThan(2e-3);

  const is_spaced = lines.map(({ token }) => token.startsWith("␣"));
  const average = (spaced: boolean, c: number) => {
    const values = Array.from(channel(c)).filter((_, id) => is_spaced[id] === spaced);
    return values.reduce((a, b) => a + b) / values.length;
  };
  const space = Float64Array.from({ length: C }, (_, c) => average(true, c) - average(false, c));
  const words = await of.locator(".space-vector").innerText();
  expect(words).toContain(`${is_spaced.filter(Boolean).length.toLocaleString("en")} tokens that begin with a space`);
  const cosines = cosinesIn(words);
  const cosine = (a: Float64Array, b: Float64Array) => dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
  expect(Math.abs(cosines[0] - cosine(space, mean))).toBeLessThan(2e-3);
  expect(Math.abs(cosines[1] - cosine(space, direction))).toBeLessThan(2e-3);
  await expectAccessible(page, "singular directions");
});

test("singular directions can be cancelled and computed after all", async ({ page, site }) => {
  await open(page, site, "atlas=outliers");
  // At once: on so small a model the work would be over before a hand is there.
  await page.evaluate(async () => {
    (document.querySelector('[data-atlas="spectrum"]') as HTMLElement).click();
    const busy = () => document.querySelector('.atlas-card[aria-label="Tokens along singular directions"][aria-busy]');
    while (!busy()) await new Promise((done) => setTimeout(done));
    (busy()?.querySelector(".card-busy button") as HTMLElement).click();
  });
  const of = card(page, "Tokens along singular directions");
  await expect(of.locator(".card-trouble")).toContainText("Cancelled.");
  await expect(card(page, "Singular values")).toBeHidden();
  await of.getByRole("button", { name: "Start again" }).click();
  await settled(page);
  await expect(card(page, "Singular values")).toContainText("Direction 0 has");
});

test("frequency candidates, with counts from a text that was dropped", async ({ page, site }) => {
  test.setTimeout(180_000);
  await open(page, site, "atlas=candidates");
  const ids = Array.from({ length: V }, (_, id) => id);
  const variables: ArrayLike<number>[] = [channel(CHANNEL), norms, first.projections, ids];
  const read = async () =>
    page
      .locator(".correlations tbody tr")
      .evaluateAll((rows) =>
        rows.map((row) =>
          [...row.querySelectorAll("td")].map((cell) => ({ text: cell.textContent ?? "", kind: cell.dataset.kind })),
        ),
      );
  const check = async (given: ArrayLike<number>[]) => {
    const table = await read();
    expect(table).toHaveLength(given.length);
    given.forEach((a, i) =>
      given.forEach((b, j) => {
        if (i === j) return;
        const { text, kind } = table[i][j];
        expect(kind).toBe(j > i ? "pearson" : "spearman");
        const expected = j > i ? pearson(a, b) : pearson(ranks(a), ranks(b));
        expect(Math.abs(number(text) - expected), `${kind} of ${i} and ${j}`).toBeLessThan(2e-3);
      }),
    );
  };
  await check(variables);

  // Long enough for many pieces, with odd characters and line ends.
  const text = Array.from(
    { length: 3000 },
    (_, i) =>
      `The old king, number ${i}, said “no” to the ${["wolf", "fox", "child", "mill"][i % 4]}s é👑.${i % 7 === 0 ? "\n\n" : "  "}`,
  ).join("");
  const drop = (text: string, name: string, at: string) =>
    page.evaluate(
      ([text, name, at]) => {
        const carried = new DataTransfer();
        carried.items.add(new File([text], name, { type: name.endsWith(".txt") ? "text/plain" : "" }));
        const target = document.querySelector(at) as Element;
        for (const type of ["dragover", "drop"])
          target.dispatchEvent(new DragEvent(type, { dataTransfer: carried, bubbles: true, cancelable: true }));
      },
      [text, name, at],
    );
  await drop("one two", "short.txt", ".drop-zone");
  await expect(page.locator(".counts-result")).toContainText("short.txt");
  await settled(page);
  // Another text replaces it, wherever in the view it is dropped.
  await drop(text, "old-kings.txt", ".correlations");
  const counts_card = card(page, "Counts from a text");
  await expect(counts_card.locator(".counts-result")).toContainText("old-kings.txt");
  await settled(page);
  const whole = await page.evaluate(
    async (text) => (await (window as any).loupePage.engine.encode(text)).map(({ id }: any) => id),
    text,
  );
  const counts = new Float64Array(V);
  for (const id of whole) counts[id]++;
  await expect(counts_card).toContainText(
    `${whole.length.toLocaleString("en")} tokens, ${counts.filter((count) => count > 0).length} distinct`,
  );
  await expect(counts_card).toContainText("the counts are those of the whole text");
  const lines = await csv(page, "Counts from a text");
  expect(lines.map((line) => [Number(line.token_id), Number(line.count)]).sort(([a], [b]) => a - b)).toEqual(
    Array.from(counts, (count, id) => [id, count]).filter(([, count]) => count > 0),
  );
  await check([...variables, counts.map((count) => Math.log10(1 + count))]);
  await expect(page.locator(".correlations thead th").last()).toHaveText("log count");
  await page.getByLabel("Log counts").uncheck();
  await settled(page);
  await check([...variables, counts]);
  await page.getByLabel("Log counts").check();
  await settled(page);
  for (const width of [1440, 1180, 800, 390]) {
    await page.setViewportSize({ width, height: 900 });
    expect(
      await page.locator(".scroll-x:has(> .correlations)").evaluate((box) => box.scrollWidth - box.clientWidth),
      `cut at ${width} px`,
    ).toBeLessThanOrEqual(0);
  }
  await page.setViewportSize({ width: 1440, height: 900 });
  await expectAccessible(page, "candidates");

  await counts_card.getByRole("button", { name: "Remove" }).click();
  await settled(page);
  expect(await read()).toHaveLength(4);

  // What a model is made of still goes to the page.
  await drop("{}", "weights.safetensors", ".drop-zone");
  await page.waitForTimeout(300);
  await expect(page.locator(".counts-result")).toBeEmpty();
});

test("counts from a file that has them: two columns, JSON, what is wrong with one, read as a text", async ({
  page,
  site,
}) => {
  await open(page, site, "atlas=candidates");
  const of = card(page, "Counts from a text");
  const give = async (name: string, text: string) => {
    await of.locator('input[type="file"]').setInputFiles({ name, mimeType: "text/plain", buffer: Buffer.from(text) });
    await settled(page);
  };
  const read = async () =>
    new Map((await csv(page, "Counts from a text")).map((line) => [Number(line.token_id), Number(line.count)]));
  const counts = new Map([
    [5, 7],
    [300, 2],
    [4095, 0.5],
  ]);
  const pairs = [...counts].map(([id, count]) => `${id}\t${count}\n`).join("");

  await give("pairs.tsv", `id\tcount\n${pairs}`);
  await expect(of.locator(".counts-result")).toContainText("pairs.tsv: counts with the sum 9.50, 3 distinct");
  await expect(of.locator(".counts-result")).toContainText("Read as two columns, token id and count.");
  expect(await read()).toEqual(counts);
  await expect(page.locator(".correlations thead th").last()).toHaveText("log count");
  // What was exported can be read again.
  const again = String(await exported(page, "Counts from a text", "csv"));
  await give("again.csv", again);
  await expect(of.locator(".counts-result")).toContainText("again.csv");
  expect(await read()).toEqual(counts);
  await give("object.json", JSON.stringify(Object.fromEntries(counts)));
  await expect(of.locator(".counts-result")).toContainText("Read as a JSON object, token id and count.");
  expect(await read()).toEqual(counts);

  await give("wrong.tsv", `${pairs}4096\t1\n`);
  await expect(of.locator(".card-trouble")).toHaveText(
    "wrong.tsv: Line 4: expected a token id below 4,096 and its count, found “4096\t1”. It looks like counts; to count the tokens in it, choose to read it as a text.",
  );
  await expect(of.locator(".counts-result"), "what was there stays").toContainText("object.json");
  await give("short.txt", "1\n2\n3\n");
  await expect(of.locator(".card-trouble")).toContainText(
    "Expected 4,096 numbers, one for each token of the vocabulary, found 3.",
  );
  await of.getByLabel("Read as").selectOption("text");
  await give("short.txt", "1\n2\n3\n");
  await expect(of.locator(".card-trouble")).toBeHidden();
  await expect(of.locator(".counts-result")).toContainText(/short\.txt: \d tokens/);
  await expectAccessible(page, "counts from a file");
});

test("zero-layer model: who returns another token, one token's logits, cancel", async ({ page, site }) => {
  test.setTimeout(240_000);
  await open(page, site, "atlas=zero");
  const of = card(page, "Zero-layer model");
  await expect(of).toContainText(`2·V²·C = ${((2 * V * V * C) / 1e9).toFixed(1)} GFLOP · `);
  // At once, as above.
  await of.evaluate(async (card) => {
    [...card.querySelectorAll("button")].find((button) => button.textContent === "All tokens")?.click();
    while (!card.matches("[aria-busy]")) await new Promise((done) => setTimeout(done));
    card.querySelector<HTMLElement>(".card-busy button")?.click();
  });
  await expect(of.locator(".card-trouble")).toContainText("Cancelled.");
  await of.getByRole("button", { name: "A sample: every 64th" }).click();
  await expect(of.locator(".atlas-answer")).toContainText("of 64 tokens (every 64th) return themselves");
  await of.getByRole("button", { name: "All tokens" }).click();
  await expect(of.locator(".atlas-answer")).toContainText("of 4,096 tokens return themselves", { timeout: 200_000 });

  const lines = await csv(page, "Zero-layer model");
  const found = new Map(lines.map((line) => [Number(line.token_id), line]));
  expect(lines).toHaveLength(V - number((await of.locator(".atlas-answer").innerText()).split(" ")[0]));
  for (let id = 0; id < V; id += 7) {
    let [best, logit] = [0, -Infinity];
    for (let other = 0; other < V; other++) {
      const value = dot(row(id), row(other));
      if (value > logit) [best, logit] = [other, value];
    }
    const line = found.get(id);
    // Two that are equal in single precision may stand for each other.
    const said = line ? Number(line.returned_id) : id;
    expect(logit - dot(row(id), row(said)), `what ${id} returns: ${said} or ${best}`).toBeLessThan(1e-4);
    if (!line) continue;
    expect(Math.abs(Number(line.norm) - norms[id])).toBeLessThan(1e-3);
    expect(Math.abs(Number(line.norm_returned) - norms[said])).toBeLessThan(1e-3);
    expect(Math.abs(Number(line.dot_self) - norms[id] ** 2)).toBeLessThan(1e-2);
    expect(Math.abs(Number(line.dot_returned) - logit)).toBeLessThan(1e-2);
    expect(Math.abs(Number(line.cosine) - logit / (norms[id] * norms[said]))).toBeLessThan(1e-3);
    expect(Math.abs(Number(line.norm_ratio) - norms[said] / norms[id])).toBeLessThan(1e-3);
  }
  const groups = await of.locator(".zero-groups").innerText();
  for (const name of ["space removed", "bytes", "other"])
    expect(groups).toContain(
      `${name} ${lines.filter(({ group }) => group.startsWith(name)).length.toLocaleString("en")}`,
    );

  // Thousands of lines, fifty at a time; a click on a head sorts all of them.
  await expect(of.locator("tbody tr")).toHaveCount(50);
  await of.getByRole("button", { name: "dot with returned" }).click();
  const most = Math.max(...lines.map((line) => Number(line.dot_returned)));
  await expect(of.locator("tbody tr").first()).toContainText(most.toFixed(3));
  await page.getByLabel("Show", { exact: true }).selectOption("other");
  await expect(of.locator("tbody tr").first()).toContainText("other");

  // Another view and back: what was computed is there.
  await page.locator('[data-atlas="outliers"]').click();
  await settled(page);
  await page.locator('[data-atlas="zero"]').click();
  await expect(of.locator(".atlas-answer")).toBeVisible();

  const next = card(page, "One token");
  await next.getByRole("textbox").fill("#300");
  await next.getByRole("button", { name: "Look up" }).click();
  await settled(page);
  const logits = Array.from({ length: V }, (_, id) => dot(row(300), row(id)));
  const rank = logits.filter((value) => value > logits[300]).length + 1;
  await expect(next).toContainText(rank === 1 ? "returns itself" : `has rank ${rank}`);
  const top = await csv(page, "One token");
  expect(Math.abs(Number(top[0].logit) - Math.max(...logits))).toBeLessThan(1e-3);
  await next.getByRole("textbox").fill("the king");
  await next.getByRole("button", { name: "Look up" }).click();
  await expect(next.getByRole("alert")).toContainText("is 2 tokens");
  await expectAccessible(page, "zero-layer model");
});

test("zero-layer model: a position that the model has not, and words for the one it has", async ({ page, site }) => {
  await open(page, site, "atlas=zero&picked=300&zero.position=300");
  const [of, next] = [card(page, "Zero-layer model"), card(page, "One token")];
  const position = page.getByLabel("wpe of position");
  await expect(of.locator(".card-trouble")).toHaveText("This model has positions 0 to 255.");
  await expect(of.getByRole("button", { name: "All tokens" })).toBeHidden();
  await expect(next.locator("table")).toBeHidden();
  await expect(position).toHaveAttribute("max", "255");
  await position.fill("3");
  await position.blur();
  await settled(page);
  await expect(of.locator(".card-trouble")).toBeHidden();
  await expect(of.locator(".card-words")).toContainText("its row of wte + wpe of position 3, ln_f left out");
  await expect(next.locator(".card-words")).toContainText("wpe of position 3, ln_f left out");
  await of.getByRole("button", { name: "A sample: every 64th" }).click();
  await expect(of.locator(".atlas-answer")).toContainText("of 64 tokens");
  expect(String(await exported(page, "Zero-layer model", "csv"))).toContain("wpe of position 3");
  await position.fill("9999");
  await position.blur();
  await settled(page);
  await expect(of.locator(".card-trouble")).toHaveText("This model has positions 0 to 255.");
  await expect(of.locator(".atlas-answer")).toBeHidden();
  await expect(of).not.toContainText("are being timed");
  await expect(next.locator("table")).toBeHidden();
});

test("outliers: lengths, extremes, neighbours, the cluster; what is selected is marked in every view", async ({
  page,
  site,
}) => {
  test.setTimeout(180_000);
  await open(page, site, "atlas=outliers&picked=300");
  const lengths = card(page, "Longest and shortest embeddings");
  await expect(lengths.locator("table").first().locator("tbody tr")).toHaveCount(20);
  await expect(lengths.locator("table").first().locator("tbody tr").first()).toContainText(
    `${longest[0].toLocaleString("en")}${norms[longest[0]].toFixed(3)}`,
  );
  const shortest = longest[V - 1];
  await expect(lengths.locator("table").last().locator("tbody tr").first()).toContainText(
    `${shortest.toLocaleString("en")}${norms[shortest].toFixed(3)}`,
  );
  const values = channel(CHANNEL);
  const largest = Math.max(...values);
  await expect(
    card(page, `Extremes of channel ${CHANNEL}`).locator("table").first().locator("tbody tr").first(),
  ).toContainText(largest.toFixed(3));

  const near = await csv(page, "Nearest neighbours");
  const by = (how: string) => near.filter((line) => line.by === how);
  const cosines = Array.from({ length: V }, (_, id) => dot(row(300), row(id)) / norms[id] / norms[300]).sort(
    (a, b) => b - a,
  );
  by("cosine").forEach((line, i) => expect(Math.abs(Number(line.value) - cosines[i])).toBeLessThan(1e-4));
  const dots = Array.from({ length: V }, (_, id) => dot(row(300), row(id))).sort((a, b) => b - a);
  by("dot").forEach((line, i) => expect(Math.abs(Number(line.value) - dots[i])).toBeLessThan(1e-3));

  const clump = await csv(page, "Cluster near the mean embedding");
  for (const id of [0, 300, 4095]) {
    const away = Math.sqrt(row(id).reduce((sum, value, c) => sum + (value - mean[c]) ** 2, 0));
    expect(Math.abs(Number(clump[id].distance_to_mean) - away)).toBeLessThan(1e-3);
  }
  await expect(card(page, "Cluster near the mean embedding")).toContainText(
    "too many for this to be a cluster of its own",
  );
  const clumped = clump.filter((line) => line.in_cluster === "1").map((line) => Number(line.token_id));
  await card(page, "Cluster near the mean embedding").getByRole("button", { name: "Zoom to these tokens" }).click();
  await card(page, "Cluster near the mean embedding").getByRole("button", { name: "Select these tokens" }).click();
  await expect(page.locator(".atlas-side")).toContainText(`${clumped.length} of 4,096`);

  // The longest, selected in a list, is accented in another view's cloud and pressed in its own list.
  const button = lengths.locator(`[data-token="${longest[0]}"]`);
  await button.click();
  await expect(button).toHaveAttribute("aria-pressed", "true");
  await expectAccessible(page, "outliers");
  await page.locator('[data-atlas="spectrum"]').click();
  await settled(page);
  const accent = await page.evaluate((id) => {
    const cloud = (window as any).loupePage.atlas().cloud("Tokens along two singular directions");
    const { x, y } = cloud.at(id);
    const canvas = cloud.element.querySelector(".cloud-top") as HTMLCanvasElement;
    const ratio = canvas.width / canvas.clientWidth;
    const ctx = canvas.getContext("2d") as CanvasRenderingContext2D;
    return Array.from(ctx.getImageData(Math.round(x * ratio), Math.round(y * ratio), 1, 1).data.subarray(0, 3));
  }, longest[0]);
  expect(accent).toEqual([0xb9, 0x3c, 0x06]);
  await expectAccessible(page, "singular directions");
  await page.locator('[data-atlas="matrix"]').click();
  await page.getByLabel("Tokens", { exact: true }).selectOption("selected");
  await settled(page);
  await page.waitForTimeout(400);
  const lines = await csv(page, "Token matrix");
  expect(lines.map((line) => Number(line.token_id))).toEqual([longest[0]]);
  await expectAccessible(page, "token matrix");
});

test("narrow and dark, every view of tokens fits", async ({ page, site }) => {
  test.setTimeout(180_000);
  await page.setViewportSize({ width: 390, height: 844 });
  await page.emulateMedia({ colorScheme: "dark" });
  for (const name of ["matrix", "spectrum", "components", "candidates", "zero", "outliers"]) {
    await open(page, site, `atlas=${name}&picked=300`);
    expect(await page.evaluate(() => document.documentElement.scrollWidth), name).toBeLessThanOrEqual(390);
    await page.screenshot({ path: `test-results/atlas-${name}-narrow.png`, fullPage: true });
  }
  await expectAccessible(page, "narrow");
});
