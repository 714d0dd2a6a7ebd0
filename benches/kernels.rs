//! Measures time, GFLOP/s and bytes of each kernel and of one reading, on this machine's Vulkan, and which share of what the
//! adapter can do at most that is: of its arithmetic or of its memory, whichever is more.
//!
//! `cargo xtask bench kernels` runs it. Times are medians; compare them within one run only.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers are small")]

#[path = "common/ceilings.rs"]
mod ceilings;

use std::cell::Cell;
use std::hint::black_box;
use std::time::Instant;

use loupe::config::Activation;
use loupe::device::{Cancel, Device, Recorder, Tensor};
use loupe::kernels::{
    Attention, Blend, Chunk, Cross, Divergence, Embed, Forms, GatherDot, Gram, Kernels, LANES,
    LayerNorm, LensFold, LensMerge, Lists, Matmul, Matrix, N_SLOTS, Precision, References, Rows,
    SemiNmf, Shard, Slope, Subtract, Targets, Tile, Unit, pad4,
};
use loupe::lens::Options;
use loupe::session::{LoadRequest, Session};

thread_local! {
    /// GFLOP/s and GB/s that the adapter reaches; none on the CPU.
    static MOST: Cell<Option<[f64; 2]>> = const { Cell::new(None) };
}

/// Runs of each; the first is not counted.
const RUNS: usize = 8;

/// One block of positions of GPT-2 small, or a smaller one on a software adapter.
struct Shape {
    rows: usize,
    c: usize,
    v: usize,
}

fn main() {
    pollster::block_on(run());
}

async fn run() {
    let device = device().await;
    let is_software = match device.adapter_info() {
        Some(info) => {
            println!("adapter: {} ({:?}, {})", info.name, info.backend, info.driver_info);
            info.device_type == wgpu::DeviceType::Cpu
        }
        None => {
            println!("the CPU, one thread");
            true
        }
    };
    let shape = match is_software {
        true => Shape { rows: 16, c: 256, v: 8192 },
        false => Shape { rows: 64, c: 768, v: 50257 },
    };
    println!("rows {} C {} V {}", shape.rows, shape.c, shape.v);
    let most = device.adapter_info().is_some().then(|| ceilings::ceilings(&device));
    if let Some([gflops, gb]) = most {
        println!("ceilings: {gflops:.0} GFLOP/s in f32, {gb:.1} GB/s copied");
    }
    MOST.set(most);
    println!(
        "\n{:<32} {:>10} {:>10} {:>12} {:>8}",
        "kernel", "ms", "GFLOP/s", "MB touched", "ceiling"
    );
    for precision in [Precision::F32, Precision::F16] {
        kernels(&device, precision, &shape).await;
    }
    if device.adapter_info().is_none() {
        matrixmultiply(&shape);
    }
    println!();
    reading().await;
}

/// Prints the median of several runs of one dispatch, each of which is waited for.
async fn measure(
    device: &Device,
    name: &str,
    flops: f64,
    bytes: usize,
    record: impl Fn(&mut Recorder<'_>),
) {
    let cancel = Cancel::default();
    let mut times = Vec::new();
    for run in 0..RUNS {
        let mut rec = device.record("a benchmark", &cancel);
        record(&mut rec);
        let start = Instant::now();
        rec.finish().await.expect("the device");
        if run > 0 {
            times.push(start.elapsed().as_secs_f64());
        }
    }
    print(name, times, flops, bytes);
}

/// A dispatch, recorded.
type Recorded<'a> = &'a dyn Fn(&mut Recorder<'_>);

/// Medians of dispatches that are measured in turns, so that a slow moment of the machine favours none. Units: seconds.
async fn in_turns<const N: usize>(device: &Device, dispatches: [Recorded<'_>; N]) -> [f64; N] {
    let cancel = Cancel::default();
    let mut times = [(); N].map(|()| Vec::new());
    for turn in 0..4 * RUNS {
        for (record, times) in dispatches.iter().zip(&mut times) {
            let mut rec = device.record("a benchmark", &cancel);
            record(&mut rec);
            let start = Instant::now();
            rec.finish().await.expect("the device");
            if turn > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}

/// The unembedding by another library, which takes the widest vectors that this machine has.
#[allow(unsafe_code, reason = "it takes pointers")]
fn matrixmultiply(&Shape { rows, c, v }: &Shape) {
    let (x, w, mut y) = (vec![0.5f32; rows * c], vec![0.5f32; c * v], vec![0f32; rows * v]);
    let mut times = Vec::new();
    for run in 0..RUNS {
        let start = Instant::now();
        let (x, w, y) = (black_box(&x).as_ptr(), black_box(&w).as_ptr(), y.as_mut_ptr());
        let (row, out, [across, down]) = (c as isize, v as isize, [1, c as isize]);
        // SAFETY: the strides and sizes are those of the three vectors.
        unsafe {
            matrixmultiply::sgemm(rows, c, v, 1.0, x, row, 1, w, across, down, 0.0, y, out, 1);
        }
        if run > 0 {
            times.push(start.elapsed().as_secs_f64());
        }
    }
    black_box(&y);
    print("matrixmultiply f32", times, 2.0 * (rows * c * v) as f64, 4 * (c * v + rows * (c + v)));
}

/// Prints the median.
fn print(name: &str, mut times: Vec<f64>, flops: f64, bytes: usize) {
    times.sort_by(f64::total_cmp);
    let seconds = times[times.len() / 2];
    let (ms, rate, mb) = (seconds * 1e3, flops / seconds / 1e9, bytes as f64 / 1e6);
    let share = MOST.get().map_or("–".into(), |[gflops, gb]| {
        let share = (rate / gflops).max(mb / ms / gb);
        format!("{:.1} %", 100.0 * share)
    });
    println!("{name:<32} {ms:>10.3} {rate:>10.2} {mb:>12.2} {share:>8}");
}

async fn kernels(device: &Device, precision: Precision, shape: &Shape) {
    let Shape { rows, c, v } = *shape;
    let (hidden, weight_bytes) = (4 * c, if precision == Precision::F16 { 2 } else { 4 });
    let kernels = Kernels::new(device, precision).await.expect("kernels");
    let tensor = |floats: usize| device.tensor("bench", 4 * floats as u64);
    let filled = |floats: usize| {
        let values: Vec<f32> = (0..floats).map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0).collect();
        device.upload("bench", &values)
    };
    let (x, y, residual, wide) =
        (filled(rows * c), tensor(rows * c), filled(rows * c), tensor(rows * hidden));
    let named = |name: &str| format!("{name} {}", precision.name());

    let mlp = Matrix::inputs(device, "bench", c, hidden, precision);
    let flops = 2.0 * (rows * c * hidden) as f64;
    let bytes = c * hidden * weight_bytes + rows * (c + hidden) * 4;
    measure(device, &named("matmul (mlp)"), flops, bytes, |rec| {
        let (x, y) = (Rows::new(&x, 0, c), Rows::new(&wide, 0, hidden));
        let activation = Some(Activation::Gelu);
        let op = Matmul { activation, ..Matmul::new(x, &mlp, rows, y) };
        kernels.matmul(rec, &op).expect("matmul");
    })
    .await;

    let table = Shard {
        matrix: Matrix::outputs(device, "bench", c, v, precision).into(),
        first_id: 0,
        first_column: 0,
        bias: None,
    };
    let table = [table];
    let logits = tensor(2 * rows * pad4(v));
    let flops = 2.0 * (rows * c * v) as f64;
    let bytes = c * v * weight_bytes + rows * (c + v) * 4;
    let tiles = if device.adapter_info().is_some() { &Tile::ALL[..] } else { &Tile::ALL[..1] };
    for &tile in tiles {
        kernels.choose_forms(device, Forms::all(tile, Unit::Invocation)).await.expect("a tile");
        let name = format!("{} {tile:?}", named("matmul (unembed)"));
        measure(device, &name, flops, bytes, |rec| {
            let (x, y) = (Rows::new(&x, 0, c), Rows::new(&logits, 0, v));
            let op = Matmul::new(x, &table[0].matrix, rows, y);
            kernels.matmul(rec, &op).expect("matmul");
        })
        .await;
    }
    kernels.choose_forms(device, Forms::PLAIN).await.expect("a tile");

    let ids: Vec<u32> = (0..rows as u32 * 4).map(|i| i * 97 % v as u32).collect();
    let ids = device.upload("ids", &ids);
    measure(device, &named("embed"), (rows * c) as f64, rows * c * (weight_bytes + 8), |rec| {
        let y = Rows::new(&y, 0, c);
        let op = Embed {
            ids: &ids,
            wte: &table,
            wpe: &residual,
            scale: 1.0,
            factors: None,
            first_position: 0,
            n_rows: rows,
            y,
        };
        kernels.embed(rec, &op).expect("embed");
    })
    .await;

    let target_logits = tensor(rows * 4);
    let flops = 2.0 * (rows * 4 * c) as f64;
    measure(device, &named("gather_dot"), flops, rows * 4 * c * (4 + weight_bytes), |rec| {
        let op = GatherDot {
            x: Rows::new(&x, 0, c),
            unembed: &table,
            targets: &ids,
            n_targets: 4,
            period: rows,
            n_rows: rows,
            y: &target_logits,
        };
        kernels.gather_dot(rec, &op).expect("gather_dot");
    })
    .await;

    if precision == Precision::F16 {
        lens(device, &kernels, (Rows::new(&x, 0, c), &table[0]), rows, v, &logits).await;
        return; // the rest is measured in f32 only
    }

    measure(device, "layer_norm", (8 * rows * c) as f64, 4 * rows * c * 4, |rec| {
        let (x, y) = (Rows::new(&x, 0, c), Rows::new(&y, 0, c));
        let op = LayerNorm {
            x,
            others: &[],
            affine: None,
            epsilon: Some(1e-5),
            n_embd: c,
            n_rows: rows,
            y,
        };
        kernels.layer_norm(rec, &op).expect("layer_norm");
    })
    .await;

    let flops = 2.0 * (rows * rows * c) as f64;
    measure(device, "attention", flops, 4 * rows * c * 4, |rec| {
        let op = Attention {
            q: &x,
            k: &x,
            v: &residual,
            first_position: 0,
            n_rows: rows,
            n_runs: 1,
            n_head: c / 64,
            head_dim: 64,
            scale: 0.125,
            window: None,
            y: &y,
        };
        kernels.attention(rec, &op).expect("attention");
    })
    .await;
    let counts = device.upload("counts", &vec![1f32; pad4(v)]);
    let sums = tensor(c * c);
    let groups = 0..v.min(4096) / 4;
    measure(
        device,
        &named("gram"),
        (2 * c * c * 4 * groups.len()) as f64,
        4 * groups.len() * c * weight_bytes,
        |rec| {
            let weight = &table[0].matrix;
            let op = Gram { weight, counts: &counts, groups: groups.clone(), y: &sums };
            kernels.gram(rec, &op).expect("gram");
        },
    )
    .await;
    let outer = Cross {
        a: Rows::new(&x, 0, c),
        p: &counts,
        b: Rows::new(&residual, 0, c),
        q: &counts,
        n_rows: rows,
        adds: true,
        y: &sums,
    };
    measure(device, "cross", (2 * c * c * rows) as f64, 4 * (2 * rows * c + 2 * c * c), |rec| {
        kernels.cross(rec, &outer).expect("cross");
    })
    .await;
    let halves = filled(2 * rows * c);
    measure(device, "semi_nmf", (7 * rows * c) as f64, 5 * rows * c * 4, |rec| {
        let (p, g) = (Rows::new(&x, 0, c), Rows::new(&y, 0, c));
        let op = SemiNmf { p, products: &halves, n_rows: rows, g };
        kernels.semi_nmf(rec, &op).expect("semi_nmf");
    })
    .await;
    measure(device, "subtract", (rows * c) as f64, 3 * rows * c * 4, |rec| {
        let at = |tensor| Rows::new(tensor, 0, c);
        let op = Subtract { a: at(&x), b: at(&residual), n_rows: rows, y: at(&y) };
        kernels.subtract(rec, &op).expect("subtract");
    })
    .await;

    measure(device, "blend", (rows * c) as f64, 3 * rows * c * 4, |rec| {
        let at = |tensor| Rows::new(tensor, 0, c);
        let op = Blend {
            x: at(&x),
            is_one: false,
            scale: 0.5,
            adds: true,
            channels: 0..c,
            n_rows: rows,
            y: at(&y),
        };
        kernels.blend(rec, &op).expect("blend");
    })
    .await;
}

/// The fold of logits, which are the product of `x` and `table`.
async fn lens(
    device: &Device,
    kernels: &Kernels,
    (x, table): (Rows<'_>, &Shard),
    rows: usize,
    v: usize,
    logits: &Tensor,
) {
    let k = 10;
    let tensor = |floats: usize| device.tensor("bench", 4 * floats as u64);
    let states = device.upload("states", &vec![1f32; 2 * rows * N_SLOTS]);
    let state = tensor(rows * LANES * (N_SLOTS + 67));
    let ids: Vec<u32> = (0..rows * 67).map(|i| (i * 97 % v) as u32).collect();
    let ids = device.upload("ids", &ids);
    let target_logits = tensor(rows * 67);
    let lists = tensor(rows * LANES * k * 2);
    let (merged, top) = (tensor(rows * (N_SLOTS + 4)), tensor(rows * k * 2));
    let chunk = Chunk {
        logits,
        stride: pad4(v),
        column: 0,
        n_rows: rows,
        n_columns: v,
        first_id: 0,
        is_first: true,
    };
    let fold = |rec: &mut Recorder<'_>, n: usize| {
        let op = LensFold {
            chunk,
            references: Some(References { logits, stride: pad4(v), column: 0, states: &states }),
            targets: Some(Targets { ids: &ids, logits: &target_logits, n }),
            first_row: 0,
            period: rows,
            state: &state,
            lists: Some(Lists { pairs: &lists, k }),
        };
        kernels.lens_fold(rec, &op).expect("lens_fold");
    };
    // Halves of both signs between 2^-6 and 2^-5, so that logits differ as those of a model do.
    let words = table.matrix.tensor.bytes() / 4;
    let noise = |i: u32| i.wrapping_mul(0x9e37_79b9).rotate_left(15).wrapping_mul(0x85eb_ca6b);
    let halves: Vec<u32> =
        (0..words as u32).map(|i| noise(i) & 0x83ff_83ff | 0x2400_2400).collect();
    device.write(&table.matrix.tensor, 0, &halves);
    let product = |rec: &mut Recorder<'_>| {
        let op = Matmul::new(x, &table.matrix, rows, Rows::new(logits, 0, v));
        kernels.matmul(rec, &op).expect("matmul");
    };
    // What each cell needs, and with 64 tracked tokens.
    for n in [3, 67] {
        let name = format!("lens_fold J={n} K={k}");
        let flops = (rows * v * (32 + 4 * n)) as f64;
        measure(device, &name, flops, 3 * rows * v * 4, |rec| fold(rec, n)).await;
    }
    let [product, few, many] =
        in_turns(device, [&product, &|rec| fold(rec, 3), &|rec| fold(rec, 67)]).await;
    println!(
        "in turns: product {:.3} ms; with its fold {:.2} (J=3) and {:.2} (J=67) of that",
        1e3 * product,
        1.0 + few / product,
        1.0 + many / product
    );
    measure(device, "lens_merge", (rows * LANES * 30) as f64, rows * LANES * 15 * 4, |rec| {
        let op = LensMerge {
            state: &state,
            n_targets: 3,
            n_rows: rows,
            y: &merged,
            best: None,
            top: Some((Lists { pairs: &lists, k }, &top)),
        };
        kernels.lens_merge(rec, &op).expect("lens_merge");
    })
    .await;
    let pairs = rows / 2;
    let sums = tensor(pairs * LANES * 3);
    measure(device, "divergence", (pairs * v * 60) as f64, 2 * pairs * v * 4, |rec| {
        let (stride, column, n_columns, n_rows) = (pad4(v), 0, v, pairs);
        let (states, n_targets, is_first, y) = (&states, 0, true, &sums);
        let op = Divergence {
            logits,
            stride,
            column,
            n_columns,
            n_rows,
            states,
            n_targets,
            is_first,
            y,
        };
        kernels.divergence(rec, &op).expect("divergence");
    })
    .await;
    let n_columns = v.min(1024);
    let slopes = tensor(n_columns * pad4(pairs));
    measure(device, "slope", (12 * pairs * n_columns) as f64, 12 * pairs * n_columns, |rec| {
        let (stride, column, n_rows) = (pad4(v), 0, pairs);
        let (states, y) = (&states, Rows::new(&slopes, 0, pairs));
        let op = Slope { logits, stride, column, n_columns, n_rows, states, y };
        kernels.slope(rec, &op).expect("slope");
    })
    .await;
}

/// One reading of the bundled model, with its exact costs.
async fn reading() {
    let session = Session::new(device().await);
    let folder = "www/public/models/tales";
    let file = |name: &str| std::fs::read(format!("{folder}/{name}")).expect("the bundled model");
    let config = String::from_utf8(file("config.json")).expect("UTF-8");
    let request = LoadRequest::new(&config, None);
    let mut loading = session.load(&request).await.expect("a load");
    let start = Instant::now();
    session.push(&mut loading, &file("model.safetensors")).await.expect("a valid file");
    loading.loader.end_file().expect("a whole file");
    let (loaded, _) = session.install(loading).await.expect("a whole model");
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "Tales: {:.0} ms to convert, {} bytes on the device",
        seconds * 1e3,
        loaded.model.weight_bytes
    );
    for t in [1usize, 20, 64, 256] {
        let mut ids: Vec<u32> = (0..t as u32).map(|i| 100 + i * 13 % 3000).collect();
        let options = Options::default();
        let mut times = Vec::new();
        let mut counts = (0, 0, 0);
        for run in 0..4 {
            ids[0] = run; // another first token, so that nothing is reused
            session.device().reset_peak();
            let (before, start) = (session.device().counters(), Instant::now());
            let lensed = session.read(&ids, &options, &Cancel::default(), |_, _, _| Ok(())).await;
            black_box(lensed.map_err(|e| e.to_string()).expect("a reading"));
            times.push(start.elapsed().as_secs_f64());
            let after = session.device().counters();
            counts = (
                after.dispatches - before.dispatches,
                after.read_bytes - before.read_bytes,
                session.device().peak_bytes() - loaded.model.weight_bytes,
            );
        }
        times.sort_by(f64::total_cmp);
        let ms = times[1] * 1e3;
        let (dispatches, read, peak) = counts;
        println!(
            "T={t:<4} {ms:>8.1} ms  {dispatches} dispatches  {read} bytes read back  peak {peak} bytes above the weights"
        );
    }
}

/// The GPU, or with `LOUPE_DEVICE=cpu` the CPU.
async fn device() -> Device {
    match std::env::var("LOUPE_DEVICE").as_deref() {
        Ok("cpu") => Device::cpu(Box::new(|| Box::pin(std::future::ready(())))),
        _ => Device::gpu().await.expect("a WebGPU adapter"),
    }
}
