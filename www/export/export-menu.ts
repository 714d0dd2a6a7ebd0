/** The lens' export menu. What it does is loaded when it is first opened. */
import { button, byId } from "../ui/dom.ts";
import { createMenu } from "../ui/menu.ts";
import type { ExportPage, Exports } from "./exports.ts";

const LABELS: Record<keyof Exports, string> = {
  png: "PNG, 2×",
  svg: "SVG",
  csv: "CSV of the reading",
  json: "JSON of the reading",
  link: "Copy link",
  python: "The same in Python",
};

export function createExportMenu(page: ExportPage) {
  const say = (words: string) => void (byId("export-words").textContent = words);
  let coming: Promise<Exports> | null = null;
  function load() {
    coming ??= import("./exports.ts").then(({ createExports }) => createExports(page, say));
    coming.catch(() => (coming = null));
    return coming;
  }

  byId("export-actions").replaceChildren(
    ...(Object.keys(LABELS) as (keyof Exports)[]).map((name) => {
      const made = button("menu-item", LABELS[name], () => {
        say("");
        load()
          .then((exports) => exports[name]())
          .catch((error: Error) => say(`That failed: ${error.message}`));
      });
      made.dataset.export = name;
      return made;
    }),
  );
  createMenu(byId<HTMLButtonElement>("export"), byId("export-menu"), () => {
    say("");
    // A choice then acts at once: browsers let a page write to the clipboard only soon after a click.
    void load().catch(() => {});
  });
  byId("python-close").addEventListener("click", () => byId<HTMLDialogElement>("python").close());
  byId("python-copy").addEventListener("click", async () => {
    await navigator.clipboard.writeText(byId("python-code").textContent ?? "");
    byId("python-copy").textContent = "Copied";
  });
}
