//! shaders/lens_merge.wgsl

use bytemuck::{Pod, Zeroable};

use crate::device::{Recorder, Source, Tensor, Work};
use crate::error::Result;

use super::{Kernels, LANES, Lists, N_SLOTS, check_floats, dim, source, span, span_mut};

pub(super) static SOURCE: Source = source!(
    "lens_merge" + "lens",
    [32, 1, 1],
    [Read, Read, ReadWrite, ReadWrite, ReadWrite],
    LANES,
    N_SLOTS;
    0,
    on_cpu,
    columns: columns
);

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    n_targets: u32,
    k: u32,
    n_best: u32,
    best_stride: u32,
}

/// The operand that holds the merged lists.
const TOP: usize = 4;

/// Operands of [`Kernels::lens_merge`].
pub struct LensMerge<'a> {
    /// Shapes: \[rows, LANES, N_SLOTS + J\].
    pub state: &'a Tensor,
    /// J.
    pub n_targets: usize,
    /// Rows to merge.
    pub n_rows: usize,
    /// Shapes: \[rows, N_SLOTS + J\].
    pub y: &'a Tensor,
    /// Targets whose first column gets the id of the largest logit: tensor, rows, columns.
    pub best: Option<(&'a Tensor, usize, usize)>,
    /// The lanes' lists, and the (logit, id) pairs that are made of them, best first. Shapes: \[rows, LANES, K\],
    /// \[rows, K\].
    pub top: Option<(Lists<'a>, &'a Tensor)>,
}

impl Kernels {
    /// Merges the lanes of each row into one state, and their lists into one.
    ///
    /// Errors: `bad-shape`.
    pub fn lens_merge(&self, rec: &mut Recorder<'_>, op: &LensMerge<'_>) -> Result<()> {
        let (n_rows, width) = (op.n_rows, N_SLOTS + op.n_targets);
        check_floats("lens_merge: state", op.state, &[n_rows, LANES, width])?;
        check_floats("lens_merge: y", op.y, &[n_rows, width])?;
        let (targets, n_best, best_stride) = op.best.unwrap_or((&self.no_other, 0, 1));
        check_floats("lens_merge: targets", targets, &[n_best, best_stride])?;
        if let Some((lists, top)) = op.top {
            check_floats("lens_merge: lists", lists.pairs, &[2, n_rows, LANES, lists.k])?;
            check_floats("lens_merge: top", top, &[2, n_rows, lists.k])?;
        }
        let params = Params {
            n_rows: dim(n_rows),
            n_targets: dim(op.n_targets),
            k: op.top.map_or(0, |(lists, _)| dim(lists.k)),
            n_best: dim(n_best),
            best_stride: dim(best_stride),
        };
        let lists = op.top.map_or(&self.no_input, |(lists, _)| lists.pairs);
        let top = op.top.map_or(&self.no_output, |(_, top)| top);
        let tensors = [op.state, lists, op.y, targets, top];
        rec.dispatch(&self.lens_merge, params, &tensors, [n_rows, 1, 1], 0.0);
        Ok(())
    }
}

/// A slab of rows.
fn on_cpu(work: &mut Work<'_>) {
    let p: Params = work.params();
    let slab = work.slab.clone();
    let (reads, mut writes) = work.operands();
    let (width, k) = (N_SLOTS + p.n_targets as usize, p.k as usize);
    for row in slab {
        let lanes: &[f32] = span(reads.get(0), row, 1, LANES * width);
        let merged = loupe_cpu::merge(lanes, width, N_SLOTS);
        span_mut(writes.get(0), row, 1, width).copy_from_slice(&merged);
        let best = merged.get(3).copied().unwrap_or(0.0);
        if row < p.n_best as usize
            && let Some(target) = writes.get::<u32>(1).get_mut(row * p.best_stride as usize)
        {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an id")]
            let id = best as u32;
            *target = id;
        }
        if k > 0 {
            let lists: &[loupe_cpu::Best] = span(reads.get(1), row, 1, LANES * k);
            loupe_cpu::merge_lists(lists, k, span_mut(writes.get(2), row, 1, k));
        }
    }
}

/// Numbers of one kind stand in one column; a list has a logit and an id.
fn columns(params: &[u8], operand: usize) -> usize {
    let p = params.get(..size_of::<Params>()).map(bytemuck::pod_read_unaligned::<Params>);
    if operand == TOP { 2 } else { N_SLOTS + p.map_or(0, |p| p.n_targets as usize) }
}
