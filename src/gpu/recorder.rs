//! Dispatches and copies in order, submitted in portions that keep the device and the person responsive.

use std::rc::Rc;

use web_time::Instant;

use super::{Gpu, Kernel, MAX_DISPATCHES, Tensor};
use crate::error::{Error, Result};

/// Work one submit should hold: long enough to amortise it, short enough to cancel. Units: seconds.
const SUBMIT_SECONDS: f64 = 0.08;

/// How the work learns that nobody wants it any more: a question it asks now and then.
#[derive(Clone)]
pub struct Cancel(Rc<dyn Fn() -> bool>);

impl Cancel {
    /// Stops the work once `is_cancelled` says so.
    pub fn when(is_cancelled: impl Fn() -> bool + 'static) -> Cancel {
        Cancel(Rc::new(is_cancelled))
    }

    /// Errors: `aborted`, once the caller has cancelled.
    pub fn check(&self) -> Result<()> {
        if (self.0)() { Err(Error::Aborted) } else { Ok(()) }
    }
}

impl Default for Cancel {
    /// Never stops.
    fn default() -> Cancel {
        Cancel::when(|| false)
    }
}

enum Command {
    Dispatch { pipeline: wgpu::ComputePipeline, group: wgpu::BindGroup, size: [u32; 3] },
    Copy { from: wgpu::Buffer, from_byte: u64, to: wgpu::Buffer, to_byte: u64, bytes: u64 },
}

/// A list of commands that has not been submitted yet.
pub struct Recorder<'a> {
    gpu: &'a Gpu,
    cancel: &'a Cancel,
    commands: Vec<Command>,
    params: Vec<u8>,
    flops: f64,
    /// What went wrong where nobody could be told.
    failure: Option<Error>,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(gpu: &'a Gpu, cancel: &'a Cancel) -> Recorder<'a> {
        Recorder {
            gpu,
            cancel,
            commands: Vec::new(),
            params: Vec::new(),
            flops: 0.0,
            failure: None,
        }
    }

    /// The device this records for.
    pub fn gpu(&self) -> &'a Gpu {
        self.gpu
    }

    /// Appends one dispatch.
    ///
    /// `params` is the kernel's `Params`, at most 256 bytes; `tensors` follow its bindings;
    /// `size` counts workgroups; `flops` is an estimate that sizes the submits.
    pub fn dispatch<P: bytemuck::Pod>(
        &mut self,
        kernel: &Kernel,
        params: P,
        tensors: &[&Tensor],
        size: [u32; 3],
        flops: f64,
    ) {
        if self.params.len() >= 256 * MAX_DISPATCHES {
            let result = self.submit();
            self.failure = self.failure.take().or(result.err());
        }
        let offset = self.params.len() as u64;
        let bytes = bytemuck::bytes_of(&params);
        self.params.extend_from_slice(bytes);
        self.params.resize(offset as usize + 256, 0);
        let uniform = wgpu::BufferBinding {
            buffer: &self.gpu.params,
            offset,
            size: std::num::NonZeroU64::new(bytes.len() as u64),
        };
        let entries: Vec<_> = std::iter::once(wgpu::BindingResource::Buffer(uniform))
            .chain(tensors.iter().map(|t| t.buffer().as_entire_binding()))
            .zip(0u32..)
            .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource })
            .collect();
        let group = self.gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(kernel.source.name),
            layout: &kernel.layout,
            entries: &entries,
        });
        self.commands.push(Command::Dispatch { pipeline: kernel.pipeline.clone(), group, size });
        self.flops += flops;
    }

    /// Appends a copy of `bytes` bytes.
    pub fn copy(&mut self, from: &Tensor, from_byte: u64, to: &Tensor, to_byte: u64, bytes: u64) {
        self.commands.push(Command::Copy {
            from: from.buffer().clone(),
            from_byte,
            to: to.buffer().clone(),
            to_byte,
            bytes,
        });
    }

    /// A place where the work may be cut: submits what is due and lets a cancel in.
    ///
    /// Errors: `aborted`, `device-lost`.
    pub async fn breathe(&mut self) -> Result<()> {
        self.cancel.check()?;
        if self.flops > self.gpu.rate.get() * SUBMIT_SECONDS {
            let (flops, start) = (self.flops, Instant::now());
            self.submit()?;
            self.gpu.settle().await?;
            let seconds = start.elapsed().as_secs_f64().max(1e-4);
            self.gpu.rate.set((flops / seconds).clamp(1e8, 1e14));
            self.cancel.check()?;
        }
        Ok(())
    }

    /// Submits everything recorded so far, without waiting.
    ///
    /// Errors: `device-lost`, `out-of-memory`.
    pub fn submit(&mut self) -> Result<()> {
        let commands = std::mem::take(&mut self.commands);
        let params = std::mem::take(&mut self.params);
        self.flops = 0.0;
        self.failure.take().map_or_else(|| self.gpu.check(), Err)?;
        if commands.is_empty() {
            return Ok(());
        }
        self.gpu.queue.write_buffer(&self.gpu.params, 0, &params);
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        let mut dispatches = 0;
        for run in commands.chunk_by(|a, b| is_dispatch(a) && is_dispatch(b)) {
            if let [Command::Copy { from, from_byte, to, to_byte, bytes }] = run {
                encoder.copy_buffer_to_buffer(from, *from_byte, to, *to_byte, Some(*bytes));
                continue;
            }
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for command in run {
                if let Command::Dispatch { pipeline, group, size: [x, y, z] } = command {
                    pass.set_pipeline(pipeline);
                    pass.set_bind_group(0, group, &[]);
                    pass.dispatch_workgroups(*x, *y, *z);
                    dispatches += 1;
                }
            }
        }
        self.gpu.queue.submit([encoder.finish()]);
        self.gpu.count(|c| c.dispatches += dispatches);
        Ok(())
    }
}

fn is_dispatch(command: &Command) -> bool {
    matches!(command, Command::Dispatch { .. })
}
