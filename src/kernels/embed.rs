//! shaders/embed.wgsl

use bytemuck::{Pod, Zeroable};

use crate::error::Result;
use crate::gpu::{Recorder, Tensor};

use super::{Kernels, Rows, Shard, fits, groups, pad4};

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
    /// y\[t\] = scale · wte\[id(t)\] + wpe\[t\], one dispatch a shard.
    ///
    /// Errors: `bad-shape`.
    pub fn embed(&self, rec: &mut Recorder<'_>, op: &Embed<'_>) -> Result<()> {
        let end = op.first_position + op.n_rows;
        fits("embed", op.ids, 4 * end)?;
        fits("embed", op.wpe, 16 * op.y.width4 * end)?;
        op.y.check("embed", op.n_rows)?;
        for shard in op.wte {
            let matrix = &shard.matrix;
            let params = Params {
                n_rows: op.n_rows as u32,
                n_in4: pad4(matrix.n_in) as u32 / 4,
                first_position: op.first_position as u32,
                y_row: op.y.first as u32,
                first_id: shard.first_id as u32,
                n_ids: matrix.n_out as u32,
                stride_in: matrix.stride_in(),
                stride_out: matrix.stride_out(),
                scale: op.scale,
            };
            let size = [groups(op.y.width4, 64), op.n_rows as u32, 1];
            let tensors = [op.ids, &matrix.tensor, op.wpe, op.y.tensor];
            rec.dispatch(&self.embed, params, &tensors, size, 0.0);
        }
        Ok(())
    }
}
