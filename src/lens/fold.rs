//! Rows over the vocabulary: logits chunk by chunk, folded into running sums and lists, merged.

use crate::device::{Recorder, Tensor};
use crate::error::Result;
use crate::kernels::{
    CHUNK, Chunk, Divergence, GatherDot, LensFold, LensMerge, Lists, Members, N_SLOTS, References,
    Rows, Shard,
};

use super::Decoder;
use super::workspace::Workspace;

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

/// Each shard as a whole.
fn shards(unembed: &[Shard]) -> impl Iterator<Item = Span<'_>> {
    unembed.iter().map(|shard| Span { shard, column: 0, n_columns: shard.matrix.n_out })
}

/// The vocabulary in spans of at most [`CHUNK`] columns, which are computed at a time.
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

/// What rows are compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Against {
    /// Only their own sums are wanted.
    Nothing,
    /// The workspace's targets.
    Targets,
    /// Targets and references, and the largest logits are listed.
    All,
}

/// How rows are folded over the vocabulary; everything but the rows themselves.
pub(super) struct Fold<'a> {
    pub(super) decoder: &'a Decoder<'a>,
    pub(super) workspace: &'a Workspace,
    /// Row r is at position r % period of the block.
    pub(super) period: usize,
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

    /// Keeps the logits of `n_rows` rows over the whole vocabulary, as the rows from `to_row` on.
    pub(super) async fn keep_logits(
        &self,
        rec: &mut Recorder<'_>,
        first_row: usize,
        to_row: usize,
        n_rows: usize,
    ) -> Result<()> {
        let workspace = self.workspace;
        for span in spans(self.decoder.unembed) {
            let y = Rows::new(&workspace.kept_logits, to_row, workspace.logit_columns);
            let (x, column4) = (workspace.rows(first_row), span.logit_column() / 4);
            self.decoder.logits(rec, x, n_rows, &span, y, column4)?;
            rec.yield_now().await?;
        }
        Ok(())
    }

    /// The final and the input rows of a block, whose logits are kept: their sums merged, and the final top-1 written as
    /// the first target of its position.
    pub(super) async fn references(&self, rec: &mut Recorder<'_>) -> Result<()> {
        let (workspace, n) = (self.workspace, self.period);
        self.fold_kept(rec, 2 * n, Against::Nothing).await?;
        self.decoder.model.kernels.lens_merge(
            rec,
            &LensMerge {
                state: &workspace.state,
                n_targets: 0,
                n_rows: 2 * n,
                y: &workspace.reference_states,
                best: Some((&workspace.targets, n, workspace.n_targets)),
                top: None,
            },
        )
    }

    /// Divergences between the first `period` rows and the next ones, a lane each, with the targets' logits and
    /// the merged sums of all these rows, by one pass over the unembedding. Shapes: y \[period, LANES, 3\].
    pub(super) async fn diverge(&self, rec: &mut Recorder<'_>, y: &Tensor) -> Result<()> {
        let Fold { decoder, workspace, period, .. } = *self;
        let n_targets = workspace.n_targets;
        if n_targets > 0 {
            self.target_logits(rec, 2 * period)?;
        }
        self.keep_logits(rec, 0, 0, 2 * period).await?;
        self.fold_kept(rec, 2 * period, Against::Targets).await?;
        self.merge(rec, 2 * period)?;
        for shard in shards(decoder.unembed) {
            let op = Divergence {
                logits: &workspace.kept_logits,
                stride: workspace.logit_columns,
                column: shard.logit_column(),
                n_columns: shard.n_columns,
                n_rows: period,
                states: &workspace.merged,
                n_targets,
                is_first: shard.first_id() == 0,
                y,
            };
            decoder.model.kernels.divergence(rec, &op)?;
        }
        rec.yield_now().await
    }

    /// The sums of a set of tokens over the first `period` rows, whose logits are kept, and the tokens before its best
    /// member. Shapes: members \[V / 32\] u32, y \[period, LANES, MEMBER_SLOTS\].
    pub(super) async fn sum_members(
        &self,
        rec: &mut Recorder<'_>,
        members: &Tensor,
        y: &Tensor,
    ) -> Result<()> {
        let Fold { decoder, workspace, period, .. } = *self;
        for counts in [false, true] {
            for shard in shards(decoder.unembed) {
                let op = Members {
                    logits: &workspace.kept_logits,
                    stride: workspace.logit_columns,
                    column: shard.logit_column(),
                    n_columns: shard.n_columns,
                    first_id: shard.first_id(),
                    n_rows: period,
                    members,
                    counts,
                    is_first: shard.first_id() == 0,
                    y,
                };
                decoder.model.kernels.members(rec, &op)?;
            }
            rec.yield_now().await?;
        }
        Ok(())
    }

    /// Folds the first `n_rows` rows, whose logits are kept.
    pub(super) async fn fold_kept(
        &self,
        rec: &mut Recorder<'_>,
        n_rows: usize,
        against: Against,
    ) -> Result<()> {
        let workspace = self.workspace;
        for shard in shards(self.decoder.unembed) {
            let chunk = Chunk {
                logits: &workspace.kept_logits,
                stride: workspace.logit_columns,
                column: shard.logit_column(),
                n_rows,
                n_columns: shard.n_columns,
                first_id: shard.first_id(),
                is_first: shard.first_id() == 0,
            };
            self.fold_chunk(rec, chunk, 0, &shard, against)?;
            rec.yield_now().await?;
        }
        Ok(())
    }

    /// Folds `n_rows` rows, whose logits are computed chunk by chunk.
    pub(super) async fn fold_computed(
        &self,
        rec: &mut Recorder<'_>,
        first_row: usize,
        n_rows: usize,
        against: Against,
    ) -> Result<()> {
        let workspace = self.workspace;
        for span in spans(self.decoder.unembed) {
            let y = Rows::new(&workspace.logits, 0, workspace.chunk);
            self.decoder.logits(rec, workspace.rows(first_row), n_rows, &span, y, 0)?;
            let chunk = Chunk {
                logits: &workspace.logits,
                stride: workspace.chunk,
                column: 0,
                n_rows,
                n_columns: span.n_columns,
                first_id: span.first_id(),
                is_first: span.first_id() == 0,
            };
            self.fold_chunk(rec, chunk, first_row, &span, against)?;
            rec.yield_now().await?;
        }
        Ok(())
    }

    fn fold_chunk(
        &self,
        rec: &mut Recorder<'_>,
        chunk: Chunk<'_>,
        first_row: usize,
        span: &Span<'_>,
        against: Against,
    ) -> Result<()> {
        let Fold { decoder, workspace, period, top_k, .. } = *self;
        let references = (against == Against::All).then(|| References {
            logits: &workspace.kept_logits,
            stride: workspace.logit_columns,
            column: span.logit_column(),
            states: &workspace.reference_states,
        });
        let has_targets = against != Against::Nothing && workspace.n_targets > 0;
        let op = LensFold {
            chunk,
            references,
            targets: has_targets.then(|| workspace.targets()),
            first_row,
            period,
            state: &workspace.state,
            lists: (references.is_some() && top_k > 0).then(|| self.lists()),
        };
        decoder.model.kernels.lens_fold(rec, &op)
    }

    /// Merges the first `n_rows` rows into `merged` and `top` of the workspace.
    pub(super) fn merge(&self, rec: &mut Recorder<'_>, n_rows: usize) -> Result<()> {
        let workspace = self.workspace;
        let op = LensMerge {
            state: &workspace.state,
            n_targets: workspace.n_targets,
            n_rows,
            y: &workspace.merged,
            best: None,
            top: (self.top_k > 0).then(|| (self.lists(), &workspace.top)),
        };
        self.decoder.model.kernels.lens_merge(rec, &op)
    }

    fn lists(&self) -> Lists<'a> {
        Lists { pairs: &self.workspace.lists, k: self.top_k }
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
        self.fold_computed(&mut rec, 0, n_rows, Against::Targets).await?;
        self.merge(&mut rec, n_rows)?;
        let bytes = |width: usize| 4 * (n_rows * width) as u64;
        let merged = (&workspace.merged, bytes(N_SLOTS + workspace.n_targets));
        let logits = (&workspace.target_logits, bytes(workspace.n_targets));
        let mut read = rec.read(&[merged, logits]).await?.into_iter();
        Ok(std::array::from_fn(|_| read.next().unwrap_or_default()))
    }
}
