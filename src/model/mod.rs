//! The model: weights on the device, and the forward pass that fills the taps.

mod copy;
mod decoder_copy;
mod edits;
mod families;
mod filling;
mod forward;
mod loader;
mod partial;
mod plan;
mod requirements;
mod taps;
mod weights;

pub use decoder_copy::{DecoderCopy, Piece};
pub use edits::{Change, EditedWeights, Edits, Site, Tap, Values, What};
pub use forward::{Pass, complete, forward};
pub use loader::{CopyOutcome, Loader, Progress, Reclaim, RestoreWatch};
pub use plan::DEFAULT_SHARD_BYTES;
pub use requirements::Requirements;
pub use taps::{Half, Scratch, Stream};
pub use weights::{Block, Linear, NormWeights, PartialNorm, PartialWeights, Weights};

use std::rc::Rc;

use crate::config::Config;
use crate::device::Tensor;
use crate::error::{Error, Result};
use crate::kernels::{Kernels, Precision, Shard};

/// A loaded model; or a partial one, of files with only some of the tensors, for the atlas.
pub struct Model {
    /// Sizes and switches; of a partial model, those that its tensors give, and 0 for the others.
    pub config: Config,
    /// The compiled kernels.
    pub kernels: Rc<Kernels>,
    /// The parameters.
    pub parameters: Parameters,
    /// Size of the parameters on the device. Units: bytes.
    pub weight_bytes: u64,
    /// Storage of the 2-D weights.
    pub precision: Precision,
    /// Tensors of the files that the model does not use.
    pub extra_tensors: Vec<String>,
}

/// The parameters of a whole or a partial model.
pub enum Parameters {
    /// All of them.
    Whole(Weights),
    /// Those that the files have.
    Partial(PartialWeights),
}

impl Model {
    /// The weights of a whole model.
    ///
    /// Errors: `missing-tensor` for a partial model.
    pub fn whole(&self) -> Result<&Weights> {
        match &self.parameters {
            Parameters::Whole(weights) => Ok(weights),
            Parameters::Partial(_) => Err(Error::Absent("the blocks of a whole model".into())),
        }
    }

    /// The weights of a partial model; `None` for a whole one.
    pub fn partial(&self) -> Option<&PartialWeights> {
        match &self.parameters {
            Parameters::Whole(_) => None,
            Parameters::Partial(weights) => Some(weights),
        }
    }

    /// The token embedding.
    ///
    /// Errors: `missing-tensor`.
    pub fn wte(&self) -> Result<&[Shard]> {
        match &self.parameters {
            Parameters::Whole(weights) => Ok(&weights.wte),
            Parameters::Partial(weights) => shards(&weights.wte, "wte.weight"),
        }
    }

    /// The position embedding. Shapes: \[n_ctx, C4\] f32.
    ///
    /// Errors: `missing-tensor`.
    pub fn wpe(&self) -> Result<&Tensor> {
        match &self.parameters {
            Parameters::Whole(weights) => Ok(&weights.wpe),
            Parameters::Partial(weights) => {
                weights.wpe.as_deref().ok_or_else(|| Error::Absent("wpe.weight".into()))
            }
        }
    }

    /// The unembedding.
    ///
    /// Errors: `missing-tensor`.
    pub fn unembed(&self) -> Result<&[Shard]> {
        let tied = self.config.tie_word_embeddings;
        let name = if tied { "wte.weight" } else { "lm_head.weight" };
        match &self.parameters {
            Parameters::Whole(weights) => Ok(&weights.unembed),
            Parameters::Partial(weights) => shards(&weights.unembed, name),
        }
    }

    /// The last LayerNorm.
    ///
    /// Errors: `missing-tensor`.
    pub fn ln_f(&self) -> Result<NormWeights> {
        match &self.parameters {
            Parameters::Whole(weights) => Ok(weights.ln_f.clone()),
            Parameters::Partial(weights) => {
                weights.ln_f().ok_or_else(|| Error::Absent("ln_f".into()))
            }
        }
    }

    /// The LayerNorms, in the order of the pass.
    pub fn norms(&self) -> Vec<PartialNorm> {
        let weights = match &self.parameters {
            Parameters::Whole(weights) => weights,
            Parameters::Partial(weights) => return weights.norms.clone(),
        };
        let of = |name: String, norm: &NormWeights| PartialNorm {
            name,
            gain: Some(norm.gain.clone()),
            bias: Some(norm.bias.clone()),
        };
        let blocks = weights.blocks.iter().enumerate().flat_map(|(i, block)| {
            [of(format!("h.{i}.ln_1"), &block.ln_1), of(format!("h.{i}.ln_2"), &block.ln_2)]
        });
        blocks.chain([of("ln_f".into(), &weights.ln_f)]).collect()
    }
}

/// Errors: `missing-tensor`.
fn shards<'a>(shards: &'a Option<Rc<Vec<Shard>>>, name: &str) -> Result<&'a [Shard]> {
    shards.as_ref().map(|shards| &shards[..]).ok_or_else(|| Error::Absent(name.into()))
}
