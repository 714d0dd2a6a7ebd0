//! The extended decoder: parts of the model that every row runs through before norm and unembedding.

use crate::error::Result;
use crate::gpu::{Gpu, Recorder, Tensor};
use crate::kernels::{Rows, pad4};
use crate::model::{Half, Model, Pass};

use super::rows::Borrowed;

/// The borrowed halves, and for each row of a reading what their attention has seen so far: the
/// row's own stream at the positions before.
///
/// Source: nostalgebraist 2021, `transformer-utils`.
pub struct Extension {
    halves: Vec<Borrowed>,
    /// Keys and values by row and borrowed half; none for an MLP. Shapes: \[T, C4\] each.
    caches: Vec<Vec<Option<[Tensor; 2]>>>,
    /// What comes out, by row. Shapes: N × \[T, C4\].
    ends: Vec<Tensor>,
    /// Between the halves. Shapes: \[n, C4\] each.
    between: [Tensor; 2],
}

impl Extension {
    /// Room for `n_rows` rows of a text, in blocks of `block` positions.
    pub fn new(
        gpu: &Gpu,
        model: &Model,
        halves: Vec<Borrowed>,
        n_rows: usize,
        n_tokens: usize,
        block: usize,
    ) -> Extension {
        let row_bytes = 4 * pad4(model.config.n_embd) as u64;
        let all = |label: &str| gpu.tensor(label, n_tokens as u64 * row_bytes);
        let cache = |&(_, half): &Borrowed| {
            (half == Half::Attn).then(|| [all("decoder keys"), all("decoder values")])
        };
        Extension {
            caches: (0..n_rows).map(|_| halves.iter().map(cache).collect()).collect(),
            ends: (0..n_rows).map(|_| all("decoder end")).collect(),
            between: [(); 2].map(|()| gpu.tensor("decoder step", block as u64 * row_bytes)),
            halves,
        }
    }

    /// Runs the positions of `pass` of one row through the borrowed halves; the positions before
    /// must have come this way.
    ///
    /// Errors: `aborted`, `device-lost`.
    pub(super) fn run<'a>(
        &'a self,
        rec: &mut Recorder<'_>,
        pass: &Pass<'a>,
        row: usize,
        from: Rows<'a>,
    ) -> Result<Rows<'a>> {
        let mut x = from;
        for (step, (&(i, _), cache)) in self.halves.iter().zip(&self.caches[row]).enumerate() {
            let block = &pass.model.weights.blocks[i];
            let y = match step + 1 == self.halves.len() {
                true => pass.at(&self.ends[row]),
                false => pass.here(&self.between[step % 2]),
            };
            match cache {
                Some([keys, values]) => pass.attn(rec, block, x, keys, values, y)?,
                None => pass.mlp(rec, block, x, y)?,
            }
            x = y;
        }
        Ok(x)
    }

    /// What came out, by row; keys and values are given back. Shapes: N × \[T, C4\].
    pub fn into_ends(self) -> Vec<Tensor> {
        self.ends
    }
}
