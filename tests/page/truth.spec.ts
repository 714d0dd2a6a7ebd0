/** What is shown is what was read: after any order of actions, the picture, the words and the exports are of one text, model and options. */
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { expect, readText, test, waitForState } from "./site.ts";
import type { Page } from "@playwright/test";

const reading = (page: Page) =>
  page.evaluate(() => {
    const now = (window as any).loupePage.reading();
    return (
      now && {
        text: now.tokens.map((token: any) => token.text).join(""),
        norm: now.asked.norm,
        decoder: now.asked.decoder,
        taps: now.taps,
        model: now.model?.in_use.name,
      }
    );
  });
const asFile = (name: string, buffer: Buffer) => ({ name, mimeType: "application/octet-stream", buffer });
/** Opens the display options, if they are not open. */
async function openSwitches(page: Page) {
  if (!(await page.locator("#switches").isVisible())) await page.locator("#switches-toggle").click();
}

test("a switch that changes while a text is typed: the new text is shown, under the new switch", async ({
  page,
  site,
}) => {
  await page.goto(site);
  await waitForState(page, "ready");
  await openSwitches(page);
  await page.evaluate(() => {
    const box = document.getElementById("text") as HTMLTextAreaElement;
    box.value = "The king said";
    box.dispatchEvent(new InputEvent("input", { bubbles: true }));
    const norm = document.querySelector('#switches [name="norm"]') as HTMLSelectElement;
    norm.value = "plain";
    norm.dispatchEvent(new Event("input", { bubbles: true }));
  });
  await expect.poll(() => reading(page)).toMatchObject({ text: "The king said", norm: "plain", model: "Tales" });

  await page.locator("#text").fill("");
  await expect(page.locator("#problem-title")).toHaveText("Nothing to read yet");
  await page.locator('#switches [name="norm"]').selectOption("affine");
  await page.waitForTimeout(400);
  await expect(page.locator("#problem-title")).toHaveText("Nothing to read yet");
  await expect(page.locator("#picture")).toBeHidden();
});

test("what a text said goes with it: table, sentences, charts and findings", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  await page.locator("#table-toggle").click();
  await expect(page.locator("#table tbody tr").first()).toBeVisible();
  await expect(page.locator("#example")).toBeVisible();
  for (const [text, title] of [
    ["", "Nothing to read yet"],
    ["half a fox: \ud83e", "The text holds half a character"],
  ]) {
    await page.evaluate((text) => {
      const box = document.getElementById("text") as HTMLTextAreaElement;
      box.value = text;
      box.dispatchEvent(new Event("input", { bubbles: true }));
    }, text);
    await expect(page.locator("#problem-title")).toHaveText(title);
    await expect(page.locator("#table tr")).toHaveCount(0);
    await expect(page.locator("#row-sentences li")).toHaveCount(0);
    for (const part of ["#side", "#passage", "#example"]) await expect(page.locator(part), part).toBeHidden();
    await readText(page, "The old king");
    await expect(page.locator("#table tbody tr").first()).toBeVisible();
    await expect(page.locator("#row-sentences li").first()).toBeAttached();
    await expect(page.locator("#side")).toBeVisible();
  }
});

test("another model: nothing of the old one's reading stays, not even if the new one cannot read the text", async ({
  page,
  site,
}) => {
  await page.goto(site);
  await waitForState(page, "ready");
  await page.locator("#table-toggle").click();
  // A small CTRL without its tokenizer reads ids only.
  const golden = (name: string) => asFile(name.replace(/.*\//, ""), readFileSync(`tests/golden/${name}`));
  await page.locator("#files").setInputFiles(["ctrl/config.json", "ctrl/model.safetensors"].map(golden));
  await expect(page.locator("#model-chip")).toContainText("Files of this computer");
  await expect(page.locator("#problem-title")).toHaveText("This model reads token ids");
  expect(await reading(page)).toBe(null);
  await expect(page.locator("#picture")).toBeHidden();
  await expect(page.locator("#table tr")).toHaveCount(0);
  await expect(page.locator("#row-sentences li")).toHaveCount(0);
  for (const part of ["#side", "#passage", "#example"]) await expect(page.locator(part), part).toBeHidden();
  // Ids are read with the new model, and leave the page with its name.
  await page.locator("#text").fill("1 2 3");
  await expect.poll(() => reading(page)).toMatchObject({ model: "Files of this computer" });
  await page.locator("#export").click();
  const [file] = await Promise.all([page.waitForEvent("download"), page.locator('[data-export="json"]').click()]);
  expect(JSON.parse(readFileSync(await file.path(), "utf8")).model.name).toBe("Files of this computer");
});

test("contributions have no decoder of blocks: the switch says so, and an old link opens", async ({ page, site }) => {
  await page.goto(`${site}#text=The+old+king&rows=contributions&decoder=1`);
  await waitForState(page, "ready");
  await expect(page.locator("#picture")).toBeVisible();
  expect((await reading(page))?.decoder).toEqual([]);
  await openSwitches(page);
  await expect(page.locator('#switches [name="borrowed"]')).toBeDisabled();
  await expect(page.locator("#borrowed-words")).toContainText("contributions have no decoder of blocks");
  await page.locator('#switches [name="row_kind"]').selectOption("blocks");
  await expect.poll(async () => (await reading(page))?.decoder).toEqual(["h.7"]);
  await expect(page.locator('#switches [name="borrowed"]')).toBeEnabled();
});

test("the text box keeps its height when the window changes while it is not displayed", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  await page.getByRole("link", { name: "Atlas", exact: true }).click();
  await page.setViewportSize({ width: 1000, height: 900 });
  await page.getByRole("link", { name: "Lens", exact: true }).click();
  await expect.poll(async () => (await page.locator("#text").boundingBox())?.height ?? 0).toBeGreaterThan(20);
  await page.getByRole("link", { name: "Atlas", exact: true }).click();
  await page.setViewportSize({ width: 390, height: 844 });
  await page.getByRole("link", { name: "Lens", exact: true }).click();
  const heights = () => page.locator("#text").evaluate((box) => [box.clientHeight, box.scrollHeight]);
  await expect
    .poll(async () => {
      const [shown, needed] = await heights();
      return shown >= needed - 2;
    })
    .toBe(true);
});

test("a reload in the middle of a reading keeps the text that was typed", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const text = "the king and the queen went home and ".repeat(6);
  // The address has it before the reading has begun, let alone ended.
  const hash = await page.evaluate(async (typed) => {
    const box = document.getElementById("text") as HTMLTextAreaElement;
    box.value = typed;
    box.dispatchEvent(new InputEvent("input", { bubbles: true }));
    await new Promise((done) => setTimeout(done, 60));
    return location.hash;
  }, text);
  expect(new URLSearchParams(hash.slice(1)).get("text")).toBe(text);
  await page.reload();
  await expect(page.locator("#text")).toHaveValue(text);
});

test("a tracked view without a chosen token has numbers again after the text was empty", async ({ page, site }) => {
  await page.goto(`${site}#text=The+old+king&view=tracked_rank`);
  await waitForState(page, "ready");
  const numbers = () =>
    page.evaluate(() => [...((window as any).loupePage.shown()?.values ?? [])].filter(Number.isFinite).length);
  await expect.poll(numbers).toBeGreaterThan(0);
  await page.locator("#text").fill("");
  await expect(page.locator("#problem-title")).toHaveText("Nothing to read yet");
  await page.locator("#text").fill("The young queen");
  await waitForState(page, "ready");
  await expect.poll(numbers).toBeGreaterThan(0);
  await expect(page.locator("#legend-quantity")).not.toContainText("the tracked token");
});

test("a second text that is emptied while it is read does not come back", async ({ page, site }) => {
  await page.goto(`${site}#text=The+old+king&second=The+old+queen`);
  await waitForState(page, "ready");
  const second = () => page.evaluate(() => (window as any).loupePage.second().reading?.n_tokens ?? 0);
  await expect.poll(second).toBeGreaterThan(0);
  await page.locator("#second").fill("the king and the queen went home and ".repeat(6));
  await page.waitForTimeout(300);
  await page.locator("#second").fill("");
  await page.waitForTimeout(3000);
  expect(await second()).toBe(0);
  await expect(page.locator("#second-status")).toHaveText("Type a second text.");
});

test("a character that is spread over tokens is whole in the words before a cell", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  await page.locator("#text").fill("Gr\u00fc\u00dfe \u732b");
  await expect(page.locator("#cell-context")).toContainText("r\u00fc\u00dfe \u732b");
  await expect(page.locator("#cell-context")).not.toContainText("\ufffd");
});

test("a link that is cut says so", async ({ page, site }) => {
  await page.goto(`${site}#packed=7cvBDYMwEACwVW6AqpOwBA`);
  await waitForState(page, "ready");
  await expect(page.locator("#notice-title")).toHaveText("This link is incomplete or damaged");
  await expect(page.locator("#notice-text")).toContainText("the text is missing");
  await page.goto("about:blank");
  await page.goto(`${site}#text=The+old+king&view=nothing&pin=x`);
  await waitForState(page, "ready");
  await expect(page.locator("#notice-text")).toContainText("the view and the pinned cell are missing");
  await page.goto("about:blank");
  await page.goto(`${site}#text=The+old+king&view=rank`);
  await waitForState(page, "ready");
  await expect(page.locator("#notice")).toBeHidden();
});

test("a second text that was read under other options is not subtracted", async ({ page, site }) => {
  await page.goto(`${site}#text=The+old+king&second=The+old+queen`);
  await waitForState(page, "ready");
  const both = () =>
    page.evaluate(() => {
      const { reading, second } = (window as any).loupePage;
      return { first: reading().asked.norm, second: second().reading?.asked.norm ?? null };
    });
  await expect.poll(async () => (await both()).second).toBe("affine");
  // Whenever a picture is drawn, the second reading in it is like the first.
  await page.evaluate(() => {
    const seen: string[][] = ((window as any).seen = []);
    const look = () => {
      const { reading, second } = (window as any).loupePage;
      const pair = [reading()?.asked.norm, second().reading?.asked.norm ?? null];
      if (pair[1] !== null && pair[0] !== pair[1]) seen.push(pair);
      requestAnimationFrame(look);
    };
    look();
  });
  await openSwitches(page);
  await page.locator('#switches [name="norm"]').selectOption("none");
  await expect.poll(async () => (await both()).second).toBe("none");
  expect(await page.evaluate(() => (window as any).seen)).toEqual([]);
});

test("a picture of a tracked token names the token, and a file says what it was made of", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const [{ id, shown }] = await page.evaluate(() => (window as any).loupePage.engine.encode(" king"));
  await page.goto("about:blank");
  await page.goto(`${site}#text=The+old+queen&view=tracked_rank&tokens=${id}`);
  await waitForState(page, "ready");
  await expect(page.locator("#legend-quantity")).toHaveText(`rank of ${shown}`);
  await expect(page.locator("#heatmap")).toHaveAttribute(
    "aria-label",
    new RegExp(`^rank of ${shown} .*: 8 rows by 3 positions$`),
  );
  await page.locator("#export").click();
  const [file] = await Promise.all([page.waitForEvent("download"), page.locator('[data-export="svg"]').click()]);
  const svg = readFileSync(await file.path(), "utf8");
  for (const words of [`rank of ${shown}`, "Tales", "norm: ln_f", "“The old queen”"]) expect(svg).toContain(words);
  expect(svg).not.toContain("the tracked token");
});

test("contributions are not described as states of the stream", async ({ page, site }) => {
  await page.goto(`${site}#text=The+old+king+went+home&rows=contributions`);
  await waitForState(page, "ready");
  await expect(page.locator("#legend-settles")).toBeHidden();
  await page.locator("#passage").scrollIntoViewIfNeeded();
  await expect(page.locator("#decisions-words")).toContainText("Contributions are not states of the stream");
  await expect(page.locator("#decisions-chart svg")).toHaveCount(0);
  await expect(page.locator("#loss-words")).toContainText("each contribution decoded by itself");
  await openSwitches(page);
  await page.locator('#switches [name="row_kind"]').selectOption("blocks");
  await expect(page.locator("#legend-settles")).toBeVisible();
  // Charts are drawn where they can be seen.
  await page.locator("#passage").scrollIntoViewIfNeeded();
  await expect(page.locator("#decisions-words")).toContainText("have settled by row");
  await expect(page.locator("#loss-words")).toContainText("Stopping at");
});

test("limits that are not complete are said to be so, and the legend says what is drawn", async ({ page, site }) => {
  await page.goto(`${site}#view=kl_final`);
  await waitForState(page, "ready");
  const ticks = () => page.locator("#legend-ticks").innerText();
  const usual = await ticks();
  await expect(page.locator("#legend-unit")).toHaveText("(nats, to the 95th percentile)");
  await page.getByRole("button", { name: "Display options" }).click();
  await page.locator('select[name="limits"]').selectOption("post");
  await expect(page.locator("#legend-ticks .tick-last")).toHaveText("≥ 30");
  await page.locator('select[name="limits"]').selectOption("own");
  await page.locator('select[name="limits"]').selectOption("fixed");
  await expect(page.locator("#limits-words")).toBeVisible();
  expect(await ticks()).toBe(usual);
  await page.locator('input[name="from"]').fill("5");
  await page.locator('input[name="to"]').fill("2");
  await expect(page.locator("#limits-words")).toBeVisible();
  await page.locator('input[name="to"]').fill("8");
  await expect(page.locator("#limits-words")).toBeHidden();
  await expect(page.locator("#legend-unit")).toHaveText("(nats, fixed limits)");
});

test("what fits is not scrolled and does not fade, and the table of a cell fits its box", async ({ page, site }) => {
  for (const [width, height] of [
    [1440, 900],
    [1920, 1080],
    [1366, 650],
    [720, 900],
  ]) {
    await page.setViewportSize({ width, height });
    await page.goto(`${site}#text=${encodeURIComponent("Once upon a time <|endoftext|>")}`);
    await waitForState(page, "ready");
    await page.locator("#cell-all summary").click();
    await expect(page.locator("#cell-table tbody tr")).toHaveCount(20);
    const box = await page.evaluate(() => {
      const [scroller, table] = [
        document.getElementById("scroller"),
        document.getElementById("cell-table")?.parentElement,
      ].map((each) => each as HTMLElement);
      return { picture: scroller.scrollWidth - scroller.clientWidth, table: table.scrollWidth - table.clientWidth };
    });
    expect(box, `${width} × ${height}`).toEqual({ picture: 0, table: 0 });
  }
});

test("a table has every followed token, whatever is drawn, and no control character", async ({ page, site }) => {
  await page.goto(`${site}#text=${encodeURIComponent("The king \u0014 sat")}&tokens=262_300.11`);
  await waitForState(page, "ready");
  await page.locator("#export").click();
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator('[data-export="csv"]').click()]);
  const csv = await readFile(await download.path(), "utf8");
  for (const id of [262, 300, 11]) expect(csv).toContain(`rank_${id}`);

  expect(csv).not.toMatch(/[\0-\x08\x0b\x0c\x0e-\x1f\x7f]/);
  const [head, ...lines] = csv.split("\r\n").filter((line) => !line.startsWith("#") && !line.startsWith("\ufeff#"));
  const exact = await page.evaluate(async () => {
    const { engine, reading } = (window as any).loupePage;
    const [track] = await engine.trace(reading().serial, [11], { tap: 3 }, new AbortController().signal);
    return [...track.logit];
  });
  const column = head.split(",").indexOf("logit_11") - head.split(",").length;
  const row = lines.filter((line) => line.startsWith("h.2,"));
  expect(row.map((line) => Number(line.split(",").at(column)))).toEqual(
    exact.map((value: number) => Number(value.toPrecision(9))),
  );
});

test("the model's card opens beside the page", async ({ page, site }) => {
  await page.goto(site);
  await expect(page.locator('a[href="models/tales/README.md"]')).toHaveAttribute("target", "_blank");
});

test("Back and Forward move pins, followed tokens and views, without reading again", async ({ page, site }) => {
  await page.goto(site);
  await waitForState(page, "ready");
  const at = () =>
    page.evaluate(() => {
      const { state, reading } = (window as any).loupePage;
      const { view, pins, groups } = state();
      const pin = pins[0] ? `${pins[0].position}@${pins[0].tap}` : null;
      return { view: view.name, pin, groups, serial: reading()?.serial };
    });
  const { serial } = await at();
  const cell = async (tap: number, position: number) => {
    const rect = await page.evaluate(
      ([tap, position]) => (window as any).loupePage.cellRect(tap, position),
      [tap, position],
    );
    await page.locator("#heatmap").click({ position: { x: rect.x + rect.width / 2, y: rect.y + rect.height / 2 } });
  };
  await cell(5, 3);
  await expect(page).toHaveURL(/pin=3%40h\.4/);
  await cell(6, 4);
  await expect(page).toHaveURL(/pin=4%40h\.5/);
  await page.locator("#candidates .token-button").nth(1).click();
  await expect(page).toHaveURL(/tokens=\d+/);
  const { groups } = await at();
  expect(groups).toHaveLength(1);
  await page.locator('#views [data-view="rank"]').click();
  await expect(page).toHaveURL(/view=rank/);
  await page.goBack();
  expect(await at()).toEqual({ view: "logit", pin: "4@h.5", groups, serial });
  await expect(page.locator("#legend-quantity")).toHaveText("logit of the final top-1");
  await page.goBack();
  expect(await at()).toEqual({ view: "logit", pin: "4@h.5", groups: [], serial });
  await expect(page.locator("#followed li")).toHaveCount(0);
  await page.goBack();
  expect(await at()).toEqual({ view: "logit", pin: "3@h.4", groups: [], serial });
  await expect(page.locator("#cell-title")).toHaveText("Pinned: h.4, position 3");
  await page.goBack();
  expect((await at()).pin).toBeNull();
  await expect(page.locator("#cell-title")).not.toContainText("Pinned");
  await page.goForward();
  await expect(page.locator("#cell-title")).toHaveText("Pinned: h.4, position 3");
  await page.keyboard.press("Escape");
  await expect(page.locator("#cell-title")).not.toContainText("Pinned");
});
