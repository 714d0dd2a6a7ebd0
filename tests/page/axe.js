// @ts-check
/** axe-core over the page as it stands. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { expect } from "./site.js";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** No serious and no critical fault. @param {import("@playwright/test").Page} page @param {string} what */
export async function expectAccessible(page, what) {
  // Evaluated by the debugger, which no page policy stops.
  await page.evaluate(AXE);
  const faults = await page.evaluate(async () => {
    const { violations } = await /** @type {any} */ (window).axe.run(document, { resultTypes: ["violations"] });
    return violations
      .filter((/** @type {any} */ { impact }) => impact === "serious" || impact === "critical")
      .map((/** @type {any} */ { id, nodes }) => `${id}: ${nodes.map((/** @type {any} */ { html, failureSummary }) => `${html} (${failureSummary})`).join("; ")}`);
  });
  expect(faults, what).toEqual([]);
}
