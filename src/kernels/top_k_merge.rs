//! shaders/top_k_merge.wgsl

use bytemuck::{Pod, Zeroable};

use crate::error::Result;
use crate::gpu::{Recorder, Tensor};

use super::{Kernels, PARTS, fits, groups};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    y_row: u32,
    k: u32,
}

/// Operands of [`Kernels::top_k_merge`].
pub struct TopKMerge<'a> {
    /// (logit, id) pairs. Shapes: \[rows, PARTS, K\].
    pub lists: &'a Tensor,
    /// K.
    pub k: usize,
    /// Rows to merge.
    pub n_rows: usize,
    /// (logit, id) pairs, best first. Shapes: \[all rows, K\].
    pub y: &'a Tensor,
    /// First row of `y` to write.
    pub y_row: usize,
}

impl Kernels {
    /// The K largest of the whole vocabulary, from the parts' lists.
    ///
    /// Errors: `bad-shape`.
    pub fn top_k_merge(&self, rec: &mut Recorder<'_>, op: &TopKMerge<'_>) -> Result<()> {
        fits("top_k_merge", op.lists, 8 * op.n_rows * PARTS * op.k)?;
        fits("top_k_merge", op.y, 8 * (op.y_row + op.n_rows) * op.k)?;
        let params = Params { n_rows: op.n_rows as u32, y_row: op.y_row as u32, k: op.k as u32 };
        let size = [groups(op.n_rows, 32), 1, 1];
        rec.dispatch(&self.top_k_merge, params, &[op.lists, op.y], size, 0.0);
        Ok(())
    }
}
