import path from "node:path";
import { brotliCompressSync } from "node:zlib";
import { build, defineConfig } from "vite";
import type { Plugin } from "vite";
import { injectManifest } from "workbox-build";
import { checkLicences, checkPackages, crates, licencesAsHtml, licencesAsText, npmPackages } from "./licences.ts";

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
          .replace(/connect-src 'self' https[^;]*/, `connect-src ${["'self'", hub, ...more].map(originOf).join(" ")}`),
});

const originOf = (source: string) => (source.startsWith("'") || source.includes("*") ? source : new URL(source).origin);

/** Limits of the page's JavaScript after Brotli, in kB: what comes before the first picture, the whole lens, the other tabs. */
const LIMITS = {
  "before the first picture": 85,
  "the lens": 190,
  "the atlas": 60,
  "its components": 10,
  causes: 60,
  evidence: 60,
};

/** Measures the JavaScript, and refuses to build more of it than the limits allow. */
const isSmall = (): Plugin => ({
  name: "loupe-sizes",
  apply: "build",
  generateBundle(_, bundle) {
    const files = Object.values(bundle).filter(({ fileName }) => fileName.endsWith(".js"));
    const chunks = new Map(files.flatMap((file) => (file.type === "chunk" ? [[file.fileName, file]] : [])));
    /** A chunk and all that it imports at once. */
    const whole = (name: string, seen = new Set<string>()): Set<string> => {
      if (!seen.has(name)) {
        seen.add(name);
        for (const other of chunks.get(name)?.imports ?? []) whole(other, seen);
      }
      return seen;
    };
    const startOf = (module: string) => [...chunks.values()].find((chunk) => chunk.facadeModuleId?.endsWith(module));
    const [page, atlas] = [startOf("www/index.html"), startOf("www/atlas/atlas.ts")];
    const [causes, python] = [startOf("www/causes/causes.ts"), startOf("www/causes/python.ts")];
    const [evidence, components] = [startOf("www/evidence/evidence.ts"), startOf("www/atlas/views/components.ts")];
    const bench = startOf("www/bench.html");
    if (!page || !atlas || !causes || !python || !evidence || !components || !bench)
      throw new Error("the page, the other tabs and the benchmark have a chunk each");
    const assets = files.filter((file) => file.type === "asset").map(({ fileName }) => fileName);
    // What the worker loads with the first question of a tab.
    const ofWorker = (tab: string) => assets.filter((name) => name.includes(tab));
    const workers = assets.filter((name) => !name.includes("causes") && !name.includes("evidence"));
    // The helpers' worker comes later.
    const first = new Set([...whole(page.fileName), ...workers.filter((name) => !name.includes("helper"))]);
    const tabs = [atlas, components, causes, python, evidence];
    const others = [...chunks.values()]
      .filter(({ isDynamicEntry }) => isDynamicEntry)
      .filter((chunk) => !tabs.includes(chunk));
    const of_lens = new Set([...first, ...workers, ...others.flatMap(({ fileName }) => [...whole(fileName)])]);
    const beside = (of: typeof tabs) =>
      of.flatMap(({ fileName }) => [...whole(fileName)]).filter((name) => !of_lens.has(name));
    const kB = (names: Iterable<string>) =>
      files
        .filter(({ fileName }) => new Set(names).has(fileName))
        .reduce(
          (sum, file) => sum + brotliCompressSync(file.type === "chunk" ? file.code : file.source).length / 1000,
          0,
        );
    const sizes = {
      "before the first picture": kB(first),
      "the lens": kB(of_lens),
      "the atlas": kB(beside([atlas])),
      "its components": kB(beside([components]).filter((name) => !beside([atlas]).includes(name))),
      causes: kB([...beside([causes, python]), ...ofWorker("causes")]),
      evidence: kB([...beside([evidence]), ...ofWorker("evidence")]),
    };
    for (const [what, size] of Object.entries(sizes)) {
      const limit = LIMITS[what as keyof typeof LIMITS];
      console.log(`JavaScript, ${what}: ${size.toFixed(1)} kB after Brotli, limit ${limit}`);
      if (size > limit) throw new Error(`the JavaScript of ${what} exceeds ${limit} kB`);
    }
  },
});

/** The modules that a module imports at once, and all that those import. */
function importedBy(start: string, infoOf: (id: string) => { importedIds: readonly string[] } | null) {
  const seen = new Set<string>();
  const visit = (id: string) => {
    if (seen.has(id)) return;
    seen.add(id);
    infoOf(id)?.importedIds.forEach(visit);
  };
  visit(start);
  return seen;
}

/** All that comes before the first picture is one chunk: the tabs share much of it, and pieces of it compress worse. */
let of_page: Set<string> | null = null;
const main = path.resolve("www/main.ts");

/** The service worker, which is built by itself. */
const buildServiceWorker = (write: boolean) =>
  build({
    configFile: false,
    publicDir: false,
    logLevel: "warn",
    define: { "process.env.NODE_ENV": JSON.stringify("production") },
    build: {
      write,
      outDir: "dist",
      emptyOutDir: false,
      target: "esnext",
      lib: { entry: "www/service-worker.ts", formats: ["iife"], name: "sw", fileName: () => "sw.js" },
    },
  });

/** The modules of a bundle. */
const modulesOf = (bundle: { type: string; modules?: object }[]) =>
  bundle.flatMap(({ modules }) => Object.keys(modules ?? {}));

/** `licences.html` beside the page, and a text file beside the engine, which others embed without the page. */
const namesLicences = (): Plugin => ({
  name: "loupe-licences",
  apply: "build",
  async generateBundle(_, bundle) {
    const of_worker = [await buildServiceWorker(false)]
      .flat()
      .flatMap((built) => ("output" in built ? built.output : []));
    const of_page = npmPackages([...modulesOf(Object.values(bundle)), ...modulesOf(of_worker)]);
    const of_engine = crates();
    checkLicences([...of_engine, ...of_page]);
    checkPackages(of_engine);
    checkPackages(of_page, []);
    this.emitFile({ type: "asset", fileName: "licences.html", source: licencesAsHtml(of_engine, of_page) });
    this.emitFile({ type: "asset", fileName: "loupe/LICENCES.txt", source: licencesAsText(of_engine) });
  },
});

/** Once everything is in `dist/`: a service worker that keeps all of it, so that the page works without a network. */
const worksOffline = () => ({
  name: "loupe-offline",
  enforce: "post" as const,
  apply: "build" as const,
  async closeBundle() {
    await buildServiceWorker(true);
    const { count, size, warnings } = await injectManifest({
      globDirectory: "dist",
      globPatterns: ["**/*"],
      globIgnores: ["**/*.d.ts", "sw.js"],
      swSrc: "dist/sw.js",
      swDest: "dist/sw.js",
      maximumFileSizeToCacheInBytes: 64 << 20,
      // A file with a hash in its name never changes: it is taken from the HTTP cache where that has it.
      dontCacheBustURLsMatching: /^assets\//,
    });
    for (const warning of warnings) throw new Error(`the service worker: ${warning}`);
    console.log(`offline: ${count} files, ${(size / 1e6).toFixed(1)} MB`);
  },
});

/**
 * The page and its service worker. `cargo xtask build` empties `dist/` first and puts `loupe/` (the engine) there, so
 * nothing here may empty the folder or bundle that.
 */
export default defineConfig({
  root: "www",
  base: "./",
  publicDir: "public",
  worker: { format: "es" },
  plugins: [otherHub(), isSmall(), namesLicences(), worksOffline()],
  build: {
    outDir: "../dist",
    emptyOutDir: false,
    target: "esnext",
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: ["www/index.html", "www/bench.html"],
      output: {
        codeSplitting: {
          groups: [
            {
              name(id, modules) {
                of_page ??= importedBy(main, (module) => modules.getModuleInfo(module));
                // What starts the page stays out of what the benchmark's page shares with it.
                return of_page.has(id) && id !== main && !id.includes("node_modules") ? "page" : null;
              },
            },
          ],
        },
      },
    },
  },
});
