//! shaders/lens_fold.wgsl

use bytemuck::{Pod, Zeroable};

use crate::error::Result;
use crate::gpu::{Recorder, Source, Tensor};

use super::{Kernels, LANES, N_SLOTS, bad_shape, check_floats, dim, source};

pub(super) static SOURCE: Source = source!(
    "lens_fold" + "lens",
    [64, 1, 1],
    [Read, Read, Read, Read, Read, ReadWrite],
    LANES,
    N_SLOTS
);

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
    /// Its first row in `logits`.
    pub row: usize,
    /// Floats in a row of `logits`.
    pub stride: usize,
    /// Its first column in `logits`.
    pub column: usize,
    /// Rows.
    pub n_rows: usize,
    /// Columns, without padding.
    pub n_columns: usize,
    /// Token id of the first column.
    pub first_id: usize,
    /// Whether the running state starts with this chunk.
    pub is_first: bool,
}

impl Chunk<'_> {
    /// Errors: `bad-shape`.
    pub(super) fn check(&self, name: &str) -> Result<()> {
        // The last row needs no floats behind the last column.
        let last = (self.row + self.n_rows).saturating_sub(1) * self.stride;
        check_floats(name, self.logits, &[last + self.column + self.n_columns])?;
        if self.n_rows > 1 && self.column + self.n_columns > self.stride {
            return Err(bad_shape(name, &[self.stride], &[self.column + self.n_columns]));
        }
        Ok(())
    }
}

/// The final and the input rows of a block, with which every row is compared.
#[derive(Clone, Copy)]
pub struct References<'a> {
    /// Shapes: \[2·period, stride\] f32, final rows first.
    pub logits: &'a Tensor,
    /// Floats in a row.
    pub stride: usize,
    /// Column of the chunk's first logit.
    pub column: usize,
    /// Their merged states. Shapes: \[2·period, N_SLOTS\].
    pub states: &'a Tensor,
}

/// Tokens whose ranks are counted.
#[derive(Clone, Copy)]
pub struct Targets<'a> {
    /// Token ids by position. Shapes: \[period, J\] u32.
    pub ids: &'a Tensor,
    /// Their logits by row. Shapes: \[all rows, J\].
    pub logits: &'a Tensor,
    /// J.
    pub n: usize,
}

/// Operands of [`Kernels::lens_fold`].
pub struct LensFold<'a> {
    /// The logits to fold in.
    pub chunk: Chunk<'a>,
    /// What to compare with; `None` for the references themselves.
    pub references: Option<References<'a>>,
    /// The tokens to count logits above; `None` for none.
    pub targets: Option<Targets<'a>>,
    /// Index of the chunk's first row among all rows of the block.
    pub first_row: usize,
    /// Positions in the block.
    pub period: usize,
    /// Shapes: \[rows, LANES, N_SLOTS + J\].
    pub state: &'a Tensor,
}

impl Kernels {
    /// Folds one chunk into the running statistics of its rows.
    ///
    /// Errors: `bad-shape`.
    pub fn lens_fold(&self, rec: &mut Recorder<'_>, op: &LensFold<'_>) -> Result<()> {
        let chunk = &op.chunk;
        let n_targets = op.targets.map_or(0, |targets| targets.n);
        chunk.check("lens_fold: logits")?;
        let state = [chunk.n_rows, LANES, N_SLOTS + n_targets];
        check_floats("lens_fold: state", op.state, &state)?;
        if let Some(targets) = &op.targets {
            check_floats("lens_fold: targets", targets.ids, &[op.period, targets.n])?;
            let rows = op.first_row + chunk.n_rows;
            check_floats("lens_fold: target logits", targets.logits, &[rows, targets.n])?;
        }
        if let Some(r) = &op.references {
            check_floats("lens_fold: reference logits", r.logits, &[2, op.period, r.stride])?;
            check_floats("lens_fold: references", r.states, &[2, op.period, N_SLOTS])?;
            let end = r.column + chunk.n_columns;
            if end > r.stride {
                return Err(bad_shape("lens_fold: reference logits", &[r.stride], &[end]));
            }
        }
        let params = Params {
            n_rows: dim(chunk.n_rows),
            n_columns: dim(chunk.n_columns),
            first_id: dim(chunk.first_id),
            is_first: chunk.is_first.into(),
            logits_row: dim(chunk.row),
            logits_stride: dim(chunk.stride),
            logits_column: dim(chunk.column),
            first_row: dim(op.first_row),
            period: dim(op.period),
            n_targets: dim(n_targets),
            has_references: op.references.is_some().into(),
            reference_stride: op.references.map_or(0, |r| dim(r.stride)),
            reference_column: op.references.map_or(0, |r| dim(r.column)),
        };
        let tensors = [
            chunk.logits,
            op.references.map_or(&self.no_input, |r| r.logits),
            op.references.map_or(&self.no_input, |r| r.states),
            op.targets.map_or(&self.no_input, |t| t.ids),
            op.targets.map_or(&self.no_input, |t| t.logits),
            op.state,
        ];
        let flops = (chunk.n_rows * chunk.n_columns * (30 + 4 * n_targets)) as f64;
        rec.dispatch(&self.lens_fold, params, &tensors, [LANES, chunk.n_rows, 1], flops);
        Ok(())
    }
}
