//! The zero-layer model: each token's embedding straight into the unembedding.

use crate::config::Config;
use crate::error::{Error, Result};
use crate::kernels::{Embed, Rows, pad4};
use crate::lens::{Decoder, Norm, Ranked};

use super::neighbours::{Neighbours, nearest};
use super::{Atlas, check_memory, table};

/// How the row of a token is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenRow {
    /// The norm before the unembedding.
    pub norm: Norm,
    /// The position whose embedding is added, if any.
    pub position: Option<usize>,
}

/// Which rows to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZeroLayerOptions {
    /// How they are made.
    pub row: TokenRow,
    /// Every step-th token is computed: 1 for all.
    pub step: usize,
}

/// What the model without any block predicts after each token. Shapes: \[V / step, rounded up\] each.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ZeroLayer {
    /// The most likely next token; the lower id of equals.
    pub argmax: Vec<u32>,
    /// Its logit.
    pub logit: Vec<f32>,
    /// The logit of the token itself.
    pub self_logit: Vec<f32>,
}

/// Rows that are folded over the vocabulary together.
const ROWS: usize = 256;

/// The arg-max of every token's row of `wte·wteᵀ`, or of the same with `wpe` and `ln_f`; for a model with
/// another unembedding matrix or a bias on the logits, with those.
///
/// Errors: `missing-tensor`, `bad-option`, `aborted`, `device-lost`, `out-of-memory`.
pub async fn zero_layer(atlas: &Atlas<'_>, options: ZeroLayerOptions) -> Result<ZeroLayer> {
    let (device, model) = (atlas.device, atlas.model);
    let config = &model.config;
    let ZeroLayerOptions { row: TokenRow { norm, position }, step } = options;
    if step == 0 {
        return Err(Error::option("step", "a whole number from 1", step));
    }
    check_memory("the zero-layer model", config.vocab_size as u64, 4 * 4)?;
    let wte = model.wte()?;
    let decoder = Decoder::new(model, norm)?;
    let place = match position {
        Some(at) => table::position(atlas, at).await?,
        None => vec![0.0; config.n_embd],
    };
    let n_rows = config.vocab_size.div_ceil(step);
    let ids: Vec<u32> = (0u32..).step_by(step).take(n_rows).collect();
    let n_most = ROWS.min(n_rows);
    let padded = pad4(config.n_embd);
    let allocate = || {
        let rows = |label| device.tensor(label, (4 * n_most * padded) as u64);
        let targets = device.tensor("token ids", 4 * n_most as u64);
        Ok((rows("places"), rows("embeddings"), targets, Ranked::new(device, &decoder, n_most)))
    };
    let (places, x, targets, ranked) = device.allocate("the zero-layer model", allocate).await?;
    for row in 0..n_most {
        device.write(&places, (4 * row * padded) as u64, &place);
    }
    let mut out = ZeroLayer::default();
    for ids in ids.chunks(n_most) {
        device.write(&targets, 0, ids);
        let mut rec = device.record("the zero-layer model", atlas.cancel);
        let x = Rows::new(&x, 0, config.n_embd);
        let embed = Embed {
            ids: &targets,
            wte,
            wpe: &places,
            scale: config.embedding_scale(),
            factors: None,
            first_position: 0,
            n_rows: ids.len(),
            y: x,
        };
        model.kernels.embed(&mut rec, &embed)?;
        for row in ranked.rank(rec, x, ids).await? {
            out.argmax.push(row.argmax);
            out.logit.push(row.logit);
            out.self_logit.push(row.target_logit);
        }
        atlas.yield_now(out.argmax.len() as f64 / n_rows as f64).await?;
    }
    Ok(out)
}

/// The `k` largest logits of one token's row, in f64 on the CPU.
///
/// Errors: `missing-tensor`, `bad-token`, `bad-option`, `aborted`, `device-lost`, `out-of-memory`.
pub async fn next_tokens(
    atlas: &Atlas<'_>,
    id: u32,
    k: usize,
    row: TokenRow,
) -> Result<Neighbours> {
    let config: &Config = &atlas.model.config;
    let quiet = Atlas { on_progress: &|_| {}, ..*atlas };
    let token = table::rows_of(&quiet, &[id]).await?;
    let scale = f64::from(config.embedding_scale());
    let mut x: Vec<f64> = token.into_iter().map(|v| scale * f64::from(v)).collect();
    if let Some(at) = row.position {
        let place = table::position(atlas, at).await?;
        x.iter_mut().zip(place).for_each(|(v, p)| *v += f64::from(p));
    }
    if row.norm != Norm::None {
        normalise(&mut x, config.layer_norm_epsilon.into());
    }
    if row.norm == Norm::Affine {
        let ln_f = atlas.model.ln_f()?;
        let gain = table::plain(atlas, &ln_f.gain, 1, config.n_embd).await?;
        let bias = table::plain(atlas, &ln_f.bias, 1, config.n_embd).await?;
        for (v, (&gain, &bias)) in x.iter_mut().zip(gain.iter().zip(&bias)) {
            *v = *v * f64::from(gain) + f64::from(bias);
        }
    }
    let unembed = atlas.model.unembed()?;
    let mut biases = Vec::new();
    for shard in unembed {
        let n = shard.matrix.n_out;
        match &shard.bias {
            Some(bias) => biases.extend(table::plain(atlas, bias, 1, n).await?),
            None => biases.resize(biases.len() + n, 0.0),
        }
    }
    nearest(atlas, unembed, k, &x, |dot, token, _| dot + f64::from(biases[token])).await
}

/// Subtracts the mean of a row and divides by its standard deviation.
fn normalise(x: &mut [f64], epsilon: f64) {
    let n = x.len() as f64;
    let mean = x.iter().sum::<f64>() / n;
    let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
    let deviation = (variance + epsilon).sqrt();
    x.iter_mut().for_each(|v| *v = (*v - mean) / deviation);
}
