//! From merged sums to the columns of a reading.

use crate::kernels::N_SLOTS;
use crate::reading::{NO_TOKEN, NotFinite, Reading, Statistic};

use super::{Moments, N_FIXED, place};

/// Logit, log-probability and rank of a target.
#[derive(Clone, Copy)]
pub(super) struct Scored {
    pub(super) logit: f32,
    pub(super) logprob: f64,
    pub(super) rank: f32,
}

impl Scored {
    /// Of a token that does not exist, or of a row whose logits are not finite.
    pub(super) const NONE: Scored = Scored { logit: f32::NAN, logprob: f64::NAN, rank: 0.0 };

    /// `above` is the number of logits above the target's.
    pub(super) fn new(sums: &Moments, logit: f32, above: f32) -> Scored {
        match sums.is_finite() {
            true => Scored { logit, logprob: sums.logprob(logit.into()), rank: above + 1.0 },
            false => Scored::NONE,
        }
    }
}

/// Fills columns `start..start + n` of `reading` with what was read back of one block, whose taps stand by [`place`].
///
/// Shapes: merged \[N·n, N_SLOTS + J\], target_logits \[N·n, J\], top \[N·n, K\] (logit, id).
#[expect(
    clippy::cast_possible_truncation,
    reason = "statistics are stored in f32, ids are integers"
)]
#[expect(clippy::cast_sign_loss, reason = "ids are not negative")]
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
    let row_of = |tap: usize, b: usize| place(tap, n_taps) * n + b;
    let slots = |tap: usize, b: usize| &merged[row_of(tap, b) * (N_SLOTS + j)..][..N_SLOTS + j];
    let sums_of = |tap: usize, b: usize| Moments::from_slots(slots(tap, b));
    let mut not_finite = Vec::new();
    for b in 0..n {
        let references = [sums_of(n_taps - 1, b), sums_of(0, b)];
        let [has_final, has_input] = references.map(|reference| reference.is_finite());
        for tap in 0..n_taps {
            let row = row_of(tap, b);
            let cell = tap * t + start + b;
            let sums = sums_of(tap, b);
            let is_finite = sums.is_finite();
            if !is_finite {
                not_finite.push(NotFinite { tap, position: start + b });
            }
            let counts = &slots(tap, b)[N_SLOTS..];
            let target = |i: usize| Scored::new(&sums, target_logits[row * j + i], counts[i]);
            // Without a final distribution there is no final top-1.
            let of_final = if has_final { target(0) } else { Scored::NONE };
            let of_input = target(1);
            let of_next = if start + b + 1 < t { target(2) } else { Scored::NONE };
            let either = |is_there: bool, value: f64| {
                if is_finite && is_there { value } else { f64::NAN }
            };
            let mut set = |s: Statistic, value: f64| reading.stats[s as usize][cell] = value as f32;
            set(Statistic::LogSumExp, either(true, sums.logsumexp()));
            set(Statistic::Entropy, either(true, sums.entropy()));
            set(Statistic::LogitFinal, of_final.logit.into());
            set(Statistic::ProbFinal, of_final.logprob.exp());
            set(Statistic::RankFinal, of_final.rank.into());
            set(Statistic::LogprobInput, of_input.logprob);
            set(Statistic::RankInput, of_input.rank.into());
            set(Statistic::LogprobNext, of_next.logprob);
            set(Statistic::RankNext, of_next.rank.into());
            set(Statistic::KlFinal, either(has_final, sums.kl_from(0, &references[0])));
            set(Statistic::KlFinalReverse, either(has_final, sums.kl_to(0, &references[0])));
            set(Statistic::KlInput, either(has_input, sums.kl_from(1, &references[1])));
            set(Statistic::KlInputReverse, either(has_input, sums.kl_to(1, &references[1])));
            for (i, track) in reading.tracked.iter_mut().enumerate() {
                let Scored { logit, logprob, rank } = target(N_FIXED + i);
                track.logit[cell] = logit;
                track.logprob[cell] = logprob as f32;
                track.rank[cell] = rank;
            }
            for (i, pair) in top[row * k * 2..][..k * 2].chunks(2).enumerate() {
                let (logit, id) =
                    if is_finite { (pair[0], pair[1] as u32) } else { (f32::NAN, NO_TOKEN) };
                reading.top_logits[cell * k + i] = logit;
                reading.top_ids[cell * k + i] = id;
            }
        }
    }
    reading.not_finite.extend(not_finite);
    reading.not_finite.sort_unstable();
}
