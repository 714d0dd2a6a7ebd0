//! The device and its limits, tensors, kernels, and the recording, execution and readback of work.
//!
//! There are two back ends: WebGPU by `wgpu`, and the CPU. What is above this module does not know which one runs.

mod audit;
mod cpu;
mod gpu;
mod kernel;
mod recorder;
mod tensor;

use std::cell::{Cell, RefCell};
use std::ops::Range;
use std::rc::Rc;

use web_time::Instant;

use crate::error::{Error, Result};

use cpu::Cpu;
use gpu::{Gpu, Mapping};
use tensor::Memory;

pub use audit::{Audit, Finding};
pub use cpu::{HandBack, Reads, Work, Writes};
pub use gpu::{AdapterInfo, Verdict};
pub use kernel::{Access, Kernel, Run, Source};
pub use recorder::{Cancel, RecordedRead, Recorder};
pub use tensor::{Tensor, Word};

/// Exact counts of the work given to the device, for tests and benchmarks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Compute dispatches.
    pub dispatches: u64,
    /// Bind groups that were made for them on a GPU.
    pub bind_groups: u64,
    /// Bytes copied back to the caller.
    pub read_bytes: u64,
}

impl Counters {
    fn add(&mut self, more: Counters) {
        self.dispatches += more.dispatches;
        self.bind_groups += more.bind_groups;
        self.read_bytes += more.read_bytes;
    }
}

/// Bytes in tensors, shared with every tensor so that dropping one is counted.
#[derive(Debug, Default)]
struct Allocated {
    now: u64,
    peak: u64,
}

/// What runs the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// WebGPU, or natively what wgpu offers.
    WebGpu,
    /// The CPU, on the thread of the caller.
    Cpu,
}

impl Backend {
    /// The name in options and results.
    pub fn name(self) -> &'static str {
        match self {
            Backend::WebGpu => "webgpu",
            Backend::Cpu => "cpu",
        }
    }
}

/// What computes, and the memory that it computes in.
pub struct Device {
    runs_on: RunsOn,
    allocated: Rc<RefCell<Allocated>>,
    counters: Cell<Counters>,
    /// Time spent so far in giving commands to a GPU. Units: seconds.
    encoding_seconds: Cell<f64>,
    /// Floating-point operations per second of a GPU of late; determines how much is submitted at once.
    rate: Cell<f64>,
    /// When the CPU last let the thread do other things.
    handed_back_at: Cell<Instant>,
    /// What is replaced in the WGSL of a kernel: its name, the text, another text.
    alteration: Cell<Option<[&'static str; 3]>>,
}

/// A readback that has begun.
enum Readback<'a, V> {
    /// Of the CPU.
    Done(Vec<Vec<V>>),
    /// Of a GPU, which may not have come so far.
    Mapped {
        gpu: &'a Gpu,
        mapping: Mapping,
        /// Where it is copied to; released with it.
        staging: Tensor,
    },
}

impl<V: bytemuck::Pod> Readback<'_, V> {
    /// What was read, range by range.
    ///
    /// Errors: `device-lost`, `gpu-refused`, `out-of-memory`.
    async fn end(self) -> Result<Vec<Vec<V>>> {
        match self {
            Readback::Done(read) => Ok(read),
            Readback::Mapped { gpu, mapping, staging } => {
                let read = gpu.end_read(mapping).await;
                drop(staging);
                read
            }
        }
    }
}

/// Slabs begin at multiples of this, so that they share no tile of a kernel.
const SLAB_MULTIPLE: usize = 8;
/// The CPU works no longer than this at a time. Units: seconds.
const HAND_BACK_SECONDS: f64 = 0.03;

enum RunsOn {
    Gpu(Box<Gpu>),
    Cpu(Cpu),
}

impl Device {
    /// Opens the default adapter with WebGPU's default limits and no feature.
    ///
    /// Errors: `no-webgpu`, `no-adapter`.
    pub async fn gpu() -> Result<Device> {
        Ok(Device::on(RunsOn::Gpu(Box::new(Gpu::open().await?))))
    }

    /// The CPU. Long work calls `hand_back` from time to time, so that the thread can do other things.
    pub fn cpu(hand_back: HandBack) -> Device {
        Device::on(RunsOn::Cpu(Cpu::new(hand_back)))
    }

    fn on(runs_on: RunsOn) -> Device {
        let (allocated, counters) = Default::default();
        let handed_back_at = Cell::new(Instant::now());
        let (rate, alteration) = (Cell::new(2e9), Cell::new(None));
        let encoding_seconds = Cell::new(0.0);
        Device { runs_on, allocated, counters, encoding_seconds, rate, handed_back_at, alteration }
    }

    /// Makes a kernel wrong: `to` stands for `from` in its WGSL. For tests of what finds such a kernel.
    #[doc(hidden)]
    pub fn alter(&self, name: &'static str, from: &'static str, to: &'static str) {
        self.alteration.set(Some([name, from, to]));
    }

    /// Which back end this is.
    pub fn backend(&self) -> Backend {
        match self.runs_on {
            RunsOn::Gpu(_) => Backend::WebGpu,
            RunsOn::Cpu(_) => Backend::Cpu,
        }
    }

    /// The adapter's description of itself; a CPU has none.
    pub fn adapter_info(&self) -> Option<&AdapterInfo> {
        match &self.runs_on {
            RunsOn::Gpu(gpu) => Some(gpu.info()),
            RunsOn::Cpu(_) => None,
        }
    }

    /// Exact counts since the device was opened.
    pub fn counters(&self) -> Counters {
        self.counters.get()
    }

    /// Bytes in tensors now. Units: bytes.
    pub fn allocated_bytes(&self) -> u64 {
        self.allocated.borrow().now
    }

    /// How long it took so far to give commands to a GPU. Units: seconds.
    pub fn encoding_seconds(&self) -> f64 {
        self.encoding_seconds.get()
    }

    /// Counts the time since `start` as such.
    fn has_encoded(&self, start: Instant) {
        self.encoding_seconds.set(self.encoding_seconds.get() + start.elapsed().as_secs_f64());
    }

    /// Largest number of bytes in tensors since [`Device::reset_peak`]. Units: bytes.
    pub fn peak_bytes(&self) -> u64 {
        self.allocated.borrow().peak
    }

    /// Sets the peak to what is allocated now.
    pub fn reset_peak(&self) {
        let mut allocated = self.allocated.borrow_mut();
        allocated.peak = allocated.now;
    }

    /// Fails if the device was lost, or if it reported an error that belongs to no call; the latter
    /// is reported once.
    ///
    /// Errors: `device-lost`, `gpu-refused`, `out-of-memory`.
    pub fn check(&self) -> Result<()> {
        match &self.runs_on {
            RunsOn::Gpu(gpu) => gpu.check(),
            RunsOn::Cpu(cpu) => cpu.check(),
        }
    }

    /// Resolves with the reason once the device is lost, in a browser at once; never for a CPU, or once the device is dropped.
    pub fn lost(&self) -> impl Future<Output = String> + use<> {
        let waiting = match &self.runs_on {
            RunsOn::Gpu(gpu) => Some(gpu.lost()),
            RunsOn::Cpu(_) => None,
        };
        async {
            match waiting {
                Some(waiting) => match waiting.await {
                    Ok(why) => why,
                    Err(_) => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        }
    }

    /// Destroys the device, which is then lost.
    pub fn destroy(&self) {
        match &self.runs_on {
            RunsOn::Gpu(gpu) => gpu.destroy(),
            RunsOn::Cpu(cpu) => cpu.destroy(),
        }
    }

    /// A zeroed tensor of at least `bytes` bytes, rounded up to 16.
    pub fn tensor(&self, label: &str, bytes: u64) -> Tensor {
        let bytes = bytes.next_multiple_of(16).max(16);
        let memory = match &self.runs_on {
            RunsOn::Gpu(gpu) => Memory::Gpu(gpu.buffer(label, bytes)),
            RunsOn::Cpu(cpu) => Memory::Cpu(cpu.memory(bytes)),
        };
        Tensor::new(memory, bytes, &self.allocated)
    }

    /// A tensor that holds `values`.
    pub fn upload<V: bytemuck::Pod>(&self, label: &str, values: &[V]) -> Tensor {
        let tensor = self.tensor(label, size_of_val(values) as u64);
        self.write(&tensor, 0, values);
        tensor
    }

    /// Writes `values` at byte `offset`; offset and length in bytes are multiples of 4.
    pub fn write<V: bytemuck::Pod>(&self, tensor: &Tensor, offset: u64, values: &[V]) {
        let bytes = bytemuck::cast_slice(values);
        match (&self.runs_on, tensor.memory()) {
            (RunsOn::Gpu(gpu), Memory::Gpu(buffer)) => gpu.write(buffer, offset, bytes),
            (RunsOn::Cpu(cpu), Memory::Cpu(memory)) => cpu.write(memory, offset, bytes),
            _ => self.refuse_foreign(),
        }
    }

    /// Runs `work`, which gives commands to the device without awaiting, in an error scope of its own.
    pub fn scoped<V>(&self, work: impl FnOnce() -> V) -> (V, Verdict) {
        match &self.runs_on {
            RunsOn::Gpu(gpu) => gpu.scoped(work),
            RunsOn::Cpu(cpu) => cpu.scoped(work),
        }
    }

    /// Runs `allocate`, which creates tensors, and fails if the device has too little memory for them.
    ///
    /// Errors: `out-of-memory`, `gpu-refused`, `device-lost`, and those of `allocate`.
    pub async fn allocate<V>(&self, what: &str, allocate: impl FnOnce() -> Result<V>) -> Result<V> {
        let (made, verdict) = self.scoped(allocate);
        let made = made?;
        verdict.check(what).await?;
        self.check_lost()?;
        Ok(made)
    }

    /// Errors: `device-lost`.
    pub fn check_lost(&self) -> Result<()> {
        match &self.runs_on {
            RunsOn::Gpu(gpu) => gpu.check_lost(),
            RunsOn::Cpu(cpu) => cpu.check_lost(),
        }
    }

    /// Starts a list of dispatches and copies; `what` names the work in errors.
    pub fn record<'a>(&'a self, what: &'static str, cancel: &'a Cancel) -> Recorder<'a> {
        Recorder::new(self, what, cancel)
    }

    /// The same, and what a GPU does is repeated on the CPU.
    pub fn record_audited<'a>(
        &'a self,
        what: &'static str,
        cancel: &'a Cancel,
        audit: &'a Audit,
    ) -> Recorder<'a> {
        Recorder::new(self, what, cancel).audited(audit)
    }

    /// A range of bytes of a buffer of the GPU.
    ///
    /// Errors: `device-lost`, `gpu-refused`, `out-of-memory`.
    async fn read_buffer<V: bytemuck::Pod>(
        &self,
        buffer: &wgpu::Buffer,
        range: Range<u64>,
    ) -> Result<Vec<V>> {
        let RunsOn::Gpu(gpu) = &self.runs_on else { return Ok(Vec::new()) };
        let size = range.end.saturating_sub(range.start);
        if size == 0 {
            return Ok(Vec::new());
        }
        let mut read = self.mapped(gpu, &[(buffer, range)]).end().await?;
        Ok(read.pop().unwrap_or_default())
    }

    /// Waits until everything submitted so far is done.
    ///
    /// Errors: `device-lost`.
    pub async fn idle(&self) -> Result<()> {
        match &self.runs_on {
            RunsOn::Gpu(gpu) => gpu.idle().await,
            RunsOn::Cpu(cpu) => cpu.check_lost(),
        }
    }

    /// On the CPU, hands the thread back if it has worked long enough, so that a cancel can come in.
    pub async fn hand_back(&self) {
        if let RunsOn::Cpu(cpu) = &self.runs_on
            && self.is_time_to_hand_back()
        {
            cpu.hand_back().await;
            self.handed_back();
        }
    }

    /// Reads the first `bytes` of each tensor.
    ///
    /// Errors: `device-lost`, `gpu-refused`, `out-of-memory`.
    pub async fn read(&self, prefixes: &[(&Tensor, u64)]) -> Result<Vec<Vec<f32>>> {
        let ranges: Vec<_> = prefixes.iter().map(|&(tensor, bytes)| (tensor, 0..bytes)).collect();
        self.read_ranges(&ranges).await
    }

    /// Reads ranges of bytes of tensors, each a multiple of four.
    ///
    /// Errors: `device-lost`, `gpu-refused`, `out-of-memory`.
    pub async fn read_ranges<V: bytemuck::Pod>(
        &self,
        ranges: &[(&Tensor, Range<u64>)],
    ) -> Result<Vec<Vec<V>>> {
        self.begin_read(ranges)?.end().await
    }

    /// Begins to read ranges of bytes of tensors, each a multiple of four. What is done later changes nothing of what is
    /// read.
    ///
    /// Errors: `device-lost`.
    fn begin_read<V: bytemuck::Pod>(
        &self,
        ranges: &[(&Tensor, Range<u64>)],
    ) -> Result<Readback<'_, V>> {
        let total: u64 = ranges.iter().map(|(_, range)| range.end - range.start).sum();
        self.count(|c| c.read_bytes += total);
        match &self.runs_on {
            RunsOn::Cpu(cpu) => {
                cpu.check_lost()?;
                let read = ranges.iter().map(|(tensor, range)| tensor.read(range.clone()));
                Ok(Readback::Done(read.collect()))
            }
            RunsOn::Gpu(gpu) => {
                let copies: Vec<_> = ranges
                    .iter()
                    .filter_map(|(tensor, range)| Some((tensor.memory().buffer()?, range.clone())))
                    .collect();
                Ok(self.mapped(gpu, &copies))
            }
        }
    }

    fn mapped<'a, V: bytemuck::Pod>(
        &self,
        gpu: &'a Gpu,
        ranges: &[(&wgpu::Buffer, Range<u64>)],
    ) -> Readback<'a, V> {
        let mapping = gpu.begin_read(ranges);
        let bytes = mapping.staging.size();
        let staging = Tensor::new(Memory::Gpu(mapping.staging.clone()), bytes, &self.allocated);
        Readback::Mapped { gpu, mapping, staging }
    }

    /// Errors: `unsupported-model` for a tensor that no binding of this device can hold.
    pub fn check_binding(&self, name: &str, bytes: u64) -> Result<()> {
        let (most, why) = match &self.runs_on {
            RunsOn::Gpu(gpu) => (gpu.largest_binding(), "in one binding, WebGPU's default limit"),
            RunsOn::Cpu(_) => (cpu::LARGEST_TENSOR, "in one tensor on the CPU"),
        };
        if bytes <= most {
            return Ok(());
        }
        Err(Error::UnsupportedModel(format!(
            "{name}: expected at most {most} bytes {why}, got {bytes}"
        )))
    }

    /// The most that all tensors together can hold; `None` where the device does not say. Units: bytes.
    pub fn memory_limit(&self) -> Option<u64> {
        match self.runs_on {
            RunsOn::Gpu(_) => None,
            RunsOn::Cpu(_) => cpu::MEMORY_LIMIT,
        }
    }

    /// So much work was done since `start`.
    fn measured(&self, flops: f64, start: Instant) {
        let seconds = start.elapsed().as_secs_f64().max(1e-4);
        self.rate.set((flops / seconds).clamp(1e8, 1e14));
    }

    /// Whether the CPU has worked long enough for now.
    fn is_time_to_hand_back(&self) -> bool {
        self.handed_back_at.get().elapsed().as_secs_f64() > HAND_BACK_SECONDS
    }

    fn handed_back(&self) {
        self.handed_back_at.set(Instant::now());
    }

    fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    /// A tensor of another device was used, which the next check reports.
    fn refuse_foreign(&self) {
        match &self.runs_on {
            RunsOn::Gpu(gpu) => gpu.refuse_foreign(),
            RunsOn::Cpu(cpu) => cpu.refuse_foreign(),
        }
    }
}
