//! Which tensor of the file fills which weight: built together with the weights, name by name.

use std::collections::HashMap;
use std::rc::Rc;

use crate::config::Config;
use crate::device::{Device, Tensor};
use crate::error::Result;
use crate::kernels::{Matrix, Order, Precision, Shard, pad4};

use super::weights::{Block, Linear, NormWeights};

/// Largest shard of the embedding table: WebGPU's default binding limit is 128 MiB. Units: bytes.
pub const DEFAULT_SHARD_BYTES: usize = 64 << 20;

/// What the rows of one file tensor fill.
pub(super) enum Sink {
    /// One row of `n` vectors of equal length, each padded to `padded_bytes`, from vector `first` of the tensor on. f32.
    Vectors { to: Rc<Tensor>, first: usize, n: usize, padded_bytes: u64 },
    /// Rows of f32, each padded to C4.
    Table(Rc<Tensor>),
    /// Rows are inputs of all parts of a matrix.
    Inputs(Rc<Matrix>),
    /// Rows are outputs, in shards.
    Outputs(Rc<Vec<Shard>>),
    /// Rows are the outputs of one part of a matrix.
    Linear(Rc<Matrix>, usize),
    /// One row: the biases of the shards' tokens. f32.
    ShardBiases(Rc<Vec<Shard>>),
}

impl Sink {
    fn bytes(&self) -> u64 {
        match self {
            Sink::Vectors { n, padded_bytes, .. } => *n as u64 * padded_bytes,
            Sink::Table(tensor) => tensor.bytes(),
            Sink::Inputs(matrix) => matrix.tensor.bytes(),
            Sink::Outputs(shards) => shards.iter().map(|s| s.matrix.tensor.bytes()).sum(),
            Sink::Linear(matrix, _) => matrix.tensor.bytes() / matrix.n_parts as u64,
            Sink::ShardBiases(shards) => biases(shards).map(|b| b.bytes()).sum(),
        }
    }
}

fn biases(shards: &[Shard]) -> impl Iterator<Item = &Tensor> {
    shards.iter().filter_map(|shard| shard.bias.as_ref())
}

/// Checks that every tensor of a model and of a text of full length fits one binding. All later sizes
/// are smaller, so they fit 32 bits.
///
/// Errors: `unsupported-model`.
pub(super) fn check_sizes(device: &Device, config: &Config, precision: Precision) -> Result<()> {
    let wide = |n: usize| pad4(n) as u64;
    let (c, inner) = (wide(config.n_embd), wide(config.n_inner));
    device.check_binding("an MLP matrix", c * inner * precision.bytes() as u64)?;
    device.check_binding("queries, keys and values", 3 * c * c * precision.bytes() as u64)?;
    device.check_binding("the position embedding", config.n_ctx as u64 * c * 4)?;
    // There are two contributions for each block, and the input and the final row; at most 640 rows are read at once,
    // unless one position has more.
    let rows = 640.max(2 * config.n_layer as u64 + 2);
    device.check_binding("the decoded rows of a block", rows * c * 4)
}

/// One expected tensor.
pub(super) struct Expected {
    pub(super) shape: Vec<u64>,
    pub(super) sink: Sink,
}

impl Expected {
    /// How its numbers are stored: only matrices are stored in less than f32.
    pub(super) fn stored_in(&self, precision: Precision) -> Precision {
        match self.sink {
            Sink::Inputs(_) | Sink::Outputs(_) | Sink::Linear(..) => precision,
            Sink::Vectors { .. } | Sink::Table(_) | Sink::ShardBiases(_) => Precision::F32,
        }
    }
}

/// Allocates weights and records which tensor fills each.
pub(super) struct Plan<'a> {
    device: &'a Device,
    precision: Precision,
    shard_bytes: usize,
    pub(super) expected: HashMap<String, Expected>,
    /// Size of tables that no file holds. Units: bytes.
    constant_bytes: u64,
}

impl<'a> Plan<'a> {
    pub(super) fn new(device: &'a Device, precision: Precision, shard_bytes: usize) -> Plan<'a> {
        Plan { device, precision, shard_bytes, expected: HashMap::new(), constant_bytes: 0 }
    }

    /// Size of everything allocated. Units: bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.constant_bytes + self.expected.values().map(|e| e.sink.bytes()).sum::<u64>()
    }

    /// Allocates some of the weights, and fails as soon as the device has no memory for them.
    ///
    /// Errors: `out-of-memory`, `gpu-refused`, `device-lost`.
    pub(super) async fn step<V>(&mut self, allocate: impl FnOnce(&mut Self) -> V) -> Result<V> {
        let device = self.device;
        device.allocate("the model's weights", || Ok(allocate(self))).await
    }

    /// The blocks of a model, one step each.
    ///
    /// Errors: those of [`Plan::step`].
    pub(super) async fn blocks(
        &mut self,
        config: &Config,
        block: fn(&mut Self, &Config, usize) -> Block,
    ) -> Result<Vec<Block>> {
        let mut blocks = Vec::with_capacity(config.n_layer);
        for i in 0..config.n_layer {
            blocks.push(self.step(|plan| block(plan, config, i)).await?);
        }
        Ok(blocks)
    }

    fn require(&mut self, name: String, shape: &[usize], sink: Sink) {
        let shape = shape.iter().map(|&d| d as u64).collect();
        self.expected.insert(name, Expected { shape, sink });
    }

    /// `name.weight` and `name.bias` of a LayerNorm over `width` channels.
    pub(super) fn norm(&mut self, name: &str, width: usize) -> NormWeights {
        NormWeights {
            gain: self.vector(&format!("{name}.weight"), width),
            bias: self.vector(&format!("{name}.bias"), width),
        }
    }

    /// `name`, a vector of `width` values.
    pub(super) fn vector(&mut self, name: &str, width: usize) -> Rc<Tensor> {
        self.vectors(name, width, 1)
    }

    /// `name`, `n` vectors of `width` values one after the other. Shapes: \[n, width4\].
    fn vectors(&mut self, name: &str, width: usize, n: usize) -> Rc<Tensor> {
        let padded_bytes = 4 * pad4(width) as u64;
        let to = Rc::new(self.device.tensor(name, n as u64 * padded_bytes));
        let sink = Sink::Vectors { to: to.clone(), first: 0, n, padded_bytes };
        self.require(name.into(), &[n * width], sink);
        to
    }

    /// `name`, a table of f32 rows.
    pub(super) fn table(&mut self, name: &str, rows: usize, width: usize) -> Rc<Tensor> {
        let tensor = Rc::new(self.device.tensor(name, 4 * rows as u64 * pad4(width) as u64));
        self.require(name.into(), &[rows, width], Sink::Table(tensor.clone()));
        tensor
    }

    /// `name.weight` \[K, P·N\] and `name.bias` \[P·N\]: `n_parts` projections side by side (`Conv1D`).
    pub(super) fn conv1d(
        &mut self,
        name: &str,
        n_in: usize,
        n_out: usize,
        n_parts: usize,
    ) -> Linear {
        let file_name = format!("{name}.weight");
        let shape = [n_out, n_parts];
        let matrix =
            Matrix::new(self.device, &file_name, n_in, shape, self.precision, Order::Inputs);
        let weight = Rc::new(matrix);
        self.require(file_name, &[n_in, n_parts * n_out], Sink::Inputs(weight.clone()));
        let bias = Some(self.vectors(&format!("{name}.bias"), n_out, n_parts));
        Linear { weight, bias, activation: None }
    }

    /// `name.weight` \[N, K\] and, if it has one, `name.bias` \[N\] (`Linear`).
    pub(super) fn linear(
        &mut self,
        name: &str,
        n_in: usize,
        n_out: usize,
        has_bias: bool,
    ) -> Linear {
        self.linears(&[name.into()], n_in, n_out, has_bias)
    }

    /// The same of each name, side by side.
    pub(super) fn linears(
        &mut self,
        names: &[String],
        n_in: usize,
        n_out: usize,
        has_bias: bool,
    ) -> Linear {
        let n_parts = names.len();
        let label = names.first().map_or(String::new(), |name| format!("{name}.weight"));
        let shape = [n_out, n_parts];
        let matrix = Matrix::new(self.device, &label, n_in, shape, self.precision, Order::Outputs);
        let weight = Rc::new(matrix);
        let padded_bytes = 4 * pad4(n_out) as u64;
        let bias =
            has_bias.then(|| Rc::new(self.device.tensor(&label, n_parts as u64 * padded_bytes)));
        for (part, name) in names.iter().enumerate() {
            let sink = Sink::Linear(weight.clone(), part);
            self.require(format!("{name}.weight"), &[n_out, n_in], sink);
            if let Some(to) = &bias {
                let sink = Sink::Vectors { to: to.clone(), first: part, n: 1, padded_bytes };
                self.require(format!("{name}.bias"), &[n_out], sink);
            }
        }
        Linear { weight, bias, activation: None }
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
        let tensor = self.device.tensor(name, rows as u64 * row_bytes);
        for (row, piece) in values.chunks(width).enumerate() {
            self.device.write(&tensor, row as u64 * row_bytes, piece);
        }
        self.constant_bytes += tensor.bytes();
        Rc::new(tensor)
    }

    /// The unembedding: `wte` if it is tied, else `lm_head.weight`, with `bias` on the logits.
    ///
    /// Errors: those of [`Plan::step`].
    pub(super) async fn unembed(
        &mut self,
        config: &Config,
        wte: &Rc<Vec<Shard>>,
        bias: Option<&str>,
    ) -> Result<Rc<Vec<Shard>>> {
        let (v, c) = (config.vocab_size, config.n_embd);
        match config.tie_word_embeddings {
            true => Ok(Rc::clone(wte)),
            false => self.embedding("lm_head.weight", v, c, bias).await,
        }
    }

    /// `name`, an embedding \[V, C\], in shards of whole rows, one step each. If it unembeds with a bias
    /// on the logits, `bias` is the name of that tensor \[V\].
    ///
    /// Errors: those of [`Plan::step`].
    pub(super) async fn embedding(
        &mut self,
        name: &str,
        rows: usize,
        width: usize,
        bias: Option<&str>,
    ) -> Result<Rc<Vec<Shard>>> {
        let row_bytes = pad4(width) * self.precision.bytes();
        let most = (self.shard_bytes / row_bytes).max(1);
        // Whole groups of four rows, unless the limit (of a test) is smaller than that.
        let most = if most >= 4 { most / 4 * 4 } else { most };
        let mut shards = Vec::new();
        let (mut first_id, mut first_column) = (0, 0);
        while first_id < rows {
            let n = most.min(rows - first_id);
            let shard = |plan: &mut Self| Shard {
                matrix: Rc::new(Matrix::outputs(plan.device, name, width, n, plan.precision)),
                first_id,
                first_column,
                bias: bias.map(|name| plan.device.tensor(name, 4 * pad4(n) as u64)),
            };
            shards.push(self.step(shard).await?);
            first_id += n;
            first_column += pad4(n);
        }
        let shards = Rc::new(shards);
        self.require(name.into(), &[rows, width], Sink::Outputs(shards.clone()));
        if let Some(bias) = bias {
            self.require(bias.into(), &[rows], Sink::ShardBiases(shards.clone()));
        }
        Ok(shards)
    }
}
