//! `dist/`: the engine in `dist/loupe/`, the page around it, the bundled model.

use std::fs;
use std::path::Path;

use crate::run::{Outcome, output, root, run};
use crate::tools;

/// Largest accepted size of the engine's wasm after Brotli; tokenizers is most of it. Units: bytes.
const WASM_LIMIT: u64 = 870_000;
/// Where the engine's JavaScript gets the exports of its wasm.
const EXPORTS: &str = "wasm = instance.exports;";

pub fn build() -> Outcome {
    tools::wasm_target()?;
    tools::wasm_bindgen()?;
    tools::node_modules()?;
    let dist = root().join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist).map_err(|e| format!("dist/ cannot be emptied: {e}"))?;
    }
    engine(&dist.join("loupe"))?;
    check_size(&dist.join("loupe/loupe_bg.wasm"))?;
    // Last, because its service worker lists everything that is there.
    run("npx", &["--no-install", "vite", "build", "--logLevel", "warn"], &[])?;
    println!("dist/ is ready: a static site that works from any path of any host");
    Ok(())
}

const TARGET: &str = "wasm32-unknown-unknown";

/// The engine as a JavaScript module in the folder `out`.
fn engine(out: &Path) -> Outcome {
    let flags = ("CARGO_ENCODED_RUSTFLAGS", rust_flags()?.join("\x1f").into());
    run("cargo", &["build", "--release", "--lib", "--target", TARGET], &[flags])?;
    glue("release", out)?;
    optimise(&out.join("loupe_bg.wasm"))?;
    check_paths(&out.join("loupe_bg.wasm"))
}

/// The debug build of the engine, which panics when it is asked to, for the test of what a page does then:
/// target/crash/loupe. The tests in browsers have compiled it already.
pub fn crashing_engine() -> Outcome {
    run("cargo", &["build", "--lib", "--target", TARGET], &[])?;
    glue("debug", &root().join("target/crash/loupe"))
}

/// The JavaScript of a built wasm, with its guard, in the folder `out`.
fn glue(profile: &str, out: &Path) -> Outcome {
    let wasm = format!("target/{TARGET}/{profile}/loupe.wasm");
    let bindgen = tools::tool("wasm-bindgen");
    let out_dir = out.to_string_lossy();
    run(&bindgen.to_string_lossy(), &["--target", "web", "--out-dir", &out_dir, &wasm], &[])?;
    guard(&out.join("loupe.js"))
}

/// SIMD, which every browser with WebGPU has, and replacement names for this machine's paths, which would
/// otherwise appear in panic messages.
fn rust_flags() -> Result<Vec<String>, String> {
    let mut flags = vec!["-Ctarget-feature=+simd128".to_string()];
    for (folder, name) in folders()? {
        flags.push(format!("--remap-path-prefix={folder}={name}"));
    }
    Ok(flags)
}

/// Folders of this machine that a compiler may name, and what to call them.
fn folders() -> Result<[(String, &'static str); 3], String> {
    let sysroot = output("rustc", &["--print", "sysroot"]).ok_or("rustc does not answer")?;
    let home = std::env::var("HOME").unwrap_or_default();
    let cargo = std::env::var("CARGO_HOME").unwrap_or_else(|_| format!("{home}/.cargo"));
    Ok([(root().to_string_lossy().into(), "loupe"), (cargo, "cargo"), (sysroot, "rust")])
}

/// Appends src/web/guard.js, which ends every call once the wasm has trapped, and passes the exports of the wasm
/// through it.
fn guard(glue: &Path) -> Outcome {
    let failed = |e: std::io::Error| format!("{}: {e}", glue.display());
    let text = fs::read_to_string(glue).map_err(failed)?;
    if text.matches(EXPORTS).count() != 1 {
        return Err(format!("{} has no single line `{EXPORTS}`", glue.display()));
    }
    let guarded = text.replace(EXPORTS, "wasm = guarded(instance.exports);");
    let script = fs::read_to_string(root().join("src/web/guard.js")).map_err(failed)?;
    fs::write(glue, format!("{guarded}\n{script}")).map_err(failed)
}

/// Fails if the wasm contains a path of this machine.
fn check_paths(wasm: &Path) -> Outcome {
    let bytes = fs::read(wasm).map_err(|e| format!("{}: {e}", wasm.display()))?;
    for (folder, _) in folders()? {
        if bytes.windows(folder.len()).any(|piece| piece == folder.as_bytes()) {
            return Err(format!("{} holds the path {folder}", wasm.display()));
        }
    }
    Ok(())
}

/// wasm-opt takes half a minute, so its last result is kept as long as its input is the same.
fn optimise(wasm: &Path) -> Outcome {
    let kept = root().join("target/xtask");
    let (before, after) = (kept.join("before.wasm"), kept.join("after.wasm"));
    let failed = |e: std::io::Error| format!("{}: {e}", wasm.display());
    let input = fs::read(wasm).map_err(failed)?;
    if fs::read(&before).is_ok_and(|last| last == input) && after.exists() {
        return fs::copy(&after, wasm).map(|_| ()).map_err(failed);
    }
    let path = wasm.to_string_lossy();
    run("npx", &["--no-install", "wasm-opt", "-O3", "--converge", &path, "-o", &path], &[])?;
    fs::create_dir_all(&kept).map_err(failed)?;
    fs::copy(wasm, &after).map_err(failed)?;
    fs::write(&before, input).map_err(failed)
}

fn check_size(wasm: &Path) -> Outcome {
    let script = "process.stdout.write(String(require('zlib').brotliCompressSync(\
                  require('fs').readFileSync(process.argv[1])).length))";
    let bytes: u64 = output("node", &["-e", script, &wasm.to_string_lossy()])
        .and_then(|n| n.parse().ok())
        .ok_or("the engine's size could not be measured")?;
    println!("engine: {bytes} bytes after Brotli, limit {WASM_LIMIT}");
    if bytes > WASM_LIMIT {
        return Err("the engine has outgrown its limit (xtask/src/build.rs)".into());
    }
    Ok(())
}
