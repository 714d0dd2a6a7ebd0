//! Every test: natively on Vulkan, hostile bytes, in Chromium, in Firefox, and the built page.

use crate::run::{Outcome, Var, root, run, watch};
use crate::{build, tools};

/// The parts, in the order they run.
pub const PARTS: [&str; 5] = ["rust", "fuzz", "chromium", "firefox", "page"];

/// Test files whose bodies run in browsers as well.
const IN_BROWSERS: [&str; 7] =
    ["kernels", "lens_kernels", "golden", "atlas", "atlas_parts", "browser", "loading"];

#[derive(Default)]
struct Count {
    passed: i64,
    failed: i64,
    /// Tests that ended at once because something they need is not on this machine.
    skipped: i64,
}

impl Count {
    /// Reads "3 passed" and "1 failed" off a runner's closing line, and a test's own word that it was skipped.
    fn read(&mut self, line: &str) {
        if line.contains("skipped: ") {
            // Its runner will count it as passed.
            self.skipped += 1;
            self.passed -= 1;
        }
        let words: Vec<&str> = line.split([' ', ';', '.']).filter(|w| !w.is_empty()).collect();
        let is_result =
            line.starts_with("test result:") || words.len() >= 2 && line.starts_with("  ");
        for pair in words.windows(2).filter(|_| is_result) {
            match (pair[0].parse::<i64>(), pair[1]) {
                (Ok(n), "passed") => self.passed += n,
                (Ok(n), "failed") => self.failed += n,
                // Playwright's word for it.
                (Ok(n), "skipped") => self.skipped += n,
                _ => {}
            }
        }
    }
}

impl Count {
    /// Reads "pass 3" and "fail 1" off the closing lines of Node's own test runner.
    fn read_node(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            [_, "pass", n] => self.passed += n.parse::<i64>().unwrap_or(0),
            [_, "fail", n] => self.failed += n.parse::<i64>().unwrap_or(0),
            _ => {}
        }
    }
}

pub fn test(parts: &[&str]) -> Outcome {
    let mut count = Count::default();
    let mut failures = Vec::new();
    for part in parts {
        println!("\n== {part} ==");
        let before = count.passed;
        let result = match *part {
            "rust" => rust(&mut count),
            "fuzz" => fuzz(&mut count),
            "chromium" => chromium(&mut count),
            "firefox" => firefox(&mut count),
            _ => page(&mut count),
        };
        match result {
            Err(message) => failures.push(format!("{part}: {message}")),
            Ok(()) if count.passed == before => failures.push(format!("{part}: no test ran")),
            Ok(()) => {}
        }
    }
    // A part that could not run counts as a failure: the last line must not look better than it is.
    let failed = count.failed.max(failures.len() as i64);
    println!("\nparts: {}", parts.join(", "));
    failures.iter().for_each(|failure| println!("FAILED {failure}"));
    println!("loupe: {} passed, {failed} failed, {} skipped", count.passed, count.skipped);
    if failures.is_empty() { Ok(()) } else { Err("not all tests passed".into()) }
}

fn rust(count: &mut Count) -> Outcome {
    tools::vulkan()?;
    run("cargo", &["fmt", "--all", "--check"], &[])?;
    tools::wasm_target()?;
    let native = ["--workspace", "--all-targets"];
    let wasm = ["--lib", "--tests", "--target", "wasm32-unknown-unknown"];
    for what in [&native[..], &wasm[..]] {
        run("cargo", &[&["clippy", "--quiet"], what, &["--", "-D", "warnings"]].concat(), &[])?;
    }
    let args = ["test", "--workspace", "--no-fail-fast"];
    watch("cargo", &args, &[tools::runtime_dir()?], |line| count.read(line))
}

/// So many inputs, the same on every run, in addition to the committed ones.
const FUZZ_RUNS: &str = "-runs=300000";

/// The checkpoint reader against hostile bytes. libFuzzer without a sanitizer needs no nightly compiler.
fn fuzz(count: &mut Count) -> Outcome {
    tools::cargo_fuzz()?;
    run("cargo", &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"], &[])?;
    // What it finds interesting goes here, not among the committed inputs, and is forgotten.
    let found = root().join("target/fuzz-corpus");
    let _ = std::fs::remove_dir_all(&found);
    std::fs::create_dir_all(&found).map_err(|e| format!("{}: {e}", found.display()))?;
    let found = found.to_string_lossy();
    let program = tools::tool("cargo-fuzz");
    let target = ["fuzz", "run", "--sanitizer", "none", "checkpoint"];
    let inputs = [&*found, "fuzz/corpus/checkpoint", "--", FUZZ_RUNS, "-seed=1", "-max_len=4096"];
    run(&program.to_string_lossy(), &[&target[..], &inputs[..]].concat(), &[])?;
    count.passed += 1;
    Ok(())
}

fn chromium(count: &mut Count) -> Outcome {
    tools::chromium()?;
    let driver = ("CHROMEDRIVER", "/usr/bin/chromedriver".into());
    in_browser("tests/chromium.json", driver, count)
}

fn firefox(count: &mut Count) -> Outcome {
    tools::firefox()?;
    tools::geckodriver()?;
    in_browser("tests/firefox.json", ("GECKODRIVER", tools::tool("geckodriver").into()), count)
}

/// The same test bodies, compiled to wasm and run in a headless browser.
fn in_browser(options: &str, driver: Var, count: &mut Count) -> Outcome {
    tools::wasm_target()?;
    tools::wasm_bindgen()?;
    let mut args = vec!["test", "--target", "wasm32-unknown-unknown", "--no-fail-fast"];
    args.extend(IN_BROWSERS.iter().flat_map(|name| ["--test", name]));
    let options = ("WASM_BINDGEN_TEST_WEBDRIVER_JSON", root().join(options).into());
    let vars = [driver, options, tools::runtime_dir()?];
    watch("cargo", &args, &vars, |line| count.read(line))
}

/// The page's pure modules in Node, and the built site in headless Chromium, as a person uses it.
fn page(count: &mut Count) -> Outcome {
    tools::chromium()?;
    build::build()?;
    run("npm", &["run", "--silent", "check"], &[])?;
    watch("npm", &["run", "--silent", "unit"], &[], |line| count.read_node(line))?;
    let args = ["--no-install", "playwright", "test"];
    watch("npx", &args, &[], |line| count.read(line))
}
