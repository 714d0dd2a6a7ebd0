//! shaders/gather_dot.wgsl

use bytemuck::{Pod, Zeroable};

use crate::error::Result;
use crate::gpu::{Recorder, Tensor};

use super::{Kernels, Rows, Shard, fits, groups};

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
    /// Logits of chosen tokens, one dispatch a shard; bits as [`Kernels::matmul`] gives them.
    ///
    /// Errors: `bad-shape`.
    pub fn gather_dot(&self, rec: &mut Recorder<'_>, op: &GatherDot<'_>) -> Result<()> {
        op.x.check("gather_dot", op.n_rows)?;
        fits("gather_dot", op.targets, 4 * op.period * op.n_targets)?;
        fits("gather_dot", op.y, 4 * op.n_rows * op.n_targets)?;
        for shard in op.unembed {
            let matrix = &shard.matrix;
            let params = Params {
                n_rows: op.n_rows as u32,
                n_targets: op.n_targets as u32,
                n_in4: op.x.width4 as u32,
                x_row: op.x.first as u32,
                period: op.period as u32,
                first_id: shard.first_id as u32,
                n_ids: matrix.n_out as u32,
                stride_in: matrix.stride_in(),
                stride_out: matrix.stride_out(),
                has_bias: shard.bias.is_some().into(),
            };
            let bias = shard.bias.as_ref().unwrap_or(&self.nothing);
            let tensors = [op.x.tensor, &matrix.tensor, bias, op.targets, op.y];
            let size = [groups(op.n_targets, 4), groups(op.n_rows, 16), 1];
            let flops = 2.0 * (op.n_rows * op.n_targets * matrix.n_in) as f64;
            rec.dispatch(&self.gather_dot, params, &tensors, size, flops);
        }
        Ok(())
    }
}
