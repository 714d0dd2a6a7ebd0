//! shaders/top_k_merge.wgsl

use bytemuck::{Pod, Zeroable};

use crate::device::{Recorder, Source, Tensor, Work};
use crate::error::Result;

use super::{Kernels, LANES, check_floats, dim, source, span, span_mut};

pub(super) static SOURCE: Source = source!("top_k_merge" + "lens", [32, 1, 1], [Read, ReadWrite], LANES; 0, on_cpu, columns: |_, _| 2);

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

/// A slab of rows.
fn on_cpu(work: &mut Work<'_>) {
    let p: Params = work.params();
    let slab = work.slab.clone();
    let (reads, mut writes) = work.operands();
    let k = p.k as usize;
    for row in slab {
        let lists: &[loupe_cpu::Best] = span(reads.get(0), row, 1, LANES * k);
        loupe_cpu::merge_lists(lists, k, span_mut(writes.get(0), p.y_row as usize + row, 1, k));
    }
}
