//! shaders/gather_dot.wgsl

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::device::{Recorder, Source, Tensor, Work};
use crate::error::Result;

use super::matmul::layout;
use super::{
    Kernels, Precision, Rows, Shard, check_floats, dim, pad4, source, span, stored, token_bytes,
};

pub(super) static F32: Source = source!("gather_dot" + "weights_f32", [4, 16, 1], [Read, Read, Read, Read, ReadWrite]; 1, |work| on_cpu(work, Precision::F32), part: |work| part(work, Precision::F32));
pub(super) static F16: Source = source!("gather_dot" + "weights_f16", [4, 16, 1], [Read, Read, Read, Read, ReadWrite]; 1, |work| on_cpu(work, Precision::F16), part: |work| part(work, Precision::F16));

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    n_targets: u32,
    n_in4: u32,
    x_row: u32,
    period: u32,
    first_id: u32,
    n_ids: u32,
    stride_in: u32,
    stride_out: u32,
    has_bias: u32,
}

/// Operands of [`Kernels::gather_dot`].
pub struct GatherDot<'a> {
    /// Decoded rows. Shapes: \[rows, C4\].
    pub x: Rows<'a>,
    /// The unembedding.
    pub unembed: &'a [Shard],
    /// Token ids, `u32::MAX` for none. Shapes: \[period, J\].
    pub targets: &'a Tensor,
    /// J.
    pub n_targets: usize,
    /// The targets of row r are those of r % period.
    pub period: usize,
    /// Rows.
    pub n_rows: usize,
    /// Shapes: \[rows, J\].
    pub y: &'a Tensor,
}

impl Kernels {
    /// Logits of chosen tokens, one dispatch per shard, with the same bits as from [`Kernels::matmul`].
    ///
    /// Errors: `bad-shape`.
    pub fn gather_dot(&self, rec: &mut Recorder<'_>, op: &GatherDot<'_>) -> Result<()> {
        check_floats("gather_dot: targets", op.targets, &[op.period, op.n_targets])?;
        check_floats("gather_dot: y", op.y, &[op.n_rows, op.n_targets])?;
        for shard in op.unembed {
            let matrix = &shard.matrix;
            op.x.check("gather_dot: x", op.n_rows, pad4(matrix.n_in) / 4)?;
            let params = Params {
                n_rows: dim(op.n_rows),
                n_targets: dim(op.n_targets),
                n_in4: dim(op.x.width4),
                x_row: dim(op.x.first),
                period: dim(op.period),
                first_id: dim(shard.first_id),
                n_ids: dim(matrix.n_out),
                stride_in: matrix.stride_in(),
                stride_out: matrix.stride_out(),
                has_bias: shard.bias.is_some().into(),
            };
            let bias = shard.bias.as_ref().unwrap_or(&self.no_input);
            let tensors = [op.x.tensor, &matrix.tensor, bias, op.targets, op.y];
            let invocations = [op.n_targets, op.n_rows, 1];
            let flops = 2.0 * (op.n_rows * op.n_targets * matrix.n_in) as f64;
            rec.dispatch(&self.gather_dot, params, &tensors, invocations, flops);
        }
        Ok(())
    }
}

/// A slab of rows.
fn on_cpu(work: &mut Work<'_>, precision: Precision) {
    let p: Params = work.params();
    let (slab, skipped) = (work.slab.clone(), work.skipped);
    let (reads, mut writes) = work.operands();
    let (weights, layout) =
        (stored(reads, 1, precision, skipped), layout(p.stride_in, p.stride_out));
    let n_targets = p.n_targets as usize;
    for row in slab {
        let x = span(reads.get(0), p.x_row as usize + row, 1, p.n_in4 as usize);
        let targets = span::<u32>(reads.get(3), row % p.period as usize, 1, n_targets);
        for (j, &id) in targets.iter().enumerate() {
            let Some(column) = id.checked_sub(p.first_id).filter(|&column| column < p.n_ids) else {
                continue;
            };
            let column = column as usize;
            let mut sum = loupe_cpu::matmul_element(x, weights, layout, column);
            if p.has_bias == 1 {
                sum += reads.get(2).get(column).copied().unwrap_or(0.0);
            }
            if let Some(y) = writes.get::<f32>(0).get_mut(row * n_targets + j) {
                *y = sum;
            }
        }
    }
}

/// The columns of a slab's targets.
fn part(work: &Work<'_>, precision: Precision) -> Option<Range<u64>> {
    let p: Params = work.params();
    let targets: &[u32] = work.read(3);
    let of_row = |row: usize| span(targets, row % p.period as usize, 1, p.n_targets as usize);
    let ids = work.slab.clone().flat_map(of_row).copied();
    (p.stride_in == 1).then(|| token_bytes(ids, [p.first_id, p.n_ids, p.stride_out], precision))
}
