//! From the residual stream to what the unembedding takes.

use crate::error::Result;
use crate::gpu::Recorder;
use crate::kernels::{LayerNorm, Rows};
use crate::model::Model;

use super::Norm;

/// Decodes `n` rows: the norm in use, by each row's own mean and variance.
pub(super) fn decode(
    rec: &mut Recorder<'_>,
    model: &Model,
    norm: Norm,
    from: Rows<'_>,
    to: Rows<'_>,
    n: usize,
) -> Result<()> {
    let ln_f = &model.weights.ln_f;
    let affine = match norm {
        Norm::Affine => Some((&*ln_f.gain, &*ln_f.bias)),
        Norm::Plain => None,
        Norm::None => {
            let row_bytes = 16 * from.width4 as u64;
            rec.copy(
                from.tensor,
                from.first as u64 * row_bytes,
                to.tensor,
                to.first as u64 * row_bytes,
                n as u64 * row_bytes,
            );
            return Ok(());
        }
    };
    let config = &model.config;
    model.kernels.layer_norm(
        rec,
        &LayerNorm {
            x: from,
            affine,
            epsilon: config.layer_norm_epsilon,
            n_embd: config.n_embd,
            n_rows: n,
            y: to,
        },
    )
}
