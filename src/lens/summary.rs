//! From merged sums to statistics in nats: the last step, in f64 on the CPU.

use crate::kernels::N_SLOTS;
use crate::reading::{Reading, Statistic};
use crate::reference::Moments;

use super::N_FIXED;

/// The state of one row as the device wrote it; slots as in shaders/shared/lens.wgsl.
pub(super) fn moments(slots: &[f32]) -> Moments<f64> {
    let at = |i: usize| f64::from(slots[i]);
    Moments {
        m: at(0),
        s: at(1),
        u: at(2),
        best: slots[3] as u32,
        a: [at(4), at(5)],
        b: [at(6), at(7)],
        p: [at(8), at(9)],
    }
}

/// Fills columns `start..start + n` of `reading` from what came back of one block.
///
/// Shapes: merged \[N·n, N_SLOTS + J\], target_logits \[N·n, J\], top \[N·n, K\] (logit, id).
pub(super) fn fill(
    reading: &mut Reading,
    merged: &[f32],
    target_logits: &[f32],
    top: &[f32],
    start: usize,
    n: usize,
) {
    let (n_taps, t) = (reading.taps.len(), reading.n_tokens());
    let (k, j) = (reading.top_k, N_FIXED + reading.tracked.len());
    let slots = |tap: usize, b: usize| &merged[(tap * n + b) * (N_SLOTS + j)..][..N_SLOTS + j];
    for b in 0..n {
        let references = [moments(slots(n_taps - 1, b)), moments(slots(0, b))];
        for tap in 0..n_taps {
            let row = tap * n + b;
            let cell = tap * t + start + b;
            let sums = moments(slots(tap, b));
            let ranks = &slots(tap, b)[N_SLOTS..];
            let target = |i: usize| {
                let logit = target_logits[row * j + i];
                (logit, sums.logprob(logit.into()), ranks[i] + 1.0)
            };
            let (logit_final, logprob_final, rank_final) = target(0);
            let (_, logprob_input, rank_input) = target(1);
            let (logprob_next, rank_next) = match start + b + 1 < t {
                true => (target(2).1, target(2).2),
                false => (f64::NAN, 0.0),
            };
            let mut set = |s: Statistic, value: f64| reading.stats[s as usize][cell] = value as f32;
            set(Statistic::LogSumExp, sums.logsumexp());
            set(Statistic::Entropy, sums.entropy());
            set(Statistic::LogitFinal, logit_final.into());
            set(Statistic::ProbFinal, logprob_final.exp());
            set(Statistic::RankFinal, rank_final.into());
            set(Statistic::LogprobInput, logprob_input);
            set(Statistic::RankInput, rank_input.into());
            set(Statistic::LogprobNext, logprob_next);
            set(Statistic::RankNext, rank_next.into());
            set(Statistic::KlFinal, sums.kl_from(0, &references[0]));
            set(Statistic::KlFinalReverse, sums.kl_to(0, &references[0]));
            set(Statistic::KlInput, sums.kl_from(1, &references[1]));
            set(Statistic::KlInputReverse, sums.kl_to(1, &references[1]));
            for (i, track) in reading.tracked.iter_mut().enumerate() {
                let (logit, logprob, rank) = target(N_FIXED + i);
                track.logit[cell] = logit;
                track.logprob[cell] = logprob as f32;
                track.rank[cell] = rank;
            }
            for (i, pair) in top[row * k * 2..][..k * 2].chunks(2).enumerate() {
                reading.top_logits[cell * k + i] = pair[0];
                reading.top_ids[cell * k + i] = pair[1] as u32;
            }
        }
    }
}
