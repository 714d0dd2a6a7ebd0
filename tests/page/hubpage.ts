/** The page beside a hub of its own: what a person does with models, and what the store and the hub then say. */
import { startHub } from "./hub.ts";
import { expect, serveSite, test as base, waitForState } from "./site.ts";
import type { Folder } from "./checkpoints.ts";
import type { Page } from "@playwright/test";

export type Hub = Awaited<ReturnType<typeof startHub>>;

const RETRY_MS = 40;
const STALL_MS = 1500;

/** The page, told of this hub instead of huggingface.co. */
export const withHub = (hub: Hub) => (html: string) =>
  html
    .replace(/connect-src [^;]+/, `connect-src 'self' ${hub.origins.join(" ")}`)
    .replace(
      /<meta name="loupe-hub"[^>]*>/,
      `<meta name="loupe-hub" content="${hub.base}" data-retry-ms="${RETRY_MS}" data-stall-ms="${STALL_MS}">`,
    );

/**
 * Tests beside a hub that has these models.
 * @param models by id
 */
export const withModels = (models: () => Record<string, Folder>) =>
  base.extend<object, { hub: Hub; server: Awaited<ReturnType<typeof serveSite>> }>({
    hub: [
      // eslint-disable-next-line no-empty-pattern -- Playwright asks for a pattern
      async ({}, use) => {
        const hub = await startHub(models());
        await use(hub);
        await hub.close();
      },
      { scope: "worker" },
    ],
    server: [
      async ({ hub }, use) => {
        const server = await serveSite({ html: withHub(hub) }, hub.origins);
        await use(server);
        server.close();
      },
      { scope: "worker" },
    ],
  });

/** Opens the panel and asks the hub for a model. */
export async function lookUp(page: Page, id: string) {
  if (!(await page.locator("#models").isVisible())) await page.locator("#model-chip").click();
  await page.locator("#hub-id").fill(id);
  await page.getByRole("button", { name: "Look up" }).click();
}

/** Looks up and downloads; the bar or the picture says how it goes. */
export async function download(page: Page, id: string) {
  await lookUp(page, id);
  await page
    .locator("#hub-rows")
    .getByRole("button", { name: /^Download/ })
    .click();
}

export const waitForModel = async (page: Page, name: string) => {
  await expect(page.locator("#model-chip")).toContainText(name);
  await waitForState(page, "ready");
};

/** The reading on the page, as numbers to compare. */
export const numbers = (page: Page) =>
  page.evaluate(() => {
    const { top_ids, stats } = (window as any).loupePage.reading();
    return {
      top_ids: [...top_ids],
      stats: Object.fromEntries(
        Object.entries(stats).map(([name, values]) => [name, [...(values as any)].map(String)]),
      ),
    };
  });

/** What the store holds: about.json of each model, and the digest of its weights as they lie there. */
export const stored = (page: Page) =>
  page.evaluate(async () => {
    const root = await navigator.storage.getDirectory();
    const found = [];
    const models = await root
      .getDirectoryHandle("loupe")
      .then((folder) => folder.getDirectoryHandle("models"))
      .catch(() => null);
    for await (const [key, folder] of ((models ?? new Map()) as any).entries()) {
      const get = async (name: string) => (await folder.getFileHandle(name)).getFile();
      const weights = await get("model.safetensors");
      // Of the data: the header also records the sources, whose digests are not always known.
      const all = await weights.arrayBuffer();
      const start = 8 + Number(new DataView(all).getBigUint64(0, true));
      const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", all.slice(start)));
      found.push({
        key,
        about: JSON.parse(await (await get("about.json")).text()),
        bytes: weights.size,
        sha256: Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join(""),
      });
    }
    return found;
  });

/** Waits for a notice with this code. */
export async function expectNotice(page: Page, code: string) {
  const notice = page.locator("#notice");
  await expect(notice).toBeVisible();
  await expect(notice).toHaveAttribute("data-code", code);
  return notice;
}
