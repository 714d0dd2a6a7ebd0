//! Any tokens along a line of cells, from the kept residual stream, without a second pass.

use crate::error::{Error, Result};
use crate::gpu::{Cancel, Gpu, Tensor};
use crate::kernels::{N_SLOTS, Rows};
use crate::model::{Model, Stream};
use crate::reading::Track;

use super::options::check_track;
use super::{Norm, Room, Row, decoder, fold, row_of_stream, summary};

/// A line of cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// One position at every tap.
    Position(usize),
    /// One tap at every position.
    Tap(usize),
}

/// Rows traced together.
const ROWS: usize = 256;

/// What a reading leaves behind to trace from.
pub struct Traced<'a> {
    /// The model.
    pub model: &'a Model,
    /// Its residual stream.
    pub stream: &'a Stream,
    /// The rows of the reading.
    pub rows: &'a [Row],
    /// What came out of the parts that the decoder borrowed, by row; empty if there were none.
    pub ends: &'a [Tensor],
    /// The norm of the decoder.
    pub norm: Norm,
}

/// Logit, log-probability and rank of `ids` along a line; each track is as long as the line.
///
/// Errors: `bad-option`, `bad-token`, `empty`, `aborted`, `device-lost`.
pub async fn trace(
    gpu: &Gpu,
    from: &Traced<'_>,
    ids: &[u32],
    line: Line,
    cancel: &Cancel,
) -> Result<Vec<Track>> {
    if ids.is_empty() {
        return Err(Error::Empty);
    }
    check_track(ids, &from.model.config)?;
    let (n_taps, t) = (from.rows.len(), from.stream.n_tokens);
    // Runs of rows that lie together: (tap, first position, rows).
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
    // As many runs at once as fill the room: every tap of a position, or one stretch of a tap.
    let at_once = if matches!(line, Line::Tap(_)) { 1 } else { ROWS };
    for runs in runs.chunks(at_once) {
        trace_rows(gpu, from, runs, &mut tracks, cancel).await?;
    }
    Ok(tracks)
}

fn outside(what: &str, index: usize, n: usize) -> Error {
    Error::BadOption(format!("{what} is {index}, expected 0 to {}", n.saturating_sub(1)))
}

async fn trace_rows(
    gpu: &Gpu,
    from: &Traced<'_>,
    runs: &[(usize, usize, usize)],
    tracks: &mut [Track],
    cancel: &Cancel,
) -> Result<()> {
    let Traced { model, stream, norm, .. } = *from;
    let (n, j) = (runs.iter().map(|run| run.2).sum(), tracks.len());
    let room = gpu.allocate("this trace", || Ok(Room::for_trace(gpu, model, n, j))).await?;
    let ids: Vec<u32> = tracks.iter().map(|t| t.id).collect();
    gpu.write(&room.targets, 0, &ids);
    let mut rec = gpu.record(cancel);
    let mut row = 0;
    for &(tap, position, n_rows) in runs {
        let x = match from.ends.get(tap) {
            Some(end) => Rows::new(end, position, model.config.n_embd),
            None => {
                let source = from.rows[tap].from;
                row_of_stream(&mut rec, model, stream, source, position, n_rows, &room.step)?
            }
        };
        decoder::decode(&mut rec, model, norm, x, room.rows(row), n_rows)?;
        row += n_rows;
    }
    let [merged, target_logits] = fold::targets_of_rows(rec, model, &room, n, 1).await?;
    for (slots, logits) in merged.chunks(N_SLOTS + j).zip(target_logits.chunks(j)) {
        let sums = summary::moments(slots);
        for (i, track) in tracks.iter_mut().enumerate() {
            track.logit.push(logits[i]);
            track.logprob.push(sums.logprob(logits[i].into()) as f32);
            track.rank.push(slots[N_SLOTS + i] + 1.0);
        }
    }
    Ok(())
}
