//! The extended decoder: halves of blocks that every row passes before norm and unembedding.

use std::cell::RefCell;

use crate::device::{Device, Recorder, Tensor};
use crate::error::Result;
use crate::kernels::{Rows, pad4};
use crate::model::{Half, Model, Pass};

use super::rows::BorrowedHalf;

/// Keys and values by row and borrowed half.
type Caches = Vec<Vec<Option<[Tensor; 2]>>>;

/// The borrowed halves, and for each row of a reading the keys and values of their attention, from the
/// row's own stream at the positions before.
///
/// Source: nostalgebraist 2021, `transformer-utils`.
pub struct Extension {
    halves: Vec<BorrowedHalf>,
    /// Keys and values by row and borrowed half; `None` for an MLP. Shapes: \[T, C4\] each.
    caches: RefCell<Caches>,
    /// Outputs by row. Shapes: N × \[T, C4\].
    ends: Vec<Tensor>,
    /// Between two halves, during a reading. Shapes: \[n, C4\] each.
    between: Vec<Tensor>,
}

impl Extension {
    /// For `n_rows` rows of a text, in blocks of `block` positions.
    pub fn new(
        device: &Device,
        model: &Model,
        halves: Vec<BorrowedHalf>,
        n_rows: usize,
        n_tokens: usize,
        block: usize,
    ) -> Extension {
        let row_bytes = 4 * pad4(model.config.n_embd) as u64;
        let all = |label: &str| device.tensor(label, n_tokens as u64 * row_bytes);
        let cache = |&(_, half): &BorrowedHalf| {
            (half == Half::Attn).then(|| [all("decoder keys"), all("decoder values")])
        };
        Extension {
            caches: RefCell::new((0..n_rows).map(|_| halves.iter().map(cache).collect()).collect()),
            ends: (0..n_rows).map(|_| all("decoder end")).collect(),
            between: (0..2)
                .map(|_| device.tensor("decoder step", block as u64 * row_bytes))
                .collect(),
            halves,
        }
    }

    /// Runs the positions of `pass` of one row through the borrowed halves. The positions before must
    /// have been run.
    ///
    /// Errors: `missing-tensor`, `bad-shape`.
    pub(super) fn run<'a>(
        &'a self,
        rec: &mut Recorder<'_>,
        pass: &Pass<'_>,
        row: usize,
        from: Rows<'a>,
    ) -> Result<Rows<'a>> {
        let blocks = &pass.model.whole()?.blocks;
        let mut x = from;
        let caches = self.caches.borrow();
        for (step, (&(i, _), cache)) in self.halves.iter().zip(&caches[row]).enumerate() {
            let block = &blocks[i];
            let y = match step + 1 == self.halves.len() {
                true => pass.positions_of(&self.ends[row]),
                false => pass.scratch_rows(&self.between[step % 2]),
            };
            match cache {
                Some([keys, values]) => pass.attn(rec, (i, block), x, keys, values, y)?,
                None => pass.mlp(rec, (i, block), x, y)?,
            }
            x = y;
        }
        Ok(x)
    }

    /// The outputs by row. Shapes: N × \[T, C4\].
    pub fn ends(&self) -> &[Tensor] {
        &self.ends
    }

    /// Ends the reading; what a longer text starts from stays.
    pub fn finish(&mut self) {
        self.between.clear();
    }

    /// Whether keys and values are there.
    pub fn has_cache(&self) -> bool {
        !self.caches.borrow().is_empty()
    }

    /// Releases the keys and values, once no other text starts from this one.
    pub fn drop_cache(&self) {
        self.caches.borrow_mut().clear();
    }

    /// Size of keys, values and outputs. Units: bytes.
    pub fn bytes(&self) -> u64 {
        let caches = self.caches.borrow();
        tensors(&caches, &self.ends).map(Tensor::bytes).sum()
    }

    /// Copies the first `n` of `n_tokens` positions of a text that was read with the same decoder; false if its keys and
    /// values have been released.
    pub fn copy_prefix(
        &self,
        rec: &mut Recorder<'_>,
        earlier: &Extension,
        n: usize,
        n_tokens: usize,
    ) -> bool {
        let (from, to) = (earlier.caches.borrow(), self.caches.borrow());
        if from.len() != to.len() || earlier.halves != self.halves {
            return false;
        }
        for (from, to) in tensors(&from, &earlier.ends).zip(tensors(&to, &self.ends)) {
            rec.copy(from, 0, to, 0, n as u64 * (to.bytes() / n_tokens as u64));
        }
        true
    }
}

fn tensors<'a>(caches: &'a Caches, ends: &'a [Tensor]) -> impl Iterator<Item = &'a Tensor> {
    caches.iter().flatten().flatten().flatten().chain(ends)
}
