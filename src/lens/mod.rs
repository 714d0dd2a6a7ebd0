//! The lens: what each tap would say if the rest of the model were only norm and unembedding.
//!
//! Per block of positions: decode every tap's rows, make the final and the input row's logits
//! (the references), fetch the target tokens' logits, then stream every row over the vocabulary.

mod decoder;
mod extension;
mod fold;
mod options;
mod ranked;
mod room;
mod rows;
mod summary;
mod trace;

use crate::error::Result;
use crate::gpu::Recorder;
use crate::gpu::Tensor;
use crate::kernels::{GatherDot, N_SLOTS, Rows, Subtract, pad4};
use crate::model::{Model, Pass, Scratch, Stream};
use crate::reading::Reading;

use fold::{Group, Logits, OverVocabulary};

pub use extension::Extension;
pub use options::{MAX_TRACK, Norm, Options};
pub use ranked::{Found, Ranked};
pub use room::{Room, block_positions};
pub use rows::{Borrowed, Depth, From, Row, borrowed, completes, rows};
pub use trace::{Line, Traced, trace};

/// Targets that every position has before the tracked ones: the final top-1, the token that
/// stands there, the true next token.
const N_FIXED: usize = 3;

/// One text on its way through the lens.
pub struct Lens<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its residual stream over the text, at least up to the block that is read.
    pub stream: &'a Stream,
    /// The rows to read, by depth.
    pub rows: &'a [Row],
    /// Parts of the model that belong to the decoder.
    pub extension: Option<&'a Extension>,
    /// Room for those parts.
    pub scratch: &'a Scratch,
    /// Where the work is done.
    pub room: &'a Room,
    /// How to read.
    pub options: &'a Options,
    /// The whole text.
    pub ids: &'a [u32],
}

impl Lens<'_> {
    /// Reads the block of positions that begins at `start` and fills its columns of `reading`.
    ///
    /// Errors: `aborted`, `device-lost`.
    /// Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
    pub async fn read_block(
        &self,
        rec: &mut Recorder<'_>,
        start: usize,
        reading: &mut Reading,
    ) -> Result<()> {
        let Lens { model, stream, room, options, ids, .. } = *self;
        let n = (ids.len() - start).min(room.n_positions);
        let n_taps = self.rows.len();
        let gpu = rec.gpu();

        let pass = Pass { model, scratch: self.scratch, start, n };
        for (tap, row) in self.rows.iter().enumerate() {
            let mut x = row_of_stream(rec, model, stream, row.from, start, n, &room.step)?;
            if let Some(extension) = self.extension {
                x = extension.run(rec, &pass, tap, x)?;
                rec.breathe().await?;
            }
            decoder::decode(rec, model, options.norm, x, room.rows(tap * n), n)?;
        }

        gpu.write(&room.targets, 0, &targets(ids, start, n, &options.track));
        fold::references(rec, model, room, n, n_taps).await?;

        let n_targets = room.n_targets;
        model.kernels.gather_dot(
            rec,
            &GatherDot {
                x: room.rows(0),
                unembed: &model.weights.unembed,
                targets: &room.targets,
                n_targets,
                period: n,
                n_rows: n_taps * n,
                y: &room.target_logits,
            },
        )?;

        let final_row = (n_taps - 1) * n;
        let middle = (n..final_row).step_by(room.group_rows).map(|first_row| {
            let n_rows = room.group_rows.min(final_row - first_row);
            Group { first_row, n_rows, logits: Logits::Computed }
        });
        let kept = [(final_row, 0), (0, n)].map(|(first_row, row)| {
            let logits = Logits::Kept { row };
            Group { first_row, n_rows: n, logits }
        });
        let over =
            OverVocabulary { model, room, period: n, references: true, top_k: options.top_k };
        for group in middle.chain(kept) {
            over.fold(rec, &group).await?;
        }
        rec.submit()?;

        let floats = |per_cell: usize| 4 * (n_taps * n * per_cell) as u64;
        let parts = gpu
            .read(&[
                (&room.merged, floats(N_SLOTS + n_targets)),
                (&room.target_logits, floats(n_targets)),
                (&room.top, floats(2 * options.top_k)),
            ])
            .await?;
        summary::fill(reading, &parts[0], &parts[1], &parts[2], start, n);
        Ok(())
    }
}

/// `n` positions of a row as the stream has it; a difference of two taps is made in `step`.
fn row_of_stream<'a>(
    rec: &mut Recorder<'_>,
    model: &Model,
    stream: &'a Stream,
    from: From,
    start: usize,
    n: usize,
    step: &'a Tensor,
) -> Result<Rows<'a>> {
    let at = |tap: usize| Rows::new(&stream.taps[tap], start, model.config.n_embd);
    match from {
        From::Tap(tap) => Ok(at(tap)),
        From::Step(before, after) => {
            let y = Rows::new(step, 0, model.config.n_embd);
            let op = Subtract { a: at(after), b: at(before), n_rows: n, y };
            model.kernels.subtract(rec, &op)?;
            Ok(y)
        }
    }
}

/// Target ids by position; the first column is filled in on the device. Shapes: \[n, J\].
fn targets(ids: &[u32], start: usize, n: usize, track: &[u32]) -> Vec<u32> {
    (start..start + n)
        .flat_map(|t| {
            let next = ids.get(t + 1).copied().unwrap_or(u32::MAX);
            [u32::MAX, ids[t], next].into_iter().chain(track.iter().copied())
        })
        .collect()
}

/// Columns of all shards' logits side by side, each shard padded to four.
fn logit_columns(model: &Model) -> usize {
    let last = model.weights.unembed.last();
    last.map_or(0, |s| s.first_column + pad4(s.matrix.n_out))
}
