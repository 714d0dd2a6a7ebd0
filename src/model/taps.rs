//! Where the residual stream is kept, and the room the forward pass works in.

use crate::config::Config;
use crate::gpu::{Gpu, Recorder, Tensor};
use crate::kernels::pad4;

/// Names of the taps by depth: `input`, then `h.i`, the *output* of block i.
pub fn tap_names(config: &Config) -> Vec<String> {
    std::iter::once("input".to_string())
        .chain((0..config.n_layer).map(|i| format!("h.{i}")))
        .collect()
}

/// The residual stream of one text at every tap, and its keys and values.
pub struct Stream {
    /// `input`, then `resid_post` of each block. Shapes: N × \[T, C4\].
    pub taps: Vec<Tensor>,
    /// Shapes: L × \[T, C4\].
    pub keys: Vec<Tensor>,
    /// Shapes: L × \[T, C4\].
    pub values: Vec<Tensor>,
    /// The token ids. Shapes: \[T\] u32.
    pub ids: Tensor,
    /// T.
    pub n_tokens: usize,
}

impl Stream {
    /// Room for a text.
    pub fn new(gpu: &Gpu, config: &Config, ids: &[u32]) -> Stream {
        let bytes = (ids.len() * pad4(config.n_embd) * 4) as u64;
        let per_block =
            |label: &str| (0..config.n_layer).map(|_| gpu.tensor(label, bytes)).collect();
        let taps = (0..=config.n_layer).map(|_| gpu.tensor("tap", bytes)).collect();
        let (keys, values) = (per_block("keys"), per_block("values"));
        Stream { taps, keys, values, ids: gpu.upload("ids", ids), n_tokens: ids.len() }
    }

    /// Gives keys and values back once the pass is over; the taps stay.
    pub fn drop_cache(&mut self) {
        self.keys.clear();
        self.values.clear();
    }

    /// Bytes of taps, keys and values. Units: bytes.
    pub fn bytes(&self) -> u64 {
        self.tensors().map(Tensor::bytes).sum()
    }

    /// Takes the first `n` positions over from a stream of the same model.
    pub fn copy_prefix(&self, rec: &mut Recorder<'_>, earlier: &Stream, n: usize) {
        for (from, to) in earlier.tensors().zip(self.tensors()) {
            let row_bytes = to.bytes() / self.n_tokens as u64;
            rec.copy(from, 0, to, 0, n as u64 * row_bytes);
        }
    }

    fn tensors(&self) -> impl Iterator<Item = &Tensor> {
        self.taps.iter().chain(&self.keys).chain(&self.values)
    }
}

/// What one block of positions needs on its way through a transformer block.
pub struct Scratch {
    /// ln_1 x, then ln_2 x. Shapes: \[rows, C4\].
    pub normed: Tensor,
    /// Queries. Shapes: \[rows, C4\].
    pub q: Tensor,
    /// The heads' outputs. Shapes: \[rows, C4\].
    pub mixed: Tensor,
    /// `resid_mid`. Shapes: \[rows, C4\].
    pub mid: Tensor,
    /// The MLP's hidden layer. Shapes: \[rows, n_inner4\].
    pub hidden: Tensor,
}

impl Scratch {
    /// Room for `n_rows` positions at a time.
    pub fn new(gpu: &Gpu, config: &Config, n_rows: usize) -> Scratch {
        let tensor =
            |label: &str, width: usize| gpu.tensor(label, (n_rows * pad4(width) * 4) as u64);
        Scratch {
            normed: tensor("normed", config.n_embd),
            q: tensor("q", config.n_embd),
            mixed: tensor("mixed", config.n_embd),
            mid: tensor("mid", config.n_embd),
            hidden: tensor("hidden", config.n_inner),
        }
    }
}
