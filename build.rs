//! Copies the shaders without comments and indentation, which every visitor of the page would download.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=shaders");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("OUT_DIR is not set"))?;
    copy(Path::new("shaders"), &PathBuf::from(out).join("shaders"))
}

/// Every file of a folder and of those in it. WGSL has no strings, so `//` always begins a comment.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (entry, to) = entry.map(|entry| (entry.path(), to.join(entry.file_name())))?;
        if entry.is_dir() {
            copy(&entry, &to)?;
            continue;
        }
        let text = fs::read_to_string(&entry)?;
        let code = text.lines().map(|line| line.split("//").next().unwrap_or_default().trim());
        let code: String =
            code.filter(|line| !line.is_empty()).flat_map(|line| [line, "\n"]).collect();
        fs::write(to, code)?;
    }
    Ok(())
}
