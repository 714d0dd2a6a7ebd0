//! shaders/gram.wgsl

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::device::{Recorder, Source, Tensor, Work};
use crate::error::Result;

use super::{
    Kernels, Matrix, Precision, bad_shape, check_floats, column_bytes, dim, pad4, source, stored,
};

pub(super) static F32: Source = source!(
    "gram" + "weights_f32", [8, 8, 1], [Read, Read, ReadWrite]; 1, |work| on_cpu(work, Precision::F32), part: |work| part(work, Precision::F32)
);
pub(super) static F16: Source = source!(
    "gram" + "weights_f16", [8, 8, 1], [Read, Read, ReadWrite]; 1, |work| on_cpu(work, Precision::F16), part: |work| part(work, Precision::F16)
);

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
    /// Weight of each token. Shapes: \[rows4\].
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
        let n_groups = pad4(op.weight.n_out) / 4;
        check_floats("gram: y", op.y, &[c4, c4])?;
        check_floats("gram: counts", op.counts, &[4, op.groups.end])?;
        if op.groups.end > n_groups {
            return Err(bad_shape("gram: tokens", &[4 * n_groups], &[4 * op.groups.end]));
        }
        let params = Params {
            n_in4: dim(c4 / 4),
            first_group: dim(op.groups.start),
            n_groups: dim(op.groups.len()),
        };
        let invocations = [c4 / 4, c4 / 4, 1];
        // Half of the products: the matrix is symmetric.
        let flops = (c4 * c4 * 4 * op.groups.len()) as f64;
        rec.dispatch(&self.gram, params, &[op.counts, &op.weight.tensor, op.y], invocations, flops);
        Ok(())
    }
}

/// A slab of tiles of four channels, with every tile up to the diagonal.
fn on_cpu(work: &mut Work<'_>, precision: Precision) {
    let p: Params = work.params();
    let (slab, skipped) = (work.slab.clone(), work.skipped);
    let (reads, mut writes) = work.operands();
    let first = p.first_group as usize;
    let groups = first..first + p.n_groups as usize;
    let weights = stored(reads, 1, precision, skipped);
    loupe_cpu::gram(reads.get(0), weights, p.n_in4 as usize, groups, slab, writes.get(0));
}

/// The tokens that are summed over.
fn part(work: &Work<'_>, precision: Precision) -> Option<Range<u64>> {
    let p: Params = work.params();
    let first = p.first_group as usize;
    Some(column_bytes(4 * p.n_in4, first..first + p.n_groups as usize, precision))
}
