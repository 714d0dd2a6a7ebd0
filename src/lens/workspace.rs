//! The tensors that one block of positions needs in the lens.

use crate::device::{Device, Tensor};
use crate::kernels::{CHUNK, LANES, N_SLOTS, Rows, Targets, pad4};

use super::{Decoder, Depth, N_FIXED, Options};

/// Most positions in a block.
pub const BLOCK: usize = 64;
/// Most rows of a block, which are folded over the vocabulary together.
const ROWS: usize = 640;
/// Largest size of the logits that are kept. Units: bytes.
const KEPT_BYTES: usize = 32 << 20;
/// Rows of a block of which all logits are kept, where they fit; at least those of a typed token and of the position before
/// it, whose true next token is new.
const FEW_ROWS: usize = 64;

/// Positions that are read together at `n_taps` taps: fewer for a tall vocabulary, and for a deep model.
pub fn block_positions(decoder: &Decoder<'_>, n_taps: usize) -> usize {
    (kept_rows(decoder) / 2).min(ROWS / n_taps.max(1)).clamp(1, BLOCK)
}

/// Rows whose logits may be kept.
fn kept_rows(decoder: &Decoder<'_>) -> usize {
    KEPT_BYTES / (4 * decoder.logit_columns())
}

/// What determines the size of the tensors.
#[derive(Default)]
struct Sizes {
    n_taps: usize,
    n_positions: usize,
    n_targets: usize,
    top_k: usize,
    /// Rows whose logits are kept.
    n_kept: usize,
    /// Rows whose logits are computed chunk by chunk.
    n_computed: usize,
    /// Rows of contributions.
    n_step: usize,
}

/// The tensors; ARCHITECTURE.md has the table of these buffers.
pub struct Workspace {
    /// What one half of a block adds, or what a map makes of a row. Shapes: \[n, C4\].
    pub step: Tensor,
    /// Normalised rows, tap-major. Shapes: \[N·n, C4\].
    pub rows: Tensor,
    /// Logits of the final rows, then of the input rows, and where these are few, of all others. Shapes: \[n_kept, V4\].
    pub kept_logits: Tensor,
    /// The merged sums of the final and the input rows. Shapes: \[2·n, N_SLOTS\].
    pub reference_states: Tensor,
    /// Target ids by position. Shapes: \[n, J\] u32.
    pub targets: Tensor,
    /// Target logits by row. Shapes: \[N·n, J\].
    pub target_logits: Tensor,
    /// Logits of the other rows over one chunk of the vocabulary. Shapes: \[(N - 2)·n, chunk4\].
    pub logits: Tensor,
    /// Running sums. Shapes: \[N·n, LANES, N_SLOTS + J\].
    pub state: Tensor,
    /// Running lists. Shapes: \[N·n, LANES, K\] (logit, id).
    pub lists: Tensor,
    /// Merged sums. Shapes: \[N·n, N_SLOTS + J\].
    pub merged: Tensor,
    /// Merged lists. Shapes: \[N·n, K\] (logit, id).
    pub top: Tensor,
    /// Positions that fit.
    pub n_positions: usize,
    /// J.
    pub n_targets: usize,
    /// Most rows of a block of which all logits are kept; of more, those of the references.
    pub n_kept: usize,
    /// Columns of `logits`.
    pub chunk: usize,
    /// Columns of `kept_logits`.
    pub logit_columns: usize,
    n_embd: usize,
}

impl Workspace {
    /// For reading blocks of `n_positions` positions at `n_taps` taps.
    pub fn new(
        device: &Device,
        decoder: &Decoder<'_>,
        options: &Options,
        n_taps: usize,
        n_positions: usize,
    ) -> Workspace {
        let n_rows = n_taps * n_positions;
        let few = FEW_ROWS.max(2 * n_taps);
        let has_step = options.depth == Depth::Contributions || options.lens.is_some();
        let n_kept = n_rows.min(few).min(kept_rows(decoder)).max(2 * n_positions);
        let sizes = Sizes {
            n_taps,
            n_positions,
            n_targets: N_FIXED + options.track.len(),
            top_k: options.top_k,
            n_kept,
            n_computed: n_rows.saturating_sub(2 * n_positions),
            n_step: if has_step { n_positions } else { 0 },
        };
        Workspace::sized(device, decoder, sizes)
    }

    /// For tracing `n_targets` tokens in `n_rows` rows: no references, no lists.
    pub(super) fn for_trace(
        device: &Device,
        decoder: &Decoder<'_>,
        n_rows: usize,
        n_targets: usize,
    ) -> Workspace {
        let (n_taps, n_positions, n_computed, n_step) = (n_rows, 1, n_rows, n_rows);
        let sizes =
            Sizes { n_taps, n_positions, n_targets, n_computed, n_step, ..Sizes::default() };
        Workspace::sized(device, decoder, sizes)
    }

    /// For rows that have one target each: no references, no lists.
    pub(super) fn for_targets(device: &Device, decoder: &Decoder<'_>, n_rows: usize) -> Workspace {
        let (n_taps, n_positions, n_targets, n_computed) = (1, n_rows, 1, n_rows);
        let sizes = Sizes { n_taps, n_positions, n_targets, n_computed, ..Sizes::default() };
        Workspace::sized(device, decoder, sizes)
    }

    /// For comparing `n_pairs` pairs of rows, which have `n_targets` targets in common: the logits of all rows are
    /// kept, and there are no lists.
    pub(super) fn for_pairs(
        device: &Device,
        decoder: &Decoder<'_>,
        n_pairs: usize,
        n_targets: usize,
    ) -> Workspace {
        let (n_taps, n_positions, n_kept, n_step) = (2, n_pairs, 2 * n_pairs, n_pairs);
        let sizes = Sizes { n_taps, n_positions, n_targets, n_kept, n_step, ..Sizes::default() };
        Workspace::sized(device, decoder, sizes)
    }

    /// For the sums of sets of tokens in `n_rows` rows, whose logits are kept.
    pub(super) fn for_sets(device: &Device, decoder: &Decoder<'_>, n_rows: usize) -> Workspace {
        let (n_taps, n_positions, n_kept, n_step) = (1, n_rows, n_rows, n_rows);
        let sizes = Sizes { n_taps, n_positions, n_kept, n_step, ..Sizes::default() };
        Workspace::sized(device, decoder, sizes)
    }

    fn sized(device: &Device, decoder: &Decoder<'_>, sizes: Sizes) -> Workspace {
        let Sizes { n_taps, n_positions, n_targets, top_k, n_kept, n_computed, n_step } = sizes;
        let n_embd = decoder.model.config.n_embd;
        let n_rows = n_taps * n_positions;
        // The references have a state of their own before there is one of all rows.
        let state_rows = n_rows.max(n_kept);
        let logit_columns = decoder.logit_columns();
        let chunk = logit_columns.min(CHUNK);
        let tensor = |label: &str, floats: usize| device.tensor(label, 4 * floats as u64);
        Workspace {
            step: tensor("contribution", n_step * pad4(n_embd)),
            rows: tensor("normalised rows", n_rows * pad4(n_embd)),
            kept_logits: tensor("kept logits", n_kept * logit_columns),
            reference_states: tensor("reference states", n_kept.min(2 * n_positions) * N_SLOTS),
            targets: tensor("targets", n_positions * n_targets),
            target_logits: tensor("target logits", n_rows * n_targets),
            logits: tensor("logits", n_computed * chunk),
            state: tensor("lens state", state_rows * LANES * (N_SLOTS + n_targets)),
            lists: tensor("top-k lists", state_rows * LANES * top_k * 2),
            merged: tensor("merged state", n_rows * (N_SLOTS + n_targets)),
            top: tensor("top k", n_rows * top_k * 2),
            n_positions,
            n_targets,
            n_kept,
            chunk,
            logit_columns,
            n_embd,
        }
    }

    /// Normalised rows from `first` on.
    pub(super) fn rows(&self, first: usize) -> Rows<'_> {
        Rows::new(&self.rows, first, self.n_embd)
    }

    /// The tokens whose ranks are counted.
    pub(super) fn targets(&self) -> Targets<'_> {
        Targets { ids: &self.targets, logits: &self.target_logits, n: self.n_targets }
    }
}
