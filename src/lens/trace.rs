//! Any tokens along a line of cells, from the kept residual stream, without a second pass.

use crate::device::{Cancel, Device};
use crate::error::{Error, Result};
use crate::kernels::N_SLOTS;
use crate::reading::Track;

use super::fold::Fold;
use super::options::check_track;
use super::summary::Scored;
use super::{Kept, Moments, Workspace};

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

/// Logit, log-probability and rank of `ids` along a line; each track is as long as the line.
///
/// Errors: `bad-option`, `bad-token`, `out-of-memory`, `aborted`, `gpu-refused`, `device-lost`.
pub async fn trace(
    device: &Device,
    from: &Kept<'_>,
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
        trace_rows(device, from, runs, &mut tracks, cancel).await?;
    }
    Ok(tracks)
}

fn outside(what: &str, index: usize, n: usize) -> Error {
    Error::option(what, format!("0 to {}", n.saturating_sub(1)), index)
}

#[expect(clippy::cast_possible_truncation, reason = "statistics are stored in f32")]
async fn trace_rows(
    device: &Device,
    from: &Kept<'_>,
    runs: &[(usize, usize, usize)],
    tracks: &mut [Track],
    cancel: &Cancel,
) -> Result<()> {
    let decoder = from.decoder;
    let (n, j) = (runs.iter().map(|run| run.2).sum(), tracks.len());
    let allocate = || Ok(Workspace::for_trace(device, decoder, n, j));
    let workspace = &device.allocate("this trace", allocate).await?;
    let ids: Vec<u32> = tracks.iter().map(|t| t.id).collect();
    device.write(&workspace.targets, 0, &ids);
    let mut rec = device.record("this trace", cancel);
    let mut row = 0;
    for &(tap, position, n_rows) in runs {
        from.normalise(&mut rec, tap, position, n_rows, &workspace.step, workspace.rows(row))?;
        row += n_rows;
    }
    let fold = Fold { decoder, workspace, period: 1, top_k: 0 };
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
