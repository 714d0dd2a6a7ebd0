//! Measures the atlas of a model of GPT-2's real shape on this machine's Vulkan: the time of each call, and its memory.
//!
//! `cargo bench --bench atlas -- FOLDER` with a folder that `cargo xtask synth` wrote.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers are small")]

mod common;

use std::path::Path;
use std::time::Instant;

use loupe::atlas::{self, Atlas, By, TokenRow, ZeroLayerOptions};
use loupe::device::{Cancel, Device};
use loupe::error::Result;
use loupe::lens::Norm;
use loupe::session::{LoadRequest, Session};
use pollster::block_on;

/// The zero-layer model is computed for every 64th token: all tokens take 3.9 TFLOP for GPT-2 124M.
const STEP: usize = 64;

async fn measure(folder: &Path) -> Result<()> {
    let session = Session::new(device().await);
    println!("{:?}", session.device().adapter_info().map_or("the CPU", |info| &info.name));
    let request = LoadRequest { config: None, partial: true, ..LoadRequest::new("", None) };
    let mut loading = session.load(&request).await?;
    let start = Instant::now();
    common::fill(&session, &mut loading, folder).await?;
    let (loaded, _) = session.install(loading).await?;
    let (bytes, cancel) = (loaded.model.weight_bytes, Cancel::default());
    println!(
        "loaded the partial model in {:.1} s; {:.1} MB",
        start.elapsed().as_secs_f64(),
        bytes as f64 / 1e6
    );
    let atlas = Atlas {
        device: session.device(),
        model: &loaded.model,
        cancel: &cancel,
        on_progress: &|_| {},
        queue: &(),
        memo: &loaded.memo,
    };
    let report = |what: &str, start: Instant| {
        println!(
            "{what:<44} {:8.2} s; peak {:5.1} MB above the weights",
            start.elapsed().as_secs_f64(),
            (session.device().peak_bytes() - bytes) as f64 / 1e6,
        );
        session.device().reset_peak();
    };
    session.device().reset_peak();
    let start = Instant::now();
    atlas::channels(&atlas).await?;
    report("channels", start);
    let start = Instant::now();
    atlas::gains(&atlas).await?;
    report("gains", start);
    let start = Instant::now();
    atlas::norms(&atlas).await?;
    report("norms", start);
    let start = Instant::now();
    atlas::channel(&atlas, 138).await?;
    report("one channel", start);
    let start = Instant::now();
    atlas::neighbours(&atlas, 300, 20, By::Cosine).await?;
    report("neighbours of one token", start);
    let start = Instant::now();
    atlas::spectrum(&atlas, 16).await?;
    report("spectrum: Gram matrix, eigenproblem, tokens", start);
    let start = Instant::now();
    atlas::spectrum(&atlas, 16).await?;
    report("the same again: tokens only", start);
    let start = Instant::now();
    atlas::correlations(&atlas, 138, None).await?;
    report("correlations", start);
    let start = Instant::now();
    let options =
        ZeroLayerOptions { row: TokenRow { norm: Norm::Affine, position: None }, step: STEP };
    let n = atlas::zero_layer(&atlas, options).await?.argmax.len();
    let c = &loaded.model.config;
    let flops = 2.0 * n as f64 * c.vocab_size as f64 * c.n_embd as f64;
    let rate = flops / start.elapsed().as_secs_f64() / 1e9;
    report(&format!("zero-layer model, {n} tokens"), start);
    println!("  {rate:.1} GFLOP/s; all tokens would take {STEP} times as long");
    Ok(())
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [folder] = &args[..] else {
        println!("usage: cargo bench --bench atlas -- FOLDER");
        return;
    };
    block_on(measure(Path::new(folder))).expect("an atlas");
}

/// The GPU, or with `LOUPE_DEVICE=cpu` the CPU.
async fn device() -> Device {
    match std::env::var("LOUPE_DEVICE").as_deref() {
        Ok("cpu") => Device::cpu(Box::new(|| Box::pin(std::future::ready(())))),
        _ => Device::gpu().await.expect("a WebGPU adapter"),
    }
}
