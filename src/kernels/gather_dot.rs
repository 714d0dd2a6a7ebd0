//! shaders/gather_dot.wgsl

use bytemuck::{Pod, Zeroable};

use crate::error::Result;
use crate::gpu::{Recorder, Source, Tensor};

use super::{Kernels, Rows, Shard, check_floats, dim, pad4, source};

pub(super) static F32: Source =
    source!("gather_dot" + "weights_f32", [4, 16, 1], [Read, Read, Read, Read, ReadWrite]);
pub(super) static F16: Source =
    source!("gather_dot" + "weights_f16", [4, 16, 1], [Read, Read, Read, Read, ReadWrite]);

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
