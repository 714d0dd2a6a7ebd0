//! Measures times and peaks of a model of GPT-2's real shape on this machine's Vulkan: it is loaded, kept and read.
//!
//! `cargo bench --bench shape -- FOLDER T,T,…` with a folder that `cargo xtask synth` wrote.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers are small")]

mod common;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use loupe::checkpoint::{Store, StoreError};
use loupe::device::{Cancel, Device};
use loupe::lens::Options;
use loupe::model::RestoreWatch;
use loupe::session::{LoadRequest, Session};
use pollster::block_on;

/// A file on disk as the store of the copy.
struct Disk(File);

fn store_error(error: std::io::Error) -> StoreError {
    StoreError { name: "IoError".into(), message: error.to_string() }
}

impl Store for Disk {
    fn size(&mut self) -> Result<u64, StoreError> {
        self.0.metadata().map(|m| m.len()).map_err(store_error)
    }
    fn read(&mut self, at: u64, into: &mut [u8]) -> Result<usize, StoreError> {
        self.0.seek(SeekFrom::Start(at)).map_err(store_error)?;
        self.0.read(into).map_err(store_error)
    }
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), StoreError> {
        self.0.seek(SeekFrom::Start(at)).map_err(store_error)?;
        self.0.write_all(bytes).map_err(store_error)
    }
    fn truncate(&mut self, bytes: u64) -> Result<(), StoreError> {
        self.0.set_len(bytes).map_err(store_error)
    }
    fn flush(&mut self) -> Result<(), StoreError> {
        self.0.flush().map_err(store_error)
    }
}

/// Peak memory of this process, where Linux reports it. Units: bytes.
fn peak_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    let kib = line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) << 10
}

async fn measure(folder: &Path, lengths: &[usize]) {
    let session = Session::new(device().await);
    println!("{:?}", session.device().adapter_info().map_or("the CPU", |info| &info.name));
    let config = std::fs::read_to_string(folder.join("config.json")).expect("a config");
    let mut loading = session.load(&LoadRequest::new(&config, None)).await.expect("a load");
    let before = peak_memory();
    let kept = folder.join("kept.safetensors");
    let open = File::options().read(true).write(true).create(true).truncate(true).open(&kept);
    let store = Box::new(Disk(open.expect("a file for the copy")));
    let watch = RestoreWatch { cancel: &Cancel::default(), on_progress: &|_| {} };
    session.keep(&mut loading, store, None, &watch).await.expect("a start");
    let start = Instant::now();
    common::fill(&session, &mut loading, folder).await.expect("a valid file");
    let (loaded, outcome) = session.install(loading).await.expect("a whole model");
    println!(
        "loaded, kept and verified in {:.1} s; {:.1} MB on the device; {:.1} MB kept; process {:.1} MB before, peak {:.1} MB",
        start.elapsed().as_secs_f64(),
        loaded.model.weight_bytes as f64 / 1e6,
        outcome.kept.expect("a kept copy").bytes as f64 / 1e6,
        before as f64 / 1e6,
        peak_memory() as f64 / 1e6,
    );
    std::fs::remove_file(&kept).expect("the copy can be removed");
    for &t in lengths {
        let ids: Vec<u32> = (0..t as u32).map(|i| (100 + i * 7919) % 50_257).collect();
        session.device().reset_peak();
        let start = Instant::now();
        let (options, cancel) = (Options::default(), Cancel::default());
        let lensed = session.read(&ids, &options, &cancel, |_, _, _| Ok(())).await;
        let lensed = lensed.map_err(|e| e.to_string()).expect("a reading");
        let finite = lensed.reading.stats[0].iter().all(|v| v.is_finite());
        assert!(finite, "a logsumexp is not finite");
        println!(
            "T={t:<4} {:.1} s; peak {:.1} MB above the weights; process peak {:.1} MB",
            start.elapsed().as_secs_f64(),
            (session.device().peak_bytes() - loaded.model.weight_bytes) as f64 / 1e6,
            peak_memory() as f64 / 1e6,
        );
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let [folder, lengths] = &args[..] else {
        println!("usage: cargo bench --bench shape -- FOLDER T,T,…");
        return;
    };
    let lengths: Vec<usize> = lengths.split(',').filter_map(|t| t.parse().ok()).collect();
    block_on(measure(Path::new(folder), &lengths));
}

/// The GPU, or with `LOUPE_DEVICE=cpu` the CPU.
async fn device() -> Device {
    match std::env::var("LOUPE_DEVICE").as_deref() {
        Ok("cpu") => Device::cpu(Box::new(|| Box::pin(std::future::ready(())))),
        _ => Device::gpu().await.expect("a WebGPU adapter"),
    }
}
