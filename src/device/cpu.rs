//! The CPU as a device: memory, and the execution of recorded commands, a slab of the grid at a time.

use std::cell::{Cell, Ref, RefCell, RefMut};
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;

use bytemuck::Pod;

use crate::error::{Error, Result};

use super::gpu::Verdict;
use super::tensor::{Memory, Word, Words};

/// Lets the thread do other things, and resolves when it may go on.
pub type HandBack = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()>>>>;

/// A tensor has at most so many bytes: what a 32-bit address can span of one allocation.
pub(super) const LARGEST_TENSOR: u64 = i32::MAX as u64;

/// WebAssembly's memory has 4 GiB, of which the engine and what a reading needs on the side take a part.
pub(super) const MEMORY_LIMIT: Option<u64> =
    if cfg!(target_pointer_width = "32") { Some((4 << 30) - (256 << 20)) } else { None };

/// The CPU.
pub(super) struct Cpu {
    hand_back: HandBack,
    is_destroyed: Cell<bool>,
    /// Whether memory was refused since a scope began.
    is_out_of_memory: Cell<bool>,
    /// A mistake of a caller, which the next check reports.
    mistake: RefCell<Option<Error>>,
}

impl Cpu {
    pub(super) fn new(hand_back: HandBack) -> Cpu {
        Cpu {
            hand_back,
            is_destroyed: Cell::default(),
            is_out_of_memory: Cell::default(),
            mistake: RefCell::default(),
        }
    }

    pub(super) async fn hand_back(&self) {
        (self.hand_back)().await;
    }

    pub(super) fn destroy(&self) {
        self.is_destroyed.set(true);
    }

    pub(super) fn check(&self) -> Result<()> {
        self.check_lost()?;
        self.mistake.take().map_or(Ok(()), Err)
    }

    /// Errors: `device-lost`.
    pub(super) fn check_lost(&self) -> Result<()> {
        match self.is_destroyed.get() {
            true => Err(Error::DeviceLost("it was destroyed".into())),
            false => Ok(()),
        }
    }

    /// Zeroed memory; none if it cannot be had, which the scope around the call reports.
    pub(super) fn memory(&self, bytes: u64) -> Words {
        let n_words = usize::try_from(bytes / 16).unwrap_or(usize::MAX);
        let mut words = Vec::new();
        match words.try_reserve_exact(n_words) {
            Ok(()) => words.resize(n_words, Word::default()),
            Err(_) => self.is_out_of_memory.set(true),
        }
        Rc::new(RefCell::new(words))
    }

    pub(super) fn scoped<V>(&self, work: impl FnOnce() -> V) -> (V, Verdict) {
        let before = self.is_out_of_memory.replace(false);
        let made = work();
        let failed = self.is_out_of_memory.replace(before);
        (made, Verdict::of_memory(failed))
    }

    pub(super) fn write(&self, words: &Words, offset: u64, bytes: &[u8]) {
        let Ok(mut words) = words.try_borrow_mut() else { return self.refuse_foreign() };
        let all: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        match all.get_mut(start..).and_then(|rest| rest.get_mut(..bytes.len())) {
            Some(place) => place.copy_from_slice(bytes),
            None => self.refuse("a write beyond the end of a tensor"),
        }
    }

    pub(super) fn copy(
        &self,
        from: &Memory,
        from_byte: u64,
        to: &Memory,
        to_byte: u64,
        bytes: u64,
    ) {
        let at = |byte: u64| usize::try_from(byte).unwrap_or(usize::MAX);
        let (start, n) = (at(from_byte), at(bytes));
        let copied = from.words().map(|words| {
            let all: &[u8] = bytemuck::cast_slice(&words);
            all.get(start..).and_then(|rest| rest.get(..n)).map(<[u8]>::to_vec)
        });
        match (copied.flatten(), to) {
            (Some(copied), Memory::Cpu(words)) => self.write(words, to_byte, &copied),
            _ => self.refuse("a copy beyond the end of a tensor"),
        }
    }

    pub(super) fn refuse_foreign(&self) {
        self.refuse("a tensor of another device, or one that is in use");
    }

    pub(super) fn refuse(&self, what: &str) {
        self.mistake.borrow_mut().get_or_insert(Error::GpuRefused(format!("the CPU: {what}")));
    }
}

/// What a kernel computes at once: its operands, and the part of the grid.
pub struct Work<'a> {
    params: &'a [u8],
    /// Bindings that are only read, in order.
    reads: Vec<Ref<'a, Vec<Word>>>,
    /// Bindings that are written, in order.
    writes: Vec<RefMut<'a, Vec<Word>>>,
    /// The part of the grid along the kernel's own axis, in invocations.
    pub slab: Range<usize>,
    /// Bytes that are left out at the start of the weights. Units: bytes.
    pub skipped: u64,
}

impl<'a> Work<'a> {
    /// Borrows the operands; `None` if one is of another device or bound twice, once to be written.
    pub(super) fn new(
        params: &'a [u8],
        bindings: impl Iterator<Item = (&'a Memory, bool)>,
        slab: Range<usize>,
    ) -> Option<Work<'a>> {
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for (memory, is_written) in bindings {
            match is_written {
                true => writes.push(memory.words_mut()?),
                false => reads.push(memory.words()?),
            }
        }
        Some(Work { params, reads, writes, slab, skipped: 0 })
    }

    /// The kernel's parameters.
    pub fn params<P: Pod>(&self) -> P {
        bytemuck::pod_read_unaligned(self.params.get(..size_of::<P>()).unwrap_or(&[]))
    }

    /// The nth binding that is only read.
    pub fn read<V: Pod>(&self, n: usize) -> &[V] {
        self.reads.get(n).map_or(&[], |words| bytemuck::cast_slice(words))
    }

    /// What is read, and what is written.
    pub fn operands(&mut self) -> (Reads<'_, 'a>, Writes<'_, 'a>) {
        (Reads(&self.reads), Writes(&mut self.writes))
    }
}

/// Bindings that are only read.
#[derive(Clone, Copy)]
pub struct Reads<'w, 'a>(&'w [Ref<'a, Vec<Word>>]);

impl<'w> Reads<'w, '_> {
    /// The nth of them.
    pub fn get<V: Pod>(&self, n: usize) -> &'w [V] {
        self.0.get(n).map_or(&[], |words| bytemuck::cast_slice(words))
    }
}

/// Bindings that are written.
pub struct Writes<'w, 'a>(&'w mut [RefMut<'a, Vec<Word>>]);

impl Writes<'_, '_> {
    /// The nth of them.
    pub fn get<V: Pod>(&mut self, n: usize) -> &mut [V] {
        self.0.get_mut(n).map_or(&mut [], |words| bytemuck::cast_slice_mut(words))
    }
}
