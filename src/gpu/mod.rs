//! The device and its limits, tensors, kernels, and what is recorded, submitted and read back.

mod kernel;
mod recorder;
pub mod sources;
mod tensor;

use std::cell::Cell;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use futures_channel::oneshot;

use crate::error::{Error, Result};

pub use kernel::Kernel;
pub use recorder::{Cancel, Recorder};
pub use tensor::Tensor;

/// Exact counts of what was asked of the device, for tests and benchmarks.
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

/// The device, its queue, and one cell in which uncaptured errors and device loss land.
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    trouble: Arc<Mutex<Option<Error>>>,
    allocated: Arc<Mutex<Allocated>>,
    counters: Cell<Counters>,
    /// Parameters of the dispatches of one submit, 256 bytes each.
    params: wgpu::Buffer,
    /// Floating-point operations a second, as last seen; sizes the submits.
    rate: Cell<f64>,
}

/// Dispatches that fit into one submit: 1,024 parameter blocks of 256 bytes.
pub(crate) const MAX_DISPATCHES: usize = 1024;

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
        let trouble = Arc::new(Mutex::new(None));
        let cell = trouble.clone();
        device.set_device_lost_callback(move |_, message| {
            // Our message goes on after it, so it must not end in a full stop of its own.
            note(&cell, Error::DeviceLost(message.trim_end_matches('.').into()));
        });
        let cell = trouble.clone();
        device.on_uncaptured_error(Arc::new(move |e| note(&cell, refused(e))));
        let params = device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("params"),
            size: 256 * MAX_DISPATCHES as u64,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        Ok(Gpu {
            device,
            queue,
            info,
            trouble,
            allocated: Arc::default(),
            counters: Cell::default(),
            params,
            rate: Cell::new(2e9),
        })
    }

    /// What the adapter says of itself.
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

    /// Most bytes in tensors at any time since [`Gpu::reset_peak`]. Units: bytes.
    pub fn peak_bytes(&self) -> u64 {
        self.allocated.lock().map_or(0, |a| a.peak)
    }

    /// Starts a new peak at what is allocated now.
    pub fn reset_peak(&self) {
        if let Ok(mut a) = self.allocated.lock() {
            a.peak = a.now;
        }
    }

    /// Fails if the device has been lost or has refused something. A loss stays; a lack of memory
    /// is told once, because the next call may need less.
    ///
    /// Errors: `device-lost`, `out-of-memory`.
    pub fn check(&self) -> Result<()> {
        let Ok(mut cell) = self.trouble.lock() else {
            return Err(Error::DeviceLost("its error handler failed".into()));
        };
        let trouble = match &*cell {
            Some(Error::OutOfMemory(_)) => cell.take(),
            other => other.clone(),
        };
        trouble.map_or(Ok(()), Err)
    }

    /// Gives the device up, as a browser does to a page that has been in the background too long.
    pub fn destroy(&self) {
        note(&self.trouble, Error::DeviceLost("it was closed".into()));
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

    /// Runs `allocate` and fails if the device had no room for what it made.
    ///
    /// Errors: `out-of-memory`, and whatever `allocate` returns.
    pub async fn allocate<V>(&self, what: &str, allocate: impl FnOnce() -> Result<V>) -> Result<V> {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let made = allocate();
        // Both are popped before either answer is waited for: meanwhile somebody else may push.
        let (validation, memory) = (validation.pop(), memory.pop());
        let refusal = validation.await.or(memory.await);
        match (made, refusal) {
            (Err(e), _) => Err(e),
            (Ok(_), Some(wgpu::Error::OutOfMemory { .. })) => Err(Error::OutOfMemory(what.into())),
            (Ok(_), Some(e)) => Err(refused(e)),
            (Ok(made), None) => Ok(made),
        }
    }

    /// Starts a list of dispatches and copies.
    pub fn record<'a>(&'a self, cancel: &'a Cancel) -> Recorder<'a> {
        Recorder::new(self, cancel)
    }

    /// Waits until everything submitted so far is done.
    ///
    /// Errors: `device-lost`.
    pub async fn settle(&self) -> Result<()> {
        self.idle().await?;
        self.check()
    }

    /// The same, without asking whether anything was refused: that is for whoever submitted it.
    ///
    /// Errors: `device-lost`.
    pub async fn idle(&self) -> Result<()> {
        self.queue.submit([]);
        let (done, wait) = oneshot::channel();
        self.queue.on_submitted_work_done(move || _ = done.send(()));
        self.poll()?;
        wait.await.map_err(|_| Error::DeviceLost("it stopped answering".into()))
    }

    /// Reads the first `bytes` of each tensor: one staging buffer, one map.
    ///
    /// Errors: `device-lost`, `out-of-memory`.
    pub async fn read(&self, parts: &[(&Tensor, u64)]) -> Result<Vec<Vec<f32>>> {
        let parts: Vec<_> = parts.iter().map(|&(tensor, bytes)| (tensor, 0..bytes)).collect();
        self.read_ranges(&parts).await
    }

    /// Reads ranges of bytes of tensors, each a multiple of four: one staging buffer, one map.
    ///
    /// Errors: `device-lost`, `out-of-memory`.
    pub async fn read_ranges<V: bytemuck::Pod>(
        &self,
        parts: &[(&Tensor, Range<u64>)],
    ) -> Result<Vec<Vec<V>>> {
        let length = |range: &Range<u64>| range.end - range.start;
        let total: u64 = parts.iter().map(|(_, range)| length(range)).sum();
        let allocate = || Ok(Tensor::staging(&self.device, &self.allocated, total));
        let staging = self.allocate("the answer", allocate).await?;
        let staging = staging.buffer();
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut at = 0;
        for (tensor, range) in parts {
            let n = length(range);
            encoder.copy_buffer_to_buffer(tensor.buffer(), range.start, staging, at, Some(n));
            at += n;
        }
        self.queue.submit([encoder.finish()]);
        self.count(|c| c.read_bytes += total);
        let (done, wait) = oneshot::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |mapped| _ = done.send(mapped));
        self.poll()?;
        match wait.await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => {
                self.check()?;
                return Err(Error::DeviceLost(e.to_string()));
            }
            Err(_) => return Err(Error::DeviceLost("it stopped answering".into())),
        }
        self.check()?;
        let view = staging
            .get_mapped_range(..)
            .map_err(|e| Error::DeviceLost(format!("its answer cannot be read: {e}")))?;
        let mut at = 0;
        let mut out = Vec::with_capacity(parts.len());
        for (_, range) in parts {
            let end = at + length(range) as usize;
            out.push(bytemuck::pod_collect_to_vec(&view[at..end]));
            at = end;
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
            "{name} would take {bytes} bytes in one binding, WebGPU's default limit is {most}"
        )))
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    /// Natively somebody has to drive the device; a browser does it by itself.
    fn poll(&self) -> Result<()> {
        #[cfg(not(target_arch = "wasm32"))]
        self.device
            .poll(wgpu::PollType::wait_indefinitely())
            .map_err(|e| Error::DeviceLost(e.to_string()))?;
        Ok(())
    }
}

impl Drop for Gpu {
    /// A browser would hold on to the device until it collects garbage.
    fn drop(&mut self) {
        self.device.destroy();
    }
}

/// Keeps the first trouble, because what follows it is usually its echo; but a loss outweighs a
/// lack of memory, which passes.
fn note(cell: &Mutex<Option<Error>>, error: Error) {
    if let Ok(mut cell) = cell.lock()
        && matches!(*cell, None | Some(Error::OutOfMemory(_)))
    {
        *cell = Some(error);
    }
}

fn refused(error: wgpu::Error) -> Error {
    match error {
        wgpu::Error::OutOfMemory { .. } => Error::OutOfMemory("this reading".into()),
        other => Error::DeviceLost(format!("it refused a command ({other})")),
    }
}
