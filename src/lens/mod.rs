//! The lens: what each tap predicts when only norm and unembedding follow it.
//!
//! Per block of positions: normalise every tap's rows, compute the logits of the final and the input row
//! (the references), then the targets' logits, then fold every row over the vocabulary.

mod comparison;
mod decoder;
mod extension;
mod fold;
mod intake;
mod kept;
mod maps;
mod moments;
mod options;
mod ranked;
mod rows;
mod sets;
mod share;
mod slopes;
mod summary;
mod trace;
mod workspace;

use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;

use crate::device::{Cancel, Device, Recorder, Tensor};
use crate::error::Result;
use crate::kernels::{MAX_INPUTS, Rows, Subtract, pad4};
use crate::model::{Edits, Model, Pass, Scratch, Stream};
use crate::reading::Reading;

pub use comparison::{Comparison, Pairs, Scores, check_lists, compare};
pub use decoder::Decoder;
pub use extension::Extension;
pub use intake::{Intake, Kind, LensFile, METADATA as LENS_METADATA};
pub use kept::Kept;
pub use maps::{Map, Maps};
pub use moments::Moments;
pub use options::{MAX_TRACK, Norm, Options};
pub use ranked::{Ranked, RankedRow, descending};
pub use rows::{BorrowedHalf, Depth, Row, RowSource, borrowed, completes, rows};
pub use sets::{SetScores, sum_sets};
use share::Folding;
pub use share::{Folded, Helper, Helpers, Share, fold_share};
pub use slopes::Slopes;
pub use trace::{Line, trace};
pub use workspace::{BLOCK, Workspace, block_positions};

/// Targets of every position before the tracked ones: the final top-1, the token at the position, the true
/// next token.
const N_FIXED: usize = 3;

/// Where the rows of a tap stand in a block, in runs of its positions: the final rows first, then the input rows, because
/// all others are compared with these.
fn place(tap: usize, n_taps: usize) -> usize {
    (tap + 1) % n_taps
}

/// The tap whose rows stand there.
fn tap_at(place: usize, n_taps: usize) -> usize {
    (place + n_taps - 1) % n_taps
}

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
    /// Other engines that read some of the positions.
    pub helpers: &'a [Rc<dyn Helper>],
    /// The edits of the run that concern borrowed halves.
    pub edits: &'a Edits,
}

impl Lens<'_> {
    /// Computes the block of positions that begins at `start`; its columns are read back meanwhile.
    ///
    /// Errors: `aborted`, `device-lost`, `gpu-refused`, `out-of-memory`.
    /// Source: nostalgebraist 2020, "interpreting GPT: the logit lens".
    pub async fn begin_block<'r>(&self, rec: &mut Recorder<'r>, start: usize) -> Result<Block<'r>> {
        let Lens { decoder, stream, workspace, options, ids, .. } = *self;
        let model = decoder.model;
        let n = (ids.len() - start).min(workspace.n_positions);
        let n_taps = self.rows.len();

        let width = model.config.n_embd;
        let flops = 2.0 * (n_taps * n * width) as f64 * decoder.logit_columns() as f64;
        let parts = share::split(n, self.helpers.len(), flops);
        // The first positions are read here, the others go to the helpers.
        let own = parts.first().copied().unwrap_or(n);
        let row_bytes = 4 * pad4(width) as u64;
        let shared = (own < n)
            .then(|| rec.device().tensor("shared rows", (n_taps * (n - own)) as u64 * row_bytes));

        let pass = Pass {
            model,
            scratch: self.scratch,
            edits: self.edits,
            start,
            n,
            n_runs: 1,
            is_alone: false,
        };
        // Taps, and what borrowed halves end with, stay as they are; a difference is in a scratch tensor, which the next
        // one overwrites.
        let is_tap = |row: &Row| matches!(row.source, RowSource::Tap(_));
        let stay = self.extension.is_some() || self.rows.iter().all(is_tap);
        let maps = options.lens.as_deref();
        let at_once = if stay && maps.is_none() { MAX_INPUTS } else { 1 };
        for first_place in (0..n_taps).step_by(at_once) {
            let mut inputs = Vec::with_capacity(at_once);
            let mut is_stream = true;
            for place in first_place..n_taps.min(first_place + at_once) {
                let tap = tap_at(place, n_taps);
                let (source, step) = (self.rows[tap].source, &workspace.step);
                let mut x = row_of_stream(rec, model, stream, source, start, n, step)?;
                if let Some(extension) = self.extension {
                    x = extension.run(rec, &pass, tap, x)?;
                    rec.yield_now().await?;
                }
                if let Some(map) = maps.and_then(|maps| maps.map(&self.rows[tap].name)) {
                    x = map.apply(rec, model, x, n, step)?;
                    is_stream = map.gives_stream;
                }
                if let Some(shared) = &shared {
                    let n = n - own;
                    let (from, to) = ((x.first + own) as u64, (place * n) as u64);
                    rec.copy(
                        x.tensor,
                        from * row_bytes,
                        shared,
                        to * row_bytes,
                        n as u64 * row_bytes,
                    );
                }
                inputs.push(x);
            }
            let to = workspace.rows(first_place * own);
            decoder.normalise_each(rec, &inputs, to, own, is_stream)?;
        }

        let ids = targets(ids, start, n, &options.track);
        let j = workspace.n_targets;
        let given = match &shared {
            Some(shared) => self.give(rec, shared, &parts, &ids, j).await?,
            None => Vec::new(),
        };
        let top_k = options.top_k;
        let folding =
            share::fold_block(rec, decoder, workspace, n_taps, own, top_k, &ids[..own * j]).await?;
        let (device, cancel) = (rec.device(), rec.cancel());
        Ok(Block { folding, given, start, own, end: start + n, device, cancel })
    }

    /// Gives the helpers their positions of a block.
    async fn give(
        &self,
        rec: &mut Recorder<'_>,
        shared: &Tensor,
        parts: &[usize],
        ids: &[u32],
        n_targets: usize,
    ) -> Result<Vec<Given>> {
        let Lens { decoder, options, helpers, .. } = *self;
        let read = rec.read(&[(shared, shared.bytes())]).await?;
        let rows = read.first().map_or(&[][..], Vec::as_slice);
        let width = pad4(decoder.model.config.n_embd);
        let own = parts.first().copied().unwrap_or_default();
        let all: usize = parts.iter().skip(1).sum();
        let mut first = own;
        let mut given = Vec::new();
        for (helper, &n) in helpers.iter().zip(parts.iter().skip(1)) {
            let of_tap = |tap: &[f32]| tap[(first - own) * width..][..n * width].to_vec();
            let share = |norm| Share {
                rows: rows.chunks_exact(all * width).flat_map(of_tap).collect(),
                n_taps: self.rows.len(),
                n,
                targets: ids[first * n_targets..][..n * n_targets].to_vec(),
                top_k: options.top_k,
                norm,
            };
            // Kept, in case that the helper does not answer.
            let (share, sent) = (share(options.norm), share(options.norm));
            given.push(Given { first, share, answer: helper.fold(sent) });
            first += n;
        }
        Ok(given)
    }
}

/// A block of positions that is being read back.
pub struct Block<'r> {
    folding: Folding<'r>,
    given: Vec<Given>,
    start: usize,
    /// Positions that are read here.
    own: usize,
    end: usize,
    device: &'r Device,
    cancel: &'r Cancel,
}

impl Block<'_> {
    /// Its positions.
    pub fn positions(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Fills its columns of `reading`.
    ///
    /// Errors: `aborted`, `device-lost`, `gpu-refused`, `out-of-memory`.
    pub async fn finish(self, model: &Model, reading: &mut Reading) -> Result<()> {
        let Block { folding, given, start, own, device, cancel, .. } = self;
        let folded = folding.end().await?;
        summary::fill(reading, &folded.merged, &folded.target_logits, &folded.top, start, own);
        for Given { first, share, answer } in given {
            let folded = match answer.await {
                Ok(folded) if folded.fits(&share) => folded,
                // A helper that is gone does not fail the reading.
                _ => share::fold_share(device, model, &share, cancel).await?,
            };
            let (at, n) = (start + first, share.n);
            summary::fill(reading, &folded.merged, &folded.target_logits, &folded.top, at, n);
        }
        Ok(())
    }
}

/// A share that a helper has.
struct Given {
    /// Its first position in the block.
    first: usize,
    share: Share,
    answer: Pin<Box<dyn Future<Output = Result<Folded>>>>,
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
