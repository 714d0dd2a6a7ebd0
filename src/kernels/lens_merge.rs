//! shaders/lens_merge.wgsl

use bytemuck::{Pod, Zeroable};

use crate::device::{Recorder, Source, Tensor, Work};
use crate::error::Result;

use super::{Kernels, LANES, N_SLOTS, check_floats, dim, source, span, span_mut};

pub(super) static SOURCE: Source = source!("lens_merge" + "lens", [32, 1, 1], [Read, ReadWrite, ReadWrite], LANES, N_SLOTS; 0, on_cpu, columns: columns);

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

/// A slab of rows.
fn on_cpu(work: &mut Work<'_>) {
    let p: Params = work.params();
    let slab = work.slab.clone();
    let (reads, mut writes) = work.operands();
    let width = N_SLOTS + p.n_targets as usize;
    for row in slab {
        let lanes: &[f32] = span(reads.get(0), row, 1, LANES * width);
        let merged = loupe_cpu::merge(lanes, width, N_SLOTS);
        span_mut(writes.get(0), p.y_row as usize + row, 1, width).copy_from_slice(&merged);
        let best = merged.get(3).copied().unwrap_or(0.0);
        if row < p.n_best as usize
            && let Some(target) = writes.get::<u32>(1).get_mut(row * p.best_stride as usize)
        {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an id")]
            let id = best as u32;
            *target = id;
        }
    }
}

/// Numbers of one kind stand in one column.
fn columns(params: &[u8], _: usize) -> usize {
    let p = params.get(..size_of::<Params>()).map(bytemuck::pod_read_unaligned::<Params>);
    N_SLOTS + p.map_or(0, |p| p.n_targets as usize)
}
