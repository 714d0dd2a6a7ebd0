//! Dispatches and copies in order, submitted in portions that keep the device and the page responsive.

use std::rc::Rc;

use web_time::Instant;

use super::{Gpu, Kernel, MAX_DISPATCHES, PARAMS_BYTES, Tensor, Verdict};
use crate::error::{Error, Result};

/// Work in one submission: enough to amortise its cost, little enough to cancel soon. Units: seconds.
const SUBMIT_SECONDS: f64 = 0.08;
/// Largest number of workgroups in one dimension of a dispatch: WebGPU's default limit.
const MAX_WORKGROUPS: u32 = 65_535;

/// A way for the caller to stop the work: a question that the work asks from time to time.
#[derive(Clone)]
pub struct Cancel(Rc<dyn Fn() -> bool>);

impl Cancel {
    /// Stops the work once `is_cancelled` returns true.
    pub fn new(is_cancelled: impl Fn() -> bool + 'static) -> Cancel {
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
        Cancel::new(|| false)
    }
}

enum Command {
    Dispatch {
        pipeline: wgpu::ComputePipeline,
        layout: wgpu::BindGroupLayout,
        name: &'static str,
        /// Offset and length of the parameters.
        params: (u64, u64),
        buffers: Vec<wgpu::Buffer>,
        workgroups: [u32; 3],
    },
    Copy {
        from: wgpu::Buffer,
        from_byte: u64,
        to: wgpu::Buffer,
        to_byte: u64,
        bytes: u64,
    },
}

/// A list of commands that have not been submitted yet.
pub struct Recorder<'a> {
    gpu: &'a Gpu,
    what: &'static str,
    cancel: &'a Cancel,
    commands: Vec<Command>,
    params: Vec<u8>,
    flops: f64,
    /// Answers of the device to what was submitted.
    verdicts: Vec<Verdict>,
    /// The first error of a call that returns nothing.
    failure: Option<Error>,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(gpu: &'a Gpu, what: &'static str, cancel: &'a Cancel) -> Recorder<'a> {
        Recorder {
            gpu,
            what,
            cancel,
            commands: Vec::new(),
            params: Vec::new(),
            flops: 0.0,
            verdicts: Vec::new(),
            failure: None,
        }
    }

    /// The device of this recorder.
    pub fn gpu(&self) -> &'a Gpu {
        self.gpu
    }

    /// Appends one dispatch.
    ///
    /// `params` is the kernel's `Params`; `tensors` follow its bindings; `invocations` are rounded up
    /// to whole workgroups; `flops` is an estimate that determines the size of the submissions.
    pub fn dispatch<P: bytemuck::Pod>(
        &mut self,
        kernel: &Kernel,
        params: P,
        tensors: &[&Tensor],
        invocations: [usize; 3],
        flops: f64,
    ) {
        const { assert!(size_of::<P>() <= PARAMS_BYTES, "Params are longer than their slot") }
        let mut workgroups = [1; 3];
        for (n, (&wanted, &size)) in
            workgroups.iter_mut().zip(invocations.iter().zip(&kernel.source.workgroup))
        {
            match u32::try_from(wanted.div_ceil(size as usize)) {
                Ok(fits) if fits <= MAX_WORKGROUPS => *n = fits,
                _ => self.fail(Error::BadShape {
                    name: format!("dispatch of {}", kernel.source.name),
                    expected: vec![u64::from(MAX_WORKGROUPS) * u64::from(size)],
                    got: vec![wanted as u64],
                }),
            }
        }
        if self.params.len() >= PARAMS_BYTES * MAX_DISPATCHES
            && let Err(error) = self.submit()
        {
            self.fail(error);
        }
        let offset = self.params.len();
        let bytes = bytemuck::bytes_of(&params);
        self.params.extend_from_slice(bytes);
        self.params.resize(offset + PARAMS_BYTES, 0);
        self.commands.push(Command::Dispatch {
            pipeline: kernel.pipeline.clone(),
            layout: kernel.layout.clone(),
            name: kernel.source.name,
            params: (offset as u64, bytes.len() as u64),
            buffers: tensors.iter().map(|t| t.buffer().clone()).collect(),
            workgroups,
        });
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

    /// A point at which the work may be interrupted: submits what is due and checks for a cancel.
    ///
    /// Errors: `aborted`, `device-lost`, `gpu-refused`, `out-of-memory`.
    pub async fn yield_now(&mut self) -> Result<()> {
        self.cancel.check()?;
        if self.flops > self.gpu.rate.get() * SUBMIT_SECONDS {
            let (flops, start) = (self.flops, Instant::now());
            self.finish().await?;
            let seconds = start.elapsed().as_secs_f64().max(1e-4);
            self.gpu.rate.set((flops / seconds).clamp(1e8, 1e14));
            self.cancel.check()?;
        }
        Ok(())
    }

    /// Submits everything recorded so far and waits until it is done.
    ///
    /// Errors: `device-lost`, `gpu-refused`, `out-of-memory`.
    pub async fn finish(&mut self) -> Result<()> {
        self.submit()?;
        self.gpu.idle().await?;
        self.check().await
    }

    /// Submits everything recorded so far and reads the first `bytes` of each tensor.
    ///
    /// Errors: `device-lost`, `gpu-refused`, `out-of-memory`.
    pub async fn read(&mut self, prefixes: &[(&Tensor, u64)]) -> Result<Vec<Vec<f32>>> {
        self.submit()?;
        let read = self.gpu.read(prefixes).await?;
        self.check().await?;
        Ok(read)
    }

    /// Fails if the device refused what was submitted.
    async fn check(&mut self) -> Result<()> {
        for verdict in std::mem::take(&mut self.verdicts) {
            verdict.check(self.what).await?;
        }
        Ok(())
    }

    /// Keeps the first error; later ones follow from it.
    fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    /// Submits everything recorded so far, without waiting.
    ///
    /// Errors: `device-lost`, `bad-shape`.
    fn submit(&mut self) -> Result<()> {
        let commands = std::mem::take(&mut self.commands);
        let params = std::mem::take(&mut self.params);
        self.flops = 0.0;
        self.failure.take().map_or(Ok(()), Err)?;
        self.gpu.check()?;
        if !commands.is_empty() {
            let (dispatches, verdict) = self.gpu.scoped(|| encode(self.gpu, &commands, &params));
            self.verdicts.push(verdict);
            self.gpu.count(|c| c.dispatches += dispatches);
        }
        Ok(())
    }
}

/// Gives commands to the queue; returns how many of them are dispatches.
fn encode(gpu: &Gpu, commands: &[Command], params: &[u8]) -> u64 {
    gpu.queue.write_buffer(&gpu.params, 0, params);
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let mut dispatches = 0;
    for run in commands.chunk_by(|a, b| is_dispatch(a) && is_dispatch(b)) {
        if let [Command::Copy { from, from_byte, to, to_byte, bytes }] = run {
            encoder.copy_buffer_to_buffer(from, *from_byte, to, *to_byte, Some(*bytes));
            continue;
        }
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for command in run {
            let Command::Dispatch { pipeline, layout, name, params, buffers, workgroups } = command
            else {
                continue;
            };
            let uniform = wgpu::BufferBinding {
                buffer: &gpu.params,
                offset: params.0,
                size: std::num::NonZeroU64::new(params.1),
            };
            let entries: Vec<_> = std::iter::once(wgpu::BindingResource::Buffer(uniform))
                .chain(buffers.iter().map(wgpu::Buffer::as_entire_binding))
                .zip(0u32..)
                .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource })
                .collect();
            let group = gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(name),
                layout,
                entries: &entries,
            });
            let [x, y, z] = *workgroups;
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, &group, &[]);
            pass.dispatch_workgroups(x, y, z);
            dispatches += 1;
        }
    }
    gpu.queue.submit([encoder.finish()]);
    dispatches
}

fn is_dispatch(command: &Command) -> bool {
    matches!(command, Command::Dispatch { .. })
}
