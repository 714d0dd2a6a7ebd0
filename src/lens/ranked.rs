//! Any rows over the vocabulary, each with one target of its own: what the atlas needs of the lens.

use crate::device::{Device, Recorder};
use crate::error::Result;
use crate::kernels::{N_SLOTS, Rows};
use crate::reading::NO_TOKEN;

use super::fold::Fold;
use super::{Decoder, Moments, Workspace};

/// The places of some numbers, that of the largest first, the lower one of equals.
pub fn descending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    order
}

/// A decoder and its tensors.
pub struct Ranked<'a> {
    decoder: &'a Decoder<'a>,
    workspace: Workspace,
}

/// The result of one row.
pub struct RankedRow {
    /// The largest logit; NaN if a logit is not finite.
    pub logit: f32,
    /// Its token, the lower id of equals; [`NO_TOKEN`] if a logit is not finite.
    pub argmax: u32,
    /// The target's logit.
    pub target_logit: f32,
    /// Its log-probability. Units: nats.
    pub target_logprob: f64,
    /// Its rank; 1 is best, 0 if a logit is not finite.
    pub target_rank: f32,
}

impl<'a> Ranked<'a> {
    /// For `n_rows` rows at a time.
    pub fn new(device: &Device, decoder: &'a Decoder<'a>, n_rows: usize) -> Ranked<'a> {
        Ranked { decoder, workspace: Workspace::for_targets(device, decoder, n_rows) }
    }

    /// Runs rows through norm and unembedding; `targets` has one token for each. Submits what was
    /// recorded before.
    ///
    /// Errors: `aborted`, `device-lost`, `gpu-refused`, `out-of-memory`.
    pub async fn rank(
        &self,
        mut rec: Recorder<'_>,
        x: Rows<'_>,
        targets: &[u32],
    ) -> Result<Vec<RankedRow>> {
        let (decoder, workspace, n) = (self.decoder, &self.workspace, targets.len());
        decoder.normalise(&mut rec, x, workspace.rows(0), n)?;
        rec.device().write(&workspace.targets, 0, targets);
        let fold = Fold { decoder, workspace, period: n, top_k: 0 };
        let [merged, logits] = fold.read_targets(rec, n).await?;
        let row = |(slots, &target_logit): (&[f32], &f32)| {
            let sums = Moments::from_slots(slots);
            let (logit, argmax, target_logit) = match sums.is_finite() {
                true => (slots[0], sums.best, target_logit),
                false => (f32::NAN, NO_TOKEN, f32::NAN),
            };
            let target_logprob = sums.logprob(target_logit.into());
            let above = slots.last().copied().unwrap_or_default();
            let target_rank = if sums.is_finite() { above + 1.0 } else { 0.0 };
            RankedRow { logit, argmax, target_logit, target_logprob, target_rank }
        };
        Ok(merged.chunks(N_SLOTS + 1).zip(&logits).map(row).collect())
    }
}
