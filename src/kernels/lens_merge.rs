//! shaders/lens_merge.wgsl

use bytemuck::{Pod, Zeroable};

use crate::error::Result;
use crate::gpu::{Recorder, Source, Tensor};

use super::{Kernels, LANES, N_SLOTS, check_floats, dim, source};

pub(super) static SOURCE: Source =
    source!("lens_merge" + "lens", [32, 1, 1], [Read, ReadWrite, ReadWrite], LANES, N_SLOTS);

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
    /// Shapes: \[rows, LANES, N_SLOTS + J\].
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
    /// Merges the lanes of each row into one state.
    ///
    /// Errors: `bad-shape`.
    pub fn lens_merge(&self, rec: &mut Recorder<'_>, op: &LensMerge<'_>) -> Result<()> {
        let width = N_SLOTS + op.n_targets;
        check_floats("lens_merge: state", op.state, &[op.n_rows, LANES, width])?;
        check_floats("lens_merge: y", op.y, &[op.y_row + op.n_rows, width])?;
        let (targets, n_best, best_stride) = op.best.unwrap_or((&self.no_output, 0, 1));
        check_floats("lens_merge: targets", targets, &[n_best, best_stride])?;
        let params = Params {
            n_rows: dim(op.n_rows),
            n_targets: dim(op.n_targets),
            y_row: dim(op.y_row),
            n_best: dim(n_best),
            best_stride: dim(best_stride),
        };
        let invocations = [op.n_rows, 1, 1];
        rec.dispatch(&self.lens_merge, params, &[op.state, op.y, targets], invocations, 0.0);
        Ok(())
    }
}
