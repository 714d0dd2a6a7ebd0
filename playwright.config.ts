import { defineConfig } from "@playwright/test";

/** Two workers: the page computes on the CPU here (SwiftShader), but waits as often as it computes. */
export default defineConfig({
  testDir: "tests/page",
  // Files named *.test.ts are Vitest's.
  testMatch: "*.spec.ts",
  workers: 2,
  timeout: 300_000,
  expect: { timeout: 60_000 },
  forbidOnly: true,
  reporter: [["list"]],
  use: {
    // What is kept for offline use must not answer for a test's own server; offline.spec.ts lets it.
    serviceWorkers: "block",
    viewport: { width: 1440, height: 900 },
    launchOptions: {
      executablePath: "/usr/bin/chromium",
      args: [
        "--no-sandbox",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--enable-unsafe-webgpu",
        "--use-webgpu-adapter=swiftshader",
      ],
    },
  },
});
