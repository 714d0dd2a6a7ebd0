//! Dispatches and copies in order, in portions that keep the device and the page responsive: submitted to a GPU, or done
//! on the CPU.

use std::collections::HashMap;
use std::rc::Rc;

use web_time::Instant;

use super::cpu::{Cpu, Work};
use super::gpu::{Gpu, MAX_DISPATCHES, PARAMS_BYTES, Verdict};
use super::kernel::{Access, Kernel, Run, Source};
use super::tensor::{Memory, Tensor};
use super::{Audit, Counters, Device, Readback, RunsOn, SLAB_MULTIPLE};
use crate::error::{Error, Result};

/// Work in one submission: enough to amortise its cost, little enough to cancel soon. Units: seconds.
const SUBMIT_SECONDS: f64 = 0.08;
/// Work on a CPU between two looks at the clock. Units: seconds.
const SLAB_SECONDS: f64 = 0.005;
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
        kernel: Kernel,
        /// Offset and length of the parameters.
        params: (usize, usize),
        operands: Vec<Memory>,
        invocations: [usize; 3],
        flops: f64,
    },
    Copy {
        from: Memory,
        from_byte: u64,
        to: Memory,
        to_byte: u64,
        bytes: u64,
    },
}

/// The bind groups of a recorder, by kernel and operands: blocks of positions use the same tensors, and only the
/// parameters differ.
type Groups = HashMap<(*const Source, Vec<wgpu::Buffer>), wgpu::BindGroup>;

/// A list of commands that have not been submitted yet.
pub struct Recorder<'a> {
    device: &'a Device,
    what: &'static str,
    cancel: &'a Cancel,
    commands: Vec<Command>,
    params: Vec<u8>,
    flops: f64,
    /// Answers of the device to what was submitted.
    verdicts: Vec<Verdict>,
    /// The first error of a call that returns nothing.
    failure: Option<Error>,
    /// Repeats what a GPU does on the CPU.
    audit: Option<&'a Audit>,
    groups: Groups,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(device: &'a Device, what: &'static str, cancel: &'a Cancel) -> Recorder<'a> {
        Recorder {
            device,
            what,
            cancel,
            commands: Vec::new(),
            params: Vec::new(),
            flops: 0.0,
            verdicts: Vec::new(),
            failure: None,
            audit: None,
            groups: Groups::new(),
        }
    }

    /// The same, and what a GPU does is repeated on the CPU.
    pub(super) fn audited(self, audit: &'a Audit) -> Recorder<'a> {
        Recorder { audit: Some(audit), ..self }
    }

    /// What stops the work.
    pub fn cancel(&self) -> &'a Cancel {
        self.cancel
    }

    /// The device of this recorder.
    pub fn device(&self) -> &'a Device {
        self.device
    }

    /// Appends one dispatch.
    ///
    /// `params` is the kernel's `Params`; `tensors` follow its bindings; `invocations`, the grid, are rounded up
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
        for (&wanted, &size) in invocations.iter().zip(&kernel.source.covers) {
            if wanted.div_ceil(size as usize) > MAX_WORKGROUPS as usize {
                self.fail(Error::BadShape {
                    name: format!("dispatch of {}", kernel.source.name),
                    expected: vec![u64::from(MAX_WORKGROUPS) * u64::from(size)],
                    got: vec![wanted as u64],
                });
            }
        }
        let is_full = self.params.len() >= PARAMS_BYTES * MAX_DISPATCHES && self.audit.is_none();
        if let (RunsOn::Gpu(gpu), true) = (&self.device.runs_on, is_full)
            && let Err(error) = self.submit(gpu)
        {
            self.fail(error);
        }
        let offset = self.params.len();
        let bytes = bytemuck::bytes_of(&params);
        self.params.extend_from_slice(bytes);
        self.params.resize(offset + PARAMS_BYTES, 0);
        self.commands.push(Command::Dispatch {
            kernel: kernel.clone(),
            params: (offset, bytes.len()),
            operands: tensors.iter().map(|t| t.memory().clone()).collect(),
            invocations,
            flops,
        });
        self.flops += flops;
    }

    /// Appends a copy of `bytes` bytes.
    pub fn copy(&mut self, from: &Tensor, from_byte: u64, to: &Tensor, to_byte: u64, bytes: u64) {
        self.commands.push(Command::Copy {
            from: from.memory().clone(),
            from_byte,
            to: to.memory().clone(),
            to_byte,
            bytes,
        });
    }

    /// A point at which the work may be interrupted: does or submits what is due and checks for a cancel.
    ///
    /// Errors: `aborted`, `device-lost`, `gpu-refused`, `out-of-memory`.
    pub async fn yield_now(&mut self) -> Result<()> {
        self.cancel.check()?;
        let is_due = match self.device.runs_on {
            RunsOn::Gpu(_) => self.flops > self.device.rate.get() * SUBMIT_SECONDS,
            RunsOn::Cpu(_) => true,
        };
        if is_due {
            let (flops, start) = (self.flops, Instant::now());
            self.finish().await?;
            // A check mostly reads back.
            if matches!(self.device.runs_on, RunsOn::Gpu(_)) && self.audit.is_none() {
                self.device.measured(flops, start);
            }
            self.cancel.check()?;
        }
        Ok(())
    }

    /// Waits until everything recorded so far is done.
    ///
    /// Errors: `aborted`, `device-lost`, `gpu-refused`, `out-of-memory`.
    pub async fn finish(&mut self) -> Result<()> {
        self.perform().await?;
        self.device.idle().await?;
        self.check().await
    }

    /// Has everything recorded so far done, and reads the first `bytes` of each tensor.
    ///
    /// Errors: `aborted`, `device-lost`, `gpu-refused`, `out-of-memory`.
    pub async fn read(&mut self, prefixes: &[(&Tensor, u64)]) -> Result<Vec<Vec<f32>>> {
        self.begin_read(prefixes).await?.end().await
    }

    /// Has everything recorded so far done, and begins to read the first `bytes` of each tensor. What is recorded later
    /// changes nothing of what is read.
    ///
    /// Errors: `aborted`, `device-lost`, `bad-shape`, `gpu-refused`, `out-of-memory`.
    pub async fn begin_read(&mut self, prefixes: &[(&Tensor, u64)]) -> Result<RecordedRead<'a>> {
        self.perform().await?;
        let ranges: Vec<_> = prefixes.iter().map(|&(tensor, bytes)| (tensor, 0..bytes)).collect();
        let read = self.device.begin_read(&ranges)?;
        Ok(RecordedRead { what: self.what, read, verdicts: std::mem::take(&mut self.verdicts) })
    }

    /// Submits everything recorded so far to a GPU, or does it.
    async fn perform(&mut self) -> Result<()> {
        match &self.device.runs_on {
            RunsOn::Gpu(gpu) => match self.audit {
                Some(audit) => self.submit_audited(gpu, audit).await,
                None => self.submit(gpu),
            },
            RunsOn::Cpu(cpu) => self.run(cpu).await,
        }
    }

    /// Submits everything recorded so far one by one, and repeats each dispatch on the CPU.
    ///
    /// Errors: `aborted`, `device-lost`, `bad-shape`, `gpu-refused`, `out-of-memory`.
    async fn submit_audited(&mut self, gpu: &Gpu, audit: &Audit) -> Result<()> {
        let (commands, params) = self.take()?;
        for command in commands {
            self.cancel.check()?;
            let (command, params) = match command {
                Command::Dispatch { kernel, params: (at, n), operands, invocations, flops } => {
                    let own = params.get(at..at + n).unwrap_or_default();
                    (
                        Command::Dispatch { kernel, params: (0, n), operands, invocations, flops },
                        own,
                    )
                }
                copy @ Command::Copy { .. } => (copy, &[][..]),
            };
            let repeated = match &command {
                Command::Dispatch { kernel, operands, invocations, flops, .. } => {
                    let of = kernel.source;
                    let before =
                        audit.before(self.device, of, params, operands, *invocations, *flops);
                    before.await?.map(|repeated| (repeated, operands))
                }
                Command::Copy { .. } => None,
            };
            let alone = std::slice::from_ref(&command);
            let start = Instant::now();
            let groups = &mut self.groups;
            let (encoded, verdict) = gpu.scoped(|| encode(gpu, alone, params, groups));
            self.device.count(|c| c.add(encoded));
            verdict.check(self.what).await?;
            if let Some((repeated, operands)) = repeated {
                self.device.idle().await?;
                let seconds = start.elapsed().as_secs_f64();
                audit.after(self.device, repeated, operands, seconds).await?;
            }
        }
        Ok(())
    }

    /// Fails if the device refused what was submitted.
    async fn check(&mut self) -> Result<()> {
        check(std::mem::take(&mut self.verdicts), self.what).await
    }

    /// Keeps the first error; later ones follow from it.
    fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }

    /// Everything recorded so far.
    ///
    /// Errors: `device-lost`, `bad-shape`.
    fn take(&mut self) -> Result<(Vec<Command>, Vec<u8>)> {
        let commands = std::mem::take(&mut self.commands);
        let params = std::mem::take(&mut self.params);
        self.flops = 0.0;
        self.failure.take().map_or(Ok(()), Err)?;
        self.device.check()?;
        Ok((commands, params))
    }

    /// Submits everything recorded so far, without waiting.
    ///
    /// Errors: `device-lost`, `bad-shape`.
    fn submit(&mut self, gpu: &Gpu) -> Result<()> {
        let (commands, params) = self.take()?;
        if !commands.is_empty() {
            let (groups, start) = (&mut self.groups, Instant::now());
            let (encoded, verdict) = gpu.scoped(|| encode(gpu, &commands, &params, groups));
            self.device.has_encoded(start);
            self.verdicts.push(verdict);
            self.device.count(|c| c.add(encoded));
        }
        Ok(())
    }

    /// Does everything recorded so far on the CPU, slab by slab, and hands the thread back in between.
    ///
    /// Errors: `aborted`, `device-lost`, `bad-shape`, `gpu-refused`.
    async fn run(&mut self, cpu: &Cpu) -> Result<()> {
        let (commands, params) = self.take()?;
        for command in commands {
            let (kernel, at, operands, invocations, flops) = match command {
                Command::Copy { from, from_byte, to, to_byte, bytes } => {
                    cpu.copy(&from, from_byte, &to, to_byte, bytes);
                    continue;
                }
                Command::Dispatch { kernel, params, operands, invocations, flops } => {
                    (kernel, params, operands, invocations, flops)
                }
            };
            self.device.count(|c| c.dispatches += 1);
            let Source { name, bindings, cpu: Run { axis, run, .. }, .. } = *kernel.source;
            let params = params.get(at.0..at.0 + at.1).unwrap_or_default();
            let n = invocations.get(axis).copied().unwrap_or_default();
            let slabs = (flops / (kernel.rate.get() * SLAB_SECONDS)).ceil().max(1.0);
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "at least 1, at most n"
            )]
            let length =
                n.div_ceil(slabs.min(n.max(1) as f64) as usize).next_multiple_of(SLAB_MULTIPLE);
            let (began, mut done, mut paused) = (Instant::now(), 0.0, 0.0);
            for start in (0..n).step_by(length.max(1)) {
                let slab = start..n.min(start + length);
                done += slab.len() as f64 / n as f64;
                let accesses = bindings.iter().map(|access| *access == Access::ReadWrite);
                match Work::new(params, operands.iter().zip(accesses), slab) {
                    Some(mut work) => run(&mut work),
                    None => cpu.refuse(&format!("{name}: an operand is bound twice")),
                }
                let seconds = began.elapsed().as_secs_f64() - paused;
                // What takes less than the clock can tell says nothing.
                if flops > 0.0 && seconds > 5e-4 {
                    kernel.rate.set((flops * done / seconds).clamp(1e8, 1e14));
                }
                if self.device.is_time_to_hand_back() {
                    let pause = Instant::now();
                    cpu.hand_back().await;
                    paused += pause.elapsed().as_secs_f64();
                    self.device.handed_back();
                    self.cancel.check()?;
                    self.device.check()?;
                }
            }
        }
        self.device.check()
    }
}

/// A readback of what a recorder has had done.
pub struct RecordedRead<'a> {
    what: &'static str,
    read: Readback<'a, f32>,
    verdicts: Vec<Verdict>,
}

impl RecordedRead<'_> {
    /// What was read, tensor by tensor.
    ///
    /// Errors: `device-lost`, `gpu-refused`, `out-of-memory`.
    pub async fn end(self) -> Result<Vec<Vec<f32>>> {
        let read = self.read.end().await?;
        check(self.verdicts, self.what).await?;
        Ok(read)
    }
}

/// Fails if the device refused what was submitted.
async fn check(verdicts: Vec<Verdict>, what: &str) -> Result<()> {
    for verdict in verdicts {
        verdict.check(what).await?;
    }
    Ok(())
}

/// Gives commands to the queue; returns how many of them are dispatches, and how many bind groups had to be made.
fn encode(gpu: &Gpu, commands: &[Command], params: &[u8], groups: &mut Groups) -> Counters {
    gpu.queue.write_buffer(&gpu.params, 0, params);
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    let mut counted = Counters::default();
    for run in commands.chunk_by(|a, b| is_dispatch(a) && is_dispatch(b)) {
        if let [Command::Copy { from, from_byte, to, to_byte, bytes }] = run {
            if let (Some(from), Some(to)) = (from.buffer(), to.buffer()) {
                encoder.copy_buffer_to_buffer(from, *from_byte, to, *to_byte, Some(*bytes));
            }
            continue;
        }
        let mut pass = encoder.begin_compute_pass(&Default::default());
        for command in run {
            let Command::Dispatch { kernel, params, operands, invocations, .. } = command else {
                continue;
            };
            let Some((pipeline, layout)) = &kernel.compiled else { continue };
            let buffers: Vec<_> = operands.iter().filter_map(Memory::buffer).cloned().collect();
            let group =
                groups.entry((kernel.source, buffers)).or_insert_with_key(|(_, buffers)| {
                    counted.bind_groups += 1;
                    let uniform = wgpu::BufferBinding {
                        buffer: &gpu.params,
                        offset: 0,
                        size: std::num::NonZeroU64::new(params.1 as u64),
                    };
                    let entries: Vec<_> = std::iter::once(wgpu::BindingResource::Buffer(uniform))
                        .chain(buffers.iter().map(wgpu::Buffer::as_entire_binding))
                        .zip(0u32..)
                        .map(|(resource, binding)| wgpu::BindGroupEntry { binding, resource })
                        .collect();
                    gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                        label: Some(kernel.source.name),
                        layout,
                        entries: &entries,
                    })
                });
            // `dispatch` has refused more workgroups than there may be.
            let count = |axis: usize| {
                let n = invocations[axis].div_ceil(kernel.source.covers[axis] as usize);
                u32::try_from(n).unwrap_or(MAX_WORKGROUPS)
            };
            pass.set_pipeline(pipeline);
            pass.set_bind_group(0, &*group, &[u32::try_from(params.0).unwrap_or(u32::MAX)]);
            pass.dispatch_workgroups(count(0), count(1), count(2));
            counted.dispatches += 1;
        }
    }
    gpu.queue.submit([encoder.finish()]);
    counted
}

fn is_dispatch(command: &Command) -> bool {
    matches!(command, Command::Dispatch { .. })
}
