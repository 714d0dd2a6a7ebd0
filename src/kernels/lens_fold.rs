//! shaders/lens_fold.wgsl, which puts logits in their places by list_registers or list_memory

use bytemuck::{Pod, Zeroable};

use crate::device::{Recorder, Source, Tensor, Work};
use crate::error::{Error, Result};

use super::{
    CHUNK, Kernels, LANES, MAX_K, N_SLOTS, bad_shape, check_floats, dim, source, span, span_mut,
    wgsl,
};

pub(super) static SOURCE: Source = source!(
    "lens_fold" + "lens" + "list_registers",
    [64, 1, 1],
    [Read, Read, Read, Read, Read, ReadWrite, ReadWrite],
    LANES,
    N_SLOTS,
    CHUNK,
    MAX_K;
    1,
    on_cpu,
    digest: best_of_rows,
    columns: columns
);

/// With lists in memory.
pub(super) static IN_MEMORY: Source = Source {
    wgsl: &[wgsl!("lens_fold"), wgsl!("shared/lens"), wgsl!("shared/list_memory")],
    ..SOURCE
};

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    n_columns: u32,
    first_id: u32,
    is_first: u32,
    logits_stride: u32,
    logits_column: u32,
    first_row: u32,
    period: u32,
    n_targets: u32,
    has_references: u32,
    reference_stride: u32,
    reference_column: u32,
    k: u32,
}

/// The operand that holds the lists.
const LISTS: usize = 6;

/// A rectangle of logits: some rows, some columns of a shard of the vocabulary. All but the last rectangle of a shard have a
/// multiple of [`CHUNK`] columns, so that a row's sums are always taken in the same pieces.
#[derive(Clone, Copy)]
pub struct Chunk<'a> {
    /// Its rows. Shapes: \[rows, stride\] f32.
    pub logits: &'a Tensor,
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
        let last = self.n_rows.saturating_sub(1) * self.stride;
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

/// The largest logits of each row and lane.
#[derive(Clone, Copy)]
pub struct Lists<'a> {
    /// (logit, id) pairs, best first. Shapes: \[all rows, LANES, K\].
    pub pairs: &'a Tensor,
    /// K, at most [`MAX_K`].
    pub k: usize,
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
    /// Shapes: \[all rows, LANES, N_SLOTS + J\].
    pub state: &'a Tensor,
    /// `None` for none.
    pub lists: Option<Lists<'a>>,
}

impl Kernels {
    /// Folds one chunk into the running statistics and lists of its rows.
    ///
    /// Errors: `bad-option` for a K beyond [`MAX_K`], `bad-shape`.
    pub fn lens_fold(&self, rec: &mut Recorder<'_>, op: &LensFold<'_>) -> Result<()> {
        let chunk = &op.chunk;
        let n_targets = op.targets.map_or(0, |targets| targets.n);
        chunk.check("lens_fold: logits")?;
        let n_rows = op.first_row + chunk.n_rows;
        let state = [n_rows, LANES, N_SLOTS + n_targets];
        check_floats("lens_fold: state", op.state, &state)?;
        if let Some(lists) = &op.lists {
            if lists.k > MAX_K {
                return Err(Error::option("top_k", format!("at most {MAX_K}"), lists.k));
            }
            check_floats("lens_fold: lists", lists.pairs, &[2, n_rows, LANES, lists.k])?;
        }
        if let Some(targets) = &op.targets {
            check_floats("lens_fold: targets", targets.ids, &[op.period, targets.n])?;
            check_floats("lens_fold: target logits", targets.logits, &[n_rows, targets.n])?;
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
            logits_stride: dim(chunk.stride),
            logits_column: dim(chunk.column),
            first_row: dim(op.first_row),
            period: dim(op.period),
            n_targets: dim(n_targets),
            has_references: op.references.is_some().into(),
            reference_stride: op.references.map_or(0, |r| dim(r.stride)),
            reference_column: op.references.map_or(0, |r| dim(r.column)),
            k: op.lists.map_or(0, |lists| dim(lists.k)),
        };
        let tensors = [
            chunk.logits,
            op.references.map_or(&self.no_input, |r| r.logits),
            op.references.map_or(&self.no_input, |r| r.states),
            op.targets.map_or(&self.no_input, |t| t.ids),
            op.targets.map_or(&self.no_input, |t| t.logits),
            op.state,
            op.lists.map_or(&self.no_output, |lists| lists.pairs),
        ];
        let flops = (chunk.n_rows * chunk.n_columns * (32 + 4 * n_targets)) as f64;
        rec.dispatch(&self.choice.lens_fold(), params, &tensors, [LANES, chunk.n_rows, 1], flops);
        Ok(())
    }
}

/// A slab of rows.
fn on_cpu(work: &mut Work<'_>) {
    let all: Params = work.params();
    for from in (0..all.n_columns).step_by(CHUNK) {
        let chunk = Params {
            n_columns: dim(CHUNK).min(all.n_columns - from),
            first_id: all.first_id + from,
            is_first: u32::from(all.is_first == 1 && from == 0),
            logits_column: all.logits_column + from,
            reference_column: all.reference_column + from,
            ..all
        };
        fold_chunk(work, chunk);
    }
}

fn fold_chunk(work: &mut Work<'_>, p: Params) {
    let slab = work.slab.clone();
    let (reads, mut writes) = work.operands();
    let [n_columns, n_targets, period] = [p.n_columns, p.n_targets, p.period].map(|n| n as usize);
    let width = N_SLOTS + n_targets;
    let first_row = p.first_row as usize;
    let mut probabilities = [vec![0.0; n_columns], vec![0.0; n_columns]];
    // Rows at one position have references in common.
    for first in slab.clone().take(period) {
        let position = (first_row + first) % period;
        let reference_rows = [position, period + position];
        let reference_logits = reference_rows.map(|row| {
            let from = row * p.reference_stride as usize + p.reference_column as usize;
            reads.get(1).get(from..from + n_columns).unwrap_or(&[])
        });
        let state = |slot: usize| {
            reference_rows.map(|row| {
                span::<f32>(reads.get(2), row, 1, N_SLOTS).get(slot).copied().unwrap_or(0.0)
            })
        };
        let references = (p.has_references == 1).then(|| {
            let (centre, mass) = (state(0), state(1));
            for (r, of_row) in probabilities.iter_mut().enumerate() {
                loupe_cpu::probabilities(reference_logits[r], centre[r], mass[r], of_row);
            }
            loupe_cpu::References {
                logits: reference_logits,
                centre,
                p: [&probabilities[0], &probabilities[1]],
            }
        });
        let targets = span::<u32>(reads.get(3), position, 1, n_targets);
        for row in (first..slab.end).step_by(period) {
            let from = row * p.logits_stride as usize + p.logits_column as usize;
            let logits: &[f32] = reads.get(0).get(from..from + n_columns).unwrap_or(&[]);
            let states: &mut [f32] = span_mut(writes.get(0), first_row + row, 1, LANES * width);
            let mut lanes = [loupe_cpu::Fold::EMPTY; LANES];
            if p.is_first == 0 {
                for (lane, state) in lanes.iter_mut().zip(states.chunks_exact(width)) {
                    *lane = read_lane(state);
                }
            }
            loupe_cpu::fold(logits, p.first_id, references, &mut lanes);
            for (lane, state) in lanes.iter().zip(states.chunks_exact_mut(width)) {
                write_lane(lane, state);
            }
            let target_logits = span::<f32>(reads.get(4), first_row + row, 1, n_targets);
            for (j, (&target, &z)) in targets.iter().zip(target_logits).enumerate() {
                let mut above = [0.0; LANES];
                loupe_cpu::count_above(logits, p.first_id, target, z, &mut above);
                for (above, state) in above.iter().zip(states.chunks_exact_mut(width)) {
                    let Some(slot) = state.get_mut(N_SLOTS + j) else { continue };
                    *slot = above + if p.is_first == 1 { 0.0 } else { *slot };
                }
            }
            let k = p.k as usize;
            let lists: &mut [loupe_cpu::Best] =
                span_mut(writes.get(1), first_row + row, 1, LANES * k);
            if p.is_first == 1 {
                lists.fill(loupe_cpu::NO_BEST);
            }
            loupe_cpu::top_k(logits, p.first_id, k, lists);
        }
    }
}

/// The slots of a state: see shaders/shared/lens.wgsl.
fn read_lane(state: &[f32]) -> loupe_cpu::Fold {
    let Some(&[m, mass, moment, best, a0, a1, b0, b1, p0, p1, bad]) = state.first_chunk() else {
        return loupe_cpu::Fold::EMPTY;
    };
    let (a, b, p) = ([a0, a1], [b0, b1], [p0, p1]);
    loupe_cpu::Fold { m, mass, moment, best, a, b, p, bad }
}

fn write_lane(lane: &loupe_cpu::Fold, state: &mut [f32]) {
    let loupe_cpu::Fold { m, mass, moment, best, a, b, p, bad } = *lane;
    if let Some(slots) = state.first_chunk_mut() {
        *slots = [m, mass, moment, best, a[0], a[1], b[0], b[1], p[0], p[1], bad];
    }
}

/// Numbers of one kind stand in one column; a list has a logit and an id.
fn columns(params: &[u8], operand: usize) -> usize {
    if operand == LISTS { 2 } else { N_SLOTS + params_of(params).n_targets as usize }
}

/// Of the lists, the K largest of each row: the lanes' lists of a CPU leave out what is not among them.
fn best_of_rows(params: &[u8], operand: usize, lists: &[f32]) -> Option<Vec<f32>> {
    if operand != LISTS {
        return None;
    }
    let p = params_of(params);
    let k = p.k as usize;
    let lists: &[loupe_cpu::Best] = bytemuck::cast_slice(lists);
    let rows = lists.chunks_exact((LANES * k).max(1)).skip(p.first_row as usize).take(if k > 0 {
        p.n_rows as usize
    } else {
        0
    });
    let best_of = |row: &[loupe_cpu::Best]| {
        let mut best = vec![loupe_cpu::NO_BEST; k];
        loupe_cpu::merge_lists(row, k, &mut best);
        best
    };
    Some(rows.flat_map(best_of).flatten().collect())
}

fn params_of(bytes: &[u8]) -> Params {
    let p = bytes.get(..size_of::<Params>()).map(bytemuck::pod_read_unaligned);
    p.unwrap_or(Params::zeroed())
}
