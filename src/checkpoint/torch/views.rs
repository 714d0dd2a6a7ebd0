//! How the bytes of one storage become the bytes of its tensors.

use crate::error::{Error, Result};

use super::pickle::{Storage, View};
use super::to_usize;

/// Largest storage that is held in memory, because its tensors are not in order in it. The largest matrix of a
/// block of CTRL or GPT-2 XL has 42 MB. Units: bytes.
pub(super) const MAX_HELD: u64 = 48 << 20;
/// Length of the blocks in which it is held. A whole number of elements of any type. Units: bytes.
const BLOCK: usize = 1 << 20;
/// Bytes of a tensor that are put in order at once.
const PIECE: usize = 64 << 10;

/// The tensors of a storage that are wanted.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Layout {
    /// They lie one after the other in row-major order: tensor, first byte, one past the last byte.
    InOrder(Vec<(usize, u64, u64)>),
    /// They overlap, or their elements are in another order.
    Held(Vec<usize>),
}

impl Layout {
    /// `wanted` are tensors of this storage, by their index in `tensors`.
    ///
    /// Errors: `unsupported-model` if the storage would have to be held and is too long, or if a tensor
    /// repeats elements.
    pub(super) fn of(
        storage: &Storage,
        wanted: Vec<usize>,
        tensors: &[(String, View)],
    ) -> Result<Layout> {
        let size = storage.kind.size;
        let view = |index: &usize| tensors.get(*index).map(|(_, view)| view);
        for (name, view) in wanted.iter().filter_map(|&index| tensors.get(index)) {
            if count(view) > storage.n {
                return Err(Error::UnsupportedModel(format!(
                    "tensor {name} repeats elements; save its .contiguous() form"
                )));
            }
        }
        // In the order of their bytes. Nearly always there is one.
        let mut spans: Vec<(usize, u64, u64)> = Vec::new();
        for (&index, view) in wanted.iter().filter_map(|index| Some((index, view(index)?))) {
            let (start, end) = (view.offset * size, (view.offset + count(view)) * size);
            let place = spans.partition_point(|&(_, s, e)| (s, e) <= (start, end));
            spans.insert(place, (index, start, end));
        }
        let is_apart = spans.windows(2).all(|pair| match pair {
            [(_, _, end), (_, start, _)] => end <= start,
            _ => true,
        });
        if is_apart && wanted.iter().filter_map(view).all(is_contiguous) {
            spans.retain(|(_, start, end)| start < end);
            return Ok(Layout::InOrder(spans));
        }
        if storage.bytes() > MAX_HELD {
            let name = wanted.first().and_then(|&index| tensors.get(index));
            let name = name.map_or("a tensor", |(name, _)| name.as_str());
            return Err(Error::UnsupportedModel(format!(
                "the storage of {name} would have to be put in order in memory: it has {} bytes, at most {MAX_HELD} are held; save the .contiguous() form of each tensor",
                storage.bytes()
            )));
        }
        Ok(Layout::Held(wanted))
    }
}

/// Number of elements. The product is at most [`MAX_OFFSET`](super::super::header::MAX_OFFSET) unless one
/// dimension is 0.
fn count(view: &View) -> u64 {
    if view.shape.contains(&0) { 0 } else { view.shape.iter().product() }
}

/// Whether the elements lie in row-major order without gaps.
fn is_contiguous(view: &View) -> bool {
    let mut expected = 1;
    let mut is_next = |(&size, &stride): (&u64, &u64)| {
        let fits = size == 1 || stride == expected;
        expected *= size;
        fits
    };
    count(view) == 0 || view.shape.iter().zip(&view.strides).rev().all(&mut is_next)
}

/// A storage in memory, whose tensors are put in order one after the other.
#[derive(Debug, Default)]
pub(super) struct Held {
    blocks: Vec<Vec<u8>>,
    /// Place of the current tensor among those of the storage, and its next element.
    tensor: usize,
    next: u64,
    piece: Vec<u8>,
}

impl Held {
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.blocks.last().is_none_or(|block| block.len() == BLOCK) {
                self.blocks.push(Vec::new());
            }
            let Some(block) = self.blocks.last_mut() else { return };
            let (now, rest) = bytes.split_at((BLOCK - block.len()).min(bytes.len()));
            // A block doubles as it grows, but never beyond its length.
            let (capacity, needed) = (block.capacity(), block.len() + now.len());
            if capacity < needed {
                block.reserve_exact((2 * capacity).clamp(needed, BLOCK) - block.len());
            }
            block.extend_from_slice(now);
            bytes = rest;
        }
    }

    /// The place of the current tensor.
    pub(super) fn tensor(&self) -> usize {
        self.tensor
    }

    /// Whether all bytes of the last of `n` tensors, `view`, were found.
    pub(super) fn has_ended(&self, n: usize, view: &View) -> bool {
        self.tensor + 1 == n && self.next == count(view)
    }

    /// The bytes that [`Held::next`] found.
    pub(super) fn piece(&self) -> &[u8] {
        &self.piece
    }

    /// Finds the next bytes of the tensor in row-major order; `view` is that tensor and `size` the length of
    /// an element. False once it is complete: then the next tensor begins.
    pub(super) fn next(&mut self, view: &View, size: u64) -> bool {
        self.piece.clear();
        let all = count(view);
        while self.piece.len() < PIECE && self.next < all {
            self.append_run(view, size, all);
        }
        if self.piece.is_empty() {
            (self.tensor, self.next) = (self.tensor + 1, 0);
        }
        !self.piece.is_empty()
    }

    /// Appends elements along the last dimension.
    fn append_run(&mut self, view: &View, size: u64, all: u64) {
        let width = view.shape.last().copied().unwrap_or(1);
        let stride = view.strides.last().copied().unwrap_or(0);
        let space = ((PIECE - self.piece.len()) as u64).div_ceil(size);
        let run = (width - self.next % width).min(space).min(all - self.next);
        let first = element(view, self.next);
        for i in 0..run {
            let start = to_usize((first + i * stride) * size);
            let block = self.blocks.get(start / BLOCK).and_then(|block| block.get(start % BLOCK..));
            let bytes = block.and_then(|block| block.get(..to_usize(size)));
            self.piece.extend_from_slice(bytes.unwrap_or_default());
        }
        self.next += run;
    }
}

/// Where element `i` of the tensor, in row-major order, lies in the storage.
fn element(view: &View, mut i: u64) -> u64 {
    let mut at = view.offset;
    for (&size, &stride) in view.shape.iter().zip(&view.strides).rev() {
        at += i % size * stride;
        i /= size;
    }
    at
}
