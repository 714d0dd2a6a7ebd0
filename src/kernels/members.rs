//! shaders/members.wgsl

use bytemuck::{Pod, Zeroable};
use loupe_cpu::MembersChunk;

use crate::device::{Recorder, Source, Tensor, Work};
use crate::error::Result;

use super::{Kernels, LANES, bad_shape, check_floats, dim, source, span_mut};

/// Slots of a lane: largest logit and sum of the members, the same of all others, the best member, the tokens before it.
pub const MEMBER_SLOTS: usize = loupe_cpu::MEMBER_SLOTS;

pub(super) static SOURCE: Source = source!("members" + "lens", [64, 1, 1], [Read, Read, ReadWrite], LANES, MEMBER_SLOTS; 1, on_cpu, columns: |_, _| MEMBER_SLOTS);

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    n_columns: u32,
    is_first: u32,
    stride: u32,
    column: u32,
    first_id: u32,
    counts: u32,
}

/// Operands of [`Kernels::members`].
#[derive(Clone, Copy)]
pub struct Members<'a> {
    /// Shapes: \[rows, stride\] f32.
    pub logits: &'a Tensor,
    /// Floats in a row of `logits`.
    pub stride: usize,
    /// First column of the chunk in a row of `logits`.
    pub column: usize,
    /// Columns of the chunk, without padding.
    pub n_columns: usize,
    /// The token of its first column.
    pub first_id: usize,
    /// How many rows.
    pub n_rows: usize,
    /// Bits by token. Shapes: \[V / 32\] u32.
    pub members: &'a Tensor,
    /// Whether the tokens before the best member are counted, once the sums of the whole row are there.
    pub counts: bool,
    /// Whether the sums, or the counts, start with this chunk.
    pub is_first: bool,
    /// Shapes: \[rows, LANES, MEMBER_SLOTS\].
    pub y: &'a Tensor,
}

impl Kernels {
    /// Folds one chunk into the sums of a set of tokens, or counts what comes before its best member.
    ///
    /// Errors: `bad-shape`.
    pub fn members(&self, rec: &mut Recorder<'_>, op: &Members<'_>) -> Result<()> {
        check_floats("members: logits", op.logits, &[op.n_rows, op.stride])?;
        check_floats("members: y", op.y, &[op.n_rows, LANES, MEMBER_SLOTS])?;
        let n_ids = op.first_id + op.n_columns;
        check_floats("members: members", op.members, &[n_ids.div_ceil(32)])?;
        let end = op.column + op.n_columns;
        if end > op.stride {
            return Err(bad_shape("members: logits", &[op.stride], &[end]));
        }
        let params = Params {
            n_rows: dim(op.n_rows),
            n_columns: dim(op.n_columns),
            is_first: op.is_first.into(),
            stride: dim(op.stride),
            column: dim(op.column),
            first_id: dim(op.first_id),
            counts: op.counts.into(),
        };
        let tensors = [op.logits, op.members, op.y];
        let flops = (20 * op.n_rows * op.n_columns) as f64;
        rec.dispatch(&self.members, params, &tensors, [LANES, op.n_rows, 1], flops);
        Ok(())
    }
}

/// A slab of rows.
fn on_cpu(work: &mut Work<'_>) {
    let p: Params = work.params();
    let slab = work.slab.clone();
    let (reads, mut writes) = work.operands();
    for row in slab {
        let from = row * p.stride as usize + p.column as usize;
        let chunk = MembersChunk {
            logits: reads.get(0).get(from..from + p.n_columns as usize).unwrap_or(&[]),
            members: reads.get(1),
            first_id: p.first_id as usize,
            is_first: p.is_first == 1,
        };
        let sums: &mut [f32] = span_mut(writes.get(0), row, 1, LANES * MEMBER_SLOTS);
        match p.counts {
            1 => loupe_cpu::members_before(&chunk, sums),
            _ => loupe_cpu::members(&chunk, sums),
        }
    }
}
