/** axe-core over the page as it stands. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { expect } from "./site.ts";
import type { Page } from "@playwright/test";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** No serious and no critical fault. */
export async function expectAccessible(page: Page, what: string) {
  // Evaluated by the debugger, which no page policy stops.
  await page.evaluate(AXE);
  const faults = await page.evaluate(async () => {
    const { violations } = await (window as any).axe.run(document, { resultTypes: ["violations"] });
    return violations
      .filter(({ impact }: any) => impact === "serious" || impact === "critical")
      .map(
        ({ id, nodes }: any) =>
          `${id}: ${nodes.map(({ html, failureSummary }: any) => `${html} (${failureSummary})`).join("; ")}`,
      );
  });
  expect(faults, what).toEqual([]);
}
