//! Rows over the vocabulary: logits chunk by chunk, folded into running sums and lists, merged.

use crate::error::Result;
use crate::gpu::Recorder;
use crate::kernels::{
    Chunk, GatherDot, LensFold, LensMerge, Matmul, N_SLOTS, References, Rows, Shard, TopK,
    TopKMerge,
};
use crate::model::Model;

use super::room::{CHUNK, Room};

/// Where a group's logits come from.
pub(super) enum Logits {
    /// They are computed chunk by chunk.
    Computed,
    /// They are among the references', from that row on.
    Kept {
        /// First row there.
        row: usize,
    },
}

/// Rows that go over the vocabulary together.
pub(super) struct Group {
    /// First of them among all rows of the block.
    pub(super) first_row: usize,
    pub(super) n_rows: usize,
    pub(super) logits: Logits,
}

/// A stretch of the vocabulary inside one shard.
struct Span<'a> {
    shard: &'a Shard,
    /// First column within the shard; a multiple of four.
    column: usize,
    n_columns: usize,
}

impl Span<'_> {
    fn first_id(&self) -> usize {
        self.shard.first_id + self.column
    }

    /// Its first column in a row of all shards' logits.
    fn logit_column(&self) -> usize {
        self.shard.first_column + self.column
    }
}

/// The vocabulary in stretches of at most [`CHUNK`] columns: the same ones for every row, always.
fn spans(model: &Model) -> impl Iterator<Item = Span<'_>> {
    model.weights.unembed.iter().flat_map(|shard| {
        let rows = shard.matrix.n_out;
        (0..rows).step_by(CHUNK).map(move |column| Span {
            shard,
            column,
            n_columns: CHUNK.min(rows - column),
        })
    })
}

/// Merged sums and target logits of the first `n` decoded rows of a room, read back; the targets of
/// row r are those of r % period. Shapes: \[n, N_SLOTS + J\], \[n, J\].
///
/// Errors: `aborted`, `device-lost`, `out-of-memory`.
pub(super) async fn targets_of_rows(
    mut rec: Recorder<'_>,
    model: &Model,
    room: &Room,
    n: usize,
    period: usize,
) -> Result<[Vec<f32>; 2]> {
    let j = room.n_targets;
    model.kernels.gather_dot(
        &mut rec,
        &GatherDot {
            x: room.rows(0),
            unembed: &model.weights.unembed,
            targets: &room.targets,
            n_targets: j,
            period,
            n_rows: n,
            y: &room.target_logits,
        },
    )?;
    let group = Group { first_row: 0, n_rows: n, logits: Logits::Computed };
    let over = OverVocabulary { model, room, period, references: false, top_k: 0 };
    over.fold(&mut rec, &group).await?;
    rec.submit()?;
    let bytes = |width: usize| 4 * (n * width) as u64;
    let parts = [(&room.merged, bytes(N_SLOTS + j)), (&room.target_logits, bytes(j))];
    let mut parts = rec.gpu().read(&parts).await?.into_iter();
    Ok(std::array::from_fn(|_| parts.next().unwrap_or_default()))
}

/// The final and the input rows of a block of `n` positions over the whole vocabulary: logits kept,
/// their sums merged, and the final top-1 written as the first target of its position.
pub(super) async fn references(
    rec: &mut Recorder<'_>,
    model: &Model,
    room: &Room,
    n: usize,
    n_taps: usize,
) -> Result<()> {
    for span in spans(model) {
        for (first_row, to_row) in [((n_taps - 1) * n, 0), (0, n)] {
            let y = Rows::new(&room.reference_logits, to_row, room.logit_columns);
            unembed(rec, model, room.rows(first_row), n, &span, y, span.logit_column() / 4)?;
        }
        model.kernels.lens_fold(
            rec,
            &LensFold {
                chunk: kept_chunk(room, &span, 0, 2 * n),
                references: None,
                targets: None,
                n_targets: 0,
                first_row: 0,
                period: n,
                state: &room.state,
            },
        )?;
        rec.breathe().await?;
    }
    model.kernels.lens_merge(
        rec,
        &LensMerge {
            state: &room.state,
            n_targets: 0,
            n_rows: 2 * n,
            y: &room.reference_states,
            y_row: 0,
            best: Some((&room.targets, n, room.n_targets)),
        },
    )
}

/// Logits of some rows over a stretch of the vocabulary.
fn unembed(
    rec: &mut Recorder<'_>,
    model: &Model,
    x: Rows<'_>,
    n_rows: usize,
    span: &Span<'_>,
    y: Rows<'_>,
    y_column4: usize,
) -> Result<()> {
    let first4 = span.column / 4;
    model.kernels.matmul(
        rec,
        &Matmul {
            x,
            weight: &span.shard.matrix,
            columns4: Some(first4..first4 + span.n_columns.div_ceil(4)),
            bias: span.shard.bias.as_ref(),
            activation: None,
            residual: None,
            n_rows,
            y,
            y_column4,
        },
    )
}

/// How rows go over the vocabulary; everything but the rows themselves.
pub(super) struct OverVocabulary<'a> {
    pub(super) model: &'a Model,
    pub(super) room: &'a Room,
    /// Row r stands at position r % period of the block.
    pub(super) period: usize,
    /// Whether rows are compared with the references in the room.
    pub(super) references: bool,
    /// K, 0 for no lists.
    pub(super) top_k: usize,
}

impl OverVocabulary<'_> {
    /// Streams one group over the vocabulary and merges it into `room.merged` and `room.top`.
    pub(super) async fn fold(&self, rec: &mut Recorder<'_>, group: &Group) -> Result<()> {
        let OverVocabulary { model, room, period, top_k, .. } = *self;
        let kernels = &model.kernels;
        for span in spans(model) {
            let chunk = match group.logits {
                Logits::Computed => computed_chunk(rec, model, room, &span, group)?,
                Logits::Kept { row } => kept_chunk(room, &span, row, group.n_rows),
            };
            let references = self.references.then(|| References {
                logits: &room.reference_logits,
                stride: room.logit_columns,
                column: span.logit_column(),
                states: &room.reference_states,
            });
            kernels.lens_fold(
                rec,
                &LensFold {
                    chunk,
                    references,
                    targets: Some((&room.targets, &room.target_logits)),
                    n_targets: room.n_targets,
                    first_row: group.first_row,
                    period,
                    state: &room.state,
                },
            )?;
            if top_k > 0 {
                kernels.top_k(rec, &TopK { chunk, k: top_k, lists: &room.lists })?;
            }
            rec.breathe().await?;
        }
        let (n_rows, y_row) = (group.n_rows, group.first_row);
        kernels.lens_merge(
            rec,
            &LensMerge {
                state: &room.state,
                n_targets: room.n_targets,
                n_rows,
                y: &room.merged,
                y_row,
                best: None,
            },
        )?;
        if top_k > 0 {
            let merge = TopKMerge { lists: &room.lists, k: top_k, n_rows, y: &room.top, y_row };
            kernels.top_k_merge(rec, &merge)?;
        }
        Ok(())
    }
}

fn computed_chunk<'a>(
    rec: &mut Recorder<'_>,
    model: &Model,
    room: &'a Room,
    span: &Span<'_>,
    group: &Group,
) -> Result<Chunk<'a>> {
    let y = Rows::new(&room.logits, 0, room.chunk);
    unembed(rec, model, room.rows(group.first_row), group.n_rows, span, y, 0)?;
    Ok(Chunk {
        logits: &room.logits,
        row: 0,
        stride: room.chunk,
        column: 0,
        n_rows: group.n_rows,
        n_columns: span.n_columns,
        first_id: span.first_id(),
        is_first: span.first_id() == 0,
    })
}

fn kept_chunk<'a>(room: &'a Room, span: &Span<'_>, row: usize, n_rows: usize) -> Chunk<'a> {
    Chunk {
        logits: &room.reference_logits,
        row,
        stride: room.logit_columns,
        column: span.logit_column(),
        n_rows,
        n_columns: span.n_columns,
        first_id: span.first_id(),
        is_first: span.first_id() == 0,
    }
}
