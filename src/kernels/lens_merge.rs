//! shaders/lens_merge.wgsl

use bytemuck::{Pod, Zeroable};

use crate::error::Result;
use crate::gpu::{Recorder, Tensor};

use super::{Kernels, N_SLOTS, PARTS, fits, groups};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    n_targets: u32,
    y_row: u32,
    n_best: u32,
    best_stride: u32,
}

/// Operands of [`Kernels::lens_merge`].
pub struct LensMerge<'a> {
    /// Shapes: \[rows, PARTS, N_SLOTS + J\].
    pub state: &'a Tensor,
    /// J.
    pub n_targets: usize,
    /// Rows to merge.
    pub n_rows: usize,
    /// Shapes: \[all rows, N_SLOTS + J\].
    pub y: &'a Tensor,
    /// First row of `y` to write.
    pub y_row: usize,
    /// Targets whose first column gets the id of the largest logit: tensor, rows, columns.
    pub best: Option<(&'a Tensor, usize, usize)>,
}

impl Kernels {
    /// Merges the parts of each row into one state.
    ///
    /// Errors: `bad-shape`.
    pub fn lens_merge(&self, rec: &mut Recorder<'_>, op: &LensMerge<'_>) -> Result<()> {
        let width = N_SLOTS + op.n_targets;
        fits("lens_merge", op.state, 4 * op.n_rows * PARTS * width)?;
        fits("lens_merge", op.y, 4 * (op.y_row + op.n_rows) * width)?;
        let (targets, n_best, best_stride) = op.best.unwrap_or((&self.nowhere, 0, 1));
        fits("lens_merge", targets, 4 * n_best * best_stride)?;
        let params = Params {
            n_rows: op.n_rows as u32,
            n_targets: op.n_targets as u32,
            y_row: op.y_row as u32,
            n_best: n_best as u32,
            best_stride: best_stride as u32,
        };
        let size = [groups(op.n_rows, 32), 1, 1];
        rec.dispatch(&self.lens_merge, params, &[op.state, op.y, targets], size, 0.0);
        Ok(())
    }
}
