/** The rooms of www/ and the arrows between them: every import, those of types too, is one that the table allows. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";
import ts from "typescript";
import { test } from "vitest";

const ROOT = "www";

/** What each room may import, besides itself. Only files at the root may import everything. */
const ARROWS: Record<string, string[]> = {
  lib: [],
  // Types of the protocol name what is read.
  engine: ["lib", "reading"],
  sources: ["lib", "engine"],
  reading: ["lib"],
  graphics: ["lib"],
  ui: ["lib", "graphics"],
  state: ["lib", "engine", "reading", "sources"],
  "lens/figure": ["lib", "reading", "state", "graphics", "ui"],
  "lens/panels": ["lib", "engine", "reading", "state", "graphics", "ui", "lens/figure"],
  lens: ["lib", "engine", "reading", "state", "graphics", "ui", "export", "lens/figure", "lens/panels"],
  models: ["lib", "engine", "sources", "state", "ui"],
  bench: ["lib", "ui", "export", "graphics"],
  export: ["lib", "engine", "sources", "reading", "state", "graphics", "ui", "lens/figure"],
  "atlas/stats": ["lib", "engine", "reading"],
  "atlas/charts": ["lib", "engine", "reading", "graphics", "ui", "atlas", "atlas/stats", "atlas/scatter"],
  "atlas/scatter": ["lib", "graphics", "ui", "state", "export", "atlas/stats"],
  "atlas/matrix": ["lib", "graphics", "ui", "state", "export", "atlas", "atlas/stats"],
  "atlas/views": [
    "lib",
    "engine",
    "reading",
    "graphics",
    "ui",
    "state",
    "export",
    "cards",
    "atlas",
    "atlas/stats",
    "atlas/charts",
    "atlas/scatter",
    "atlas/matrix",
  ],
  atlas: [
    "lib",
    "engine",
    "reading",
    "graphics",
    "ui",
    "state",
    "export",
    "cards",
    "atlas/stats",
    "atlas/charts",
    "atlas/scatter",
    "atlas/views",
  ],
  cards: ["lib", "engine", "graphics", "ui", "export"],
  evidence: ["lib", "engine", "reading", "state", "graphics", "ui", "export", "cards", "lens/figure"],
  causes: ["lib", "engine", "reading", "state", "graphics", "ui", "export", "cards", "lens/figure"],
  shell: [
    "lib",
    "engine",
    "state",
    "reading",
    "graphics",
    "ui",
    "lens/figure",
    "lens/panels",
    "atlas",
    "causes",
    "evidence",
  ],
};

/** Of the sources, which run in the worker, the page knows only what an address is and which models there are; these import no other source but each other. */
const OF_THE_PAGE = new Set(["sources/hub-address", "sources/catalogue", "sources/weights"]);

/** Packages that only one place may name. */
const OWNERS: Record<string, RegExp> = {
  comlink: /^(engine\/client|engine\/helpers|helper|worker)$/,
  "@observablehq/plot":
    /^(graphics\/plot|lens\/panels\/charts|atlas\/selection-panel|atlas\/charts\/.*|evidence\/curves)$/,
  "workbox-window": /^shell\/offline$/,
  "workbox-precaching": /^service-worker$/,
  "@preact/signals-core": /^(main|lens\/lens|causes\/causes|evidence\/evidence|state\/|shell\/)/,
};

/** Files that start a program: the page, the benchmark, the workers and the service worker. */
const ENTRIES = ["bench", "helper", "main", "service-worker", "worker"];

const files = readdirSync(ROOT, { recursive: true, encoding: "utf8" })
  .filter((file) => /\.[cm]?[jt]sx?$/.test(file) && !file.endsWith(".d.ts") && !file.startsWith("public/"))
  .map((file) => file.replace(/\.ts$/, ""));

const roomOf = (file: string) => path.posix.dirname(file);

/** What a file names: imports, exports from elsewhere, types, dynamic imports, and workers by their address. */
function specifiersOf(file: string) {
  const text = readFileSync(path.join(ROOT, `${file}.ts`), "utf8");
  const found: { to: string; is_type: boolean }[] = [];
  const add = (node: ts.Node | undefined, is_type: boolean) => {
    if (node && ts.isStringLiteralLike(node)) found.push({ to: node.text, is_type });
  };
  const visit = (node: ts.Node) => {
    if (ts.isImportDeclaration(node)) add(node.moduleSpecifier, node.importClause?.isTypeOnly === true);
    if (ts.isExportDeclaration(node)) add(node.moduleSpecifier, node.isTypeOnly);
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) add(node.argument.literal, true);
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword)
      add(node.arguments[0], false);
    if (ts.isNewExpression(node) && node.expression.getText() === "URL") {
      const [to, base] = node.arguments ?? [];
      if (base?.getText() === "import.meta.url") add(to, false);
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true));
  return found;
}

const importsOf = new Map(files.map((file) => [file, specifiersOf(file)]));

/** The engine's own declarations, of which only types are imported. */
const ENGINE_TYPES = "src/web/types.d.ts";

/** Files that are started by their address, and who starts them. */
const WORKERS: Record<string, string> = { worker: "engine/client", helper: "engine/helpers" };

/** A local import as a path below the root; null for a package and for the engine's own declarations. */
function localOf(file: string, { to, is_type }: { to: string; is_type: boolean }) {
  if (!to.startsWith(".") && !to.startsWith("/")) return null;
  const local = path.posix.join(to.startsWith("/") ? "." : roomOf(file), to);
  if (is_type && path.posix.normalize(path.posix.join(ROOT, local)) === ENGINE_TYPES) return null;
  return local.replace(/\?.*$/, "").replace(/\.ts$/, "");
}

test("every file has a room", () => {
  assert.deepEqual(files.filter((file) => roomOf(file) === ".").sort(), ENTRIES);
  assert.deepEqual(
    [...new Set(files.map(roomOf))].filter((room) => room !== "." && !(room in ARROWS)),
    [],
  );
});

test("every arrow is one that the table allows", () => {
  const wrong: string[] = [];
  for (const [file, imports] of importsOf) {
    const room = roomOf(file);
    for (const to of imports) {
      const local = localOf(file, to);
      if (local === null) continue;
      assert.ok(files.includes(local), `${file}: ${to.to} does not exist`);
      if (OF_THE_PAGE.has(file) && roomOf(local) === "sources" && !OF_THE_PAGE.has(local))
        wrong.push(`${file} → ${local}`);
      if (room === "." || roomOf(local) === room) continue;
      if (local !== null && WORKERS[local] === file) continue;
      const is_allowed = ARROWS[room].includes(roomOf(local));
      const is_hidden = roomOf(local) === "sources" && room !== "sources" && !OF_THE_PAGE.has(local);
      if (!is_allowed || is_hidden) wrong.push(`${file} → ${local}`);
    }
  }
  assert.deepEqual(wrong, []);
});

test("no file leads back to itself", () => {
  const done = new Set<string>();
  const visit = (file: string, above: string[]) => {
    if (file in WORKERS && above.length > 0) return;
    assert.ok(!above.includes(file), `a cycle: ${[...above.slice(above.indexOf(file)), file].join(" → ")}`);
    if (done.has(file)) return;
    for (const to of importsOf.get(file) ?? []) {
      const local = localOf(file, to);
      if (local !== null) visit(local, [...above, file]);
    }
    done.add(file);
  };
  files.forEach((file) => visit(file, []));
});

test("a package is named where it belongs", () => {
  for (const [file, imports] of importsOf) {
    for (const [name, owner] of Object.entries(OWNERS)) {
      const names = imports.some(({ to }) => to === name || to.startsWith(`${name}/`));
      assert.ok(!names || owner.test(file), `${file} names ${name}`);
    }
  }
});

test("a crash of the engine settles every promise that its calls have returned", () => {
  const [guard, types] = ["src/web/guard.js", "src/web/types.d.ts"].map((file) => readFileSync(file, "utf8"));
  const lists = [...guard.matchAll(/settling\((\w+)(?:\.prototype)?, \[([^\]]*)\]/g)].map(([, owner, names]) => ({
    owner,
    names: Array.from(names.matchAll(/"(\w+)"/g), ([, name]) => name),
  }));
  for (const owner of ["Reading", "Atlas", "Loupe"]) {
    const declared = types.split(new RegExp(`export class ${owner} \\{`))[1].split("\n}")[0];
    const promised = Array.from(
      declared.matchAll(/^ {2}(?:static )?(\w+)\((?:[^;]|;(?!\n))*?\): Promise</gm),
      ([, name]) => name,
    );
    const settled = lists.filter((list) => list.owner === owner).flatMap(({ names }) => names);
    assert.ok(promised.length > 3, owner);
    // A promise that waits for the device to be lost has nothing to reject.
    assert.deepEqual(promised.filter((name) => !settled.includes(name) && name !== "lost").sort(), [], owner);
  }
});

test("the page's markup uses every id once", () => {
  const ids = Array.from(readFileSync("www/index.html", "utf8").matchAll(/ id="([^"]+)"/g), ([, id]) => id);
  const twice = ids.filter((id, i) => ids.indexOf(id) !== i);
  assert.ok(ids.length > 100);
  assert.deepEqual(twice, []);
});
