//! Installs the programs that a task needs beyond cargo, after a line that says what is installed and where. If it
//! cannot install them, it fails with a message that gives the command.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::run::{Outcome, Var, output, root, run};

/// The WebDriver of Firefox; Chromium's comes with it.
const GECKODRIVER: &str = "0.37.1";
/// The driver of libFuzzer.
const CARGO_FUZZ: &str = "0.13.2";

/// The path of a program in `.tools/bin`.
pub fn tool(name: &str) -> PathBuf {
    root().join(".tools/bin").join(name)
}

/// Installs the wasm target of the pinned toolchain.
pub fn wasm_target() -> Outcome {
    let target = "wasm32-unknown-unknown";
    let installed = output("rustup", &["target", "list", "--installed"])
        .ok_or("rustup is missing: install it from https://rustup.rs")?;
    if installed.lines().any(|line| line == target) {
        return Ok(());
    }
    println!("Installing the Rust target {target} with rustup");
    run("rustup", &["target", "add", target], &[])
}

/// Installs the tools of wasm-bindgen, in exactly the version of the crate.
pub fn wasm_bindgen() -> Outcome {
    let lock = fs::read_to_string(root().join("Cargo.lock")).map_err(|e| e.to_string())?;
    let version = lock
        .split("\n\n")
        .find_map(|package| package.split_once("name = \"wasm-bindgen\"\nversion = \""))
        .and_then(|(_, rest)| rest.split('"').next())
        .ok_or("Cargo.lock does not name wasm-bindgen")?;
    // Not --locked: the lock file of the tool names a crate version that some registry mirrors lack. Only what reads
    // and writes the wasm is optimised: the rest would take twice as long to compile.
    let mut config = vec!["--config=profile.release.opt-level=1".to_string()];
    for package in ["walrus", "wasmparser", "wasm-encoder", "wasm-bindgen-cli-support"] {
        config.push(format!("--config=profile.release.package.{package}.opt-level=3"));
    }
    let config: Vec<&str> = config.iter().map(String::as_str).collect();
    cargo_tool("wasm-bindgen-cli", "wasm-bindgen", version, &config)
}

/// Installs geckodriver, for the tests in Firefox.
pub fn geckodriver() -> Outcome {
    cargo_tool("geckodriver", "geckodriver", GECKODRIVER, &["--locked", "--debug"])
}

/// Installs cargo-fuzz, and the C++ compiler that builds libFuzzer.
pub fn cargo_fuzz() -> Outcome {
    programs(&["/usr/bin/c++"], &["g++"])?;
    cargo_tool("cargo-fuzz", "cargo-fuzz", CARGO_FUZZ, &["--locked", "--debug"])
}

/// `--debug` among the extra arguments halves the time for what itself does little.
fn cargo_tool(package: &str, program: &str, version: &str, extra: &[&str]) -> Outcome {
    let path = tool(program);
    let found = output(&path.to_string_lossy(), &["--version"]).unwrap_or_default();
    if found.lines().next().unwrap_or_default().split(' ').any(|word| word == version) {
        return Ok(());
    }
    println!("Installing {package} {version} into .tools with cargo (takes minutes, once)");
    let args = ["install", package, "--version", version, "--root", ".tools"];
    run("cargo", &[&args[..], extra].concat(), &[])
}

/// Installs the JavaScript packages of package-lock.json.
pub fn node_modules() -> Outcome {
    if output("node", &["--version"]).is_none() || output("npm", &["--version"]).is_none() {
        return Err(
            "Node.js with npm is missing: install version 20.19 or later from https://nodejs.org"
                .into(),
        );
    }
    let modified = |path: &str| fs::metadata(root().join(path)).and_then(|m| m.modified()).ok();
    let installed = modified("node_modules/.package-lock.json");
    if installed.is_some() && installed >= modified("package-lock.json") {
        return Ok(());
    }
    let skip = ("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", OsString::from("1"));
    println!("Installing the packages of package-lock.json into node_modules with npm");
    run("npm", &["ci", "--no-audit", "--no-fund"], &[skip])
}

/// Installs lavapipe, a software Vulkan driver, if there is no Vulkan driver.
pub fn vulkan() -> Outcome {
    let has_driver = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d"]
        .iter()
        .any(|dir| fs::read_dir(dir).is_ok_and(|mut files| files.next().is_some()));
    if has_driver || !cfg!(target_os = "linux") { Ok(()) } else { apt(&["mesa-vulkan-drivers"]) }
}

/// Installs Chromium and its WebDriver.
pub fn chromium() -> Outcome {
    programs(&["/usr/bin/chromium", "/usr/bin/chromedriver"], &["chromium", "chromium-driver"])
}

/// Installs Firefox ESR, and lavapipe, on which it runs WebGPU.
pub fn firefox() -> Outcome {
    vulkan()?;
    programs(&["/usr/bin/firefox-esr"], &["firefox-esr"])
}

fn programs(paths: &[&str], packages: &[&str]) -> Outcome {
    if paths.iter().all(|path| Path::new(path).exists()) { Ok(()) } else { apt(packages) }
}

fn apt(packages: &[&str]) -> Outcome {
    let install = ["install", "-y", "-qq", "--no-install-recommends"];
    let names = packages.join(" ");
    if output("id", &["-u"]).as_deref() != Some("0") || output("apt-get", &["--version"]).is_none()
    {
        return Err(format!(
            "{names}: not installed. On Debian:\n\n    sudo apt-get update && sudo apt-get install --no-install-recommends {names}\n"
        ));
    }
    println!("Installing the Debian packages {names} with apt-get");
    let quiet = [("DEBIAN_FRONTEND", OsString::from("noninteractive"))];
    run("apt-get", &["update", "-qq"], &quiet)?;
    run("apt-get", &[&install[..], packages].concat(), &quiet)
}

/// A runtime directory for Vulkan drivers, which warn on every start without one.
pub fn runtime_dir() -> Result<Var, String> {
    let dir = root().join("target/runtime");
    fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700)).map_err(|e| e.to_string())?;
    }
    Ok(("XDG_RUNTIME_DIR", dir.into()))
}
