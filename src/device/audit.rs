//! Repeats dispatches of a GPU on the CPU, each from the GPU's own operands, and compares what both write.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use bytemuck::cast_slice;
use web_time::Instant;

use crate::error::Result;

use super::cpu::Work;
use super::kernel::{Access, Run, Source};
use super::tensor::{Memory, Word, Words};
use super::{Device, SLAB_MULTIPLE};

/// Work that is repeated of one dispatch; of a larger one, its first or its last slab. Units: floating-point operations.
const REPEATED_FLOPS: f64 = 1e7;
/// Weights beyond this size are read back in part, and a dispatch that needs more of them is not repeated. Units: bytes.
const LARGE: u64 = 24 << 20;
/// Two fillings of an output, of which every kernel changes at least one wherever it writes: a NaN, and a number that is
/// smaller than all others.
const UNWRITTEN: [u32; 2] = [0x7fa1_0e5c, 0xff78_4379];
/// The operand that holds weights, of the kernels that have some.
const WEIGHTS: usize = 1;

/// How far a kernel's results on the GPU are from those of the CPU.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Name of the kernel.
    pub kernel: &'static str,
    /// Dispatches that were repeated.
    pub dispatches: usize,
    /// Numbers that were compared.
    pub numbers: usize,
    /// Largest difference, relative to the numbers themselves or, where they are small, to the root mean square of their
    /// kind.
    pub difference: f64,
    /// How long these dispatches took on the GPU, each with its round trip. Units: seconds.
    pub gpu_seconds: f64,
    /// How long the part of them that was repeated took on the CPU. Units: seconds.
    pub cpu_seconds: f64,
}

/// What has been found so far.
#[derive(Default)]
pub struct Audit {
    findings: RefCell<Vec<Finding>>,
}

/// One dispatch, before it is given to the GPU.
pub(super) struct Repeated<'a> {
    source: &'static Source,
    params: &'a [u8],
    /// Copies of the operands on the CPU, as they are before.
    operands: Vec<Memory>,
    slab: Range<usize>,
    /// Bytes that are left out at the start of the weights.
    skipped: u64,
}

impl Audit {
    /// By kernel, in the order of their first dispatch.
    pub fn findings(&self) -> Vec<Finding> {
        self.findings.borrow().clone()
    }

    /// Copies the operands of a dispatch to the CPU; `None` for one that is not repeated.
    pub(super) async fn before<'a>(
        &self,
        device: &Device,
        source: &'static Source,
        params: &'a [u8],
        operands: &[Memory],
        invocations: [usize; 3],
        flops: f64,
    ) -> Result<Option<Repeated<'a>>> {
        let n = invocations.get(source.cpu.axis).copied().unwrap_or_default();
        // What is compared as a whole is repeated as a whole.
        let share = if source.cpu.digest.is_some() { 1.0 } else { REPEATED_FLOPS / flops.max(1.0) };
        let slab = slab(n, share, Part::of(self.count_of(source.name)));
        let size = |memory: &Memory| memory.buffer().map_or(0, wgpu::Buffer::size);
        let mut copies = Vec::with_capacity(operands.len());
        for (i, operand) in operands.iter().enumerate() {
            // Weights come last: how much of them is needed depends on the others.
            let is_weights = i == WEIGHTS && source.cpu.part.is_some();
            let range = if is_weights { 0..0 } else { 0..size(operand) };
            copies.push(copy(device, operand, range).await?);
        }
        let mut skipped = 0;
        if let (Some(part), Some(weights)) = (source.cpu.part, operands.get(WEIGHTS)) {
            let needed =
                work(source, params, &copies, slab.clone(), 0).and_then(|work| part(&work));
            // Whole words, of 16 bytes.
            let range = needed.map_or(0..size(weights), |range| {
                range.start / 16 * 16..range.end.next_multiple_of(16).min(size(weights))
            });
            if range.end - range.start > LARGE {
                return Ok(None);
            }
            skipped = range.start;
            if let Some(place) = copies.get_mut(WEIGHTS) {
                *place = copy(device, weights, range).await?;
            }
        }
        Ok(Some(Repeated { source, params, operands: copies, slab, skipped }))
    }

    /// Repeats a dispatch and compares; `operands` are the GPU's, after it, and `gpu_seconds` is how long it took.
    pub(super) async fn after(
        &self,
        device: &Device,
        repeated: Repeated<'_>,
        operands: &[Memory],
        gpu_seconds: f64,
    ) -> Result<()> {
        let Repeated { source, params, operands: copies, slab, skipped } = repeated;
        let Run { run, digest, columns, .. } = source.cpu;
        let is_written = |i: usize| source.bindings.get(i) == Some(&Access::ReadWrite);
        let run_on =
            |memories: &[Memory]| match work(source, params, memories, slab.clone(), skipped) {
                Some(mut work) => run(&mut work),
                None => self.note(source.name, 1, &[(0.0, f32::MAX)]),
            };
        // Also on operands that tell which numbers are written.
        let marked = UNWRITTEN.map(|mark| {
            let filled = |(i, memory): (usize, &Memory)| {
                if is_written(i) { filled_with(mark, memory) } else { memory.clone() }
            };
            let marked: Vec<Memory> = copies.iter().enumerate().map(filled).collect();
            run_on(&marked);
            marked
        });
        let start = Instant::now();
        run_on(&copies);
        self.begin(source.name, [gpu_seconds, start.elapsed().as_secs_f64()]);
        for (i, operand) in operands.iter().enumerate().filter(|(i, _)| is_written(*i)) {
            let words =
                |of: &[Memory]| of.get(i).and_then(|memory| memory.words().map(|w| w.to_vec()));
            let (Some(buffer), Some(cpu), [Some(nan), Some(least)]) =
                (operand.buffer(), words(&copies), [words(&marked[0]), words(&marked[1])])
            else {
                continue;
            };
            let gpu: Vec<Word> = device.read_buffer(buffer, 0..buffer.size()).await?;
            let (gpu, cpu): (&[f32], &[f32]) = (cast_slice(&gpu), cast_slice(&cpu));
            let (nan, least): (&[u32], &[u32]) = (cast_slice(&nan), cast_slice(&least));
            let n_columns = columns.map_or(1, |columns| columns(params, i)).max(1);
            let digest_of = |numbers: &[f32]| digest.and_then(|digest| digest(params, i, numbers));
            let pairs: Vec<Option<(f32, f32)>> = match (digest_of(gpu), digest_of(cpu)) {
                (Some(gpu), Some(cpu)) => gpu.into_iter().zip(cpu).map(Some).collect(),
                _ => {
                    let is_unwritten = |i: usize| {
                        nan.get(i) == Some(&UNWRITTEN[0]) && least.get(i) == Some(&UNWRITTEN[1])
                    };
                    let pairs = gpu.iter().zip(cpu).enumerate();
                    pairs.map(|(i, (&g, &c))| (!is_unwritten(i)).then_some((g, c))).collect()
                }
            };
            for column in 0..n_columns {
                let of_column = pairs.iter().skip(column).step_by(n_columns).flatten().copied();
                self.note(source.name, 0, &of_column.collect::<Vec<_>>());
            }
        }
        Ok(())
    }

    fn count_of(&self, kernel: &str) -> usize {
        let findings = self.findings.borrow();
        findings
            .iter()
            .find(|finding| finding.kernel == kernel)
            .map_or(0, |finding| finding.dispatches)
    }

    fn begin(&self, kernel: &'static str, [gpu_seconds, cpu_seconds]: [f64; 2]) {
        self.note(kernel, 1, &[]);
        let mut findings = self.findings.borrow_mut();
        if let Some(finding) = findings.iter_mut().find(|finding| finding.kernel == kernel) {
            finding.gpu_seconds += gpu_seconds;
            finding.cpu_seconds += cpu_seconds;
        }
    }

    /// Adds pairs of numbers of one kind, the GPU's first. One that is not finite on the CPU is no measure of a GPU, whose
    /// compiler may assume that there is none.
    fn note(&self, kernel: &'static str, dispatches: usize, pairs: &[(f32, f32)]) {
        let pairs = pairs.iter().filter(|(_, cpu)| cpu.is_finite());
        let wide = pairs.map(|&(gpu, cpu)| (f64::from(gpu), f64::from(cpu)));
        let squares: f64 = wide.clone().map(|(_, cpu)| cpu * cpu).sum();
        let numbers = wide.clone().count();
        let usual = (squares / numbers.max(1) as f64).sqrt();
        let difference = |(gpu, cpu): (f64, f64)| {
            if gpu == cpu {
                return 0.0;
            }
            let difference = (gpu - cpu).abs() / cpu.abs().max(usual);
            if difference.is_nan() { f64::INFINITY } else { difference }
        };
        let largest = wide.map(difference).fold(0.0, f64::max);
        let mut findings = self.findings.borrow_mut();
        match findings.iter_mut().find(|finding| finding.kernel == kernel) {
            Some(finding) => {
                finding.dispatches += dispatches;
                finding.numbers += numbers;
                finding.difference = finding.difference.max(largest);
            }
            None => {
                let (gpu_seconds, cpu_seconds, difference) = (0.0, 0.0, largest);
                let new =
                    Finding { kernel, dispatches, numbers, difference, gpu_seconds, cpu_seconds };
                findings.push(new);
            }
        }
    }
}

/// Borrows the operands of a dispatch on the CPU.
fn work<'a>(
    source: &Source,
    params: &'a [u8],
    memories: &'a [Memory],
    slab: Range<usize>,
    skipped: u64,
) -> Option<Work<'a>> {
    let accesses = source.bindings.iter().map(|access| *access == Access::ReadWrite);
    let accesses: Vec<bool> = accesses.collect();
    let mut work = Work::new(params, memories.iter().zip(accesses), slab)?;
    work.skipped = skipped;
    Some(work)
}

/// A range of an operand of the GPU on the CPU.
async fn copy(device: &Device, operand: &Memory, range: Range<u64>) -> Result<Memory> {
    let words: Words = match operand.buffer() {
        Some(buffer) => Rc::new(RefCell::new(device.read_buffer(buffer, range).await?)),
        None => Words::default(),
    };
    Ok(Memory::Cpu(words))
}

/// Where in the grid a slab lies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    First,
    Middle,
    Last,
}

impl Part {
    /// In turns: a block of a model has four products, so that each of them has every part in some block.
    fn of(count: usize) -> Part {
        match count % 3 {
            0 => Part::First,
            1 => Part::Middle,
            _ => Part::Last,
        }
    }
}

/// The whole grid, or a slab of it.
fn slab(n: usize, share: f64, part: Part) -> Range<usize> {
    if share >= 1.0 || n <= SLAB_MULTIPLE {
        return 0..n;
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "less than n")]
    let length = ((n as f64 * share) as usize).next_multiple_of(SLAB_MULTIPLE).max(SLAB_MULTIPLE);
    let first = match part {
        Part::First => 0,
        Part::Middle => (n.saturating_sub(length) / 2).next_multiple_of(SLAB_MULTIPLE),
        Part::Last => (n - 1) / length * length,
    };
    first..n.min(first + length)
}

/// Memory of the same size that holds nothing but `mark`.
fn filled_with(mark: u32, memory: &Memory) -> Memory {
    let n = memory.words().map_or(0, |words| words.len());
    let word: Word = bytemuck::cast([mark; 4]);
    Memory::Cpu(Rc::new(RefCell::new(vec![word; n])))
}

#[cfg(test)]
mod tests {
    use super::{Part, SLAB_MULTIPLE, slab};

    /// In a model of twelve blocks with four products each, every group of columns of each product is repeated or near one
    /// that is: no third of it is left out.
    #[test]
    fn every_third_of_each_product_is_repeated_in_some_block() {
        for product in 0..4 {
            for (n, share) in [(576, 0.47), (1200, 0.11), (192, 1.0), (768, 0.3)] {
                let slabs: Vec<_> =
                    (0..12).map(|block| slab(n, share, Part::of(4 * block + product))).collect();
                for third in [0..n / 3, n / 3..2 * n / 3, 2 * n / 3..n] {
                    let meets = |slab: &std::ops::Range<usize>| {
                        slab.start < third.end && third.start < slab.end
                    };
                    assert!(slabs.iter().any(meets), "{n} {share}: {third:?} of {slabs:?}");
                }
                assert!(slabs.iter().all(|s| s.start % SLAB_MULTIPLE == 0 && s.end <= n));
            }
        }
    }
}
