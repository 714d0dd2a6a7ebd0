//! How fast Loupe reads on this machine, beside what its graphics adapter can do, from one file without any other:
//!
//! `machine [L,C,V [T,T,…]]` makes a GPT-2 of random numbers with so many blocks, channels and tokens, and reads texts of
//! so many tokens. It prints a table, and with `LOUPE_BENCH_JSON=FILE` writes the same as JSON; with
//! `LOUPE_BENCH_BASE=FILE`, such a file of an earlier run, it prints the ratio of the times. `LOUPE_DEVICE=cpu` takes the
//! CPU. `cargo xtask bench machine` builds and runs it.
#![allow(clippy::expect_used, clippy::panic, reason = "a benchmark fails by panicking")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers are small")]

#[path = "../benches/common/ceilings.rs"]
mod ceilings;

use std::time::Instant;

use ceilings::ceilings;
use loupe::device::{Cancel, Device};
use loupe::lens::Options;
use loupe::session::{LoadRequest, Session, Tuning};
use pollster::block_on;
use serde_json::{Map, Value, json};

/// Runs of each length; the first one is not counted.
const RUNS: usize = 5;
/// After a reading that took longer, no longer text is read. Units: seconds.
const LONGEST: f64 = 20.0;
/// Blocks, channels and tokens.
#[derive(Clone, Copy)]
struct Shape {
    n_layer: usize,
    c: usize,
    v: usize,
}

impl Shape {
    /// Positions of the model.
    const N_CTX: usize = 1024;

    fn parse(text: &str) -> Option<Shape> {
        let numbers: Vec<usize> = text.split(',').map_while(|n| n.parse().ok()).collect();
        match numbers[..] {
            [n_layer, c, v] if n_layer > 0 && c > 0 && c % 64 == 0 && v > 1 => {
                Some(Shape { n_layer, c, v })
            }
            _ => None,
        }
    }

    fn config(&self) -> String {
        let Shape { n_layer, c, v } = self;
        json!({
            "model_type": "gpt2", "n_layer": n_layer, "n_embd": c, "n_head": c / 64, "vocab_size": v,
            "n_ctx": Self::N_CTX, "n_positions": Self::N_CTX, "layer_norm_epsilon": 1e-5,
        })
        .to_string()
    }

    /// The tensors of a file, in its order.
    fn tensors(&self) -> Vec<(String, Vec<usize>)> {
        let Shape { n_layer, c, v } = *self;
        let of_block = [
            ("ln_1.weight", vec![c]),
            ("ln_1.bias", vec![c]),
            ("attn.c_attn.weight", vec![c, 3 * c]),
            ("attn.c_attn.bias", vec![3 * c]),
            ("attn.c_proj.weight", vec![c, c]),
            ("attn.c_proj.bias", vec![c]),
            ("ln_2.weight", vec![c]),
            ("ln_2.bias", vec![c]),
            ("mlp.c_fc.weight", vec![c, 4 * c]),
            ("mlp.c_fc.bias", vec![4 * c]),
            ("mlp.c_proj.weight", vec![4 * c, c]),
            ("mlp.c_proj.bias", vec![c]),
        ];
        let mut all =
            vec![("wte.weight".into(), vec![v, c]), ("wpe.weight".into(), vec![Self::N_CTX, c])];
        for i in 0..n_layer {
            all.extend(
                of_block.iter().map(|(name, shape)| (format!("h.{i}.{name}"), shape.clone())),
            );
        }
        all.extend([("ln_f.weight".into(), vec![c]), ("ln_f.bias".into(), vec![c])]);
        all
    }

    /// Multiplications and additions of a reading: the matrix products, attention, and the unembedding of every row.
    fn flops(&self, n: usize) -> f64 {
        let [l, c, v, n] = [self.n_layer, self.c, self.v, n].map(|n| n as f64);
        2.0 * n * 12.0 * l * c * c + 2.0 * l * c * n * (n + 1.0) + 2.0 * n * (l + 1.0) * c * v
    }
}

/// Loads a file of random halves of both signs between 2⁻⁶ and 2⁻⁵, made piece by piece.
async fn load(session: &Session, shape: Shape) {
    let mut loading =
        session.load(&LoadRequest::new(&shape.config(), None)).await.expect("a model that loads");
    let (mut header, mut end) = (Map::new(), 0usize);
    for (name, shape) in shape.tensors() {
        let start = end;
        end += 2 * shape.iter().product::<usize>();
        let offsets = [start, end];
        header.insert(name, json!({"dtype": "F16", "shape": shape, "data_offsets": offsets}));
    }
    let header = Value::from(header).to_string();
    session.push(&mut loading, &(header.len() as u64).to_le_bytes()).await.expect("bytes");
    session.push(&mut loading, header.as_bytes()).await.expect("a header");
    let mut seed = 1u64;
    let mut left = end;
    while left > 0 {
        let n = left.min(1 << 20);
        let piece: Vec<u8> = (0..n / 2)
            .flat_map(|_| {
                seed = seed * 48_271 % 2_147_483_647;
                (0x2400 | (seed as u16 & 0x83ff)).to_le_bytes()
            })
            .collect();
        session.push(&mut loading, &piece).await.expect("weights");
        left -= n;
    }
    loading.loader.end_file().expect("a whole file");
    session.install(loading).await.expect("a whole model");
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let is_cpu = std::env::var("LOUPE_DEVICE").is_ok_and(|device| device == "cpu");
    let device = match is_cpu {
        true => Device::cpu(Box::new(|| Box::pin(std::future::ready(())))),
        false => block_on(Device::gpu()).expect("a Vulkan, Metal or DX12 adapter"),
    };
    let info = device.adapter_info().cloned();
    let is_in_software = info.as_ref().is_none_or(|i| i.device_type == wgpu::DeviceType::Cpu);
    let default = if is_in_software { "4,256,8192" } else { "12,768,50257" };
    let shape = args.first().map_or(default, String::as_str);
    let lengths = args.get(1).map_or("8,32,128,512,1024", String::as_str);
    let (Some(shape), true) = (Shape::parse(shape), args.len() <= 2) else {
        println!("usage: machine [L,C,V [T,T,…]], with channels that are a multiple of 64");
        return;
    };
    let lengths: Vec<usize> = lengths.split(',').filter_map(|t| t.parse().ok()).collect();
    let name = info.as_ref().map_or("the CPU, one thread".to_string(), |info| {
        format!("{} ({:?}, {})", info.name, info.backend, info.driver_info)
    });
    println!("{name}");
    let most = (!is_cpu).then(|| ceilings(&device));
    if let Some([gflops, gb]) = most {
        println!("ceilings: {gflops:.0} GFLOP/s in f32, {gb:.1} GB/s copied");
    }
    let session = Session::new(device);
    session.set_tuning(if is_in_software { Tuning::Off } else { Tuning::Measured });
    let start = Instant::now();
    block_on(load(&session, shape));
    let tuning = match session.tuning() {
        Tuning::Given(forms) => forms.to_string(),
        Tuning::Off | Tuning::Measured => "off".into(),
    };
    let weights = session.device().allocated_bytes();
    println!(
        "{} blocks, {} channels, {} tokens, f16: {:.0} MB made and loaded in {:.1} s; forms of kernels: {tuning}\n",
        shape.n_layer,
        shape.c,
        shape.v,
        weights as f64 / 1e6,
        start.elapsed().as_secs_f64(),
    );
    let readings = read(&session, shape, &lengths, most, weights);
    let report = json!({
        "adapter": name, "tuning": tuning, "shape": [shape.n_layer, shape.c, shape.v],
        "ceilings": most, "readings": readings,
    });
    if let Ok(path) = std::env::var("LOUPE_BENCH_JSON") {
        std::fs::write(&path, format!("{report:#}\n")).expect("a file that can be written");
    }
}

/// Reads texts of each length and prints a line of each.
fn read(
    session: &Session,
    shape: Shape,
    lengths: &[usize],
    most: Option<[f64; 2]>,
    weights: u64,
) -> Vec<Value> {
    let base: Option<Value> = std::env::var("LOUPE_BENCH_BASE").ok().map(|path| {
        let text = std::fs::read_to_string(path).expect("the file of an earlier run");
        serde_json::from_str(&text).expect("JSON of an earlier run")
    });
    let shape_of = json!([shape.n_layer, shape.c, shape.v]);
    if base.as_ref().is_some_and(|base| base["shape"] != shape_of) {
        println!("the earlier run had another model, so there are no ratios");
    }
    println!(
        "{:>6} {:>10} {:>21} {:>9} {:>8} {:>11} {:>12} {:>10} {:>8}",
        "tokens",
        "ms",
        "from to",
        "GFLOP/s",
        "ceiling",
        "dispatches",
        "read back",
        "MB above",
        "ratio"
    );
    let mut found = Vec::new();
    for &n in lengths.iter().filter(|&&n| n > 0 && n <= Shape::N_CTX) {
        let (mut times, mut runs) = (Vec::new(), 0);
        let before = session.device().counters();
        for run in 0..=RUNS {
            // Another text each time, so that nothing of the last one is reused.
            let ids: Vec<u32> =
                (0..n).map(|i| (((run + 1) * 7919 + i * 104_729) % shape.v) as u32).collect();
            session.device().reset_peak();
            let start = Instant::now();
            let (options, never) = (Options::default(), Cancel::default());
            let lensed = block_on(session.read(&ids, &options, &never, |_, _, _| Ok(())));
            assert!(lensed.expect("a reading").reading.stats[0].iter().all(|v| v.is_finite()));
            let took = start.elapsed().as_secs_f64();
            runs += 1;
            if run > 0 || took > LONGEST {
                times.push(took);
            }
            if took > LONGEST {
                break;
            }
        }
        let after = session.device().counters();
        let dispatches = (after.dispatches - before.dispatches) / runs;
        let read_bytes = (after.read_bytes - before.read_bytes) / runs;
        let above = session.device().peak_bytes() - weights;
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        let gflops = shape.flops(n) / median / 1e9;
        let share = most.map(|[most, _]| gflops / most);
        let earlier = base.as_ref().filter(|base| base["shape"] == shape_of).and_then(|base| {
            let readings = base["readings"].as_array()?;
            readings.iter().find(|r| r["tokens"] == n)?["ms"].as_f64()
        });
        println!(
            "{n:>6} {:>10.2} {:>21} {gflops:>9.1} {:>8} {dispatches:>11} {read_bytes:>12} {:>10.1} {:>8}",
            median * 1e3,
            format!("{:.2} to {:.2}", times[0] * 1e3, times[times.len() - 1] * 1e3),
            share.map_or("–".into(), |share| format!("{:.1} %", 100.0 * share)),
            above as f64 / 1e6,
            earlier.map_or("–".into(), |ms| format!("{:.2}", median * 1e3 / ms)),
        );
        found.push(json!({
            "tokens": n, "ms": median * 1e3, "least_ms": times[0] * 1e3, "most_ms": times[times.len() - 1] * 1e3,
            "gflops": gflops, "share": share, "dispatches": dispatches, "read_bytes": read_bytes,
            "bytes_above_weights": above,
        }));
        if median > LONGEST {
            println!("longer texts were left out: this one took more than {LONGEST} s");
            break;
        }
    }
    found
}
