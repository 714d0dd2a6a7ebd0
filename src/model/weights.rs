//! The parameters of a model, as data that the forward pass reads.

use std::rc::Rc;

use crate::config::Activation;
use crate::device::Tensor;
use crate::kernels::{Matrix, Shard};

/// Gain and bias of a LayerNorm. Shapes: \[C4\] each.
#[derive(Clone)]
pub struct NormWeights {
    /// The factor.
    pub gain: Rc<Tensor>,
    /// The summand.
    pub bias: Rc<Tensor>,
}

/// y = activation(x W + bias), or several of them side by side.
pub struct Linear {
    /// W.
    pub weight: Rc<Matrix>,
    /// Shapes: \[P·N4\].
    pub bias: Option<Rc<Tensor>>,
    /// Of the first matrix of an MLP.
    pub activation: Option<Activation>,
}

impl Linear {
    /// The same with an activation.
    pub(super) fn with(self, activation: Activation) -> Linear {
        Linear { activation: Some(activation), ..self }
    }
}

/// One transformer block: x + attn(ln_1 x), then x + mlp(ln_2 x).
pub struct Block {
    /// LayerNorm before attention.
    pub ln_1: NormWeights,
    /// Queries, keys and values: three parts.
    pub qkv: Linear,
    /// Projection of the concatenated heads.
    pub attn_out: Linear,
    /// Factor on q·k.
    pub attn_scale: f32,
    /// Positions that a query attends to, its own included; `None` for all up to it.
    pub window: Option<usize>,
    /// LayerNorm before the MLP.
    pub ln_2: NormWeights,
    /// C to n_inner, with the activation.
    pub mlp_in: Linear,
    /// n_inner to C.
    pub mlp_out: Linear,
}

/// Every parameter of the forward pass.
pub struct Weights {
    /// Token embeddings, in shards of whole rows.
    pub wte: Rc<Vec<Shard>>,
    /// Position embeddings. Shapes: \[n_ctx, C4\] f32.
    pub wpe: Rc<Tensor>,
    /// The blocks in order.
    pub blocks: Vec<Block>,
    /// LayerNorm before unembedding.
    pub ln_f: NormWeights,
    /// The unembedding: `wte` itself where it is tied.
    pub unembed: Rc<Vec<Shard>>,
}

/// A LayerNorm of a partial model. Shapes: \[C4\] each.
#[derive(Clone, Default)]
pub struct PartialNorm {
    /// `h.i.ln_1`, `h.i.ln_2` or `ln_f`, for every family.
    pub name: String,
    /// The factor, if the files have it.
    pub gain: Option<Rc<Tensor>>,
    /// The summand, if the files have it.
    pub bias: Option<Rc<Tensor>>,
}

/// The parameters of a partial model: those that its files have.
#[derive(Default)]
pub struct PartialWeights {
    /// Token embeddings, in shards of whole rows.
    pub wte: Option<Rc<Vec<Shard>>>,
    /// Position embeddings. Shapes: \[n_ctx, C4\] f32.
    pub wpe: Option<Rc<Tensor>>,
    /// The unembedding: the token embeddings, unless a config says otherwise.
    pub unembed: Option<Rc<Vec<Shard>>>,
    /// The LayerNorms, in the order of the pass.
    pub norms: Vec<PartialNorm>,
    /// Whether a config gives what the tensors do not.
    pub has_config: bool,
}

impl PartialWeights {
    /// The last LayerNorm, if both its tensors are present.
    pub(super) fn ln_f(&self) -> Option<NormWeights> {
        let last = self.norms.last().filter(|norm| norm.name == "ln_f")?;
        Some(NormWeights { gain: last.gain.clone()?, bias: last.bias.clone()? })
    }
}
