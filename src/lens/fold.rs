//! Rows over the vocabulary: logits chunk by chunk, folded into running sums and lists, merged.

use crate::device::{Recorder, Tensor};
use crate::error::Result;
use crate::kernels::{
    Chunk, Divergence, GatherDot, LensFold, LensMerge, Lists, N_SLOTS, References, Rows, Shard,
    Targets, TopKMerge,
};

use super::Decoder;
use super::workspace::{CHUNK, Workspace};

/// Where the logits of a group come from.
pub(super) enum Logits {
    /// They are computed chunk by chunk.
    Computed,
    /// They are the references' logits.
    Kept,
}

/// Rows that are folded over the vocabulary together.
pub(super) struct Group {
    /// Index of the first one among all rows of the block.
    pub(super) first_row: usize,
    pub(super) n_rows: usize,
    pub(super) logits: Logits,
}

/// Neighbouring tokens of one shard.
pub(super) struct Span<'a> {
    pub(super) shard: &'a Shard,
    /// First column within the shard; a multiple of four.
    pub(super) column: usize,
    pub(super) n_columns: usize,
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

/// The vocabulary in spans of at most [`CHUNK`] columns: the same ones for every row, always.
fn spans(unembed: &[Shard]) -> impl Iterator<Item = Span<'_>> {
    unembed.iter().flat_map(|shard| {
        let rows = shard.matrix.n_out;
        (0..rows).step_by(CHUNK).map(move |column| Span {
            shard,
            column,
            n_columns: CHUNK.min(rows - column),
        })
    })
}

/// How rows are folded over the vocabulary; everything but the rows themselves.
pub(super) struct Fold<'a> {
    pub(super) decoder: &'a Decoder<'a>,
    pub(super) workspace: &'a Workspace,
    /// Row r is at position r % period of the block.
    pub(super) period: usize,
    /// Whether rows are compared with the references in the workspace.
    pub(super) references: bool,
    /// K, 0 for no lists.
    pub(super) top_k: usize,
}

impl<'a> Fold<'a> {
    /// The logits of the targets of the first `n_rows` rows, by the same arithmetic as all others.
    pub(super) fn target_logits(&self, rec: &mut Recorder<'_>, n_rows: usize) -> Result<()> {
        let workspace = self.workspace;
        self.decoder.model.kernels.gather_dot(
            rec,
            &GatherDot {
                x: workspace.rows(0),
                unembed: self.decoder.unembed,
                targets: &workspace.targets,
                n_targets: workspace.n_targets,
                period: self.period,
                n_rows,
                y: &workspace.target_logits,
            },
        )
    }

    /// The final and the input rows of a block, which come first, over the whole vocabulary: logits kept, their sums merged,
    /// and the final top-1 written as the first target of its position.
    pub(super) async fn prepare_references(
        &self,
        rec: &mut Recorder<'_>,
        n_taps: usize,
    ) -> Result<()> {
        let (workspace, n) = (self.workspace, self.period);
        // A reading of one tap is its own reference.
        self.keep_logits(rec, [0, if n_taps > 1 { n } else { 0 }], None).await?;
        self.decoder.model.kernels.lens_merge(
            rec,
            &LensMerge {
                state: &workspace.state,
                n_targets: 0,
                n_rows: 2 * n,
                y: &workspace.reference_states,
                y_row: 0,
                best: Some((&workspace.targets, n, workspace.n_targets)),
            },
        )
    }

    /// Two runs of `period` rows over the whole vocabulary, folded without references: logits are kept, one run
    /// after the other.
    async fn keep_logits(
        &self,
        rec: &mut Recorder<'_>,
        first_rows: [usize; 2],
        targets: Option<Targets<'_>>,
    ) -> Result<()> {
        let (workspace, n) = (self.workspace, self.period);
        let kernels = &self.decoder.model.kernels;
        for span in spans(self.decoder.unembed) {
            let runs = match first_rows {
                [a, b] if b == a + n => vec![(a, 0, 2 * n)],
                [a, b] => vec![(a, 0, n), (b, n, n)],
            };
            for (first_row, to_row, n_rows) in runs {
                let y = Rows::new(&workspace.reference_logits, to_row, workspace.logit_columns);
                let x = workspace.rows(first_row);
                self.decoder.logits(rec, x, n_rows, &span, y, span.logit_column() / 4)?;
            }
            kernels.lens_fold(
                rec,
                &LensFold {
                    chunk: self.kept_chunk(&span, 2 * n),
                    references: None,
                    targets,
                    first_row: 0,
                    period: n,
                    state: &workspace.state,
                    lists: None,
                },
            )?;
            rec.yield_now().await?;
        }
        Ok(())
    }

    /// Divergences between the first `period` rows and the next ones, a lane each, with the targets' logits and
    /// the merged sums of all these rows, by one pass over the unembedding. Shapes: y \[period, LANES, 3\].
    pub(super) async fn diverge(&self, rec: &mut Recorder<'_>, y: &Tensor) -> Result<()> {
        let Fold { decoder, workspace, period, .. } = *self;
        let (kernels, n_targets) = (&decoder.model.kernels, workspace.n_targets);
        let has_targets = n_targets > 0;
        if has_targets {
            self.target_logits(rec, 2 * period)?;
        }
        self.keep_logits(rec, [0, period], has_targets.then(|| workspace.targets())).await?;
        kernels.lens_merge(
            rec,
            &LensMerge {
                state: &workspace.state,
                n_targets,
                n_rows: 2 * period,
                y: &workspace.merged,
                y_row: 0,
                best: None,
            },
        )?;
        for span in spans(decoder.unembed) {
            let op = Divergence {
                logits: &workspace.reference_logits,
                stride: workspace.logit_columns,
                column: span.logit_column(),
                n_columns: span.n_columns,
                n_rows: period,
                states: &workspace.merged,
                n_targets,
                is_first: span.first_id() == 0,
                y,
            };
            kernels.divergence(rec, &op)?;
        }
        rec.yield_now().await
    }

    /// Folds one group over the vocabulary and merges it into `merged` and `top` of the workspace.
    pub(super) async fn fold(&self, rec: &mut Recorder<'_>, group: &Group) -> Result<()> {
        let Fold { decoder, workspace, period, top_k, .. } = *self;
        let kernels = &decoder.model.kernels;
        for span in spans(decoder.unembed) {
            let chunk = match group.logits {
                Logits::Computed => self.computed_chunk(rec, &span, group)?,
                Logits::Kept => self.kept_chunk(&span, group.n_rows),
            };
            let references = self.references.then(|| References {
                logits: &workspace.reference_logits,
                stride: workspace.logit_columns,
                column: span.logit_column(),
                states: &workspace.reference_states,
            });
            kernels.lens_fold(
                rec,
                &LensFold {
                    chunk,
                    references,
                    targets: Some(workspace.targets()),
                    first_row: group.first_row,
                    period,
                    state: &workspace.state,
                    lists: (top_k > 0).then_some(Lists { pairs: &workspace.lists, k: top_k }),
                },
            )?;
            rec.yield_now().await?;
        }
        let (n_rows, y_row) = (group.n_rows, group.first_row);
        kernels.lens_merge(
            rec,
            &LensMerge {
                state: &workspace.state,
                n_targets: workspace.n_targets,
                n_rows,
                y: &workspace.merged,
                y_row,
                best: None,
            },
        )?;
        if top_k > 0 {
            let (lists, y) = (&workspace.lists, &workspace.top);
            kernels.top_k_merge(rec, &TopKMerge { lists, k: top_k, n_rows, y, y_row })?;
        }
        Ok(())
    }

    /// Merged sums and target logits of the first `n_rows` rows, read back, without references or lists.
    /// Shapes: \[n_rows, N_SLOTS + J\], \[n_rows, J\].
    ///
    /// Errors: `aborted`, `device-lost`, `gpu-refused`, `out-of-memory`.
    pub(super) async fn read_targets(
        &self,
        mut rec: Recorder<'_>,
        n_rows: usize,
    ) -> Result<[Vec<f32>; 2]> {
        let workspace = self.workspace;
        self.target_logits(&mut rec, n_rows)?;
        self.fold(&mut rec, &Group { first_row: 0, n_rows, logits: Logits::Computed }).await?;
        let bytes = |width: usize| 4 * (n_rows * width) as u64;
        let merged = (&workspace.merged, bytes(N_SLOTS + workspace.n_targets));
        let logits = (&workspace.target_logits, bytes(workspace.n_targets));
        let mut read = rec.read(&[merged, logits]).await?.into_iter();
        Ok(std::array::from_fn(|_| read.next().unwrap_or_default()))
    }

    fn computed_chunk(
        &self,
        rec: &mut Recorder<'_>,
        span: &Span<'_>,
        group: &Group,
    ) -> Result<Chunk<'a>> {
        let workspace = self.workspace;
        let y = Rows::new(&workspace.logits, 0, workspace.chunk);
        self.decoder.logits(rec, workspace.rows(group.first_row), group.n_rows, span, y, 0)?;
        Ok(Chunk {
            logits: &workspace.logits,
            row: 0,
            stride: workspace.chunk,
            column: 0,
            n_rows: group.n_rows,
            n_columns: span.n_columns,
            first_id: span.first_id(),
            is_first: span.first_id() == 0,
        })
    }

    fn kept_chunk(&self, span: &Span<'_>, n_rows: usize) -> Chunk<'a> {
        Chunk {
            logits: &self.workspace.reference_logits,
            row: 0,
            stride: self.workspace.logit_columns,
            column: span.logit_column(),
            n_rows,
            n_columns: span.n_columns,
            first_id: span.first_id(),
            is_first: span.first_id() == 0,
        }
    }
}
