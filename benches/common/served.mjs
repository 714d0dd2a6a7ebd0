// @ts-check
/** A headless Chromium, and a server of folders and files for it. */
import { createServer } from "node:http";
import { chromium } from "@playwright/test";
import sirv from "sirv";
import { createJiti } from "jiti";

const { default: config } = await createJiti(import.meta.url).import("../../playwright.config.ts");

/**
 * Serves each folder under its name and each file under its path; every other address is an empty page.
 * @param {Record<string, string>} folders
 * @param {Record<string, string | Uint8Array>} files
 */
export async function served(folders, files = {}) {
  const handlers = new Map(Object.entries(folders).map(([name, folder]) => [name, sirv(folder, { dev: true })]));
  const server = createServer((request, response) => {
    const file = files[request.url ?? ""];
    if (file && request.url?.endsWith(".js")) response.setHeader("Content-Type", "text/javascript");
    if (file) return response.end(file);
    const [, name, ...rest] = (request.url ?? "").split("/");
    const serve = handlers.get(name);
    if (!serve) return response.setHeader("Content-Type", "text/html").end("<!doctype html>");
    request.url = `/${rest.join("/")}`;
    serve(request, response, () => response.writeHead(404).end());
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", () => done(undefined)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  const browser = await chromium.launch(config.use?.launchOptions);
  const close = async () => {
    await browser.close();
    server.close();
  };
  return { browser, address: `http://127.0.0.1:${port}/`, close };
}

/** @param {number[]} values */
export const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
