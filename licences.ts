/**
 * Everything of others that is shipped: the crates that are compiled into the engine and the packages that are bundled
 * into the page. A licence that is not in ACCEPTED fails the build, and so do a banned package and a second version of
 * one.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, readdirSync } from "node:fs";
import path from "node:path";
import satisfies from "spdx-satisfies";

/** By their SPDX identifiers. */
const ACCEPTED = ["Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "ISC", "MIT", "Unicode-3.0", "Zlib"];

/** What has no place in what is shipped, and why. */
const BANNED: Record<string, string> = {
  onig: "C code: tokenizers uses fancy-regex",
  "hf-hub": "the page downloads models, not the engine",
  reqwest: "the page downloads models, not the engine",
  ureq: "the page downloads models, not the engine",
  d3: "each of its packages is imported by itself",
  lodash: "the language has it",
};

/** Crates of which two versions are shipped, because two others ask for them. */
const TWICE = ["hashbrown"];

/** How packages name the files that hold their licences. */
const LICENCE_FILE = /^(un)?licen[cs]e|^copying|^notice/i;

export type Licensed = {
  name: string;
  version: string;
  /** SPDX */
  licence: string;
  /** the texts that the package has */
  texts: string[];
};

function textsIn(folder: string) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true })
    .filter((file) => file.isFile() && LICENCE_FILE.test(file.name))
    .map(({ name }) => readFileSync(path.join(folder, name), "utf8").trim())
    .filter(Boolean);
}

interface Metadata {
  packages: { name: string; version: string; license: string | null; manifest_path: string }[];
}

const cargo = (...args: string[]) =>
  execFileSync("cargo", args, { encoding: "utf8", maxBuffer: 64 << 20, stdio: ["ignore", "pipe", "ignore"] });

const TARGET = "wasm32-unknown-unknown";

/** The crates that are compiled into the engine, but for macros, which leave nothing of themselves in it. */
export function crates(): Licensed[] {
  // The metadata by themselves would also name what only tests switch on.
  const edges = ["--edges", "normal,no-proc-macro", "--prefix", "none", "--format", "{p}"];
  const tree = cargo("tree", "--package", "loupe", "--locked", "--target", TARGET, ...edges);
  const found = new Set(Array.from(tree.matchAll(/^(\S+) v(\S+)/gm), ([, name, version]) => `${name} ${version}`));
  const { packages } = JSON.parse(
    cargo("metadata", "--format-version", "1", "--locked", "--filter-platform", TARGET),
  ) as Metadata;
  return packages
    .filter(({ name, version }) => found.has(`${name} ${version}`) && !name.startsWith("loupe"))
    .map(({ name, version, license, manifest_path }) => ({
      name,
      version,
      // Old manifests separate alternatives by slashes.
      licence: (license ?? "").replace(/\s*\/\s*/g, " OR "),
      texts: textsIn(path.dirname(manifest_path)),
    }));
}

/** @param modules paths of bundled files; those in node_modules belong to a package */
export function npmPackages(modules: Iterable<string>): Licensed[] {
  const folders = new Set<string>();
  for (const module of modules) {
    const folder = /^.*\/node_modules\/(@[^/]+\/)?[^/]+/.exec(module.replace(/^\0/, "").replaceAll("\\", "/"))?.[0];
    if (folder) folders.add(folder);
  }
  return [...folders].map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(path.join(folder, "package.json"), "utf8")) as {
      name: string;
      version: string;
      license?: string;
    };
    return { name, version, licence: license ?? "", texts: textsIn(folder) };
  });
}

/** Errors: names every package whose licence is missing or not accepted. */
export function checkLicences(all: Licensed[]) {
  const isAccepted = ({ licence }: Licensed) => {
    try {
      return satisfies(licence, ACCEPTED);
    } catch {
      // No SPDX expression.
      return false;
    }
  };
  const refused = all.filter((each) => !isAccepted(each));
  if (refused.length > 0)
    throw new Error(
      `not in the list of accepted licences (licences.ts): ${refused.map(({ name, version, licence }) => `${name} ${version} (${licence || "none"})`).join(", ")}`,
    );
}

/** Errors: names every banned package, and every one of which there are two versions or, if it is in TWICE, no longer. */
export function checkPackages(all: Licensed[], twice: string[] = TWICE) {
  const banned = all.filter(({ name }) => name in BANNED).map(({ name }) => `${name} (${BANNED[name]})`);
  if (banned.length > 0) throw new Error(`banned (licences.ts): ${banned.join(", ")}`);
  const names = all.map(({ name }) => name);
  const doubled = [...new Set(names.filter((name, i) => names.indexOf(name) !== i))];
  const wrong = [
    ...doubled.filter((name) => !twice.includes(name)).map((name) => `${name} has two versions`),
    ...twice.filter((name) => !doubled.includes(name)).map((name) => `${name} has only one by now`),
  ];
  if (wrong.length > 0) throw new Error(`versions (licences.ts): ${wrong.join(", ")}`);
}

const byName = (a: Licensed, b: Licensed) => a.name.localeCompare(b.name) || a.version.localeCompare(b.version);

/** Every text once, with the packages that have it. */
function byText(all: Licensed[]) {
  const groups = new Map<string, Licensed[]>();
  for (const each of all.toSorted(byName))
    for (const text of each.texts) groups.set(text, [...(groups.get(text) ?? []), each]);
  return groups;
}

const title = ({ name, version }: Licensed) => `${name} ${version}`;

export function licencesAsText(all: Licensed[]) {
  const list = all.toSorted(byName).map((each) => `${title(each)}: ${each.licence}`);
  const texts = [...byText(all)].map(([text, packages]) => `${packages.map(title).join(", ")}\n\n${text}`);
  return `Licences of what is compiled into Loupe\n\n${list.join("\n")}\n\n${"=".repeat(72)}\n\n${texts.join(`\n\n${"=".repeat(72)}\n\n`)}\n`;
}

const escaped = (text: string) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

export function licencesAsHtml(engine: Licensed[], page: Licensed[]) {
  const table = (all: Licensed[]) =>
    `<table>${all
      .toSorted(byName)
      .map((each) => `<tr><td>${escaped(title(each))}</td><td>${escaped(each.licence)}</td></tr>`)
      .join("\n")}</table>`;
  const texts = [...byText([...engine, ...page])].map(
    ([text, packages]) =>
      `<details><summary>${packages.map((each) => escaped(title(each))).join(", ")}</summary><pre>${escaped(text)}</pre></details>`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8" />
<meta http-equiv="Content-Security-Policy" content="default-src 'none'" />
<meta name="viewport" content="width=device-width, initial-scale=1" />
<meta name="color-scheme" content="light dark" />
<title>Licences · Loupe</title>
</head>
<body>
<h1>Licences</h1>
<p>Loupe itself is licensed under MIT OR Apache-2.0. It contains the following works of others.</p>
<h2>Compiled into the engine</h2>
${table(engine)}
<h2>Bundled into the page</h2>
${table(page)}
<h2>Texts</h2>
${texts.join("\n")}
</body>
</html>
`;
}
