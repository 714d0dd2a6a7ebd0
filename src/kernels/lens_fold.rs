//! shaders/lens_fold.wgsl

use bytemuck::{Pod, Zeroable};

use crate::error::Result;
use crate::gpu::{Recorder, Tensor};

use super::{Kernels, N_SLOTS, PARTS, fits};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    n_columns: u32,
    first_id: u32,
    is_first: u32,
    logits_row: u32,
    logits_stride: u32,
    logits_column: u32,
    first_row: u32,
    period: u32,
    n_targets: u32,
    has_references: u32,
    reference_stride: u32,
    reference_column: u32,
}

/// A rectangle of logits: some rows, some columns of the vocabulary.
#[derive(Clone, Copy)]
pub struct Chunk<'a> {
    /// Shapes: \[rows, stride\] f32.
    pub logits: &'a Tensor,
    /// First row of it in `logits`.
    pub row: usize,
    /// Floats in a row of `logits`.
    pub stride: usize,
    /// First column of it in `logits`.
    pub column: usize,
    /// Rows.
    pub n_rows: usize,
    /// Columns, without padding.
    pub n_columns: usize,
    /// Token id of the first column.
    pub first_id: usize,
    /// Whether the running state starts with it.
    pub is_first: bool,
}

impl Chunk<'_> {
    pub(super) fn check(&self, kernel: &str) -> Result<()> {
        fits(kernel, self.logits, 4 * (self.row + self.n_rows) * self.stride)
    }
}

/// The final and the input rows of a block, which every row is compared with.
#[derive(Clone, Copy)]
pub struct References<'a> {
    /// Shapes: \[2·period, stride\] f32, final rows first.
    pub logits: &'a Tensor,
    /// Floats in a row.
    pub stride: usize,
    /// Column where the chunk's logits are.
    pub column: usize,
    /// Their merged states. Shapes: \[2·period, N_SLOTS\].
    pub states: &'a Tensor,
}

/// Operands of [`Kernels::lens_fold`].
pub struct LensFold<'a> {
    /// The logits to fold in.
    pub chunk: Chunk<'a>,
    /// What to compare with; `None` for the references themselves.
    pub references: Option<References<'a>>,
    /// Token ids to count above: ids and their logits. Shapes: \[period, J\] u32, \[all rows, J\] f32.
    pub targets: Option<(&'a Tensor, &'a Tensor)>,
    /// J, 0 without targets.
    pub n_targets: usize,
    /// Index of the chunk's first row among all rows of the block.
    pub first_row: usize,
    /// Positions in the block.
    pub period: usize,
    /// Shapes: \[rows, PARTS, N_SLOTS + J\].
    pub state: &'a Tensor,
}

impl Kernels {
    /// Folds one chunk into the running statistics of its rows.
    ///
    /// Errors: `bad-shape`.
    pub fn lens_fold(&self, rec: &mut Recorder<'_>, op: &LensFold<'_>) -> Result<()> {
        let chunk = &op.chunk;
        chunk.check("lens_fold")?;
        fits("lens_fold", op.state, 4 * chunk.n_rows * PARTS * (N_SLOTS + op.n_targets))?;
        let (targets, target_logits) = op.targets.unwrap_or((&self.nothing, &self.nothing));
        fits("lens_fold", targets, 4 * op.period * op.n_targets)?;
        fits("lens_fold", target_logits, 4 * (op.first_row + chunk.n_rows) * op.n_targets)?;
        if let Some(r) = &op.references {
            fits("lens_fold", r.logits, 8 * op.period * r.stride)?;
            fits("lens_fold", r.states, 8 * op.period * N_SLOTS)?;
        }
        let params = Params {
            n_rows: chunk.n_rows as u32,
            n_columns: chunk.n_columns as u32,
            first_id: chunk.first_id as u32,
            is_first: chunk.is_first.into(),
            logits_row: chunk.row as u32,
            logits_stride: chunk.stride as u32,
            logits_column: chunk.column as u32,
            first_row: op.first_row as u32,
            period: op.period as u32,
            n_targets: op.n_targets as u32,
            has_references: op.references.is_some().into(),
            reference_stride: op.references.map_or(0, |r| r.stride as u32),
            reference_column: op.references.map_or(0, |r| r.column as u32),
        };
        let tensors = [
            chunk.logits,
            op.references.map_or(&self.nothing, |r| r.logits),
            op.references.map_or(&self.nothing, |r| r.states),
            targets,
            target_logits,
            op.state,
        ];
        let flops = (chunk.n_rows * chunk.n_columns * (30 + 4 * op.n_targets)) as f64;
        rec.dispatch(&self.lens_fold, params, &tensors, [1, chunk.n_rows as u32, 1], flops);
        Ok(())
    }
}
