//! Shared by the test files: one test body for every WGSL compiler, and the tolerance of comparisons.
#![allow(dead_code)] // each test file uses only some of it

pub mod atlas;
pub mod golden;
#[cfg(target_arch = "wasm32")]
pub mod script;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use golden::Golden;
use loupe::device::{Backend, Cancel, Device, Recorder, Tensor};
use loupe::kernels::{Forms, Kernels, Matrix, Order, Packer, Precision, encode, pad4};
use loupe::session::{LoadRequest, Session};

/// Turns `async fn name()` into tests on a GPU and on the CPU, natively (lavapipe) and in a browser (Chromium, Firefox).
#[macro_export]
macro_rules! device_tests {
    ($($name:ident)*) => { $(
        mod $name {
            #[cfg(not(target_arch = "wasm32"))]
            #[test]
            fn native_gpu() {
                pollster::block_on($crate::support::on(loupe::device::Backend::WebGpu, super::$name()));
            }

            #[cfg(not(target_arch = "wasm32"))]
            #[test]
            fn native_cpu() {
                pollster::block_on($crate::support::on(loupe::device::Backend::Cpu, super::$name()));
            }

            #[cfg(target_arch = "wasm32")]
            #[wasm_bindgen_test::wasm_bindgen_test]
            async fn browser_gpu() {
                $crate::support::on(loupe::device::Backend::WebGpu, super::$name()).await;
            }

            #[cfg(target_arch = "wasm32")]
            #[wasm_bindgen_test::wasm_bindgen_test]
            async fn browser_cpu() {
                $crate::support::on(loupe::device::Backend::Cpu, super::$name()).await;
            }
        }
    )* };
}

/// The same for what only a GPU has.
#[macro_export]
macro_rules! gpu_tests {
    ($($name:ident)*) => { $(
        mod $name {
            #[cfg(not(target_arch = "wasm32"))]
            #[test]
            fn native() {
                pollster::block_on(super::$name());
            }

            #[cfg(target_arch = "wasm32")]
            #[wasm_bindgen_test::wasm_bindgen_test]
            async fn browser() {
                super::$name().await;
            }
        }
    )* };
}

/// Labs that are open.
type Labs = Vec<(Backend, Precision, Rc<Lab>)>;

thread_local! {
    /// The device under test.
    static BACKEND: Cell<Backend> = const { Cell::new(Backend::WebGpu) };
    static LABS: RefCell<Labs> = const { RefCell::new(Vec::new()) };
}

/// Runs a test body on a device. The tests of a browser run one after the other.
pub async fn on(backend: Backend, body: impl Future<Output = ()>) {
    BACKEND.set(backend);
    body.await;
    BACKEND.set(Backend::WebGpu);
}

/// The device under test. A missing adapter fails the test.
pub async fn device() -> Device {
    match BACKEND.get() {
        Backend::WebGpu => Device::gpu().await.expect("a WebGPU adapter"),
        Backend::Cpu => Device::cpu(Box::new(|| Box::pin(std::future::ready(())))),
    }
}

/// A session on the device under test.
pub async fn session() -> Session {
    Session::new(device().await)
}

/// Puts the model of a case into use, in shards of at most so many bytes.
pub async fn load(session: &Session, golden: &Golden, precision: Precision, shard_bytes: usize) {
    let mut request = LoadRequest::new(golden.config, golden.tokenizer);
    (request.precision, request.shard_bytes) = (precision, shard_bytes);
    let mut loading = session.load(&request).await.expect("a model that loads");
    for piece in golden.weights.chunks(100_003) {
        session.push(&mut loading, piece).await.expect("a valid file");
    }
    loading.loader.end_file().expect("a whole file");
    session.install(loading).await.expect("a whole model");
}

/// Prints a line, natively or in a browser.
pub fn say(text: &str) {
    #[cfg(target_arch = "wasm32")]
    wasm_bindgen_test::console_log!("{text}");
    #[cfg(not(target_arch = "wasm32"))]
    println!("{text}");
}

/// Reports that a test is not run, and why, bypassing the capture of the test runner; xtask counts these lines.
#[cfg(not(target_arch = "wasm32"))]
pub fn skip(why: &str) {
    use std::io::Write;
    // A closed output does not fail the test.
    let _ = writeln!(std::io::stdout(), "skipped: {why}");
}

/// A device with kernels. A missing adapter fails the test.
pub struct Lab {
    pub device: Device,
    pub kernels: Kernels,
    pub cancel: Cancel,
}

impl Lab {
    /// The tests of a file share one for each device and precision in a browser, where to compile the kernels takes longer
    /// than most tests.
    pub async fn open(precision: Precision) -> Rc<Lab> {
        let backend = BACKEND.get();
        let opened = LABS.with_borrow(|labs| {
            let known = labs.iter().find(|(b, p, _)| (*b, *p) == (backend, precision));
            known.map(|(.., lab)| lab.clone())
        });
        if let Some(lab) = opened {
            // A test may have chosen others.
            let plain = lab.kernels.choose_forms(&lab.device, Forms::PLAIN).await;
            plain.expect("forms that are compiled");
            return lab;
        }
        let lab = Rc::new(Lab::new(precision).await);
        // Natively every test has a thread of its own.
        if cfg!(target_arch = "wasm32") {
            LABS.with_borrow_mut(|labs| labs.push((backend, precision, lab.clone())));
        }
        lab
    }

    async fn new(precision: Precision) -> Lab {
        let device = device().await;
        match device.adapter_info() {
            Some(info) => {
                say(&format!("adapter: {} ({:?}, {})", info.name, info.backend, info.driver_info));
            }
            None => say("the CPU"),
        }
        let kernels = Kernels::new(&device, precision).await.expect("kernels that compile");
        Lab { device, kernels, cancel: Cancel::default() }
    }

    /// A matrix on the device from plain rows: \[K, N\] or, transposed, \[N, K\].
    pub fn matrix(&self, rows: &[f32], n_in: usize, precision: Precision, outputs: bool) -> Matrix {
        let n_out = rows.len() / n_in;
        let (matrix, width) = match outputs {
            false => (Matrix::inputs(&self.device, "w", n_in, n_out, precision), n_out),
            true => (Matrix::outputs(&self.device, "w", n_in, n_out, precision), n_in),
        };
        self.pack(&matrix, Packer::new(), rows, width);
        matrix
    }

    /// Matrices side by side, each from plain rows \[K, N\], packed as from a file of that order.
    pub fn parts(
        &self,
        parts: &[Vec<f32>; 3],
        n_in: usize,
        precision: Precision,
        outputs: bool,
    ) -> Matrix {
        let n_out = parts[0].len() / n_in;
        let order = if outputs { Order::Outputs } else { Order::Inputs };
        let matrix = Matrix::new(&self.device, "w", n_in, [n_out, 3], precision, order);
        if outputs {
            for (i, part) in parts.iter().enumerate() {
                let column = |n: usize| (0..n_in).map(move |k| part[k * n_out + n]);
                let rows: Vec<f32> = (0..n_out).flat_map(column).collect();
                self.pack(&matrix, Packer::of_part(&matrix, i), &rows, n_in);
            }
        } else {
            let row = |k: usize| parts.iter().flat_map(move |part| &part[k * n_out..][..n_out]);
            let rows: Vec<f32> = (0..n_in).flat_map(row).copied().collect();
            self.pack(&matrix, Packer::new(), &rows, 3 * n_out);
        }
        matrix
    }

    fn pack(&self, matrix: &Matrix, mut packer: Packer, rows: &[f32], width: usize) {
        for row in rows.chunks(width) {
            let mut stored = Vec::new();
            encode("w", matrix.precision, row, &mut stored).expect("finite weights");
            packer.row(&self.device, matrix, &stored);
        }
    }

    /// Rows padded to a multiple of four. Shapes: \[rows, width\] → \[rows, width4\].
    pub fn rows(&self, values: &[f32], width: usize) -> Tensor {
        let mut padded = Vec::new();
        for row in values.chunks(width) {
            padded.extend_from_slice(row);
            padded.resize(padded.len().next_multiple_of(4), 0.0);
        }
        self.device.upload("rows", &padded)
    }

    /// Reads rows back and checks that their padding is still zero.
    pub async fn read_rows(&self, tensor: &Tensor, n_rows: usize, width: usize) -> Vec<f32> {
        let bytes = (4 * n_rows * pad4(width)) as u64;
        let read = self.device.read(&[(tensor, bytes)]).await.expect("a readback");
        unpadded(&read[0], width)
    }

    /// The same once what is recorded has been done: one answer of the device, on which Firefox lets a caller wait for a
    /// tenth of a second.
    pub async fn read_done(
        &self,
        rec: &mut Recorder<'_>,
        tensor: &Tensor,
        n_rows: usize,
        width: usize,
    ) -> Vec<f32> {
        let bytes = (4 * n_rows * pad4(width)) as u64;
        let read = rec.read(&[(tensor, bytes)]).await.expect("a readback");
        unpadded(&read[0], width)
    }
}

fn unpadded(rows: &[f32], width: usize) -> Vec<f32> {
    let mut out = Vec::new();
    for row in rows.chunks(pad4(width)) {
        assert!(row[width..].iter().all(|&v| v == 0.0), "padding was written: {row:?}");
        out.extend_from_slice(&row[..width]);
    }
    out
}

/// Pseudorandom numbers that are the same everywhere: uniform in -1..1.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next_u32(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 32) as u32
    }

    pub fn value(&mut self) -> f32 {
        self.next_u32() as f32 / u32::MAX as f32 * 2.0 - 1.0
    }

    pub fn values(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.value()).collect()
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.next_u32() as usize % n
    }
}

/// Rounds to half precision, as stored weights are.
pub fn halved(values: &[f32]) -> Vec<f32> {
    values.iter().map(|&v| half::f16::from_f32(v).to_f32()).collect()
}

/// `values` as the device stores them in that precision.
pub fn stored(values: &[f32], precision: Precision) -> Vec<f32> {
    match precision {
        Precision::F16 => halved(values),
        Precision::F32 => values.to_vec(),
    }
}

/// Compares a kernel with the f64 twin, row by row of `width` values. The tolerance of a row is the largest error of
/// a plain f32 sum in it, plus 1e-5 of the smaller of its largest value and 1.
pub fn assert_rows_close(what: &str, got: &[f32], exact: &[f64], plain: &[f32], width: usize) {
    assert_eq!(got.len(), exact.len(), "{what}: length");
    assert_eq!(got.len() % width, 0, "{what}: whole rows");
    let largest = |values: &mut dyn Iterator<Item = f64>| values.fold(0.0, f64::max);
    for (row, ((got, exact), plain)) in
        got.chunks(width).zip(exact.chunks(width)).zip(plain.chunks(width)).enumerate()
    {
        let errors = plain.iter().zip(exact).map(|(&p, &e)| (f64::from(p) - e).abs());
        let scale = largest(&mut exact.iter().map(|e| e.abs())).min(1.0);
        let tolerance = largest(&mut errors.filter(|e| e.is_finite())) + 1e-5 * scale;
        for (i, (&g, &e)) in got.iter().zip(exact).enumerate() {
            let error = (f64::from(g) - e).abs();
            assert!(
                error <= tolerance,
                "{what} [{row}, {i}]: {g}, expected {e}, error {error:e} > {tolerance:e}"
            );
        }
    }
}

/// The same for the values of one row.
pub fn assert_close(what: &str, got: &[f32], exact: &[f64], plain: &[f32]) {
    assert_rows_close(what, got, exact, plain, got.len());
}
