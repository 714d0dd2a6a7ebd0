//! What a model is made of, as data that the forward pass reads.

use std::rc::Rc;

use crate::config::Activation;
use crate::gpu::Tensor;
use crate::kernels::{Matrix, Shard};

/// Gain and bias of a LayerNorm. Shapes: \[C4\] each.
pub struct Norm {
    /// Multiplies.
    pub gain: Rc<Tensor>,
    /// Is added.
    pub bias: Rc<Tensor>,
}

/// y = x W + bias.
pub struct Linear {
    /// W.
    pub weight: Rc<Matrix>,
    /// Shapes: \[N4\].
    pub bias: Option<Rc<Tensor>>,
}

/// One transformer block: x + attn(ln_1 x), then x + mlp(ln_2 x).
pub struct Block {
    /// Before attention.
    pub ln_1: Norm,
    /// Queries.
    pub q: Linear,
    /// Keys.
    pub k: Linear,
    /// Values.
    pub v: Linear,
    /// After the heads.
    pub attn_out: Linear,
    /// Factor on q·k.
    pub attn_scale: f32,
    /// Positions a query sees, itself included; none for all before it.
    pub window: Option<usize>,
    /// Before the MLP.
    pub ln_2: Norm,
    /// C to n_inner.
    pub mlp_in: Linear,
    /// What follows it.
    pub activation: Activation,
    /// n_inner to C.
    pub mlp_out: Linear,
}

/// Every parameter of the forward pass.
pub struct Weights {
    /// Token embeddings, in shards of whole rows.
    pub wte: Rc<Vec<Shard>>,
    /// Factor on them.
    pub wte_scale: f32,
    /// Position embeddings. Shapes: \[n_ctx, C4\] f32.
    pub wpe: Rc<Tensor>,
    /// The blocks in order.
    pub blocks: Vec<Block>,
    /// Before unembedding.
    pub ln_f: Norm,
    /// The unembedding: `wte` itself where it is tied.
    pub unembed: Rc<Vec<Shard>>,
}
