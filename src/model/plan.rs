//! Which tensor of the file goes where: built together with the weights, name by name.

use std::collections::HashMap;
use std::rc::Rc;

use crate::config::Config;
use crate::error::Result;
use crate::gpu::{Gpu, Tensor};
use crate::kernels::{Matrix, Precision, Shard, pad4};

use super::weights::{Linear, Norm};

/// Largest shard of the embedding table: WebGPU's default binding limit is 128 MiB. Units: bytes.
pub const DEFAULT_SHARD_BYTES: usize = 64 << 20;

/// Where the rows of one file tensor go.
pub(super) enum Sink {
    /// One row, cut into vectors of equal length. f32.
    Vectors(Vec<Rc<Tensor>>),
    /// Rows of f32, each padded to C4.
    Table(Rc<Tensor>),
    /// Rows are inputs; their columns are dealt to matrices of equal width.
    Inputs(Vec<Rc<Matrix>>),
    /// Rows are outputs, in shards.
    Outputs(Rc<Vec<Shard>>),
    /// Rows are the outputs of one matrix.
    Linear(Rc<Matrix>),
    /// One row: the biases of the shards' tokens. f32.
    ShardBiases(Rc<Vec<Shard>>),
}

impl Sink {
    fn bytes(&self) -> u64 {
        match self {
            Sink::Vectors(tensors) => tensors.iter().map(|t| t.bytes()).sum(),
            Sink::Table(tensor) => tensor.bytes(),
            Sink::Inputs(matrices) => matrices.iter().map(|m| m.tensor.bytes()).sum(),
            Sink::Outputs(shards) => shards.iter().map(|s| s.matrix.tensor.bytes()).sum(),
            Sink::Linear(matrix) => matrix.tensor.bytes(),
            Sink::ShardBiases(shards) => biases(shards).map(|b| b.bytes()).sum(),
        }
    }
}

fn biases(shards: &[Shard]) -> impl Iterator<Item = &Tensor> {
    shards.iter().filter_map(|shard| shard.bias.as_ref())
}

/// Whether every tensor of a model, and a text of full length, fits one binding each. All later
/// sizes are below these, so they fit 32 bits as well.
///
/// Errors: `unsupported-model`.
pub(super) fn check_sizes(gpu: &Gpu, config: &Config, precision: Precision) -> Result<()> {
    let wide = |n: usize| pad4(n) as u64;
    let (c, inner) = (wide(config.n_embd), wide(config.n_inner));
    gpu.check_binding("an MLP matrix", c * inner * precision.bytes() as u64)?;
    gpu.check_binding("an attention matrix", c * c * precision.bytes() as u64)?;
    gpu.check_binding("the position embedding", config.n_ctx as u64 * c * 4)?;
    // Of contributions there are two for each block, and the input and the final row.
    let rows = 64 * (2 * config.n_layer as u64 + 2);
    gpu.check_binding("the decoded rows of a block", rows * c * 4)
}

/// One expected tensor.
pub(super) struct Part {
    pub(super) shape: Vec<u64>,
    pub(super) sink: Sink,
}

impl Part {
    /// How its numbers are stored: only matrices come in less than f32.
    pub(super) fn stored_in(&self, precision: Precision) -> Precision {
        match self.sink {
            Sink::Inputs(_) | Sink::Outputs(_) | Sink::Linear(_) => precision,
            Sink::Vectors(_) | Sink::Table(_) | Sink::ShardBiases(_) => Precision::F32,
        }
    }
}

/// Most rows of a shard: the unembedding's dispatch has a workgroup per 64 of them.
const MAX_SHARD_ROWS: usize = 1 << 20;

/// Allocates weights and notes which tensor fills each.
pub(super) struct Plan<'a> {
    gpu: &'a Gpu,
    precision: Precision,
    shard_bytes: usize,
    pub(super) parts: HashMap<String, Part>,
    /// Of tables that no file holds.
    constant_bytes: u64,
}

impl<'a> Plan<'a> {
    pub(super) fn new(gpu: &'a Gpu, precision: Precision, shard_bytes: usize) -> Plan<'a> {
        Plan { gpu, precision, shard_bytes, parts: HashMap::new(), constant_bytes: 0 }
    }

    /// Bytes of everything allocated. Units: bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.constant_bytes + self.parts.values().map(|part| part.sink.bytes()).sum::<u64>()
    }

    fn require(&mut self, name: String, shape: &[usize], sink: Sink) {
        let shape = shape.iter().map(|&d| d as u64).collect();
        self.parts.insert(name, Part { shape, sink });
    }

    /// `name.weight` and `name.bias` of a LayerNorm over `width` channels.
    pub(super) fn norm(&mut self, name: &str, width: usize) -> Norm {
        Norm {
            gain: self.vector(&format!("{name}.weight"), width),
            bias: self.vector(&format!("{name}.bias"), width),
        }
    }

    /// `name`, a vector of `width` values.
    pub(super) fn vector(&mut self, name: &str, width: usize) -> Rc<Tensor> {
        let [vector] = self.vectors(name.into(), width);
        vector
    }

    /// `name`, a vector of `P` parts of `width` values.
    fn vectors<const P: usize>(&mut self, name: String, width: usize) -> [Rc<Tensor>; P] {
        let tensors: [_; P] =
            std::array::from_fn(|_| Rc::new(self.gpu.tensor(&name, 4 * pad4(width) as u64)));
        self.require(name, &[P * width], Sink::Vectors(tensors.to_vec()));
        tensors
    }

    /// `name`, a table of f32 rows.
    pub(super) fn table(&mut self, name: &str, rows: usize, width: usize) -> Rc<Tensor> {
        let tensor = Rc::new(self.gpu.tensor(name, 4 * rows as u64 * pad4(width) as u64));
        self.require(name.into(), &[rows, width], Sink::Table(tensor.clone()));
        tensor
    }

    /// `name.weight` \[K, P·N\] and `name.bias` \[P·N\]: `P` projections side by side (`Conv1D`).
    pub(super) fn conv1d<const P: usize>(
        &mut self,
        name: &str,
        n_in: usize,
        n_out: usize,
    ) -> [Linear; P] {
        let file_name = format!("{name}.weight");
        let matrices: [_; P] = std::array::from_fn(|_| {
            Rc::new(Matrix::inputs(self.gpu, &file_name, n_in, n_out, self.precision))
        });
        self.require(file_name, &[n_in, P * n_out], Sink::Inputs(matrices.to_vec()));
        let biases = self.vectors::<P>(format!("{name}.bias"), n_out);
        std::array::from_fn(|i| Linear {
            weight: matrices[i].clone(),
            bias: Some(biases[i].clone()),
        })
    }

    /// `name.weight` \[N, K\] and, if it has one, `name.bias` \[N\] (`Linear`).
    pub(super) fn linear(
        &mut self,
        name: &str,
        n_in: usize,
        n_out: usize,
        has_bias: bool,
    ) -> Linear {
        let file_name = format!("{name}.weight");
        let matrix = Matrix::outputs(self.gpu, &file_name, n_in, n_out, self.precision);
        let weight = Rc::new(matrix);
        self.require(file_name, &[n_out, n_in], Sink::Linear(weight.clone()));
        let bias = has_bias.then(|| self.vector(&format!("{name}.bias"), n_out));
        Linear { weight, bias }
    }

    /// A table that no file holds. Shapes: values \[rows, width\].
    pub(super) fn constant(
        &mut self,
        name: &str,
        rows: usize,
        width: usize,
        values: &[f32],
    ) -> Rc<Tensor> {
        let row_bytes = 4 * pad4(width) as u64;
        let tensor = self.gpu.tensor(name, rows as u64 * row_bytes);
        for (row, piece) in values.chunks(width).enumerate() {
            self.gpu.write(&tensor, row as u64 * row_bytes, piece);
        }
        self.constant_bytes += tensor.bytes();
        Rc::new(tensor)
    }

    /// The unembedding: `wte` if it is tied, else `lm_head.weight`; with `bias` on the logits.
    pub(super) fn unembed(
        &mut self,
        config: &Config,
        wte: &Rc<Vec<Shard>>,
        bias: Option<&str>,
    ) -> Rc<Vec<Shard>> {
        match config.tie_word_embeddings {
            true => Rc::clone(wte),
            false => self.embedding("lm_head.weight", config.vocab_size, config.n_embd, bias),
        }
    }

    /// `name`, an embedding \[V, C\], in shards of whole rows; if it unembeds with a bias on the
    /// logits, that is `bias` \[V\].
    pub(super) fn embedding(
        &mut self,
        name: &str,
        rows: usize,
        width: usize,
        bias: Option<&str>,
    ) -> Rc<Vec<Shard>> {
        let row_bytes = pad4(width) * self.precision.bytes();
        let most = (self.shard_bytes / row_bytes).clamp(1, MAX_SHARD_ROWS);
        // Whole groups of four rows, unless the limit (of a test) is smaller than that.
        let most = if most >= 4 { most / 4 * 4 } else { most };
        let mut shards = Vec::new();
        let (mut first_id, mut first_column) = (0, 0);
        while first_id < rows {
            let n = most.min(rows - first_id);
            let matrix = Matrix::outputs(self.gpu, name, width, n, self.precision);
            let bias = bias.map(|name| self.gpu.tensor(name, 4 * pad4(n) as u64));
            shards.push(Shard { matrix, first_id, first_column, bias });
            first_id += n;
            first_column += pad4(n);
        }
        let shards = Rc::new(shards);
        self.require(name.into(), &[rows, width], Sink::Outputs(shards.clone()));
        if let Some(bias) = bias {
            self.require(bias.into(), &[rows], Sink::ShardBiases(shards.clone()));
        }
        shards
    }
}
