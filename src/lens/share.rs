//! Some positions of a block, read by another engine: their rows go there, and what is read back comes from there.
//! A row's numbers do not depend on the rows beside it, so they have the same bits as if they were read here.

use std::pin::Pin;
use std::rc::Rc;

use crate::device::{Cancel, Device, RecordedRead, Recorder};
use crate::error::{Error, Result};
use crate::kernels::{N_SLOTS, Rows, pad4};
use crate::model::Model;

use super::fold::{Against, Fold};
use super::{Decoder, MAX_TRACK, N_FIXED, Norm, Options, Workspace};

/// Most rows of a share.
const MAX_ROWS: usize = 1 << 12;

/// Rows of the residual stream, and how to read them.
pub struct Share {
    /// Tap by tap, the final one first, then the input. Shapes: \[N, n, C4\].
    pub rows: Vec<f32>,
    /// N.
    pub n_taps: usize,
    /// Positions.
    pub n: usize,
    /// Target ids by position. Shapes: \[n, J\].
    pub targets: Vec<u32>,
    /// K.
    pub top_k: usize,
    /// The decoder's norm.
    pub norm: Norm,
}

/// What is read back of a block of positions.
pub struct Folded {
    /// Merged sums. Shapes: \[N·n, N_SLOTS + J\].
    pub merged: Vec<f32>,
    /// Target logits. Shapes: \[N·n, J\].
    pub target_logits: Vec<f32>,
    /// Merged lists of (logit, id). Shapes: \[N·n, K\].
    pub top: Vec<f32>,
}

impl Folded {
    /// Whether it has as many numbers as a share asks for.
    pub(super) fn fits(&self, share: &Share) -> bool {
        let (rows, j) = (share.n_taps * share.n, share.targets.len() / share.n.max(1));
        self.merged.len() == rows * (N_SLOTS + j)
            && self.target_logits.len() == rows * j
            && self.top.len() == rows * 2 * share.top_k
    }
}

/// Another engine that has the decoder of the model in use.
pub trait Helper {
    /// Reads a share.
    fn fold(&self, share: Share) -> Pin<Box<dyn Future<Output = Result<Folded>>>>;
}

/// Other engines, in the order of their shares.
pub type Helpers = Vec<Rc<dyn Helper>>;

/// How many positions stay here, and how many each helper gets. A share that another core would have finished before it
/// is surely awake is not worth a message.
pub(super) fn split(n: usize, n_helpers: usize, flops: f64) -> Vec<usize> {
    /// Least work of a share: some 10 ms of one core. Units: floating-point operations.
    const WORTH: f64 = 2e8;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded down")]
    let worth = (flops / WORTH) as usize;
    let parts = n.min(1 + n_helpers).min(worth).max(1);
    // The first part, which has other work too, is the smallest.
    (0..parts).map(|i| n / parts + usize::from(i >= parts - n % parts)).collect()
}

/// Reads a share that came from another engine.
///
/// Errors: `missing-tensor`, `bad-option` for sizes that do not fit, `out-of-memory`, `aborted`, `gpu-refused`, `device-lost`.
pub async fn fold_share(
    device: &Device,
    model: &Model,
    share: &Share,
    cancel: &Cancel,
) -> Result<Folded> {
    let Share { rows, n_taps, n, targets, top_k, norm } = share;
    let (n_taps, n, width) = (*n_taps, *n, model.config.n_embd);
    let n_targets = targets.len() / n.max(1);
    let fits = n > 0
        && n_taps > 0
        && n_taps.saturating_mul(n) <= MAX_ROWS
        && rows.len() == n_taps * n * pad4(width)
        && targets.len() == n * n_targets
        && (N_FIXED..=N_FIXED + MAX_TRACK).contains(&n_targets);
    if !fits {
        return Err(Error::option("share", "rows and targets of some positions", "other sizes"));
    }
    let decoder = Decoder::new(model, *norm)?;
    let options = Options {
        top_k: *top_k,
        norm: *norm,
        track: vec![0; n_targets - N_FIXED],
        ..Options::default()
    };
    let allocate = || {
        let workspace = Workspace::new(device, &decoder, &options, n_taps, n);
        Ok((workspace, device.upload("shared rows", rows)))
    };
    let (workspace, from) = device.allocate("this text", allocate).await?;
    let mut rec = device.record("this reading", cancel);
    decoder.normalise(&mut rec, Rows::new(&from, 0, width), workspace.rows(0), n_taps * n)?;
    let folding = fold_block(&mut rec, &decoder, &workspace, n_taps, n, *top_k, targets).await?;
    folding.end().await
}

/// A block that is being read back.
pub(super) struct Folding<'a>(RecordedRead<'a>);

impl Folding<'_> {
    /// Errors: `device-lost`, `gpu-refused`, `out-of-memory`.
    pub(super) async fn end(self) -> Result<Folded> {
        let mut read = self.0.end().await?.into_iter();
        let mut next = || read.next().unwrap_or_default();
        Ok(Folded { merged: next(), target_logits: next(), top: next() })
    }
}

/// Folds the normalised rows of `n` positions over the vocabulary and begins to read back what comes of it.
///
/// Errors: `aborted`, `device-lost`, `gpu-refused`, `out-of-memory`.
pub(super) async fn fold_block<'a>(
    rec: &mut Recorder<'a>,
    decoder: &Decoder<'_>,
    workspace: &Workspace,
    n_taps: usize,
    n: usize,
    top_k: usize,
    targets: &[u32],
) -> Result<Folding<'a>> {
    rec.device().write(&workspace.targets, 0, targets);
    let fold = Fold { decoder, workspace, period: n, top_k };
    let n_rows = n_taps * n;
    // Of a few rows all logits are kept, so that every weight is read once; of more, those of the references.
    let n_kept = if n_rows <= workspace.n_kept { n_rows } else { 2 * n };
    fold.keep_logits(rec, 0, 0, n_kept).await?;
    if n_taps == 1 {
        // A reading of one tap is its own reference.
        fold.keep_logits(rec, 0, n, n).await?;
    }
    fold.references(rec).await?;
    fold.target_logits(rec, n_rows)?;
    fold.fold_kept(rec, n_kept, Against::All).await?;
    if n_kept < n_rows {
        fold.fold_computed(rec, n_kept, n_rows - n_kept, Against::All).await?;
    }
    fold.merge(rec, n_rows)?;
    let n_targets = workspace.n_targets;
    let floats = |per_cell: usize| 4 * (n_taps * n * per_cell) as u64;
    let read = [
        (&workspace.merged, floats(N_SLOTS + n_targets)),
        (&workspace.target_logits, floats(n_targets)),
        (&workspace.top, floats(2 * top_k)),
    ];
    Ok(Folding(rec.begin_read(&read).await?))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn every_position_is_in_one_share_and_little_work_is_not_shared() {
        for n in 1..70 {
            for n_helpers in 0..5 {
                let parts = split(n, n_helpers, 1e12);
                assert_eq!(parts.iter().sum::<usize>(), n);
                assert!(parts.len() <= 1 + n_helpers && parts.iter().all(|&part| part > 0));
                assert!(parts.iter().all(|&part| part >= parts[0] && part <= parts[0] + 1));
            }
        }
        assert_eq!(split(64, 3, 3e8), [64]);
        assert_eq!(split(64, 3, 5e8), [32, 32]);
    }
}
