//! The device and its limits, tensors, kernels, and the recording, submission and readback of work.

mod kernel;
mod recorder;
mod tensor;

use std::cell::Cell;
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use futures_channel::oneshot;

use crate::error::{Error, Result};

pub use kernel::{Access, Kernel, Source};
pub use recorder::{Cancel, Recorder};
pub use tensor::Tensor;

/// Exact counts of the work given to the device, for tests and benchmarks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Compute dispatches.
    pub dispatches: u64,
    /// Bytes copied back to the CPU.
    pub read_bytes: u64,
}

/// Bytes in tensors, shared with every tensor so that dropping one is counted.
#[derive(Debug, Default)]
pub(crate) struct Allocated {
    pub(crate) now: u64,
    pub(crate) peak: u64,
}

/// What the device reports outside of any call.
#[derive(Debug, Default)]
struct Status {
    /// Why it was lost; this stays.
    lost: Option<String>,
    /// An error that no error scope caught. The next call that asks reports it, once.
    uncaptured: Option<Error>,
}

/// A device with its queue.
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    status: Arc<Mutex<Status>>,
    allocated: Arc<Mutex<Allocated>>,
    counters: Cell<Counters>,
    /// Parameters of the dispatches of one submission, 256 bytes each.
    params: wgpu::Buffer,
    /// Floating-point operations per second in the last submission; determines the size of the next.
    rate: Cell<f64>,
}

/// Largest number of dispatches in one submission.
const MAX_DISPATCHES: usize = 1024;
/// Bytes reserved for the parameters of one dispatch: WebGPU's default offset alignment.
const PARAMS_BYTES: usize = 256;

impl Gpu {
    /// Opens the default adapter with WebGPU's default limits and no feature.
    ///
    /// Errors: `no-webgpu`, `no-adapter`.
    pub async fn open() -> Result<Gpu> {
        let instance =
            wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = instance
            .request_adapter(&options)
            .await
            .map_err(|e| Error::NoAdapter(e.to_string()))?;
        let info = adapter.get_info();
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("loupe"),
            required_limits: wgpu::Limits::defaults(),
            ..Default::default()
        };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|e| Error::NoAdapter(format!("{}: {e}", info.name)))?;
        let status = Arc::<Mutex<Status>>::default();
        let shared = status.clone();
        device.set_device_lost_callback(move |_, message| {
            if let Ok(mut status) = shared.lock() {
                // The message continues with a sentence of ours, so it must not end in a full stop.
                status.lost.get_or_insert(message.trim_end_matches('.').into());
            }
        });
        let shared = status.clone();
        device.on_uncaptured_error(Arc::new(move |error| {
            if let Ok(mut status) = shared.lock() {
                status.uncaptured.get_or_insert(refused(error, "the device's own work"));
            }
        }));
        let params = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size: (PARAMS_BYTES * MAX_DISPATCHES) as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Ok(Gpu {
            device,
            queue,
            info,
            status,
            allocated: Arc::default(),
            counters: Cell::default(),
            params,
            rate: Cell::new(2e9),
        })
    }

    /// The adapter's description of itself.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.info
    }

    /// Exact counts since the device was opened.
    pub fn counters(&self) -> Counters {
        self.counters.get()
    }

    /// Bytes in tensors now. Units: bytes.
    pub fn allocated_bytes(&self) -> u64 {
        self.allocated.lock().map_or(0, |a| a.now)
    }

    /// Largest number of bytes in tensors since [`Gpu::reset_peak`]. Units: bytes.
    pub fn peak_bytes(&self) -> u64 {
        self.allocated.lock().map_or(0, |a| a.peak)
    }

    /// Sets the peak to what is allocated now.
    pub fn reset_peak(&self) {
        if let Ok(mut a) = self.allocated.lock() {
            a.peak = a.now;
        }
    }

    /// Fails if the device was lost, or if it reported an error that belongs to no call; the latter
    /// is reported once.
    ///
    /// Errors: `device-lost`, `gpu-refused`, `out-of-memory`.
    pub fn check(&self) -> Result<()> {
        self.check_lost()?;
        let uncaptured = self.status.lock().ok().and_then(|mut s| s.uncaptured.take());
        uncaptured.map_or(Ok(()), Err)
    }

    /// Errors: `device-lost`.
    fn check_lost(&self) -> Result<()> {
        // A browser calls back by itself; natively a poll does.
        #[cfg(not(target_arch = "wasm32"))]
        let _ = self.device.poll(wgpu::PollType::Poll);
        let lost = self.status.lock().map_or(Some("its handler failed".into()), |s| s.lost.clone());
        lost.map_or(Ok(()), |why| Err(Error::DeviceLost(why)))
    }

    /// Destroys the device, which is then lost.
    pub fn destroy(&self) {
        self.device.destroy();
    }

    /// A zeroed tensor of at least `bytes` bytes, rounded up to 16.
    pub fn tensor(&self, label: &str, bytes: u64) -> Tensor {
        Tensor::new(&self.device, &self.allocated, label, bytes)
    }

    /// A tensor that holds `values`.
    pub fn upload<V: bytemuck::Pod>(&self, label: &str, values: &[V]) -> Tensor {
        let tensor = self.tensor(label, size_of_val(values) as u64);
        self.write(&tensor, 0, values);
        tensor
    }

    /// Writes `values` at byte `offset`; offset and length in bytes are multiples of 4.
    pub fn write<V: bytemuck::Pod>(&self, tensor: &Tensor, offset: u64, values: &[V]) {
        self.queue.write_buffer(tensor.buffer(), offset, bytemuck::cast_slice(values));
    }

    /// Runs `work`, which gives commands to the device without awaiting, in an error scope of its own.
    pub fn scoped<V>(&self, work: impl FnOnce() -> V) -> (V, Verdict) {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let made = work();
        // Both scopes are popped before either answer is awaited: other calls push theirs meanwhile.
        let (validation, memory) = (validation.pop(), memory.pop());
        (made, Verdict(Box::pin(async { validation.await.or(memory.await) })))
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

    /// Starts a list of dispatches and copies; `what` names the work in errors.
    pub fn record<'a>(&'a self, what: &'static str, cancel: &'a Cancel) -> Recorder<'a> {
        Recorder::new(self, what, cancel)
    }

    /// Waits until everything submitted so far is done.
    ///
    /// Errors: `device-lost`.
    pub async fn idle(&self) -> Result<()> {
        self.queue.submit([]);
        let (done, wait) = oneshot::channel();
        self.queue.on_submitted_work_done(move || _ = done.send(()));
        self.poll()?;
        let answer = wait.await;
        self.check_lost()?;
        answer.map_err(|_| Error::DeviceLost("it stopped answering".into()))
    }

    /// Reads the first `bytes` of each tensor: one staging buffer, one map.
    ///
    /// Errors: `device-lost`, `gpu-refused`, `out-of-memory`.
    pub async fn read(&self, prefixes: &[(&Tensor, u64)]) -> Result<Vec<Vec<f32>>> {
        let ranges: Vec<_> = prefixes.iter().map(|&(tensor, bytes)| (tensor, 0..bytes)).collect();
        self.read_ranges(&ranges).await
    }

    /// Reads ranges of bytes of tensors, each a multiple of four: one staging buffer, one map.
    ///
    /// Errors: `device-lost`, `gpu-refused`, `out-of-memory`.
    pub async fn read_ranges<V: bytemuck::Pod>(
        &self,
        ranges: &[(&Tensor, Range<u64>)],
    ) -> Result<Vec<Vec<V>>> {
        let length = |range: &Range<u64>| range.end - range.start;
        let total: u64 = ranges.iter().map(|(_, range)| length(range)).sum();
        let allocate = || Ok(Tensor::staging(&self.device, &self.allocated, total));
        let staging = self.allocate("a readback", allocate).await?;
        let staging = staging.buffer();
        let ((), verdict) = self.scoped(|| {
            let mut encoder = self.device.create_command_encoder(&Default::default());
            let mut at = 0;
            for (tensor, range) in ranges {
                let n = length(range);
                encoder.copy_buffer_to_buffer(tensor.buffer(), range.start, staging, at, Some(n));
                at += n;
            }
            self.queue.submit([encoder.finish()]);
        });
        self.count(|c| c.read_bytes += total);
        let (done, wait) = oneshot::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |mapped| _ = done.send(mapped));
        self.poll()?;
        let mapped = wait.await;
        self.check_lost()?;
        verdict.check("a readback").await?;
        match mapped {
            Ok(Ok(())) => {}
            Ok(Err(e)) => return Err(Error::GpuRefused(format!("a readback: {e}"))),
            Err(_) => return Err(Error::DeviceLost("it stopped answering".into())),
        }
        let view = staging
            .get_mapped_range(..)
            .map_err(|e| Error::GpuRefused(format!("a readback: {e}")))?;
        let mut rest = &view[..];
        let mut out = Vec::with_capacity(ranges.len());
        for (_, range) in ranges {
            let n = usize::try_from(length(range)).unwrap_or(usize::MAX).min(rest.len());
            let (bytes, after) = rest.split_at(n);
            out.push(bytemuck::pod_collect_to_vec(bytes));
            rest = after;
        }
        Ok(out)
    }

    /// Errors: `unsupported-model` for a tensor that no binding of this device can hold.
    pub fn check_binding(&self, name: &str, bytes: u64) -> Result<()> {
        let most = self.device.limits().max_storage_buffer_binding_size;
        if bytes <= most {
            return Ok(());
        }
        Err(Error::UnsupportedModel(format!(
            "{name}: expected at most {most} bytes in one binding, WebGPU's default limit, got {bytes}"
        )))
    }

    fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    /// Drives the device natively; a browser does this by itself.
    fn poll(&self) -> Result<()> {
        #[cfg(not(target_arch = "wasm32"))]
        self.device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|e| Error::DeviceLost(e.to_string()))?;
        Ok(())
    }
}

impl Drop for Gpu {
    /// A browser would keep the device until it collects garbage.
    fn drop(&mut self) {
        self.device.destroy();
    }
}

/// The device's answer to the commands of one error scope.
#[must_use = "an error that nobody awaits is lost"]
pub struct Verdict(Pin<Box<dyn Future<Output = Option<wgpu::Error>>>>);

impl Verdict {
    /// Waits for the answer; `what` names the work in the error.
    ///
    /// Errors: `out-of-memory`, `gpu-refused`.
    pub async fn check(self, what: &str) -> Result<()> {
        self.0.await.map_or(Ok(()), |error| Err(refused(error, what)))
    }
}

fn refused(error: wgpu::Error, what: &str) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory(what.into()),
        other => Error::GpuRefused(format!("{what}: {}", other.to_string().trim_end_matches('.'))),
    }
}
