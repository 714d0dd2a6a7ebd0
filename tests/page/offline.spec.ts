/** Without a network: the page, the bundled model and every kept one; and how a newer version of the page arrives. */
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { chromium } from "@playwright/test";
import sirv from "sirv";
import { tales } from "./checkpoints.ts";
import { startHub } from "./hub.ts";
import { expect, readText, test as base, waitForState } from "./site.ts";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Page, TestInfo } from "@playwright/test";

export type Site = {
  url: string;
  folder: string;
  /** The answers so far: path and status. */
  answers: () => { path: string; status: number }[];
  stop: () => Promise<void>;
  start: () => Promise<void>;
};

const PATH = "/somewhere/";

/** A copy of the built site that can be changed while it is served, and its server stopped. */
async function copySite(folder: string): Promise<Site> {
  rmSync(folder, { recursive: true, force: true });
  cpSync("dist", folder, { recursive: true });
  const serve = sirv(folder, { dev: true, etag: true });
  const answers: { path: string; status: number }[] = [];
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    const path = request.url ?? "";
    response.on("finish", () => answers.push({ path, status: response.statusCode }));
    const nothing = () => void response.writeHead(404).end();
    if (!request.url?.startsWith(PATH)) return nothing();
    request.url = request.url.slice(PATH.length - 1);
    serve(request, response, nothing);
  };
  let server = createServer(answer);
  const listen = (port: number) => new Promise((done) => server.listen(port, "127.0.0.1", () => done(undefined)));
  await listen(0);
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${PATH}`,
    folder,
    answers: () => answers,
    async stop() {
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
    async start() {
      server = createServer(answer);
      await listen(port);
    },
  };
}

/** Rewrites a file of a copied site. */
function edit({ folder }: Site, name: string, change: (text: string) => string) {
  const before = readFileSync(`${folder}/${name}`, "utf8");
  const after = change(before);
  expect(after === before, `${name} was changed`).toBe(false);
  writeFileSync(`${folder}/${name}`, after);
}

/** Puts another version of the site in the place of the first. */
function publishSecond(site: Site) {
  edit(site, "index.html", (html) => html.replace("</title>", '</title><meta name="edition" content="second" />'));
  const entry = /"revision":"[0-9a-f]+"(?=,"url":"index.html")/;
  edit(site, "sw.js", (text) => text.replace(entry, `"revision":"${"0".repeat(32)}"`));
}

/** Each test has a browser with a profile of its own on the disk: one without keeps no large caches. */
const test = base.extend({
  context: async ({ launchOptions, viewport }: any, use: any, info: TestInfo) => {
    const context = await chromium.launchPersistentContext(info.outputPath("profile"), {
      ...launchOptions,
      viewport,
      serviceWorkers: "allow",
    });
    await use(context);
    await context.close();
  },
  page: async ({ context }: any, use: any) => use(context.pages()[0] ?? (await context.newPage())),
});

/** Waits until the service worker has everything. */
const isKept = (page: Page) => page.evaluate(async () => void (await navigator.serviceWorker.ready));

const topIds = (page: Page) => page.evaluate(() => [...(window as any).loupePage.reading().top_ids]);

test("with the network gone, the page reloads and reads", async ({ page, context }, info) => {
  const site = await copySite(info.outputPath("site"));
  await page.goto(site.url);
  await waitForState(page, "ready");
  await isKept(page);
  const expected = await topIds(page);
  await site.stop();
  await context.setOffline(true);

  await page.reload();
  await waitForState(page, "ready");
  expect(await topIds(page)).toEqual(expected);
  await readText(page, "The cable is out and the old king reads on.");
  // The card of the bundled model and the engine for articles are there too.
  const status = await page.evaluate(async () =>
    Promise.all(
      ["models/tales/README.md", "loupe/loupe.js", "manifest.webmanifest"].map(
        async (name) => (await fetch(name)).status,
      ),
    ),
  );
  expect(status).toEqual([200, 200, 200]);
  await page.screenshot({ path: "test-results/offline.png" });
  // What was never there is not made up.
  const other = await page.evaluate(() =>
    fetch("no-such-file").then(
      ({ status }) => status,
      () => "refused",
    ),
  );
  expect(other).toBe("refused");
});

test("a kept model opens with the network gone", async ({ page, context }, info) => {
  const hub = await startHub({ "loupe/tales": tales() });
  const site = await copySite(info.outputPath("site"));
  edit(site, "index.html", (html) =>
    html
      .replace(/connect-src [^;]+/, `connect-src 'self' ${hub.origins.join(" ")}`)
      .replace(/<meta name="loupe-hub"[^>]*>/, `<meta name="loupe-hub" content="${hub.base}">`),
  );
  await page.goto(site.url);
  await waitForState(page, "ready");
  const expected = await topIds(page);
  await page.locator("#model-chip").click();
  await page.locator("#hub-id").fill("loupe/tales");
  await page.getByRole("button", { name: "Look up" }).click();
  await page
    .locator("#hub-rows")
    .getByRole("button", { name: /^Download/ })
    .click();
  await expect(page.locator("#model-chip")).toContainText("loupe/tales");
  await waitForState(page, "ready");
  await isKept(page);
  await hub.close();
  await site.stop();
  await context.setOffline(true);

  await page.reload();
  await expect(page.locator("#model-chip")).toContainText("loupe/tales");
  await waitForState(page, "ready");
  expect(await topIds(page)).toEqual(expected);
  // A browser started anew, still offline, by the bare address.
  await page.goto("about:blank");
  await page.goto(site.url);
  await expect(page.locator("#model-chip")).toContainText("loupe/tales");
  await readText(page, "All is well.");
});

test("a newer version is announced, and takes over when it is let", async ({ page }, info) => {
  const site = await copySite(info.outputPath("site"));
  await page.goto(site.url);
  await waitForState(page, "ready");
  await isKept(page);
  const edition = () =>
    page.evaluate(() => document.querySelector('meta[name="edition"]')?.getAttribute("content") ?? "first");

  publishSecond(site);
  await page.reload();
  await waitForState(page, "ready");
  expect(await edition(), "the old version goes on until it is let go").toBe("first");
  const button = page.locator("#new-version");
  await expect(button).toBeVisible();
  await expect(button).toContainText("New version");
  await page.screenshot({ path: "test-results/new-version.png" });
  await readText(page, "The old page still reads.");

  await button.click();
  await expect(page.locator('meta[name="edition"][content="second"]')).toHaveCount(1);
  await waitForState(page, "ready");
  await expect(button).toBeHidden();
  await site.stop();
  await page.reload();
  await waitForState(page, "ready");
  expect(await edition(), "the newer version is the one that is kept").toBe("second");
});

test("the first visit fetches engine, model and scripts once; what is kept for offline use is only asked about", async ({
  page,
}, info) => {
  const site = await copySite(info.outputPath("site"));
  await page.goto(site.url);
  await waitForState(page, "ready");
  await isKept(page);
  const whole = site.answers().flatMap(({ path, status }) => (status === 200 ? [path] : []));
  for (const name of ["loupe/loupe_bg.wasm", "models/tales/model.safetensors"])
    expect(whole.filter((path) => path.endsWith(name)).length, name).toBe(1);
  expect(whole.filter((path, i) => whole.indexOf(path) !== i)).toEqual([]);
  await site.stop();
});

test("a newer version asks before it reloads a tab that would lose something", async ({ page, context }, info) => {
  const site = await copySite(info.outputPath("site"));
  await page.goto(site.url);
  await waitForState(page, "ready");
  await isKept(page);
  // From now on the service worker answers.
  await page.reload();
  await waitForState(page, "ready");
  // This tab has a model from the disk, the other one nothing to lose.
  await page.locator("#model-chip").click();
  await page.locator("#keep").uncheck();
  const files = ["config.json", "tokenizer.json", "model.safetensors"];
  await page.locator("#files").setInputFiles(files.map((name) => `${site.folder}/models/tales/${name}`));
  await expect(page.locator("#model-chip")).not.toContainText("Tales");
  await waitForState(page, "ready");
  const other = await context.newPage();
  await other.goto(site.url);
  await waitForState(other, "ready");

  publishSecond(site);
  const isSecond = (of: Page) => of.locator('meta[name="edition"][content="second"]');
  await other.reload();
  const update = other.locator("#new-version");
  await expect(update).toBeVisible();
  // In the tab that would lose its model, the button asks.
  await page.locator("#new-version").click();
  const notice = page.locator("#notice");
  await expect(notice).toContainText("the model opened from files");
  await page.screenshot({ path: "test-results/update-asks.png" });
  await notice.getByRole("button", { name: "Not now" }).click();
  await expect(isSecond(page)).toHaveCount(0);
  // The other one takes the update: it is reloaded at once, and this one asks again.
  await update.click();
  await expect(isSecond(other)).toHaveCount(1);
  await expect(notice).toContainText("installed in another tab");
  await readText(page, "The model from the disk still reads.");
  await notice.getByRole("button", { name: "Reload anyway" }).click();
  await expect(isSecond(page)).toHaveCount(1);
  await site.stop();
});

test("the tab that would lose something can take the update itself: it is asked once", async ({ page }, info) => {
  const site = await copySite(info.outputPath("site"));
  await page.goto(site.url);
  await waitForState(page, "ready");
  await isKept(page);
  await page.reload();
  await waitForState(page, "ready");
  await page.locator("#model-chip").click();
  await page.locator("#keep").uncheck();
  const files = ["config.json", "tokenizer.json", "model.safetensors"];
  await page.locator("#files").setInputFiles(files.map((name) => `${site.folder}/models/tales/${name}`));
  await expect(page.locator("#model-chip")).not.toContainText("Tales");
  await waitForState(page, "ready");
  publishSecond(site);
  await page.evaluate(async () => void (await (await navigator.serviceWorker.ready).update()));
  await page.locator("#new-version").click();
  await page.locator("#notice").getByRole("button", { name: "Reload anyway" }).click();
  await expect(page.locator('meta[name="edition"][content="second"]')).toHaveCount(1);
  await expect(page.locator("#notice")).toBeHidden();
  await site.stop();
});

test("it can be installed", async ({ page }, info) => {
  const site = await copySite(info.outputPath("site"));
  await page.goto(site.url);
  await waitForState(page, "ready");
  await isKept(page);
  // What Chromium itself holds against installing it; being in a private window is this browser's own business.
  const session = await page.context().newCDPSession(page);
  const { installabilityErrors } = await session.send("Page.getInstallabilityErrors");
  expect(installabilityErrors.map(({ errorId }) => errorId).filter((id) => id !== "in-incognito")).toEqual([]);
  const { data, errors, url } = await session.send("Page.getAppManifest");
  expect(errors).toEqual([]);
  expect(url).toBe(`${site.url}manifest.webmanifest`);
  const { icons, start_url } = JSON.parse(data ?? "{}");
  expect(new URL(start_url, url).href).toBe(site.url);
  for (const { src, sizes } of icons) {
    const size = await page.evaluate(async (address) => {
      const image = await createImageBitmap(await (await fetch(address)).blob());
      return `${image.width}x${image.height}`;
    }, new URL(src, url).href);
    expect(size).toBe(sizes);
  }
  await site.stop();
});
