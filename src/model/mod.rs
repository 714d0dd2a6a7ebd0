//! The model: weights on the device, and the forward pass that fills the taps.

mod copy;
mod families;
mod filling;
mod forward;
mod loader;
mod needs;
mod partial;
mod plan;
mod taps;
mod weights;

pub(crate) use forward::Pass;
pub use forward::forward;
pub use loader::{Keeping, Loader, Progress, RestoreWatch};
pub use needs::Needs;
pub use partial::{Part, PartNorm};
pub use plan::DEFAULT_SHARD_BYTES;
pub use taps::{Half, Scratch, Stream};
pub use weights::{Block, Linear, Norm, Weights};

use std::rc::Rc;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::gpu::Tensor;
use crate::kernels::{Kernels, Precision, Shard};

/// A loaded model: everything a reading needs but the text. Or, of a file with only some of the
/// tensors, everything that the atlas can show of it.
pub struct Model {
    /// Sizes and switches; of a part, those that its tensors tell, and 0 for the others.
    pub config: Config,
    /// The compiled kernels.
    pub kernels: Rc<Kernels>,
    /// The parameters; of a part, no blocks.
    pub weights: Weights,
    /// What there is of it, if it is only a part of a model.
    pub part: Option<Part>,
    /// Bytes they take on the device. Units: bytes.
    pub weight_bytes: u64,
    /// Storage of the 2-D weights.
    pub precision: Precision,
    /// Tensors of the file that the model has no use for.
    pub extra_tensors: Vec<String>,
}

impl Model {
    /// The model, if it is all there.
    ///
    /// Errors: `missing-tensor`.
    pub fn whole(&self) -> Result<&Model> {
        match self.part {
            None => Ok(self),
            Some(_) => Err(Error::Absent("the blocks of a whole model".into())),
        }
    }

    /// The token embedding.
    ///
    /// Errors: `missing-tensor`.
    pub fn wte(&self) -> Result<&[Shard]> {
        match &self.part {
            Some(part) if !part.has_wte => Err(Error::Absent("wte.weight".into())),
            _ => Ok(&self.weights.wte),
        }
    }

    /// The position embedding. Shapes: \[n_ctx, C4\] f32.
    ///
    /// Errors: `missing-tensor`.
    pub fn wpe(&self) -> Result<&Tensor> {
        match &self.part {
            Some(part) if !part.has_wpe => Err(Error::Absent("wpe.weight".into())),
            _ => Ok(&self.weights.wpe),
        }
    }

    /// The unembedding.
    ///
    /// Errors: `missing-tensor`.
    pub fn unembed(&self) -> Result<&[Shard]> {
        match &self.part {
            Some(part) if !part.has_unembed => {
                let tied = self.config.tie_word_embeddings;
                let name = if tied { "wte.weight" } else { "lm_head.weight" };
                Err(Error::Absent(name.into()))
            }
            _ => Ok(&self.weights.unembed),
        }
    }

    /// The last LayerNorm.
    ///
    /// Errors: `missing-tensor`.
    pub fn ln_f(&self) -> Result<&Norm> {
        match &self.part {
            Some(part) if !part.has_ln_f() => Err(Error::Absent("ln_f".into())),
            _ => Ok(&self.weights.ln_f),
        }
    }

    /// Every LayerNorm there is, in the order of the pass.
    pub fn norms(&self) -> Vec<PartNorm> {
        if let Some(part) = &self.part {
            return part.norms.clone();
        }
        let of = |name: String, norm: &Norm| PartNorm {
            name,
            gain: Some(norm.gain.clone()),
            bias: Some(norm.bias.clone()),
        };
        let blocks = self.weights.blocks.iter().enumerate().flat_map(|(i, block)| {
            [of(format!("h.{i}.ln_1"), &block.ln_1), of(format!("h.{i}.ln_2"), &block.ln_2)]
        });
        blocks.chain([of("ln_f".into(), &self.weights.ln_f)]).collect()
    }
}
