//! shaders/gram.wgsl

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::error::Result;
use crate::gpu::{Recorder, Tensor};

use super::{Kernels, Matrix, fits, groups, pad4};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_in4: u32,
    first_group: u32,
    n_groups: u32,
}

/// Operands of [`Kernels::gram`].
pub struct Gram<'a> {
    /// Token embeddings as output columns. Shapes: \[C, rows\].
    pub weight: &'a Matrix,
    /// How much each token counts. Shapes: \[rows4\].
    pub counts: &'a Tensor,
    /// Tokens to sum over, in groups of four.
    pub groups: Range<usize>,
    /// Shapes: \[C4, C4\].
    pub y: &'a Tensor,
}

impl Kernels {
    /// y\[i, j\] = Σ s\[t\]·W\[i, t\]·W\[j, t\] over those tokens.
    ///
    /// Errors: `bad-shape`.
    pub fn gram(&self, rec: &mut Recorder<'_>, op: &Gram<'_>) -> Result<()> {
        let c4 = pad4(op.weight.n_in);
        fits("gram", op.y, 4 * c4 * c4)?;
        fits("gram", op.counts, 16 * op.groups.end)?;
        fits("gram", &op.weight.tensor, op.groups.end * c4 * 4 * op.weight.precision.bytes())?;
        let params = Params {
            n_in4: c4 as u32 / 4,
            first_group: op.groups.start as u32,
            n_groups: op.groups.len() as u32,
        };
        let size = [groups(c4 / 4, 8), groups(c4 / 4, 8), 1];
        // Half of them: the matrix is symmetric.
        let flops = (c4 * c4 * 4 * op.groups.len()) as f64;
        rec.dispatch(&self.gram, params, &[op.counts, &op.weight.tensor, op.y], size, flops);
        Ok(())
    }
}
