//! The tensors one block of positions needs on its way through the lens.

use crate::gpu::{Gpu, Tensor};
use crate::kernels::{N_SLOTS, PARTS, Rows, pad4};
use crate::model::Model;

use super::{Depth, N_FIXED, Options, logit_columns};

/// Positions in a block, unless the vocabulary is tall.
const BLOCK: usize = 64;
/// Most bytes for the references' logits, 2·block·V·4.
const REFERENCE_BYTES: usize = 32 << 20;
/// Rows that go over the vocabulary together.
const GROUP_ROWS: usize = 256;
/// Columns of the vocabulary computed at a time; fixed, because it shapes a row's sums.
pub(super) const CHUNK: usize = 4096;

/// Positions that are read together: fewer for a tall vocabulary.
pub fn block_positions(model: &Model) -> usize {
    (REFERENCE_BYTES / (8 * logit_columns(model))).clamp(1, BLOCK)
}

/// See ARCHITECTURE.md for the table of these buffers.
pub struct Room {
    /// What one half of a block adds. Shapes: \[n, C4\].
    pub step: Tensor,
    /// Decoded rows, tap-major. Shapes: \[N·n, C4\].
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
    /// Running sums of the group. Shapes: \[group, PARTS, N_SLOTS + J\].
    pub state: Tensor,
    /// Running lists of the group. Shapes: \[group, PARTS, K\] (logit, id).
    pub lists: Tensor,
    /// Merged sums. Shapes: \[N·n, N_SLOTS + J\].
    pub merged: Tensor,
    /// Merged lists. Shapes: \[N·n, K\] (logit, id).
    pub top: Tensor,
    /// Positions it has room for.
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

impl Room {
    /// Room for reading blocks of `n_positions` positions at `n_taps` taps.
    pub fn new(
        gpu: &Gpu,
        model: &Model,
        options: &Options,
        n_taps: usize,
        n_positions: usize,
    ) -> Room {
        let n_targets = N_FIXED + options.track.len();
        let n_step = if options.depth == Depth::Contributions { n_positions } else { 0 };
        let n_references = 2 * n_positions;
        let top_k = options.top_k;
        Room::sized(gpu, model, n_taps, n_positions, n_targets, top_k, n_references, n_step)
    }

    /// Room for tracing `n_targets` tokens in `n_rows` rows: no references, no lists.
    pub(super) fn for_trace(gpu: &Gpu, model: &Model, n_rows: usize, n_targets: usize) -> Room {
        Room::sized(gpu, model, n_rows, 1, n_targets, 0, 0, n_rows)
    }

    /// Room for rows that have one target each: no references, no lists.
    pub(super) fn for_targets(gpu: &Gpu, model: &Model, n_rows: usize) -> Room {
        Room::sized(gpu, model, 1, n_rows, 1, 0, 0, 0)
    }

    #[allow(clippy::too_many_arguments)] // one for each letter of the shapes
    fn sized(
        gpu: &Gpu,
        model: &Model,
        n_taps: usize,
        n_positions: usize,
        n_targets: usize,
        top_k: usize,
        n_references: usize,
        n_step: usize,
    ) -> Room {
        let n_embd = model.config.n_embd;
        let n_rows = n_taps * n_positions;
        let group_rows = n_rows.min(GROUP_ROWS);
        // The references fold through the same state before any group does.
        let state_rows = group_rows.max(n_references);
        let logit_columns = logit_columns(model);
        let chunk = logit_columns.min(CHUNK);
        let tensor = |label: &str, floats: usize| gpu.tensor(label, 4 * floats as u64);
        Room {
            step: tensor("contribution", n_step * pad4(n_embd)),
            rows: tensor("decoded rows", n_rows * pad4(n_embd)),
            reference_logits: tensor("reference logits", n_references * logit_columns),
            reference_states: tensor("reference states", n_references * N_SLOTS),
            targets: tensor("targets", n_positions * n_targets),
            target_logits: tensor("target logits", n_rows * n_targets),
            logits: tensor("logits", group_rows * chunk),
            state: tensor("lens state", state_rows * PARTS * (N_SLOTS + n_targets)),
            lists: tensor("top-k lists", group_rows.max(n_positions) * PARTS * top_k * 2),
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

    /// Decoded rows from `first` on.
    pub(super) fn rows(&self, first: usize) -> Rows<'_> {
        Rows::new(&self.rows, first, self.n_embd)
    }
}
