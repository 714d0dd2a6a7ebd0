//! shaders/embed.wgsl

use bytemuck::{Pod, Zeroable};

use crate::error::Result;
use crate::gpu::{Recorder, Source, Tensor};

use super::{Kernels, Rows, Shard, check_floats, dim, pad4, source};

pub(super) static F32: Source =
    source!("embed" + "weights_f32", [64, 1, 1], [Read, Read, Read, ReadWrite]);
pub(super) static F16: Source =
    source!("embed" + "weights_f16", [64, 1, 1], [Read, Read, Read, ReadWrite]);

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    n_in4: u32,
    first_position: u32,
    y_row: u32,
    first_id: u32,
    n_ids: u32,
    stride_in: u32,
    stride_out: u32,
    scale: f32,
}

/// Operands of [`Kernels::embed`].
pub struct Embed<'a> {
    /// Ids of the whole text. Shapes: \[T\] u32.
    pub ids: &'a Tensor,
    /// `wte`.
    pub wte: &'a [Shard],
    /// Shapes: \[n_ctx, C4\].
    pub wpe: &'a Tensor,
    /// Factor on `wte`.
    pub scale: f32,
    /// Position of the first row.
    pub first_position: usize,
    /// Rows to embed.
    pub n_rows: usize,
    /// Where they go.
    pub y: Rows<'a>,
}

impl Kernels {
    /// y\[t\] = scale · wte\[id(t)\] + wpe\[t\], one dispatch per shard.
    ///
    /// Errors: `bad-shape`.
    pub fn embed(&self, rec: &mut Recorder<'_>, op: &Embed<'_>) -> Result<()> {
        let end = op.first_position + op.n_rows;
        check_floats("embed: ids", op.ids, &[end])?;
        check_floats("embed: wpe", op.wpe, &[end, 4 * op.y.width4])?;
        for shard in op.wte {
            let matrix = &shard.matrix;
            op.y.check("embed: y", op.n_rows, pad4(matrix.n_in) / 4)?;
            let params = Params {
                n_rows: dim(op.n_rows),
                n_in4: dim(op.y.width4),
                first_position: dim(op.first_position),
                y_row: dim(op.y.first),
                first_id: dim(shard.first_id),
                n_ids: dim(matrix.n_out),
                stride_in: matrix.stride_in(),
                stride_out: matrix.stride_out(),
                scale: op.scale,
            };
            let invocations = [op.y.width4, op.n_rows, 1];
            let tensors = [op.ids, &matrix.tensor, op.wpe, op.y.tensor];
            rec.dispatch(&self.embed, params, &tensors, invocations, 0.0);
        }
        Ok(())
    }
}
