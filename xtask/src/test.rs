//! Runs every test: natively on Vulkan, fuzzing, in Chromium, in Firefox, and of the built page.

use std::thread::JoinHandle;
use std::time::Instant;

use crate::run::{Outcome, Var, root, run, watch};
use crate::{build, tools};

/// The suites, in the order in which they end.
pub const SUITES: [&str; 5] = ["rust", "fuzz", "chromium", "page", "firefox"];

/// The test programs that run in browsers as well.
const IN_BROWSERS: [&str; 2] = ["engine", "browser"];

#[derive(Default)]
struct Count {
    passed: i64,
    failed: i64,
    /// Tests that did nothing because a file they need is not on this machine.
    skipped: i64,
}

impl Count {
    fn add(&mut self, other: &Count) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Adds "3 passed" and "1 failed" of a runner's last lines, and the line with which a test says that it is skipped.
    fn read(&mut self, line: &str) {
        if line.contains("skipped: ") {
            // The runner counts it as passed.
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
                // Only Playwright prints this.
                (Ok(n), "skipped") => self.skipped += n,
                _ => {}
            }
        }
    }

    /// Adds the line "Tests  1 failed | 3 passed (4)" of Vitest.
    fn read_vitest(&mut self, line: &str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if words.first() != Some(&"Tests") {
            return;
        }
        for pair in words.windows(2) {
            let n = pair[0].parse::<i64>().unwrap_or(0);
            match pair[1] {
                "passed" => self.passed += n,
                "failed" => self.failed += n,
                _ => {}
            }
        }
    }
}

pub fn test(suites: &[&str]) -> Outcome {
    let mut count = Count::default();
    let mut failures = Vec::new();
    let mut times = Vec::new();
    // What runs beside the suite in Chromium: the site is compiled and checked, and Firefox, which waits for readbacks
    // most of the time, has its own suite, which goes on beside the tests of the page.
    let (mut site, mut in_firefox) = (None, None);
    for suite in suites {
        let start = Instant::now();
        if *suite == "chromium" {
            // All of them need it, and only one may install it.
            match tools_of_browsers() {
                Ok(()) => {
                    let has = |other| suites.contains(&other);
                    site = has("page").then(|| std::thread::spawn(built_and_checked));
                    in_firefox = has("firefox").then(|| std::thread::spawn(firefox));
                }
                Err(message) => failures.push(format!("tools: {message}")),
            }
        }
        println!("\n== {suite} ==");
        let result = match *suite {
            "rust" => rust(),
            "fuzz" => fuzz(),
            "chromium" => chromium(),
            "firefox" => in_firefox.take().map_or_else(firefox, joined),
            _ => page(site.take()),
        };
        match result {
            Err((message, of_suite)) => {
                count.add(&of_suite);
                failures.push(format!("{suite}: {message}"));
            }
            Ok(of_suite) => {
                count.add(&of_suite);
                if of_suite.passed == 0 {
                    failures.push(format!("{suite}: no test ran"));
                }
            }
        }
        times.push(format!("{suite} {} s", start.elapsed().as_secs()));
    }
    // A suite that did not run counts as a failure.
    let failed = count.failed.max(failures.len() as i64);
    println!("\nsuites: {}", times.join(", "));
    failures.iter().for_each(|failure| println!("FAILED {failure}"));
    println!("loupe: {} passed, {failed} failed, {} skipped", count.passed, count.skipped);
    if failures.is_empty() { Ok(()) } else { Err("not all tests passed".into()) }
}

/// What a suite counted, also if it failed.
type Counted = Result<Count, (String, Count)>;

/// A suite that counts the lines of its programs.
fn counted(suite: impl FnOnce(&mut Count) -> Outcome) -> Counted {
    let mut count = Count::default();
    match suite(&mut count) {
        Ok(()) => Ok(count),
        Err(message) => Err((message, count)),
    }
}

/// What a suite in another thread counted.
fn joined(suite: JoinHandle<Counted>) -> Counted {
    suite.join().unwrap_or_else(|_| Err(("xtask panicked".into(), Count::default())))
}

fn rust() -> Counted {
    counted(|count| {
        tools::vulkan()?;
        run("cargo", &["fmt", "--all", "--check"], &[])?;
        clippy(&["--workspace", "--all-targets"])?;
        // Clippy has checked the examples.
        let args = ["test", "--workspace", "--no-fail-fast", "--lib", "--bins", "--tests"];
        watch("cargo", &args, &[tools::runtime_dir()?], |line| count.read(line))
    })
}

fn clippy(what: &[&str]) -> Outcome {
    run("cargo", &[&["clippy", "--quiet"], what, &["--", "-D", "warnings"]].concat(), &[])
}

/// The targets in fuzz/fuzz_targets, the number of inputs that each gets besides its committed ones, and the largest
/// length of an input. Units: bytes. The seed is fixed, so the inputs are the same in every run.
const FUZZ: [(&str, u32, u32); 5] = [
    ("checkpoint", 150_000, 4096),
    ("tokenizer", 10_000, 1024),
    ("config", 150_000, 1024),
    ("copy", 150_000, 2048),
    ("torch", 100_000, 4096),
];

/// Mutates untrusted files. libFuzzer without a sanitizer needs no nightly compiler.
fn fuzz() -> Counted {
    counted(fuzz_all)
}

fn fuzz_all(count: &mut Count) -> Outcome {
    tools::cargo_fuzz()?;
    run("cargo", &["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"], &[])?;
    // All at once, on all cores.
    run(
        &tools::tool("cargo-fuzz").to_string_lossy(),
        &["fuzz", "build", "--dev", "--sanitizer", "none"],
        &[],
    )?;
    for (target, runs, longest) in FUZZ {
        let limits = [format!("-runs={runs}"), format!("-max_len={longest}")];
        fuzz_target(target, &limits)?;
        count.passed += 1;
    }
    Ok(())
}

/// Runs one target for some minutes with a random seed.
pub fn fuzz_for(target: &str, minutes: u32) -> Outcome {
    if !FUZZ.iter().any(|(known, ..)| *known == target) {
        return Err(format!("there is no fuzz target {target}"));
    }
    tools::cargo_fuzz()?;
    fuzz_target(target, &[format!("-max_total_time={}", 60 * minutes), "-seed=0".into()])
}

fn fuzz_target(target: &str, limits: &[String]) -> Outcome {
    // New inputs that reach new code go here, not among the committed ones; the next run deletes them.
    let found = root().join("target/fuzz-corpus").join(target);
    let _ = std::fs::remove_dir_all(&found);
    std::fs::create_dir_all(&found).map_err(|e| format!("{}: {e}", found.display()))?;
    let (found, corpus) = (found.to_string_lossy(), format!("fuzz/corpus/{target}"));
    let mut args =
        vec!["fuzz", "run", "--dev", "--sanitizer", "none", target, &found, &corpus, "--"];
    args.extend(["-seed=1", "-timeout=20", "-print_final_stats=1", "-verbosity=0"]);
    args.extend(limits.iter().map(String::as_str));
    run(&tools::tool("cargo-fuzz").to_string_lossy(), &args, &[])
}

fn chromium() -> Counted {
    counted(|count| {
        tools::chromium()?;
        let driver = ("CHROMEDRIVER", "/usr/bin/chromedriver".into());
        in_browser("tests/chromium.json", driver, count)
    })
}

fn firefox() -> Counted {
    counted(|count| {
        tools::firefox()?;
        tools::geckodriver()?;
        let driver = ("GECKODRIVER", tools::tool("geckodriver").into());
        in_browser("tests/firefox.json", driver, count)
    })
}

fn tools_of_browsers() -> Outcome {
    tools::wasm_target()?;
    tools::wasm_bindgen()?;
    tools::chromium()?;
    tools::firefox()
}

/// Compiles the same tests to wasm and runs them in a headless browser.
fn in_browser(options: &str, driver: Var, count: &mut Count) -> Outcome {
    tools::wasm_target()?;
    tools::wasm_bindgen()?;
    let mut args = vec!["test", "--target", "wasm32-unknown-unknown", "--no-fail-fast"];
    args.extend(IN_BROWSERS.iter().flat_map(|name| ["--test", name]));
    let options = ("WASM_BINDGEN_TEST_WEBDRIVER_JSON", root().join(options).into());
    let vars = [driver, options, tools::runtime_dir()?];
    watch("cargo", &args, &vars, |line| count.read(line))
}

/// Builds the site, checks its sources and what of the engine only a browser runs, and tests its pure modules in Node.
fn built_and_checked() -> Counted {
    counted(|count| {
        build::build()?;
        clippy(&["--lib", "--tests", "--target", "wasm32-unknown-unknown"])?;
        run("npm", &["run", "--silent", "check"], &[])?;
        run("npm", &["run", "--silent", "lint"], &[])?;
        let plain = [("NO_COLOR", "1".into())];
        watch("npm", &["run", "--silent", "unit"], &plain, |line| count.read_vitest(line))
    })
}

/// Tests the built site in headless Chromium and, in part, in headless Firefox.
fn page(site: Option<JoinHandle<Counted>>) -> Counted {
    let checked = site.map_or_else(built_and_checked, joined)?;
    counted(|count| {
        count.add(&checked);
        tools::chromium()?;
        tools::firefox()?;
        build::crashing_engine()?;
        let args = ["--no-install", "playwright", "test"];
        watch("npx", &args, &[], |line| count.read(line))
    })
}
