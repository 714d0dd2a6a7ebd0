import { defineConfig } from "vite";
import { generateSW } from "workbox-build";

/** Where models come from, and every origin that it may send downloads on to. */
const [hub, ...more] = (process.env.LOUPE_HUB ?? "").split(/\s+/).filter(Boolean);

/** Builds for another hub: `LOUPE_HUB="https://mirror.example https://files.mirror.example" cargo xtask build`. */
const otherHub = () => ({
  name: "loupe-hub",
  transformIndexHtml: (html: string) =>
    !hub
      ? html
      : html
          .replace(/(<meta name="loupe-hub" content=")[^"]*/, `$1${hub.replace(/\/+$/, "")}`)
          .replace(/connect-src 'self'[^;]*/, `connect-src ${["'self'", hub, ...more].map(originOf).join(" ")}`),
});

const originOf = (source: string) => (source.startsWith("'") || source.includes("*") ? source : new URL(source).origin);

/** Once everything is in `dist/`: a service worker that keeps all of it, so that the page works without a network. */
const worksOffline = () => ({
  name: "loupe-offline",
  enforce: "post" as "post",
  apply: "build" as "build",
  async closeBundle() {
    const { count, size, warnings } = await generateSW({
      globDirectory: "dist",
      globPatterns: ["**/*"],
      globIgnores: ["**/*.d.ts", "sw.js"],
      swDest: "dist/sw.js",
      maximumFileSizeToCacheInBytes: 64 << 20,
      // A file with a hash in its name never changes: it is taken from the HTTP cache where that has it.
      dontCacheBustURLsMatching: /^assets\//,
      cleanupOutdatedCaches: true,
      // The page asks before a new version takes over: two versions of one page must not meet.
      skipWaiting: false,
      clientsClaim: false,
      inlineWorkboxRuntime: true,
      sourcemap: false,
    });
    for (const warning of warnings) throw new Error(`the service worker: ${warning}`);
    console.log(`offline: ${count} files, ${(size / 1e6).toFixed(1)} MB`);
  },
});

/**
 * The page and its service worker. `cargo xtask build` empties `dist/` first and puts `loupe/` (the engine) and
 * `models/` there, so nothing here may empty the folder or bundle either.
 */
export default defineConfig({
  root: "www",
  base: "./",
  publicDir: "public",
  worker: { format: "es" },
  plugins: [otherHub(), worksOffline()],
  build: {
    outDir: "../dist",
    emptyOutDir: false,
    target: "esnext",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
