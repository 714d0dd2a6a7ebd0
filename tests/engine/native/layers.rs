//! Checks the layers of ARCHITECTURE.md: a lower layer never names a higher one.

use std::fs;
use std::path::Path;

/// Modules of the crate by layer, lowest first.
const LAYERS: [&[&str]; 10] = [
    &["error"],
    &["config", "tokenizer", "checkpoint", "reading"],
    &["device"],
    &["kernels"],
    &["model"],
    &["lens"],
    &["atlas"],
    &["session"],
    &["web"],
    // The twins are above all others, because they are for tests only.
    &["reference"],
];

/// External crates that only one file or module may name.
const OWNED: [(&str, &str); 6] = [
    ("tokenizers", "tokenizer"),
    ("safetensors", "checkpoint"),
    ("sha2", "checkpoint"),
    ("wgpu", "device"),
    ("wasm_bindgen", "web"),
    ("js_sys", "web"),
];

fn layer(module: &str) -> usize {
    let found = LAYERS.iter().position(|names| names.contains(&module));
    found.unwrap_or_else(|| {
        panic!("module {module} has no layer; add it to LAYERS and ARCHITECTURE.md")
    })
}

/// Every source file with the top-level module that it belongs to.
fn sources(dir: &Path, module: Option<&str>, out: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).expect("src/ exists") {
        let path = entry.expect("an entry").path();
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let module = module.unwrap_or(&stem);
        if path.is_dir() {
            sources(&path, Some(module), out);
        } else if path.extension().is_some_and(|e| e == "rs") && stem != "lib" {
            out.push((module.to_string(), fs::read_to_string(&path).expect("UTF-8")));
        }
    }
}

/// The code without comment lines: documentation may name any layer.
fn code(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The first segment of every path that starts with `crate::`, including those inside `use crate::{…}`.
fn named(code: &str) -> Vec<String> {
    let word =
        |s: &str| s.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut out = Vec::new();
    for piece in code.split("crate::").skip(1) {
        match piece.strip_prefix('{') {
            None => out.push(word(piece)),
            Some(list) => {
                let (mut depth, mut start) = (1, true);
                for (i, c) in list.char_indices() {
                    depth += match c {
                        '{' => 1,
                        '}' => -1,
                        _ => 0,
                    };
                    if depth == 0 {
                        break;
                    }
                    if depth == 1 && start && c.is_alphabetic() {
                        out.push(word(&list[i..]));
                        start = false;
                    }
                    start |= depth == 1 && c == ',';
                }
            }
        }
    }
    out
}

#[test]
fn every_dependency_points_down() {
    let mut files = Vec::new();
    sources(Path::new("src"), None, &mut files);
    assert!(files.len() > 20, "src/ was not found");
    let mut dependencies = 0;
    for (module, text) in &files {
        for target in named(&code(text)).iter().filter(|t| *t != module) {
            dependencies += 1;
            let (from, to) = (layer(module), layer(target));
            // Modules of one layer do not name one another, but readings hold tokens and tokenizers know families.
            let is_token = module == "reading" && target == "tokenizer";
            let is_family = module == "tokenizer" && target == "config";
            assert!(
                to < from || is_token || is_family,
                "{module} (L{from}) names crate::{target} (L{to})"
            );
        }
    }
    assert!(dependencies > 30, "only {dependencies} dependencies were found");
}

#[test]
fn an_upward_dependency_is_found() {
    let found =
        named("use crate::{error::{Error, Result}, web::Loupe};\nfn f() { crate::lens::g() }");
    assert_eq!(found, ["error", "web", "lens"]);
}

#[test]
fn external_crates_are_named_by_their_owners_only() {
    let mut files = Vec::new();
    sources(Path::new("src"), None, &mut files);
    for (name, owner) in OWNED {
        let mut is_used = false;
        for (module, text) in &files {
            let names = code(text).contains(&format!("{name}::"));
            assert!(!names || module == owner, "{module} names {name}, which belongs to {owner}");
            is_used |= names;
        }
        assert!(is_used, "{name} is not used by {owner} any more");
    }
}
