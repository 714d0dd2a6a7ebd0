// @ts-check
import { defineConfig } from "vite";

/**
 * The page alone. `cargo xtask build` empties `dist/` first and puts `loupe/` (the engine) and
 * `models/` next to what this writes, so nothing here may empty the folder or bundle either.
 */
export default defineConfig({
  root: "www",
  base: "./",
  publicDir: false,
  worker: { format: "es" },
  build: {
    outDir: "../dist",
    emptyOutDir: false,
    target: "esnext",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
