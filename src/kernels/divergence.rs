//! shaders/divergence.wgsl

use bytemuck::{Pod, Zeroable};

use crate::device::{Recorder, Source, Tensor, Work};
use crate::error::Result;

use super::{Kernels, LANES, N_SLOTS, bad_shape, check_floats, dim, source, span, span_mut};

pub(super) static SOURCE: Source = source!("divergence" + "lens", [64, 1, 1], [Read, Read, ReadWrite], LANES, N_SLOTS; 1, on_cpu, columns: |_, _| 3);

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    n_columns: u32,
    is_first: u32,
    stride: u32,
    column: u32,
    width: u32,
}

/// Operands of [`Kernels::divergence`].
pub struct Divergence<'a> {
    /// Logits of the rows p, then of the rows q. Shapes: \[2·rows, stride\] f32.
    pub logits: &'a Tensor,
    /// Floats in a row of `logits`.
    pub stride: usize,
    /// First column of the chunk in a row of `logits`.
    pub column: usize,
    /// Columns of the chunk, without padding.
    pub n_columns: usize,
    /// Pairs of rows.
    pub n_rows: usize,
    /// Merged sums of all rows. Shapes: \[2·rows, N_SLOTS + J\].
    pub states: &'a Tensor,
    /// J.
    pub n_targets: usize,
    /// Whether the sums start with this chunk.
    pub is_first: bool,
    /// KL(p ‖ q), KL(q ‖ p) and the Jensen–Shannon divergence, a lane each. Shapes: \[rows, LANES, 3\].
    pub y: &'a Tensor,
}

impl Kernels {
    /// Folds one chunk into the divergences of pairs of rows.
    ///
    /// Errors: `bad-shape`.
    pub fn divergence(&self, rec: &mut Recorder<'_>, op: &Divergence<'_>) -> Result<()> {
        check_floats("divergence: logits", op.logits, &[2, op.n_rows, op.stride])?;
        let width = N_SLOTS + op.n_targets;
        check_floats("divergence: states", op.states, &[2, op.n_rows, width])?;
        check_floats("divergence: y", op.y, &[op.n_rows, LANES, 3])?;
        let end = op.column + op.n_columns;
        if end > op.stride {
            return Err(bad_shape("divergence: logits", &[op.stride], &[end]));
        }
        let params = Params {
            n_rows: dim(op.n_rows),
            n_columns: dim(op.n_columns),
            is_first: op.is_first.into(),
            stride: dim(op.stride),
            column: dim(op.column),
            width: dim(width),
        };
        let tensors = [op.logits, op.states, op.y];
        let flops = (60 * op.n_rows * op.n_columns) as f64;
        rec.dispatch(&self.divergence, params, &tensors, [LANES, op.n_rows, 1], flops);
        Ok(())
    }
}

/// A slab of pairs of rows.
fn on_cpu(work: &mut Work<'_>) {
    let p: Params = work.params();
    let slab = work.slab.clone();
    let (reads, mut writes) = work.operands();
    for row in slab {
        let rows = [row, p.n_rows as usize + row];
        let state = |slot: usize| {
            rows.map(|row| {
                span::<f32>(reads.get(1), row, 1, p.width as usize)
                    .get(slot)
                    .copied()
                    .unwrap_or(0.0)
            })
        };
        let logits = rows.map(|row| {
            let from = row * p.stride as usize + p.column as usize;
            reads.get(0).get(from..from + p.n_columns as usize).unwrap_or(&[])
        });
        let sums: &mut [f32] = span_mut(writes.get(0), row, 1, LANES * 3);
        if p.is_first == 1 {
            sums.fill(0.0);
        }
        loupe_cpu::divergence(logits, state(0), state(1), sums);
    }
}
