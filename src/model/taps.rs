//! The tensors of the residual stream, and the scratch tensors of the forward pass.

use crate::config::Config;
use crate::device::{Device, Recorder, Tensor};
use crate::kernels::pad4;

/// Half of a transformer block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Half {
    /// x + attn(ln_1 x)
    Attn,
    /// x + mlp(ln_2 x)
    Mlp,
}

/// The residual stream of one text at every tap, and its keys and values.
pub struct Stream {
    /// `input`, then for each block `resid_mid` if half-blocks are kept, and `resid_post`.
    /// Shapes: N × \[T, C4\].
    pub taps: Vec<Tensor>,
    /// Whether half-blocks are kept.
    pub has_halves: bool,
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
    /// Zeroed tensors for a text.
    pub fn new(device: &Device, config: &Config, ids: &[u32], has_halves: bool) -> Stream {
        let bytes = (ids.len() * pad4(config.n_embd) * 4) as u64;
        let tensors =
            |label: &str, n: usize| (0..n).map(|_| device.tensor(label, bytes)).collect::<Vec<_>>();
        let per_block = if has_halves { 2 } else { 1 };
        Stream {
            taps: tensors("tap", 1 + per_block * config.n_layer),
            has_halves,
            keys: tensors("keys", config.n_layer),
            values: tensors("values", config.n_layer),
            ids: device.upload("ids", ids),
            n_tokens: ids.len(),
        }
    }

    /// Index of the tap after that half of block `i`; `None` for a half that is not kept.
    pub fn tap(&self, i: usize, half: Half) -> Option<usize> {
        match (self.has_halves, half) {
            (false, Half::Attn) => None,
            (false, Half::Mlp) => Some(i + 1),
            (true, Half::Attn) => Some(2 * i + 1),
            (true, Half::Mlp) => Some(2 * i + 2),
        }
    }

    /// The tap before any block.
    pub fn input(&self) -> &Tensor {
        &self.taps[0]
    }

    /// The input of block `i`.
    pub fn resid_pre(&self, i: usize) -> &Tensor {
        &self.taps[if self.has_halves { 2 * i } else { i }]
    }

    /// The tap between the halves of block `i`, if it is kept.
    pub fn resid_mid(&self, i: usize) -> Option<&Tensor> {
        self.tap(i, Half::Attn).map(|tap| &self.taps[tap])
    }

    /// The output of block `i`.
    pub fn resid_post(&self, i: usize) -> &Tensor {
        self.resid_pre(i + 1)
    }

    /// Releases keys and values once the pass is over; the taps stay.
    pub fn drop_cache(&mut self) {
        self.keys.clear();
        self.values.clear();
    }

    /// Whether keys and values are there.
    pub fn has_cache(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Size of taps, keys and values. Units: bytes.
    pub fn bytes(&self) -> u64 {
        self.tensors().map(Tensor::bytes).sum()
    }

    /// Copies the first `n` positions of a stream of the same model with the same taps.
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

/// The intermediate activations of one block of positions.
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
    /// Tensors for `n_rows` positions at a time.
    pub fn new(device: &Device, config: &Config, n_rows: usize) -> Scratch {
        let tensor =
            |label: &str, width: usize| device.tensor(label, (n_rows * pad4(width) * 4) as u64);
        Scratch {
            normed: tensor("normed", config.n_embd),
            q: tensor("q", config.n_embd),
            mixed: tensor("mixed", config.n_embd),
            mid: tensor("mid", config.n_embd),
            hidden: tensor("hidden", config.n_inner),
        }
    }
}
