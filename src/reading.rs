//! Plain types of the result, independent of how it is computed.

use crate::tokenizer::Token;

/// Declares the statistics once: variant, name in JavaScript, meaning.
macro_rules! statistics {
    ($($variant:ident $name:literal $doc:literal)*) => {
        /// One number per (tap, position). Logarithms are natural, so the unit is nats.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Statistic { $(#[doc = $doc] $variant,)* }

        impl Statistic {
            /// Every statistic, in the order of storage.
            pub const ALL: [Statistic; 13] = [$(Statistic::$variant),*];

            /// Its name in JavaScript.
            pub fn name(self) -> &'static str {
                match self { $(Statistic::$variant => $name,)* }
            }
        }
    };
}

statistics! {
    LogSumExp "logsumexp" "ln Σ exp(logit) of the row. Units: nats."
    Entropy "entropy" "Entropy of the row's distribution. Units: nats."
    LogitFinal "logit_final" "Logit of the final top-1 token of that position. Units: logits."
    ProbFinal "prob_final" "Probability of the final top-1 token. Units: 0 to 1."
    RankFinal "rank_final" "Rank of the final top-1 token; 1 is best."
    LogprobInput "logprob_input" "Log-probability of the token at that position. Units: nats."
    RankInput "rank_input" "Rank of the token at that position."
    LogprobNext "logprob_next" "Log-probability of the true next token; NaN at the last position. Units: nats."
    RankNext "rank_next" "Rank of the true next token; 0 at the last position."
    KlFinal "kl_final" "KL(final ‖ tap). Units: nats."
    KlFinalReverse "kl_final_reverse" "KL(tap ‖ final). Units: nats."
    KlInput "kl_input" "KL(input ‖ tap). Units: nats."
    KlInputReverse "kl_input_reverse" "KL(tap ‖ input). Units: nats."
}

impl Statistic {
    /// The statistic of that name.
    pub fn from_name(name: &str) -> Option<Statistic> {
        Statistic::ALL.into_iter().find(|s| s.name() == name)
    }
}

/// Logit, log-probability and rank of one token at every (tap, position).
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// The token.
    pub id: u32,
    /// Its logit. Shapes: \[N·T\].
    pub logit: Vec<f32>,
    /// Its log-probability. Shapes: \[N·T\]. Units: nats.
    pub logprob: Vec<f32>,
    /// Its rank; 1 is best. Shapes: \[N·T\].
    pub rank: Vec<f32>,
}

/// The id in `top_ids` of a cell whose logits are not finite.
pub const NO_TOKEN: u32 = u32::MAX;

/// A row whose logits are not finite at some position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NotFinite {
    /// Index of the row in [`Reading::taps`].
    pub tap: usize,
    /// The position.
    pub position: usize,
}

/// The result of the lens over one text, or over a block of its positions.
///
/// Every array is tap-major: the value of (tap, position) is at `tap * n_tokens + position`.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// The tokens read. Shapes: \[T\].
    pub tokens: Vec<Token>,
    /// Names of the rows by depth, `input` first. Shapes: \[N\].
    pub taps: Vec<String>,
    /// K: tokens listed per cell.
    pub top_k: usize,
    /// The statistics in the order of [`Statistic::ALL`]. Shapes: \[N·T\] each.
    pub stats: Vec<Vec<f32>>,
    /// The K most likely tokens of each cell, best first; [`NO_TOKEN`] where logits are not finite.
    /// Shapes: \[N·T·K\].
    pub top_ids: Vec<u32>,
    /// Their logits. Shapes: \[N·T·K\].
    pub top_logits: Vec<f32>,
    /// The tokens the caller asked to track.
    pub tracked: Vec<Track>,
    /// Whether the last row is the model's own output under the norm and decoder in use.
    pub final_is_model: bool,
    /// Cells with a logit that is not finite, in order: their statistics are NaN, their ranks 0.
    pub not_finite: Vec<NotFinite>,
}

impl Reading {
    /// A zeroed reading of the given shape, to be filled block by block.
    pub fn empty(
        tokens: Vec<Token>,
        taps: Vec<String>,
        top_k: usize,
        track: &[u32],
        final_is_model: bool,
    ) -> Reading {
        let cells = taps.len() * tokens.len();
        let zeros = || vec![0.0; cells];
        Reading {
            stats: Statistic::ALL.iter().map(|_| zeros()).collect(),
            top_ids: vec![0; cells * top_k],
            top_logits: vec![0.0; cells * top_k],
            tracked: track
                .iter()
                .map(|&id| Track { id, logit: zeros(), logprob: zeros(), rank: zeros() })
                .collect(),
            tokens,
            taps,
            top_k,
            final_is_model,
            not_finite: Vec::new(),
        }
    }

    /// T: number of positions.
    pub fn n_tokens(&self) -> usize {
        self.tokens.len()
    }

    /// One statistic. Shapes: \[N·T\].
    pub fn stat(&self, statistic: Statistic) -> &[f32] {
        &self.stats[statistic as usize]
    }

    /// Copies the first `n` columns of a reading of the same shape, except for its length.
    pub fn copy_prefix(&mut self, earlier: &Reading, n: usize) {
        let (old, new) = (earlier.n_tokens(), self.n_tokens());
        for row in 0..self.taps.len() {
            let copy = |to: &mut [f32], from: &[f32], width: usize| {
                to[row * new * width..][..n * width]
                    .copy_from_slice(&from[row * old * width..][..n * width]);
            };
            for (to, from) in self.stats.iter_mut().zip(&earlier.stats) {
                copy(to, from, 1);
            }
            for (to, from) in self.tracked.iter_mut().zip(&earlier.tracked) {
                copy(&mut to.logit, &from.logit, 1);
                copy(&mut to.logprob, &from.logprob, 1);
                copy(&mut to.rank, &from.rank, 1);
            }
            let k = self.top_k;
            copy(&mut self.top_logits, &earlier.top_logits, k);
            self.top_ids[row * new * k..][..n * k]
                .copy_from_slice(&earlier.top_ids[row * old * k..][..n * k]);
        }
        self.not_finite.extend(earlier.not_finite.iter().filter(|cell| cell.position < n));
    }

    /// Positions `start..end` as a reading of their own.
    pub fn slice(&self, start: usize, end: usize) -> Reading {
        let (n, t) = (self.taps.len(), self.n_tokens());
        let cut = |values: &[f32], width: usize| cut(values, n, t, width, start, end);
        Reading {
            tokens: self.tokens[start..end].to_vec(),
            taps: self.taps.clone(),
            top_k: self.top_k,
            stats: self.stats.iter().map(|s| cut(s, 1)).collect(),
            top_ids: self::cut(&self.top_ids, n, t, self.top_k, start, end),
            top_logits: cut(&self.top_logits, self.top_k),
            tracked: self
                .tracked
                .iter()
                .map(|track| Track {
                    id: track.id,
                    logit: cut(&track.logit, 1),
                    logprob: cut(&track.logprob, 1),
                    rank: cut(&track.rank, 1),
                })
                .collect(),
            final_is_model: self.final_is_model,
            not_finite: self
                .not_finite
                .iter()
                .filter(|cell| (start..end).contains(&cell.position))
                .map(|cell| NotFinite { position: cell.position - start, ..*cell })
                .collect(),
        }
    }
}

/// Columns `start..end` of `n` rows of `t` cells of `width` values.
fn cut<V: Copy>(
    values: &[V],
    n: usize,
    t: usize,
    width: usize,
    start: usize,
    end: usize,
) -> Vec<V> {
    (0..n)
        .flat_map(|row| &values[(row * t + start) * width..(row * t + end) * width])
        .copied()
        .collect()
}
