//! Any tokens along a line of cells, from the kept residual stream, without a second pass.

use crate::error::{Error, Result};
use crate::gpu::{Cancel, Gpu, Tensor};
use crate::kernels::{N_SLOTS, Rows};
use crate::model::Stream;
use crate::reading::Track;

use super::fold::Fold;
use super::options::check_track;
use super::summary::Scored;
use super::{Decoder, Moments, Row, Workspace, row_of_stream};

/// A line of cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// One position at every tap.
    Position(usize),
    /// One tap at every position.
    Tap(usize),
}

/// Rows that are traced together.
const ROWS: usize = 256;

/// What a reading keeps to trace from.
pub struct Traced<'a> {
    /// The decoder of the reading.
    pub decoder: &'a Decoder<'a>,
    /// The residual stream.
    pub stream: &'a Stream,
    /// The rows of the reading.
    pub rows: &'a [Row],
    /// Outputs of the borrowed halves, by row; empty if there are none.
    pub ends: &'a [Tensor],
}

/// Logit, log-probability and rank of `ids` along a line; each track is as long as the line.
///
/// Errors: `bad-option`, `bad-token`, `out-of-memory`, `aborted`, `gpu-refused`, `device-lost`.
pub async fn trace(
    gpu: &Gpu,
    from: &Traced<'_>,
    ids: &[u32],
    line: Line,
    cancel: &Cancel,
) -> Result<Vec<Track>> {
    if ids.is_empty() {
        return Err(Error::option("ids", "at least one token", "none"));
    }
    check_track("ids", ids, &from.decoder.model.config)?;
    let (n_taps, t) = (from.rows.len(), from.stream.n_tokens);
    // Runs of neighbouring rows: (tap, first position, rows).
    let runs: Vec<(usize, usize, usize)> = match line {
        Line::Position(p) if p < t => (0..n_taps).map(|tap| (tap, p, 1)).collect(),
        Line::Tap(tap) if tap < n_taps => {
            (0..t).step_by(ROWS).map(|p| (tap, p, ROWS.min(t - p))).collect()
        }
        Line::Position(p) => return Err(outside("position", p, t)),
        Line::Tap(tap) => return Err(outside("tap", tap, n_taps)),
    };
    let track = |&id: &u32| Track { id, logit: vec![], logprob: vec![], rank: vec![] };
    let mut tracks: Vec<Track> = ids.iter().map(track).collect();
    // As many runs at once as fit: every tap of a position, or one run of a tap.
    let at_once = if matches!(line, Line::Tap(_)) { 1 } else { ROWS };
    for runs in runs.chunks(at_once) {
        trace_rows(gpu, from, runs, &mut tracks, cancel).await?;
    }
    Ok(tracks)
}

fn outside(what: &str, index: usize, n: usize) -> Error {
    Error::option(what, format!("0 to {}", n.saturating_sub(1)), index)
}

#[expect(clippy::cast_possible_truncation, reason = "statistics are stored in f32")]
async fn trace_rows(
    gpu: &Gpu,
    from: &Traced<'_>,
    runs: &[(usize, usize, usize)],
    tracks: &mut [Track],
    cancel: &Cancel,
) -> Result<()> {
    let Traced { decoder, stream, .. } = *from;
    let model = decoder.model;
    let (n, j) = (runs.iter().map(|run| run.2).sum(), tracks.len());
    let allocate = || Ok(Workspace::for_trace(gpu, decoder, n, j));
    let workspace = &gpu.allocate("this trace", allocate).await?;
    let ids: Vec<u32> = tracks.iter().map(|t| t.id).collect();
    gpu.write(&workspace.targets, 0, &ids);
    let mut rec = gpu.record("this trace", cancel);
    let mut row = 0;
    for &(tap, position, n_rows) in runs {
        let x = match from.ends.get(tap) {
            Some(end) => Rows::new(end, position, model.config.n_embd),
            None => {
                let (source, step) = (from.rows[tap].source, &workspace.step);
                row_of_stream(&mut rec, model, stream, source, position, n_rows, step)?
            }
        };
        decoder.normalise(&mut rec, x, workspace.rows(row), n_rows)?;
        row += n_rows;
    }
    let fold = Fold { decoder, workspace, period: 1, references: false, top_k: 0 };
    let [merged, target_logits] = fold.read_targets(rec, n).await?;
    for (slots, logits) in merged.chunks(N_SLOTS + j).zip(target_logits.chunks(j)) {
        let sums = Moments::from_slots(slots);
        let targets = logits.iter().zip(&slots[N_SLOTS..]);
        for (track, (&logit, &above)) in tracks.iter_mut().zip(targets) {
            let Scored { logit, logprob, rank } = Scored::new(&sums, logit, above);
            track.logit.push(logit);
            track.logprob.push(logprob as f32);
            track.rank.push(rank);
        }
    }
    Ok(())
}
