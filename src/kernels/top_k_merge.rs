//! shaders/top_k_merge.wgsl

use bytemuck::{Pod, Zeroable};

use crate::error::Result;
use crate::gpu::{Recorder, Source, Tensor};

use super::{Kernels, LANES, check_floats, dim, source};

pub(super) static SOURCE: Source =
    source!("top_k_merge" + "lens", [32, 1, 1], [Read, ReadWrite], LANES);

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    y_row: u32,
    k: u32,
}

/// Operands of [`Kernels::top_k_merge`].
pub struct TopKMerge<'a> {
    /// (logit, id) pairs. Shapes: \[rows, LANES, K\].
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
    /// The K largest of the whole vocabulary, from the lanes' lists.
    ///
    /// Errors: `bad-shape`.
    pub fn top_k_merge(&self, rec: &mut Recorder<'_>, op: &TopKMerge<'_>) -> Result<()> {
        check_floats("top_k_merge: lists", op.lists, &[2, op.n_rows, LANES, op.k])?;
        check_floats("top_k_merge: y", op.y, &[2, op.y_row + op.n_rows, op.k])?;
        let params = Params { n_rows: dim(op.n_rows), y_row: dim(op.y_row), k: dim(op.k) };
        let invocations = [op.n_rows, 1, 1];
        rec.dispatch(&self.top_k_merge, params, &[op.lists, op.y], invocations, 0.0);
        Ok(())
    }
}
