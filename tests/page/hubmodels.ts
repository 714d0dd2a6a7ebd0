/** The models of the hub that the tests of downloads and of kept models share. */
import { tales, talesBeyondF16, talesInShards, talesOfOld, wide } from "./checkpoints.ts";
import { download, stored, waitForModel, withModels } from "./hubpage.ts";
import { waitForState } from "./site.ts";
import type { Folder } from "./checkpoints.ts";

export const TEXT = "The old king went home to the castle by the sea.";

const models = () => {
  const { "tokenizer.json": _, ...without_tokenizer } = tales();
  return {
    "loupe/tales": tales(),
    "loupe/shards": talesInShards(3),
    "loupe/wide": wide(),
    "loupe/beyond-f16": talesBeyondF16(),
    "loupe/no-weights": {
      "config.json": without_tokenizer["config.json"],
      "tokenizer.json": tales()["tokenizer.json"],
    },
    "loupe/no-tokenizer": without_tokenizer,
    "loupe/of-old": talesOfOld(),
  };
};

export const test = withModels(models).extend<object, { undisturbed: string }>({
  /** The digest of the data of Tales as an undisturbed download keeps it; every other way must come to the same. */
  undisturbed: [
    async ({ browser, server }, use) => {
      const page = await browser.newPage();
      await page.goto(`${server.origin}/a/b/`);
      await waitForState(page, "ready");
      await download(page, "loupe/tales");
      await waitForModel(page, "loupe/tales");
      const [{ sha256 }] = await stored(page);
      await page.close();
      await use(String(sha256));
    },
    { scope: "worker" },
  ],
});

/** As a file input takes them. */
export const asFiles = (folder: Folder) =>
  Object.entries(folder).map(([name, buffer]) => ({ name, mimeType: "application/octet-stream", buffer }));
