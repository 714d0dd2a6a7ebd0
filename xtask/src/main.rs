//! `cargo xtask serve | build | test | bench | fuzz | synth`: the tasks of the repository. Each installs what it needs first.

mod build;
mod run;
mod synth;
mod test;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask serve         build dist/ and serve it at http://127.0.0.1:8080/
cargo xtask build         build dist/, a static site for any host
cargo xtask test [suite]  run every test, or one suite: rust, fuzz, chromium, firefox, page
cargo xtask bench [what]  measure: kernels (Vulkan, or the CPU with LOUPE_DEVICE=cpu), page (headless Chromium)
cargo xtask bench machine [L,C,V [T,…]]  readings of random weights beside this adapter's ceilings; the program needs no other file
cargo xtask bench shape NAME T,…  a synthetic model of that shape, loaded and read on this machine's Vulkan
cargo xtask bench atlas NAME      the atlas of such a model there
cargo xtask bench devices [NAME T [WHAT …]]  readings in headless Chromium in turns, by cpu, gpu and onnx (ONNX Runtime) or what is named, shared (the CPU with a helper), onnx-gpu, tfjs and jax among it; NAME may be tales or L,C,V
cargo xtask bench peers [NAME T]  the same reading by ONNX Runtime, TensorFlow.js, jax-js and PyTorch, beside Loupe's
cargo xtask bench load NAME       its load in headless Chromium
cargo xtask fuzz TARGET MINUTES   run a target of fuzz/ on new inputs: checkpoint, tokenizer, config, copy, torch
cargo xtask synth NAME OUT  write a random model of the shape of gpt2, gpt2-medium, gpt2-large or gpt2-xl";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args[..] {
        ["serve"] => build::build().and_then(|()| serve()),
        ["build"] => build::build(),
        ["test"] => test::test(&test::SUITES),
        ["test", suite] if test::SUITES.contains(&suite) => test::test(&[suite]),
        ["bench"] => bench("kernels").and_then(|()| bench("page")),
        ["bench", what @ ("kernels" | "page")] => bench(what),
        ["bench", "shape", name, lengths] if synth::names().any(|known| known == name) => {
            bench_synthetic("shape", name, &[lengths])
        }
        ["bench", "atlas", name] if synth::names().any(|known| known == name) => {
            bench_synthetic("atlas", name, &[])
        }
        ["bench", "machine", ref args @ ..] => bench_machine(args),
        ["bench", "devices"] => bench_devices("tales", "16", &[]),
        ["bench", "devices", model, n_tokens, ref devices @ ..] => {
            bench_devices(model, n_tokens, devices)
        }
        ["bench", "peers"] => bench_peers("4,256,8192", "16"),
        ["bench", "peers", model, n_tokens] => bench_peers(model, n_tokens),
        ["bench", "load", name] if synth::names().any(|known| known == name) => bench_load(name),
        ["fuzz", target, minutes] => match minutes.parse() {
            Ok(minutes) => test::fuzz_for(target, minutes),
            Err(_) => Err(USAGE.into()),
        },
        ["synth", name, out] if synth::names().any(|known| known == name) => {
            synth::synth(name, std::path::Path::new(out))
        }
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn serve() -> run::Outcome {
    println!("\nLoupe is at http://127.0.0.1:8080/ (Ctrl+C ends it)");
    let args = ["vite", "preview", "--host", "127.0.0.1", "--port", "8080", "--strictPort"];
    run::run("npx", &[&["--no-install"], &args[..]].concat(), &[])
}

/// A benchmark of a synthetic model, which is written once.
fn bench_synthetic(bench: &str, name: &str, more: &[&str]) -> run::Outcome {
    tools::vulkan()?;
    let folder = synthetic(name)?;
    let args = ["bench", "--bench", bench, "--", &folder];
    run::run("cargo", &[&args[..], more].concat(), &[tools::runtime_dir()?])
}

/// The load of a synthetic model in the browser.
fn bench_load(name: &str) -> run::Outcome {
    build::build()?;
    tools::chromium()?;
    run::run("node", &["benches/load.mjs", &synthetic(name)?, "dist/loupe"], &[])
}

/// Readings of random weights beside what the adapter can do.
fn bench_machine(args: &[&str]) -> run::Outcome {
    tools::vulkan()?;
    run::run("cargo", &["build", "--release", "--example", "machine"], &[])?;
    run::run("target/release/examples/machine", args, &[tools::runtime_dir()?])
}

/// What a benchmark takes for a model: a folder, or blocks, channels and tokens of random weights.
fn model_of(name: &str) -> Result<String, String> {
    match name {
        "tales" => Ok("www/public/models/tales".into()),
        name if synth::names().any(|known| known == name) => synthetic(name),
        shape if shape.split(',').all(is_number) => Ok(shape.into()),
        _ => Err(USAGE.into()),
    }
}

/// The same reading by other packages: in the browser in turns in one page, and by PyTorch in turns with the native program.
fn bench_peers(name: &str, n_tokens: &str) -> run::Outcome {
    bench_devices(name, n_tokens, &["gpu", "cpu", "onnx", "onnx-gpu", "tfjs", "jax"])?;
    if run::output("python3", &["-c", "import numpy, torch"]).is_none() {
        println!(
            "PyTorch was left out: python3 finds no torch and numpy (pip install torch numpy)"
        );
        return Ok(());
    }
    tools::vulkan()?;
    run::run("cargo", &["build", "--release", "--example", "machine"], &[])?;
    let mut args = vec!["benches/pytorch.py".into(), model_of(name)?, n_tokens.into()];
    // The program makes random weights by itself.
    if name.contains(',') {
        args.push("target/release/examples/machine".to_string());
    }
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    run::run("python3", &args, &[tools::runtime_dir()?])
}

/// Readings in the browser on several devices.
fn bench_devices(name: &str, n_tokens: &str, devices: &[&str]) -> run::Outcome {
    let model = model_of(name)?;
    let devices = if devices.is_empty() { &["cpu", "gpu", "onnx"] } else { devices };
    build::build()?;
    tools::chromium()?;
    let peers = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", "benches/peers"];
    run::run("npm", &peers, &[])?;
    run::run("node", &[&["benches/devices.mjs", &model, n_tokens], devices].concat(), &[])
}

/// The folder of a synthetic model.
fn synthetic(name: &str) -> Result<String, String> {
    let folder = run::root().join("target/synth").join(name);
    if !folder.join("model.safetensors").exists() {
        synth::synth(name, &folder)?;
    }
    Ok(folder.to_string_lossy().into())
}

fn bench(what: &str) -> run::Outcome {
    if what == "kernels" {
        tools::vulkan()?;
        return run::run("cargo", &["bench", "--bench", "kernels"], &[tools::runtime_dir()?]);
    }
    build::build()?;
    tools::chromium()?;
    run::run("node", &["benches/page.mjs"], &[])
}
