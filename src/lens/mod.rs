//! The lens: what each tap predicts when only norm and unembedding follow it.
//!
//! Per block of positions: normalise every tap's rows, compute the logits of the final and the input row
//! (the references), then the targets' logits, then fold every row over the vocabulary.

mod comparison;
mod decoder;
mod extension;
mod fold;
mod kept;
mod moments;
mod options;
mod ranked;
mod rows;
mod summary;
mod trace;
mod workspace;

use crate::device::{Recorder, Tensor};
use crate::error::Result;
use crate::kernels::{N_SLOTS, Rows, Subtract};
use crate::model::{Model, Pass, Scratch, Stream};
use crate::reading::Reading;

use fold::{Fold, Group, Logits};

pub use comparison::{Comparison, Pairs, Scores, check_lists, compare};
pub use decoder::Decoder;
pub use extension::Extension;
pub use kept::Kept;
pub use moments::Moments;
pub use options::{MAX_TRACK, Norm, Options};
pub use ranked::{Ranked, RankedRow};
pub use rows::{BorrowedHalf, Depth, Row, RowSource, borrowed, completes, rows};
pub use trace::{Line, trace};
pub use workspace::{Workspace, block_positions};

/// Targets of every position before the tracked ones: the final top-1, the token at the position, the true
/// next token.
const N_FIXED: usize = 3;

/// The lens over one text.
pub struct Lens<'a> {
    /// Norm and unembedding.
    pub decoder: &'a Decoder<'a>,
    /// The residual stream of the text, at least up to the block that is read.
    pub stream: &'a Stream,
    /// The rows to read, by depth.
    pub rows: &'a [Row],
    /// The halves of blocks that belong to the decoder.
    pub extension: Option<&'a Extension>,
    /// Scratch tensors of those halves.
    pub scratch: &'a Scratch,
    /// The tensors of the lens.
    pub workspace: &'a Workspace,
    /// How to read.
    pub options: &'a Options,
    /// The whole text.
    pub ids: &'a [u32],
}

impl Lens<'_> {
    /// Reads the block of positions that begins at `start` and fills its columns of `reading`.
    ///
    /// Errors: `aborted`, `device-lost`, `gpu-refused`, `out-of-memory`.
    /// Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
    pub async fn read_block(
        &self,
        rec: &mut Recorder<'_>,
        start: usize,
        reading: &mut Reading,
    ) -> Result<()> {
        let Lens { decoder, stream, workspace, options, ids, .. } = *self;
        let model = decoder.model;
        let n = (ids.len() - start).min(workspace.n_positions);
        let n_taps = self.rows.len();

        let pass = Pass { model, scratch: self.scratch, start, n };
        for (tap, row) in self.rows.iter().enumerate() {
            let step = &workspace.step;
            let mut x = row_of_stream(rec, model, stream, row.source, start, n, step)?;
            if let Some(extension) = self.extension {
                x = extension.run(rec, &pass, tap, x)?;
                rec.yield_now().await?;
            }
            decoder.normalise(rec, x, workspace.rows(tap * n), n)?;
        }

        rec.device().write(&workspace.targets, 0, &targets(ids, start, n, &options.track));
        let (period, top_k) = (n, options.top_k);
        let fold = Fold { decoder, workspace, period, references: true, top_k };
        fold.prepare_references(rec, n_taps).await?;
        fold.target_logits(rec, n_taps * n)?;

        let final_row = (n_taps - 1) * n;
        let middle = (n..final_row).step_by(workspace.group_rows).map(|first_row| {
            let n_rows = workspace.group_rows.min(final_row - first_row);
            Group { first_row, n_rows, logits: Logits::Computed }
        });
        let kept = [(final_row, 0), (0, n)].map(|(first_row, row)| {
            let logits = Logits::Kept { row };
            Group { first_row, n_rows: n, logits }
        });
        for group in middle.chain(kept) {
            fold.fold(rec, &group).await?;
        }

        let n_targets = workspace.n_targets;
        let floats = |per_cell: usize| 4 * (n_taps * n * per_cell) as u64;
        let read = rec
            .read(&[
                (&workspace.merged, floats(N_SLOTS + n_targets)),
                (&workspace.target_logits, floats(n_targets)),
                (&workspace.top, floats(2 * top_k)),
            ])
            .await?;
        if let [merged, target_logits, top] = &read[..] {
            summary::fill(reading, merged, target_logits, top, start, n);
        }
        Ok(())
    }
}

/// `n` positions of a row; a difference of two taps is computed into `step`.
fn row_of_stream<'a>(
    rec: &mut Recorder<'_>,
    model: &Model,
    stream: &'a Stream,
    source: RowSource,
    start: usize,
    n: usize,
    step: &'a Tensor,
) -> Result<Rows<'a>> {
    let at = |tap: usize| Rows::new(&stream.taps[tap], start, model.config.n_embd);
    match source {
        RowSource::Tap(tap) => Ok(at(tap)),
        RowSource::Step(before, after) => {
            let y = Rows::new(step, 0, model.config.n_embd);
            let op = Subtract { a: at(after), b: at(before), n_rows: n, y };
            model.kernels.subtract(rec, &op)?;
            Ok(y)
        }
    }
}

/// Target ids by position; the device fills in the first column. Shapes: \[n, J\].
fn targets(ids: &[u32], start: usize, n: usize, track: &[u32]) -> Vec<u32> {
    (start..start + n)
        .flat_map(|t| {
            let next = ids.get(t + 1).copied().unwrap_or(u32::MAX);
            [u32::MAX, ids[t], next].into_iter().chain(track.iter().copied())
        })
        .collect()
}
