//! `dist/`: the engine in `dist/loupe/`, the page around it, the bundled model.

use std::fs;
use std::path::Path;

use crate::run::{Outcome, output, root, run};
use crate::tools;

/// Most bytes of the engine's wasm after Brotli; tokenizers is the largest part of it.
const WASM_LIMIT: u64 = 700_000;

pub fn build() -> Outcome {
    tools::wasm_target()?;
    tools::wasm_bindgen()?;
    tools::node_modules()?;
    let dist = root().join("dist");
    if dist.exists() {
        fs::remove_dir_all(&dist).map_err(|e| format!("dist/ cannot be emptied: {e}"))?;
    }
    engine(&dist.join("loupe"))?;
    copy(&root().join("www/models"), &dist.join("models"))?;
    // Last, because its service worker lists everything that is there.
    run("npx", &["--no-install", "vite", "build", "--logLevel", "warn"], &[])?;
    println!("dist/ is ready: a static site that works from any path of any host");
    Ok(())
}

fn engine(out: &Path) -> Outcome {
    let target = "wasm32-unknown-unknown";
    run("cargo", &["build", "--release", "--lib", "--target", target], &[])?;
    let wasm = format!("target/{target}/release/loupe.wasm");
    let bindgen = tools::tool("wasm-bindgen");
    let out_dir = out.to_string_lossy();
    run(&bindgen.to_string_lossy(), &["--target", "web", "--out-dir", &out_dir, &wasm], &[])?;
    optimise(&out.join("loupe_bg.wasm"))?;
    check_size(&out.join("loupe_bg.wasm"))
}

/// wasm-opt takes half a minute, so its last result is kept as long as its input is the same.
fn optimise(wasm: &Path) -> Outcome {
    let kept = root().join("target/xtask");
    let (before, after) = (kept.join("before.wasm"), kept.join("after.wasm"));
    let told = |e: std::io::Error| format!("{}: {e}", wasm.display());
    let input = fs::read(wasm).map_err(told)?;
    if fs::read(&before).is_ok_and(|last| last == input) && after.exists() {
        return fs::copy(&after, wasm).map(|_| ()).map_err(told);
    }
    let path = wasm.to_string_lossy();
    run("npx", &["--no-install", "wasm-opt", "-O3", &path, "-o", &path], &[])?;
    fs::create_dir_all(&kept).map_err(told)?;
    fs::copy(wasm, &after).map_err(told)?;
    fs::write(&before, input).map_err(told)
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

fn copy(from: &Path, to: &Path) -> Outcome {
    let told = |e: std::io::Error| format!("{}: {e}", from.display());
    fs::create_dir_all(to).map_err(told)?;
    for entry in fs::read_dir(from).map_err(told)? {
        let entry = entry.map_err(told)?;
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target).map_err(told)?;
        }
    }
    Ok(())
}
