//! shaders/slope.wgsl

use bytemuck::{Pod, Zeroable};

use crate::device::{Recorder, Source, Tensor, Work};
use crate::error::Result;

use super::{Kernels, LANES, N_SLOTS, Rows, bad_shape, check_floats, dim, source, span, span_mut};

pub(super) static SOURCE: Source =
    source!("slope" + "lens", [64, 1, 1], [Read, Read, ReadWrite], LANES, N_SLOTS; 0, on_cpu);

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    n_columns: u32,
    stride: u32,
    column: u32,
    width: u32,
    n_rows4: u32,
}

/// Operands of [`Kernels::slope`].
pub struct Slope<'a> {
    /// Logits of the rows p, then of the rows q. Shapes: \[2·rows, stride\] f32.
    pub logits: &'a Tensor,
    /// Floats in a row of `logits`.
    pub stride: usize,
    /// First column of the chunk in a row of `logits`.
    pub column: usize,
    /// Columns of the chunk.
    pub n_columns: usize,
    /// Pairs of rows.
    pub n_rows: usize,
    /// Merged sums of all rows. Shapes: \[2·rows, N_SLOTS\].
    pub states: &'a Tensor,
    /// q − p, a token a row; what is beyond `n_rows` becomes 0. Shapes: \[columns, rows4\].
    pub y: Rows<'a>,
}

impl Kernels {
    /// The derivative of KL(p ‖ q) by the logits of q.
    ///
    /// Errors: `bad-shape`.
    pub fn slope(&self, rec: &mut Recorder<'_>, op: &Slope<'_>) -> Result<()> {
        check_floats("slope: logits", op.logits, &[2, op.n_rows, op.stride])?;
        check_floats("slope: states", op.states, &[2, op.n_rows, N_SLOTS])?;
        op.y.check("slope: y", op.n_columns, op.y.width4)?;
        let end = op.column + op.n_columns;
        if end > op.stride || op.n_rows > 4 * op.y.width4 || op.y.first > 0 {
            let got = [end, op.n_rows, op.y.first];
            return Err(bad_shape("slope: columns, rows", &[op.stride, 4 * op.y.width4, 0], &got));
        }
        let params = Params {
            n_rows: dim(op.n_rows),
            n_columns: dim(op.n_columns),
            stride: dim(op.stride),
            column: dim(op.column),
            width: dim(N_SLOTS),
            n_rows4: dim(op.y.width4),
        };
        let tensors = [op.logits, op.states, op.y.tensor];
        let flops = (12 * op.n_rows * op.n_columns) as f64;
        rec.dispatch(&self.slope, params, &tensors, [op.n_columns, op.y.width4, 1], flops);
        Ok(())
    }
}

/// A slab of tokens.
fn on_cpu(work: &mut Work<'_>) {
    let p: Params = work.params();
    let slab = work.slab.clone();
    let (reads, mut writes) = work.operands();
    let width = 4 * p.n_rows4 as usize;
    let y: &mut [f32] = span_mut(writes.get(0), slab.start, slab.len(), width);
    y.fill(0.0);
    for row in 0..p.n_rows as usize {
        let [p_row, q_row] = [row, p.n_rows as usize + row].map(|row| {
            let state: &[f32] = span(reads.get(1), row, 1, p.width as usize);
            let slot = |slot: usize| state.get(slot).copied().unwrap_or_default();
            let from = row * p.stride as usize + p.column as usize;
            let logits: &[f32] =
                reads.get(0).get(from + slab.start..from + slab.end).unwrap_or(&[]);
            (logits, slot(0), slot(1))
        });
        loupe_cpu::slope(p_row, q_row, row, width, y);
    }
}
