//! The tensors of the residual stream, and the scratch tensors of the forward pass.

use std::cell::Cell;

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
    /// The token ids. Shapes: \[T\] u32.
    pub ids: Tensor,
    /// T.
    pub n_tokens: usize,
    /// Keys and values of each block; or, where these are too large, of the block that is being computed. Shapes: L or 1 of
    /// two \[T, C4\].
    cache: Vec<[Tensor; 2]>,
    n_layer: usize,
    /// Positions whose keys and values are there in all blocks.
    n_cached: Cell<usize>,
}

impl Stream {
    /// Zeroed tensors for a text. Keys and values are kept for all blocks if they have at most `cache_limit` bytes, or if
    /// there is one block only.
    pub fn new(
        device: &Device,
        config: &Config,
        ids: &[u32],
        has_halves: bool,
        cache_limit: u64,
    ) -> Stream {
        let n_layer = config.n_layer;
        let bytes = (ids.len() * pad4(config.n_embd) * 4) as u64;
        let per_block = if has_halves { 2 } else { 1 };
        let keeps_cache = 2 * n_layer as u64 * bytes <= cache_limit;
        let blocks = 0..if keeps_cache { n_layer } else { 1 };
        Stream {
            taps: (0..=per_block * n_layer).map(|_| device.tensor("tap", bytes)).collect(),
            has_halves,
            ids: device.upload("ids", ids),
            n_tokens: ids.len(),
            cache: blocks
                .map(|_| ["keys", "values"].map(|name| device.tensor(name, bytes)))
                .collect(),
            n_layer,
            n_cached: Cell::new(0),
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

    /// Whether each block has its own keys and values, so that a text may be computed a few positions at a time.
    pub fn keeps_cache(&self) -> bool {
        self.cache.len() == self.n_layer
    }

    /// Positions whose keys and values are there in all blocks. Those of others follow from the taps
    /// (`Pass::recall`).
    pub fn n_cached(&self) -> usize {
        self.n_cached.get()
    }

    /// Keys and values of block `i`, which have not been released. Shapes: \[T, C4\] each.
    pub fn cache(&self, i: usize) -> [&Tensor; 2] {
        let [keys, values] = &self.cache[if self.keeps_cache() { i } else { 0 }];
        [keys, values]
    }

    /// The keys and values of the first `n` positions have been written in all blocks.
    pub(super) fn cached(&self, n: usize) {
        if self.keeps_cache() {
            self.n_cached.set(n);
        }
    }

    /// Ends the pass: keys and values stay if they are of all blocks.
    pub fn finish(&mut self) {
        if !self.keeps_cache() {
            self.drop_cache();
        }
    }

    /// Releases keys and values; the taps stay.
    pub fn drop_cache(&mut self) {
        self.cache.clear();
        self.n_cached.set(0);
    }

    /// Size of taps, keys and values. Units: bytes.
    pub fn bytes(&self) -> u64 {
        self.taps.iter().chain(self.cache.iter().flatten()).map(Tensor::bytes).sum()
    }

    /// Copies the first `n` positions of a stream of the same model with the same taps; keys and values if both keep them.
    pub fn copy_prefix(&self, rec: &mut Recorder<'_>, earlier: &Stream, n: usize) {
        let n_cached = if self.keeps_cache() { n.min(earlier.n_cached()) } else { 0 };
        let taps = earlier.taps.iter().zip(&self.taps).map(|pair| (pair, n));
        let cache = earlier.cache.iter().flatten().zip(self.cache.iter().flatten());
        for ((from, to), n) in taps.chain(cache.map(|pair| (pair, n_cached))) {
            let row_bytes = to.bytes() / self.n_tokens as u64;
            rec.copy(from, 0, to, 0, n as u64 * row_bytes);
        }
        self.n_cached.set(n_cached);
    }
}

/// The intermediate activations of one block of positions.
pub struct Scratch {
    /// Most positions at a time.
    pub n_rows: usize,
    /// `resid_mid`. Shapes: \[rows, C4\].
    pub mid: Tensor,
    /// What the first matrix of a half reads, then the heads' outputs. Shapes: \[rows, C4\].
    narrow: Tensor,
    /// Queries, then the hidden layer. Shapes: \[rows, max(C, n_inner)4\].
    wide: Tensor,
}

impl Scratch {
    /// Tensors for `n_rows` positions at a time.
    pub fn new(device: &Device, config: &Config, n_rows: usize) -> Scratch {
        let tensor =
            |label: &str, width: usize| device.tensor(label, (n_rows * pad4(width) * 4) as u64);
        Scratch {
            n_rows,
            mid: tensor("mid", config.n_embd),
            narrow: tensor("normed or mixed", config.n_embd),
            wide: tensor("q or hidden", config.n_embd.max(config.n_inner)),
        }
    }

    /// ln_1 x, then ln_2 x. Shapes: \[rows, C4\].
    pub fn normed(&self) -> &Tensor {
        &self.narrow
    }

    /// Queries, until the MLP. Shapes: \[rows, C4\].
    pub fn q(&self) -> &Tensor {
        &self.wide
    }

    /// The heads' outputs, from attention to the MLP. Shapes: \[rows, C4\].
    pub fn mixed(&self) -> &Tensor {
        &self.narrow
    }

    /// The MLP's hidden layer. Shapes: \[rows, n_inner4\].
    pub fn hidden(&self) -> &Tensor {
        &self.wide
    }
}
