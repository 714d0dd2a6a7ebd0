/** What is shipped names its licences, and one that is not accepted fails the build. */
import assert from "node:assert/strict";
import { test } from "vitest";
import {
  checkLicences,
  checkPackages,
  crates,
  licencesAsHtml,
  licencesAsText,
  npmPackages,
} from "../../../licences.ts";

const of = (licence: string) => ({ name: "x", version: "1.0.0", licence, texts: ["Do <what> you like."] });

test("a licence that is not accepted, missing or no SPDX expression is refused by the package's name", () => {
  checkLicences([of("MIT"), of("GPL-3.0 OR MIT"), of("(MIT OR Apache-2.0) AND Unicode-3.0")]);
  for (const licence of ["GPL-3.0", "MIT AND GPL-3.0", "", "see LICENSE"])
    assert.throws(() => checkLicences([of("MIT"), of(licence)]), /accepted licences.*x 1\.0\.0/, licence);
});

test("a banned package is refused, and so is a second version of one that is not known to have two", () => {
  const named = (name: string, version = "1.0.0") => ({ ...of("MIT"), name, version });
  checkPackages([named("x"), named("y", "1.0.0"), named("y", "2.0.0")], ["y"]);
  assert.throws(() => checkPackages([named("x"), named("reqwest")], []), /banned.*reqwest \(the page downloads/);
  assert.throws(() => checkPackages([named("x", "1.0.0"), named("x", "2.0.0")], []), /x has two versions/);
  assert.throws(() => checkPackages([named("x")], ["x"]), /x has only one by now/);
});

test("the crates of the engine and the packages of the page have texts, each once", () => {
  const [engine, page] = [
    crates(),
    npmPackages(["/x.ts", `${process.cwd()}/node_modules/comlink/dist/esm/comlink.mjs`]),
  ];
  checkLicences([...engine, ...page]);
  checkPackages(engine);
  checkPackages(page, []);
  const names = engine.map(({ name }) => name);
  for (const name of ["wgpu", "tokenizers", "safetensors", "wasm-bindgen", "serde"])
    assert.ok(names.includes(name), name);
  assert.ok(!names.includes("loupe") && !names.includes("serde_derive"));
  assert.deepEqual(
    page.map(({ name, licence, texts }) => [name, licence, texts.length]),
    [["comlink", "Apache-2.0", 1]],
  );
  const text = licencesAsText(engine);
  for (const { name, version } of engine) assert.ok(text.includes(`${name} ${version}: `), name);
  const html = licencesAsHtml([of("MIT")], [{ ...of("MIT"), name: "y" }]);
  assert.equal(html.split("Do &lt;what> you like.").length, 2, "one text for both, escaped");
});
