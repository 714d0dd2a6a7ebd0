//! The zero-layer model: each token's embedding straight into the unembedding.

use crate::config::Config;
use crate::error::{Error, Result};
use crate::gpu::Tensor;
use crate::kernels::{Embed, Rows, pad4};
use crate::lens::{Norm, Ranked};
use crate::reference::layer_norm;

use super::neighbours::{Neighbours, nearest};
use super::{Atlas, table};

/// How a token becomes a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// What stands before the unembedding.
    pub norm: Norm,
    /// The position whose embedding is added, if any.
    pub position: Option<usize>,
}

/// Which rows there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How they are made.
    pub row: Row,
    /// Every how many-th token is looked at: 1 for all.
    pub step: usize,
}

/// What each token is followed by without any block. Shapes: \[V / step, rounded up\] each.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ZeroLayer {
    /// The most likely next token; the lower id of equals.
    pub argmax: Vec<u32>,
    /// Its logit.
    pub logit: Vec<f32>,
    /// The logit of the token itself.
    pub self_logit: Vec<f32>,
}

/// Rows that go over the vocabulary together.
const ROWS: usize = 256;

/// The arg-max of every token's row of `wte·wteᵀ`, or of the same behind `wpe` and `ln_f`. Of a
/// model whose unembedding is another matrix, or has a bias, that is what is meant.
///
/// Errors: `missing-tensor`, `bad-option`, `aborted`, `device-lost`, `out-of-memory`.
pub async fn zero_layer(atlas: &Atlas<'_>, options: Options) -> Result<ZeroLayer> {
    let (gpu, model) = (atlas.gpu, atlas.model);
    let config = &model.config;
    let Options { row: Row { norm, position }, step } = options;
    if step == 0 {
        return Err(Error::BadOption("step is 0, expected a whole number from 1".into()));
    }
    model.wte()?;
    model.unembed()?;
    if norm == Norm::Affine {
        model.ln_f()?;
    }
    let place = match position {
        Some(at) => table::position(atlas, at).await?,
        None => vec![0.0; config.n_embd],
    };
    let ids: Vec<u32> = (0..config.vocab_size as u32).step_by(step).collect();
    let n_most = ROWS.min(ids.len());
    let padded = pad4(config.n_embd);
    let allocate = || {
        let rows = |label| gpu.tensor(label, (4 * n_most * padded) as u64);
        let targets = gpu.tensor("token ids", 4 * n_most as u64);
        Ok((rows("places"), rows("embeddings"), targets, Ranked::new(gpu, model, n_most)))
    };
    let (places, x, targets, ranked) = gpu.allocate("the zero-layer model", allocate).await?;
    for row in 0..n_most {
        gpu.write(&places, (4 * row * padded) as u64, &place);
    }
    let batch = Batch { atlas, norm, places: &places, x: &x, targets: &targets, room: &ranked };
    let mut out = ZeroLayer::default();
    for ids in ids.chunks(n_most) {
        batch.read(ids, &mut out).await?;
        atlas.rest(out.argmax.len() as f64 / (config.vocab_size.div_ceil(step)) as f64).await?;
    }
    Ok(out)
}

/// The `k` largest logits of one token's row, in f64 on the CPU.
///
/// Errors: `missing-tensor`, `bad-token`, `bad-option`, `aborted`, `device-lost`, `out-of-memory`.
pub async fn next_tokens(atlas: &Atlas<'_>, id: u32, k: usize, row: Row) -> Result<Neighbours> {
    let Config { n_embd, layer_norm_epsilon, .. } = atlas.model.config;
    let scale = atlas.model.weights.wte_scale;
    let quiet = Atlas { on_progress: &|_| {}, ..*atlas };
    let mut x: Vec<f32> = table::rows_of(&quiet, &[id]).await?;
    x.iter_mut().for_each(|v| *v *= scale);
    if let Some(at) = row.position {
        let place = table::position(atlas, at).await?;
        x.iter_mut().zip(place).for_each(|(v, p)| *v += p);
    }
    let normed = |affine| layer_norm::<f64>(&x, n_embd, affine, layer_norm_epsilon);
    let x = match row.norm {
        Norm::None => x.iter().map(|&v| f64::from(v)).collect(),
        Norm::Plain => normed(None),
        Norm::Affine => {
            let ln_f = atlas.model.ln_f()?;
            let gain = table::plain(atlas, &ln_f.gain, 1, n_embd).await?;
            let bias = table::plain(atlas, &ln_f.bias, 1, n_embd).await?;
            normed(Some((&gain, &bias)))
        }
    };
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

struct Batch<'a> {
    atlas: &'a Atlas<'a>,
    norm: Norm,
    places: &'a Tensor,
    x: &'a Tensor,
    targets: &'a Tensor,
    room: &'a Ranked,
}

impl Batch<'_> {
    async fn read(&self, ids: &[u32], out: &mut ZeroLayer) -> Result<()> {
        let Atlas { gpu, model, cancel, .. } = *self.atlas;
        let n = ids.len();
        gpu.write(self.targets, 0, ids);
        let mut rec = gpu.record(cancel);
        let x = Rows::new(self.x, 0, model.config.n_embd);
        model.kernels.embed(
            &mut rec,
            &Embed {
                ids: self.targets,
                wte: &model.weights.wte,
                wpe: self.places,
                scale: model.weights.wte_scale,
                first_position: 0,
                n_rows: n,
                y: x,
            },
        )?;
        for found in self.room.find(rec, model, self.norm, x, ids).await? {
            out.argmax.push(found.argmax);
            out.logit.push(found.logit);
            out.self_logit.push(found.target_logit);
        }
        Ok(())
    }
}
