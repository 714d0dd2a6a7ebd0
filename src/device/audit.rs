//! Repeats dispatches of a GPU on the CPU, each from the GPU's own operands, and compares what both write.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use bytemuck::cast_slice;

use crate::error::Result;

use super::cpu::Work;
use super::kernel::{Access, Run, Source};
use super::tensor::{Memory, Word, Words};
use super::{Device, SLAB_MULTIPLE};

/// Work that is repeated of one dispatch; of a larger one, its first and its last slab. Units: floating-point operations.
const REPEATED_FLOPS: f64 = 2e7;
/// Bits that no kernel writes: a NaN of its own.
const UNWRITTEN: u32 = 0x7fa1_0e5c;
/// Operands that are read back once for several dispatches have at least this size. Units: bytes.
const LARGE: u64 = 1 << 20;

/// How far a kernel's results on the GPU are from those of the CPU.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Dispatches that were repeated.
    pub dispatches: usize,
    /// Numbers that were compared.
    pub numbers: usize,
    /// Largest difference, relative to the numbers themselves or, where they are small, to their root mean square.
    pub difference: f64,
}

/// What has been found so far.
#[derive(Default)]
pub struct Audit {
    findings: RefCell<Vec<Finding>>,
    /// The last large operand that was read back.
    cached: RefCell<Option<(wgpu::Buffer, Words)>>,
}

/// One dispatch, before it is given to the GPU.
pub(super) struct Repeated<'a> {
    source: &'static Source,
    params: &'a [u8],
    /// Copies of the operands on the CPU, as they are before.
    operands: Vec<Memory>,
    slabs: Vec<Range<usize>>,
}

impl Audit {
    /// By kernel, in the order of their first dispatch.
    pub fn findings(&self) -> Vec<Finding> {
        self.findings.borrow().clone()
    }

    /// Copies the operands of a dispatch to the CPU.
    pub(super) async fn before<'a>(
        &self,
        device: &Device,
        source: &'static Source,
        params: &'a [u8],
        operands: &[Memory],
        invocations: [usize; 3],
        flops: f64,
    ) -> Result<Repeated<'a>> {
        let mut copies = Vec::with_capacity(operands.len());
        for (operand, access) in operands.iter().zip(source.bindings) {
            copies.push(Memory::Cpu(self.copy(device, operand, *access).await?));
        }
        let n = invocations.get(source.cpu.axis).copied().unwrap_or_default();
        // What is compared as a whole is repeated as a whole.
        let share = if source.cpu.digest.is_some() { 1.0 } else { REPEATED_FLOPS / flops.max(1.0) };
        Ok(Repeated { source, params, operands: copies, slabs: slabs(n, share) })
    }

    async fn copy(&self, device: &Device, operand: &Memory, access: Access) -> Result<Words> {
        let Some(buffer) = operand.buffer() else { return Ok(Words::default()) };
        let known =
            self.cached.borrow().as_ref().filter(|(of, _)| of == buffer).map(|(_, w)| w.clone());
        if let (Some(words), Access::Read) = (known, access) {
            return Ok(words);
        }
        let words: Words = Rc::new(RefCell::new(device.read_buffer::<Word>(buffer).await?));
        if access == Access::Read && buffer.size() >= LARGE {
            self.cached.replace(Some((buffer.clone(), words.clone())));
        }
        Ok(words)
    }

    /// Repeats a dispatch, whose operands after it are `after`, and compares. `other` are the GPU's operands.
    pub(super) async fn after(
        &self,
        device: &Device,
        repeated: Repeated<'_>,
        operands: &[Memory],
    ) -> Result<()> {
        let Repeated { source, params, operands: copies, slabs } = repeated;
        let Run { run, digest, .. } = source.cpu;
        let is_written = |i: usize| source.bindings.get(i) == Some(&Access::ReadWrite);
        let run_on = |memories: &[Memory]| {
            for slab in &slabs {
                let bindings =
                    memories.iter().enumerate().map(|(i, memory)| (memory, is_written(i)));
                if let Some(mut work) = Work::new(params, bindings, slab.clone()) {
                    run(&mut work);
                }
            }
        };
        // Once on operands that tell which numbers are written.
        let marked: Vec<Memory> = copies
            .iter()
            .enumerate()
            .map(|(i, memory)| if is_written(i) { unwritten(memory) } else { memory.clone() })
            .collect();
        run_on(&marked);
        run_on(&copies);
        for (i, operand) in operands.iter().enumerate().filter(|(i, _)| is_written(*i)) {
            let (Some(buffer), Some(cpu), Some(marked)) = (
                operand.buffer(),
                copies.get(i).and_then(Memory::words),
                marked.get(i).and_then(Memory::words),
            ) else {
                continue;
            };
            let gpu: Vec<Word> = device.read_buffer(buffer).await?;
            let (gpu, cpu): (&[f32], &[f32]) = (cast_slice(&gpu), cast_slice(&cpu));
            match digest {
                Some(digest) => {
                    let (gpu, cpu) = (digest(params, gpu), digest(params, cpu));
                    self.note(source.name, gpu.iter().zip(&cpu).map(|(&g, &c)| (g, c)));
                }
                None => {
                    let marks: &[u32] = cast_slice(&marked);
                    let written =
                        gpu.iter().zip(cpu).zip(marks).filter(|(_, mark)| **mark != UNWRITTEN);
                    self.note(source.name, written.map(|((&g, &c), _)| (g, c)));
                }
            }
        }
        Ok(())
    }

    /// Adds pairs of numbers, the GPU's first.
    fn note(&self, kernel: &'static str, pairs: impl Iterator<Item = (f32, f32)> + Clone) {
        let (mut n, mut squares) = (0usize, 0.0);
        for (_, cpu) in pairs.clone().filter(|(_, cpu)| cpu.is_finite() && cpu.abs() < 1e15) {
            n += 1;
            squares += f64::from(cpu) * f64::from(cpu);
        }
        let usual = (squares / n.max(1) as f64).sqrt();
        let difference = |(gpu, cpu): (f32, f32)| {
            if gpu.to_bits() == cpu.to_bits() || gpu.is_nan() && cpu.is_nan() {
                return 0.0;
            }
            let (gpu, cpu) = (f64::from(gpu), f64::from(cpu));
            let scale = gpu.abs().max(cpu.abs()).max(usual);
            let difference = (gpu - cpu).abs() / scale;
            if difference.is_nan() { f64::INFINITY } else { difference }
        };
        let numbers = pairs.clone().count();
        let largest = pairs.map(difference).fold(0.0, f64::max);
        let mut findings = self.findings.borrow_mut();
        match findings.iter_mut().find(|finding| finding.kernel == kernel) {
            Some(finding) => {
                finding.dispatches += 1;
                finding.numbers += numbers;
                finding.difference = finding.difference.max(largest);
            }
            None => findings.push(Finding { kernel, dispatches: 1, numbers, difference: largest }),
        }
    }
}

/// The whole grid, or its first and its last slab.
fn slabs(n: usize, share: f64) -> Vec<Range<usize>> {
    if share >= 1.0 || n <= 2 * SLAB_MULTIPLE {
        return vec![0..n];
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "less than n")]
    let length = ((n as f64 * share / 2.0) as usize).next_multiple_of(SLAB_MULTIPLE);
    let last = (n - 1) / length * length;
    if last == 0 { vec![0..n] } else { vec![0..length, last..n] }
}

/// Memory of the same size that holds nothing but [`UNWRITTEN`].
fn unwritten(memory: &Memory) -> Memory {
    let n = memory.words().map_or(0, |words| words.len());
    let word: Word = bytemuck::cast([UNWRITTEN; 4]);
    Memory::Cpu(Rc::new(RefCell::new(vec![word; n])))
}
