import { defineConfig } from "vitest/config";

/** Unit tests of the page's pure modules. They need no browser and no build. */
export default defineConfig({
  test: { include: ["tests/page/unit/**/*.test.ts"], environment: "node" },
});
