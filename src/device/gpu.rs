//! WebGPU as a device.

use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures_channel::oneshot;

use crate::error::{Error, Result};

pub use wgpu::AdapterInfo;

/// What the device reports outside of any call.
#[derive(Debug, Default)]
struct Status {
    /// Why it was lost; this stays.
    lost: Option<String>,
    /// Those who wait for that.
    waiting: Vec<oneshot::Sender<String>>,
    /// An error that no error scope caught. The next call that asks reports it, once.
    uncaptured: Option<Error>,
}

/// A device with its queue.
pub(super) struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    status: Arc<Mutex<Status>>,
    /// Parameters of the dispatches of one submission, 256 bytes each.
    pub(super) params: wgpu::Buffer,
}

/// Largest number of dispatches in one submission.
pub(super) const MAX_DISPATCHES: usize = 1024;
/// Bytes reserved for the parameters of one dispatch: WebGPU's default offset alignment.
pub(super) const PARAMS_BYTES: usize = 256;

impl Gpu {
    /// Opens the default adapter with WebGPU's default limits and no feature.
    ///
    /// Errors: `no-webgpu`, `no-adapter`.
    pub(super) async fn open() -> Result<Gpu> {
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
                let why = status.lost.get_or_insert(message.trim_end_matches('.').into()).clone();
                for waiting in status.waiting.drain(..) {
                    // Nobody may listen any more.
                    let _ = waiting.send(why.clone());
                }
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
        Ok(Gpu { device, queue, info, status, params })
    }

    pub(super) fn info(&self) -> &AdapterInfo {
        &self.info
    }

    /// Fails if the device was lost, or if it reported an error that belongs to no call; the latter
    /// is reported once.
    ///
    /// Errors: `device-lost`, `gpu-refused`, `out-of-memory`.
    pub(super) fn check(&self) -> Result<()> {
        self.check_lost()?;
        let uncaptured = self.status.lock().ok().and_then(|mut s| s.uncaptured.take());
        uncaptured.map_or(Ok(()), Err)
    }

    /// Resolves with the reason once the device is lost.
    pub(super) fn lost(&self) -> oneshot::Receiver<String> {
        let (tell, wait) = oneshot::channel();
        if let Ok(mut status) = self.status.lock() {
            match status.lost.clone() {
                Some(why) => _ = tell.send(why),
                None => status.waiting.push(tell),
            }
        }
        wait
    }

    /// Errors: `device-lost`.
    pub(super) fn check_lost(&self) -> Result<()> {
        // A browser calls back by itself; natively a poll does.
        #[cfg(not(target_arch = "wasm32"))]
        let _ = self.device.poll(wgpu::PollType::Poll);
        let lost = self.status.lock().map_or(Some("its handler failed".into()), |s| s.lost.clone());
        lost.map_or(Ok(()), |why| Err(Error::DeviceLost(why)))
    }

    /// Destroys the device, which is then lost.
    pub(super) fn destroy(&self) {
        self.device.destroy();
    }

    /// A zeroed storage buffer.
    pub(super) fn buffer(&self, label: &str, bytes: u64) -> wgpu::Buffer {
        let usage = wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST;
        self.with_usage(label, bytes, usage)
    }

    fn with_usage(&self, label: &str, size: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let label = Some(label);
        let mapped_at_creation = false;
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label,
            size,
            usage,
            mapped_at_creation,
        })
    }

    pub(super) fn write(&self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) {
        self.queue.write_buffer(buffer, offset, bytes);
    }

    /// Runs `work`, which gives commands to the device without awaiting, in an error scope of its own.
    pub(super) fn scoped<V>(&self, work: impl FnOnce() -> V) -> (V, Verdict) {
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let validation = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let made = work();
        // All scopes are popped before any answer is awaited: other calls push theirs meanwhile.
        let (validation, memory, internal) = (validation.pop(), memory.pop(), internal.pop());
        let answers = async {
            // What was allocated or compiled in vain is invalid as well.
            let (validation, memory, internal) = (validation.await, memory.await, internal.await);
            memory.or(internal).or(validation)
        };
        (made, Verdict(Box::pin(answers)))
    }

    /// Waits until everything submitted so far is done.
    ///
    /// Errors: `device-lost`.
    pub(super) async fn idle(&self) -> Result<()> {
        self.queue.submit([]);
        let (done, wait) = oneshot::channel();
        self.queue.on_submitted_work_done(move || _ = done.send(()));
        self.poll(None)?;
        let answer = wait.await;
        self.check_lost()?;
        answer.map_err(|_| Error::DeviceLost("it stopped answering".into()))
    }

    /// Begins to read ranges of bytes of buffers, each a multiple of four, by one copy into a new buffer and one map. What
    /// is submitted later changes nothing of what is read.
    pub(super) fn begin_read(&self, ranges: &[(&wgpu::Buffer, Range<u64>)]) -> Mapping {
        let lengths: Vec<u64> = ranges.iter().map(|(_, range)| range.end - range.start).collect();
        let (done, mapped) = oneshot::channel();
        let ((staging, submitted), verdict) = self.scoped(|| {
            let staging = self.with_usage(
                "readback",
                lengths.iter().sum(),
                wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            );
            let mut encoder = self.device.create_command_encoder(&Default::default());
            let mut at = 0;
            for ((buffer, range), &n) in ranges.iter().zip(&lengths) {
                encoder.copy_buffer_to_buffer(buffer, range.start, &staging, at, Some(n));
                at += n;
            }
            let submitted = self.queue.submit([encoder.finish()]);
            staging.map_async(wgpu::MapMode::Read, .., move |mapped| _ = done.send(mapped));
            (staging, submitted)
        });
        Mapping { staging, lengths, verdict, mapped, submitted }
    }

    /// What was read, range by range.
    ///
    /// Errors: `device-lost`, `gpu-refused`, `out-of-memory`.
    pub(super) async fn end_read<V: bytemuck::Pod>(&self, read: Mapping) -> Result<Vec<Vec<V>>> {
        let Mapping { staging, lengths, verdict, mapped, submitted } = read;
        self.poll(Some(submitted))?;
        let mapped = mapped.await;
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
        let mut out = Vec::with_capacity(lengths.len());
        for n in lengths {
            let n = usize::try_from(n).unwrap_or(usize::MAX).min(rest.len());
            let (bytes, after) = rest.split_at(n);
            out.push(bytemuck::pod_collect_to_vec(bytes));
            rest = after;
        }
        Ok(out)
    }

    /// Units: bytes.
    pub(super) fn largest_binding(&self) -> u64 {
        self.device.limits().max_storage_buffer_binding_size
    }

    pub(super) fn refuse_foreign(&self) {
        if let Ok(mut status) = self.status.lock() {
            let mistake = Error::GpuRefused("a tensor of another device".into());
            status.uncaptured.get_or_insert(mistake);
        }
    }

    /// Drives the device natively until a submission, or all, are done; a browser does this by itself.
    #[cfg_attr(target_arch = "wasm32", allow(unused_variables, clippy::unused_self))]
    fn poll(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<()> {
        #[cfg(not(target_arch = "wasm32"))]
        self.device
            .poll(wgpu::PollType::Wait { submission_index, timeout: None })
            // A submission that was refused is never done.
            .or_else(|_| self.device.poll(wgpu::PollType::wait_indefinitely()))
            .map_err(|e| Error::DeviceLost(e.to_string()))?;
        Ok(())
    }
}

impl Drop for Gpu {
    /// A browser would keep the device until it collects garbage.
    fn drop(&mut self) {
        // Nobody is told of a loss that was meant.
        if let Ok(mut status) = self.status.lock() {
            status.waiting.clear();
        }
        self.device.destroy();
    }
}

/// A readback that has begun.
pub(super) struct Mapping {
    pub(super) staging: wgpu::Buffer,
    /// Bytes of each range.
    lengths: Vec<u64>,
    verdict: Verdict,
    submitted: wgpu::SubmissionIndex,
    mapped: oneshot::Receiver<std::result::Result<(), wgpu::BufferAsyncError>>,
}

/// The device's answer to the commands of one error scope.
#[must_use = "an error that nobody awaits is lost"]
pub struct Verdict(Pin<Box<dyn Future<Output = Option<wgpu::Error>>>>);

impl Verdict {
    /// The answer of a device that knows it at once: whether memory could not be had.
    pub(super) fn of_memory(is_out: bool) -> Verdict {
        let source = || Box::from("memory could not be allocated");
        let error = is_out.then(|| wgpu::Error::OutOfMemory { source: source() });
        Verdict(Box::pin(std::future::ready(error)))
    }

    /// The answer, if it is there already.
    ///
    /// Errors: `out-of-memory`, `gpu-refused`.
    pub fn answer(&mut self, what: &str) -> Option<Result<()>> {
        let mut context = Context::from_waker(Waker::noop());
        match self.0.as_mut().poll(&mut context) {
            Poll::Ready(error) => Some(error.map_or(Ok(()), |error| Err(refused(error, what)))),
            Poll::Pending => None,
        }
    }

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
