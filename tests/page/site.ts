/** Serves the built site under a sub-path, opens it, and watches that it stays at home and quiet. */
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { test as base, expect } from "@playwright/test";
import sirv from "sirv";
import type { AddressInfo } from "node:net";
import type { Page } from "@playwright/test";

export { expect };

/** The site works from any path of any host, so it is tested from one that is not the root. */
const PATH = "/a/b/";

/**
 * @param changes what becomes of index.html on its way; what stands before the engine's worker
 * @param friends other origins that the page may ask
 */
export async function serveSite(
  { html, worker }: { html?: (text: string) => string; worker?: string } = {},
  friends: string[] = [],
): Promise<{ origin: string; friends: string[]; close: () => void }> {
  const serve = sirv("dist", { dev: true, etag: true });
  const server = createServer((request, response) => {
    const notFound = () => void response.writeHead(404).end("not found");
    if (!request.url?.startsWith(PATH)) return notFound();
    request.url = request.url.slice(PATH.length - 1);
    if (html && request.url === "/") {
      response.setHeader("Content-Type", "text/html").end(html(readFileSync("dist/index.html", "utf8")));
      return;
    }
    if (worker && /^\/assets\/worker-[^/]*\.js$/.test(request.url)) {
      response.setHeader("Content-Type", "text/javascript").end(worker + readFileSync(`dist${request.url}`, "utf8"));
      return;
    }
    serve(request, response, notFound);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", () => done(undefined)));
  const address = server.address() as AddressInfo;
  return { origin: `http://127.0.0.1:${address.port}`, friends, close: () => server.close() };
}

export const test = base.extend<
  { site: string; quiet: boolean; device: "auto" | "gpu" | "cpu" },
  { server: Awaited<ReturnType<typeof serveSite>> }
>({
  /** Whether nothing may appear in the console. */
  quiet: [true, { option: true }],
  /** What the page computes on. The only GPU here is one in software, so `auto` is the CPU. */
  device: ["auto", { option: true }],
  server: [
    // eslint-disable-next-line no-empty-pattern -- Playwright asks for a pattern
    async ({}, use) => {
      const server = await serveSite();
      await use(server);
      server.close();
    },
    { scope: "worker" },
  ],
  /** The site's address; afterwards, nothing may have left it and nothing may have failed unseen. */
  site: async ({ server, page, quiet, device }, use) => {
    // Where no test asks for it, the tour does not stand before what is tested.
    await page.addInitScript((device) => {
      if (location.protocol !== "http:") return;
      localStorage.setItem("loupe:tour", "done");
      // A test may choose another one.
      if (!localStorage.getItem("loupe:device")) localStorage.setItem("loupe:device", device);
    }, device);
    const strayed = [] as string[];
    const errors = [] as string[];
    page.on("request", (request) => {
      const url = request.url();
      if (server.friends.includes(new URL(url).origin)) return;
      if (!url.startsWith(server.origin + PATH) && !url.startsWith("blob:") && !url.startsWith("data:"))
        strayed.push(url);
    });
    page.on("pageerror", (error) => errors.push(String(error)));
    page.on("console", (message) => {
      const is_expected = /Failed to load resource/.test(message.text());
      if (message.type() === "error" && !is_expected) errors.push(message.text());
    });
    await use(server.origin + PATH);
    // A worker that starts as the test ends asks for what is served no more.
    if (!page.isClosed()) await page.unrouteAll({ behavior: "ignoreErrors" });
    expect(strayed, "requests that left the site").toEqual([]);
    if (quiet) expect(errors, "errors in the console").toEqual([]);
  },
});

/** Changes the worker's world before its script runs. */
export const inWorker = (page: Page, prelude: string) =>
  page.route("**/assets/worker-*.js", async (route) => {
    const body = await (await route.fetch()).text();
    await route.fulfill({ body: prelude + body, contentType: "text/javascript" });
  });

export const waitForState = (page: Page, state: "loading" | "ready" | "busy" | "error") =>
  page.waitForFunction((wanted) => document.documentElement.dataset.state === wanted, state, { timeout: 200_000 });

/** Runs a function in an empty page of the same browser: the site's own policy allows no parsing of markup. */
export async function inBlankPage<T>(page: Page, work: (text: string) => T, text: string): Promise<T> {
  const blank = await page.context().newPage();
  try {
    return (await blank.evaluate(work as (text: string) => unknown, text)) as T;
  } finally {
    await blank.close();
  }
}

/** Puts a text into the box as typing does, and waits until it is read. */
export async function readText(page: Page, text: string) {
  await page.locator("#text").fill(text);
  await page.waitForFunction(
    (wanted) =>
      document.documentElement.dataset.state === "ready" &&
      (window as any).loupePage
        .reading()
        ?.tokens.map((t: any) => t.text)
        .join("") === wanted,
    text,
  );
}

/** The colour of one canvas pixel, in CSS pixels from its top left. */
export const pixel = (page: Page, x: number, y: number) =>
  page.evaluate(
    ([x, y]) => {
      const canvas = document.getElementById("heatmap") as HTMLCanvasElement;
      const context = canvas.getContext("2d") as CanvasRenderingContext2D;
      const ratio = canvas.width / canvas.clientWidth;
      const [r, g, b] = context.getImageData(Math.round(x * ratio), Math.round(y * ratio), 1, 1).data;
      return [r, g, b];
    },
    [x, y],
  );

/** Red, green and blue of "rgb(1, 2, 3)", "#123" or "#010203". */
export function channels(css: string) {
  if (!css.startsWith("#")) return (css.match(/\d+/g) ?? []).slice(0, 3).map(Number);
  const digits = css.length === 4 ? [...css.slice(1)].map((d) => d + d) : (css.slice(1).match(/../g) ?? []);
  return digits.map((pair) => parseInt(pair, 16));
}
