//! shaders/embed.wgsl

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::device::{Recorder, Source, Tensor, Work};
use crate::error::Result;

use super::matmul::layout;
use super::{
    Kernels, Precision, Rows, Shard, check_floats, dim, pad4, source, span, span_mut, stored,
    token_bytes,
};

pub(super) static F32: Source = source!("embed" + "weights_f32", [64, 1, 1], [Read, Read, Read, Read, ReadWrite]; 1, |work| on_cpu(work, Precision::F32), part: |work| part(work, Precision::F32));
pub(super) static F16: Source = source!("embed" + "weights_f16", [64, 1, 1], [Read, Read, Read, Read, ReadWrite]; 1, |work| on_cpu(work, Precision::F16), part: |work| part(work, Precision::F16));

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
    has_factors: u32,
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
    /// Factors on the channels of `wte`, if it is edited. Shapes: \[C4\].
    pub factors: Option<&'a Tensor>,
    /// Position of the first row.
    pub first_position: usize,
    /// Rows to embed.
    pub n_rows: usize,
    /// Where they go.
    pub y: Rows<'a>,
}

impl Kernels {
    /// y\[t\] = scale · factors ∘ wte\[id(t)\] + wpe\[t\], one dispatch per shard.
    ///
    /// Errors: `bad-shape`.
    pub fn embed(&self, rec: &mut Recorder<'_>, op: &Embed<'_>) -> Result<()> {
        let end = op.first_position + op.n_rows;
        check_floats("embed: ids", op.ids, &[end])?;
        check_floats("embed: wpe", op.wpe, &[end, 4 * op.y.width4])?;
        let factors = op.factors.unwrap_or(&self.no_input);
        if op.factors.is_some() {
            check_floats("embed: factors", factors, &[4 * op.y.width4])?;
        }
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
                has_factors: op.factors.is_some().into(),
            };
            let invocations = [op.y.width4, op.n_rows, 1];
            let tensors = [op.ids, &matrix.tensor, op.wpe, factors, op.y.tensor];
            rec.dispatch(&self.embed, params, &tensors, invocations, 0.0);
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
    let width = p.n_in4 as usize;
    for row in slab {
        let position = p.first_position as usize + row;
        let Some(&id) = reads.get::<u32>(0).get(position) else { continue };
        let Some(column) = id.checked_sub(p.first_id).filter(|&column| column < p.n_ids) else {
            continue;
        };
        let mut token = weights.column(layout, column as usize, width);
        if p.has_factors == 1 {
            loupe_cpu::multiply(reads.get(3), &mut token);
        }
        let wpe = span(reads.get(2), position, 1, width);
        let y = span_mut(writes.get(0), p.y_row as usize + row, 1, width);
        loupe_cpu::add_scaled(p.scale, &token, wpe, y);
    }
}

/// The rows of a slab's tokens.
fn part(work: &Work<'_>, precision: Precision) -> Option<Range<u64>> {
    let p: Params = work.params();
    let first = p.first_position as usize;
    let ids = work.read::<u32>(0).get(first + work.slab.start..first + work.slab.end)?;
    (p.stride_in == 1)
        .then(|| token_bytes(ids.iter().copied(), [p.first_id, p.n_ids, p.stride_out], precision))
}
