/** What leaves the page as a file, and what an address keeps. */
import { readFile } from "node:fs/promises";
import { readByApi, shownByPage } from "./drawn.ts";
import { expect, inBlankPage, readText, test, waitForState } from "./site.ts";

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
  const parsed = await inBlankPage(
    page,
    (svg) => {
      const sheet = new DOMParser().parseFromString(svg, "image/svg+xml");
      return {
        error: sheet.querySelector("parsererror")?.textContent ?? null,
        names: [...new Set([...sheet.querySelectorAll("*")].map(({ localName }) => localName))].sort(),
        texts: [...sheet.querySelectorAll("text")].map(({ textContent }) => textContent),
        fills: [...sheet.querySelectorAll('rect[rx="3"]')].map((rect) => rect.getAttribute("fill")),
      };
    },
    svg,
  );
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
