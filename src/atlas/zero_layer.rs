//! The zero-layer model: each token's embedding straight into the unembedding.

use crate::error::{Error, Result};
use crate::gpu::Tensor;
use crate::kernels::{Embed, Rows, pad4};
use crate::lens::{Norm, Ranked};

use super::{Atlas, table};

/// How the rows are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What stands before the unembedding.
    pub norm: Norm,
    /// The position whose embedding is added, if any.
    pub position: Option<usize>,
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

/// The arg-max of every token's row of `wte·wteᵀ`, or of the same behind `wpe` and `ln_f`.
///
/// Errors: `bad-option`, `aborted`, `device-lost`, `out-of-memory`.
pub async fn zero_layer(atlas: &Atlas<'_>, options: Options) -> Result<ZeroLayer> {
    let (gpu, model) = (atlas.gpu, atlas.model);
    let (config, weights) = (&model.config, &model.weights);
    let Options { norm, position, step } = options;
    if let Some(p) = position.filter(|&p| p >= config.n_ctx) {
        let last = config.n_ctx - 1;
        return Err(Error::BadOption(format!("position is {p}, expected 0 to {last} or null")));
    }
    if step == 0 {
        return Err(Error::BadOption("step is 0, expected a whole number from 1".into()));
    }
    let place = match position {
        None => vec![0.0; config.n_embd],
        Some(p) => {
            let wpe = table::plain(atlas, &weights.wpe, config.n_ctx, config.n_embd).await?;
            wpe[p * config.n_embd..][..config.n_embd].to_vec()
        }
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
        atlas.advance(out.argmax.len() as f64 / (config.vocab_size.div_ceil(step)) as f64)?;
    }
    Ok(out)
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
