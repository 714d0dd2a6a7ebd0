//! Measures times and peaks of a model of GPT-2's real shape on this machine's Vulkan: it is loaded, kept and read.
//!
//! `cargo bench --bench shape -- FOLDER T,T,…` with a folder that `cargo xtask synth` wrote. It also prints how far storage in
//! f16 moves the final distribution of a text of the first length, and what sweeps of two such texts take beside the
//! arithmetic that they cannot do without.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers are small")]

mod common;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Instant;

use loupe::checkpoint::{Store, StoreError};
use loupe::device::{Cancel, Device};
use loupe::kernels::{LayerNorm, Matmul, Precision, Rows, pad4};
use loupe::lens::Options;
use loupe::model::{Edits, Model, Pass, RestoreWatch, Scratch, Stream, forward};
use loupe::session::{LoadRequest, Session, SweepRequest, Swept};
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
    if let Some(&t) = lengths.first() {
        sweeps(&session, &loaded.model, t).await;
    }
    for &t in lengths {
        let ids = text(t);
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
    if let Some(&t) = lengths.first() {
        block_on(shift(Path::new(folder), t));
    }
}

fn text(t: usize) -> Vec<u32> {
    (0..t as u32).map(|i| (100 + i * 7919) % 50_257).collect()
}

/// Rows that a sweep computes at a time.
const SWEPT_ROWS: usize = 192;

/// Prints how long sweeps take, and their matrix products alone at the rate of a block's four with that many rows.
async fn sweeps(session: &Session, model: &Model, t: usize) {
    let (device, config, cancel) = (session.device(), &model.config, Cancel::default());
    let [l, c, h] = [config.n_layer, config.n_embd, config.n_head];
    let block = &model.whole().expect("blocks").blocks[0];
    let tensor = |width: usize| device.tensor("rate", 4 * (SWEPT_ROWS * pad4(width)) as u64);
    let (narrow, wide) = ([(); 4].map(|()| tensor(c)), tensor(config.n_inner));
    let [x, q, k, v] = narrow.each_ref().map(|tensor| Rows::new(tensor, 0, c));
    let wide = Rows::new(&wide, 0, config.n_inner);
    let mut rate = 0.0_f64;
    for _ in 0..5 {
        let start = Instant::now();
        let mut rec = device.record("rate", &cancel);
        for (x, weight, y, others) in [
            (x, &block.qkv.weight, q, Some([k, v])),
            (q, &block.attn_out.weight, x, None),
            (x, &block.mlp_in.weight, wide, None),
            (wide, &block.mlp_out.weight, x, None),
        ] {
            let op = Matmul { others, ..Matmul::new(x, weight, SWEPT_ROWS, y) };
            model.kernels.matmul(&mut rec, &op).expect("matmul");
        }
        rec.finish().await.expect("the device");
        let flops = 2.0 * (SWEPT_ROWS * 12 * c * c) as f64;
        rate = rate.max(flops / start.elapsed().as_secs_f64());
    }
    let (clean, mut other) = (text(t), text(t));
    other[1] += 1;
    let options = Options::default();
    let mut read = Vec::new();
    for ids in [clean, other] {
        let lensed = session.read(&ids, &options, &cancel, |_, _, _| Ok(())).await;
        read.push(lensed.map_err(|e| e.to_string()).expect("a reading"));
    }
    // Of a row in a block: its projections and its MLP; of a row whose attention is patched, without q, k and v.
    let [whole, rest] = [12, 9].map(|n| 2.0 * (n * c * c) as f64);
    let rows = |blocks: fn(usize) -> usize| (0..l).map(blocks).sum::<usize>() as f64;
    let triangle = (t * (t + 1) / 2) as f64;
    let below = (l * (l - 1) / 2) as f64;
    let cases = [
        (Swept::Stream, triangle * whole * (below + rows(|_| 1))),
        (Swept::Heads, (h * t) as f64 * (whole * below + rest * rows(|_| 1))),
    ];
    for (what, flops) in cases {
        let request = SweepRequest {
            clean: read[0].clone(),
            corrupt: read[1].clone(),
            what,
            denoises: true,
            plus: 11,
            minus: 13,
            position: None,
        };
        let start = Instant::now();
        let swept = session.sweep(&request, &cancel, |_| ()).await.expect("a sweep");
        let (seconds, alone) = (start.elapsed().as_secs_f64(), flops / rate);
        assert!(swept.values.iter().all(|v| v.is_finite()), "a value is not finite");
        println!(
            "sweep {} T={t}: {seconds:.2} s; its {:.0} GFLOP at {:.1} GFLOP/s {alone:.2} s; ratio {:.2}",
            what.name(),
            flops / 1e9,
            rate / 1e9,
            seconds / alone,
        );
    }
}

/// Prints KL(f32 ‖ f16) of the final distributions: how far the stored precision moves them, end to end.
async fn shift(folder: &Path, t: usize) {
    let mut found = Vec::new();
    for precision in [Precision::F32, Precision::F16] {
        let session = Session::new(device().await);
        let config = std::fs::read_to_string(folder.join("config.json")).expect("a config");
        let request = LoadRequest { precision, ..LoadRequest::new(&config, None) };
        let mut loading = session.load(&request).await.expect("a load");
        common::fill(&session, &mut loading, folder).await.expect("a valid file");
        let (loaded, _) = session.install(loading).await.expect("a whole model");
        found.push(final_logits(session.device(), &loaded.model, &text(t)).await);
    }
    let v = found[0].len() / t;
    let divergence = |p: &[f32], q: &[f32]| {
        let normaliser = |z: &[f32]| {
            let m = z.iter().copied().fold(f32::MIN, f32::max);
            let sum: f64 = z.iter().map(|&z| f64::from(z - m).exp()).sum();
            f64::from(m) + sum.ln()
        };
        let (log_p, log_q) = (normaliser(p), normaliser(q));
        let term = |(&p, &q): (&f32, &f32)| {
            let (p, q) = (f64::from(p) - log_p, f64::from(q) - log_q);
            p.exp() * (p - q)
        };
        p.iter().zip(q).map(term).sum::<f64>()
    };
    let shifts: Vec<f64> =
        found[0].chunks(v).zip(found[1].chunks(v)).map(|(p, q)| divergence(p, q)).collect();
    println!(
        "KL(f32 ‖ f16) of the final distribution at {t} positions: mean {:.2e}, most {:.2e} nats",
        shifts.iter().sum::<f64>() / t as f64,
        shifts.iter().copied().fold(0.0, f64::max),
    );
}

/// The final logits of a text. Shapes: \[T, V\] of a vocabulary of one shard or several.
async fn final_logits(device: &Device, model: &Model, ids: &[u32]) -> Vec<f32> {
    let (t, config, cancel) = (ids.len(), &model.config, Cancel::default());
    let width = config.n_embd;
    let stream = Stream::new(device, config, ids, false, u64::MAX);
    let scratch = Scratch::new(device, config, t);
    let mut rec = device.record("the final logits", &cancel);
    let edits = Edits::default();
    let pass = Pass {
        model,
        scratch: &scratch,
        edits: &edits,
        start: 0,
        n: t,
        n_runs: 1,
        is_alone: false,
    };
    forward(&mut rec, &pass, &stream, 0).await.expect("a forward pass");
    let ln_f = model.ln_f().expect("ln_f");
    let unembed = model.unembed().expect("an unembedding");
    let columns: usize = unembed.iter().map(|shard| pad4(shard.matrix.n_out)).sum();
    let normed = device.tensor("normed", 4 * (t * pad4(width)) as u64);
    let logits = device.tensor("logits", 4 * (t * columns) as u64);
    let norm = LayerNorm {
        x: Rows::new(stream.taps.last().expect("a tap"), 0, width),
        others: &[],
        affine: Some((&ln_f.gain, &ln_f.bias)),
        epsilon: Some(config.layer_norm_epsilon),
        n_embd: width,
        n_rows: t,
        y: Rows::new(&normed, 0, width),
    };
    model.kernels.layer_norm(&mut rec, &norm).expect("layer_norm");
    for shard in unembed {
        let (x, y) = (Rows::new(&normed, 0, width), Rows::new(&logits, 0, columns));
        let y_column4 = shard.first_column / 4;
        let op = Matmul { y_column4, ..Matmul::new(x, &shard.matrix, t, y) };
        model.kernels.matmul(&mut rec, &op).expect("matmul");
    }
    let rows = rec.read(&[(&logits, 4 * (t * columns) as u64)]).await.expect("a readback");
    let of_row = |row: &[f32]| {
        let shard = |s: &loupe::kernels::Shard| row[s.first_column..][..s.matrix.n_out].to_vec();
        unembed.iter().flat_map(shard).collect::<Vec<_>>()
    };
    rows[0].chunks(columns).flat_map(of_row).collect()
}

/// The GPU, or with `LOUPE_DEVICE=cpu` the CPU.
async fn device() -> Device {
    match std::env::var("LOUPE_DEVICE").as_deref() {
        Ok("cpu") => Device::cpu(Box::new(|| Box::pin(std::future::ready(())))),
        _ => Device::gpu().await.expect("a WebGPU adapter"),
    }
}
