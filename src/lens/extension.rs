//! The extended decoder: halves of blocks that every row passes before norm and unembedding.

use crate::device::{Device, Recorder, Tensor};
use crate::error::Result;
use crate::kernels::{Rows, pad4};
use crate::model::{Half, Model, Pass};

use super::rows::BorrowedHalf;

/// The borrowed halves, and for each row of a reading the keys and values of their attention, from the
/// row's own stream at the positions before.
///
/// Source: nostalgebraist 2021, `transformer-utils`.
pub struct Extension {
    halves: Vec<BorrowedHalf>,
    /// Keys and values by row and borrowed half; `None` for an MLP. Shapes: \[T, C4\] each.
    caches: Vec<Vec<Option<[Tensor; 2]>>>,
    /// Outputs by row. Shapes: N × \[T, C4\].
    ends: Vec<Tensor>,
    /// Between two halves. Shapes: \[n, C4\] each.
    between: [Tensor; 2],
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
            caches: (0..n_rows).map(|_| halves.iter().map(cache).collect()).collect(),
            ends: (0..n_rows).map(|_| all("decoder end")).collect(),
            between: [(); 2].map(|()| device.tensor("decoder step", block as u64 * row_bytes)),
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
        for (step, (&(i, _), cache)) in self.halves.iter().zip(&self.caches[row]).enumerate() {
            let block = &blocks[i];
            let y = match step + 1 == self.halves.len() {
                true => pass.positions_of(&self.ends[row]),
                false => pass.scratch_rows(&self.between[step % 2]),
            };
            match cache {
                Some([keys, values]) => pass.attn(rec, block, x, keys, values, y)?,
                None => pass.mlp(rec, block, x, y)?,
            }
            x = y;
        }
        Ok(x)
    }

    /// The outputs by row; keys and values are released. Shapes: N × \[T, C4\].
    pub fn into_ends(self) -> Vec<Tensor> {
        self.ends
    }
}
