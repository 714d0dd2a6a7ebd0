//! The most that an adapter reaches: a kernel that only multiplies and adds, and one that only copies.

use std::time::Instant;

use loupe::device::{Access, Cancel, Device, Kernel, Recorder, Run, Source, Work};
use pollster::block_on;

/// Chains of four numbers in an invocation, so that none waits for its last result.
const CHAINS: usize = 8;
/// Links of each chain in one round of the loop.
const ROUNDS: usize = 4;
/// As long as a measurement of a ceiling is at least. Units: seconds.
const ENOUGH: f64 = 0.025;
/// Bytes that are copied at once: a dispatch has at most 65,535 workgroups.
const COPIED: usize = 32 << 20;

fn unused(_: &mut Work<'_>) {}

/// Only multiplies and adds.
static MULTIPLY: Source = Source {
    name: "multiply",
    file: "multiply",
    wgsl: &["
struct Params { n: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f32>>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let a = vec4<f32>(0.999, 0.998, 0.997, 0.996);
  let b = vec4<f32>(1.0, 2.0, 3.0, 4.0) * (f32(at.x) * 1e-9);
  var x0 = vec4<f32>(0.1, 0.2, 0.3, 0.4); var x1 = x0 + 1.0; var x2 = x0 + 2.0; var x3 = x0 + 3.0;
  var x4 = x0 + 4.0; var x5 = x0 + 5.0; var x6 = x0 + 6.0; var x7 = x0 + 7.0;
  // Four rounds at once, so that the loop itself costs little.
  for (var i = 0u; i < params.n; i++) {
    x0 = fma(x0, a, b); x1 = fma(x1, a, b); x2 = fma(x2, a, b); x3 = fma(x3, a, b);
    x4 = fma(x4, a, b); x5 = fma(x5, a, b); x6 = fma(x6, a, b); x7 = fma(x7, a, b);
    x0 = fma(x0, a, b); x1 = fma(x1, a, b); x2 = fma(x2, a, b); x3 = fma(x3, a, b);
    x4 = fma(x4, a, b); x5 = fma(x5, a, b); x6 = fma(x6, a, b); x7 = fma(x7, a, b);
    x0 = fma(x0, a, b); x1 = fma(x1, a, b); x2 = fma(x2, a, b); x3 = fma(x3, a, b);
    x4 = fma(x4, a, b); x5 = fma(x5, a, b); x6 = fma(x6, a, b); x7 = fma(x7, a, b);
    x0 = fma(x0, a, b); x1 = fma(x1, a, b); x2 = fma(x2, a, b); x3 = fma(x3, a, b);
    x4 = fma(x4, a, b); x5 = fma(x5, a, b); x6 = fma(x6, a, b); x7 = fma(x7, a, b);
  }
  y[at.x] = x0 + x1 + x2 + x3 + x4 + x5 + x6 + x7;
}"],
    bindings: &[Access::ReadWrite],
    workgroup: [64, 1, 1],
    covers: [64, 1, 1],
    constants: &[],
    cpu: Run::new(0, unused),
};

/// Only copies.
static COPY: Source = Source {
    name: "copy",
    file: "copy",
    wgsl: &["
struct Params { n: u32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  if (at.x < params.n) {
    y[at.x] = x[at.x];
  }
}"],
    bindings: &[Access::Read, Access::ReadWrite],
    workgroup: [64, 1, 1],
    covers: [64, 1, 1],
    constants: &[],
    cpu: Run::new(0, unused),
};

/// The best of three runs of an amount of work that is doubled until it takes long enough. Units: of `run`, per second.
fn best(mut run: impl FnMut(u32) -> f64) -> f64 {
    let mut amount = 1;
    // The first run compiles.
    run(amount);
    while run(amount) < ENOUGH && amount < 1 << 16 {
        amount *= 2;
    }
    let least = (0..3).map(|_| run(amount)).fold(f64::INFINITY, f64::min);
    f64::from(amount) / least
}

/// GFLOP/s in single precision, and GB/s read and written.
pub fn ceilings(device: &Device) -> [f64; 2] {
    let cancel = Cancel::default();
    let time = |record: &dyn Fn(&mut Recorder<'_>)| {
        let mut rec = device.record("a ceiling", &cancel);
        record(&mut rec);
        let start = Instant::now();
        block_on(rec.finish()).expect("the device");
        start.elapsed().as_secs_f64()
    };
    let invocations = 4096 * 64;
    let y = device.tensor("y", 16 * invocations as u64);
    let multiply = Kernel::new(device, &MULTIPLY);
    let per_second =
        best(|n| time(&|rec| rec.dispatch(&multiply, n, &[&y], [invocations, 1, 1], 0.0)));
    let gflops = per_second * (invocations * CHAINS * ROUNDS * 4 * 2) as f64 / 1e9;

    // In turns, so that no cache holds what is copied.
    let pairs = [(); 4].map(|()| [(); 2].map(|()| device.tensor("copied", COPIED as u64)));
    let copy = Kernel::new(device, &COPY);
    let n = COPIED / 16;
    let per_second = best(|times| {
        time(&|rec| {
            for [x, y] in pairs.iter().cycle().take(times as usize) {
                rec.dispatch(&copy, n as u32, &[x, y], [n, 1, 1], 0.0);
            }
        })
    });
    [gflops, per_second * 2.0 * COPIED as f64 / 1e9]
}
