//! The tensors that one block of positions needs in the lens.

use crate::device::{Device, Tensor};
use crate::kernels::{LANES, N_SLOTS, Rows, Targets, pad4};

use super::{Decoder, Depth, N_FIXED, Options};

/// Positions in a block, unless the vocabulary is large.
const BLOCK: usize = 64;
/// Largest size of the references' logits, 2·block·V·4. Units: bytes.
const REFERENCE_BYTES: usize = 32 << 20;
/// Rows that are folded over the vocabulary together.
const GROUP_ROWS: usize = 256;
/// Columns of the vocabulary that are computed at a time; fixed, because it shapes the sums of a row.
pub(super) const CHUNK: usize = 4096;

/// Positions that are read together: fewer for a tall vocabulary.
pub fn block_positions(decoder: &Decoder<'_>) -> usize {
    (REFERENCE_BYTES / (8 * decoder.logit_columns())).clamp(1, BLOCK)
}

/// What determines the size of the tensors.
#[derive(Default)]
struct Sizes {
    n_taps: usize,
    n_positions: usize,
    n_targets: usize,
    top_k: usize,
    /// Rows whose logits are kept.
    n_references: usize,
    /// Rows of contributions.
    n_step: usize,
}

/// The tensors; ARCHITECTURE.md has the table of these buffers.
pub struct Workspace {
    /// What one half of a block adds. Shapes: \[n, C4\].
    pub step: Tensor,
    /// Normalised rows, tap-major. Shapes: \[N·n, C4\].
    pub rows: Tensor,
    /// Logits of the final rows, then of the input rows. Shapes: \[2·n, V4\].
    pub reference_logits: Tensor,
    /// Their merged sums. Shapes: \[2·n, N_SLOTS\].
    pub reference_states: Tensor,
    /// Target ids by position. Shapes: \[n, J\] u32.
    pub targets: Tensor,
    /// Target logits by row. Shapes: \[N·n, J\].
    pub target_logits: Tensor,
    /// Logits of one group of rows over one chunk of the vocabulary. Shapes: \[group, chunk4\].
    pub logits: Tensor,
    /// Running sums of the group. Shapes: \[group, LANES, N_SLOTS + J\].
    pub state: Tensor,
    /// Running lists of the group. Shapes: \[group, LANES, K\] (logit, id).
    pub lists: Tensor,
    /// Merged sums. Shapes: \[N·n, N_SLOTS + J\].
    pub merged: Tensor,
    /// Merged lists. Shapes: \[N·n, K\] (logit, id).
    pub top: Tensor,
    /// Positions that fit.
    pub n_positions: usize,
    /// J.
    pub n_targets: usize,
    /// Rows in a group.
    pub group_rows: usize,
    /// Columns of `logits`.
    pub chunk: usize,
    /// Columns of `reference_logits`.
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
        let sizes = Sizes {
            n_taps,
            n_positions,
            n_targets: N_FIXED + options.track.len(),
            top_k: options.top_k,
            n_references: 2 * n_positions,
            n_step: if options.depth == Depth::Contributions { n_positions } else { 0 },
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
        let (n_taps, n_positions, n_step) = (n_rows, 1, n_rows);
        let sizes = Sizes { n_taps, n_positions, n_targets, n_step, ..Sizes::default() };
        Workspace::sized(device, decoder, sizes)
    }

    /// For rows that have one target each: no references, no lists.
    pub(super) fn for_targets(device: &Device, decoder: &Decoder<'_>, n_rows: usize) -> Workspace {
        let (n_taps, n_positions, n_targets) = (1, n_rows, 1);
        let sizes = Sizes { n_taps, n_positions, n_targets, ..Sizes::default() };
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
        let (n_taps, n_positions, n_references, n_step) = (2, n_pairs, 2 * n_pairs, n_pairs);
        let sizes = Sizes { n_taps, n_positions, n_targets, n_references, n_step, top_k: 0 };
        Workspace::sized(device, decoder, sizes)
    }

    fn sized(device: &Device, decoder: &Decoder<'_>, sizes: Sizes) -> Workspace {
        let Sizes { n_taps, n_positions, n_targets, top_k, n_references, n_step } = sizes;
        let n_embd = decoder.model.config.n_embd;
        let n_rows = n_taps * n_positions;
        let group_rows = n_rows.min(GROUP_ROWS);
        // The references are folded with the same state before any group is.
        let state_rows = group_rows.max(n_references);
        let logit_columns = decoder.logit_columns();
        let chunk = logit_columns.min(CHUNK);
        let tensor = |label: &str, floats: usize| device.tensor(label, 4 * floats as u64);
        Workspace {
            step: tensor("contribution", n_step * pad4(n_embd)),
            rows: tensor("normalised rows", n_rows * pad4(n_embd)),
            reference_logits: tensor("reference logits", n_references * logit_columns),
            reference_states: tensor("reference states", n_references * N_SLOTS),
            targets: tensor("targets", n_positions * n_targets),
            target_logits: tensor("target logits", n_rows * n_targets),
            logits: tensor("logits", group_rows * chunk),
            state: tensor("lens state", state_rows * LANES * (N_SLOTS + n_targets)),
            lists: tensor("top-k lists", state_rows * LANES * top_k * 2),
            merged: tensor("merged state", n_rows * (N_SLOTS + n_targets)),
            top: tensor("top k", n_rows * top_k * 2),
            n_positions,
            n_targets,
            group_rows,
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
