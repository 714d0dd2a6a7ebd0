//! The last LayerNorm and the unembedding of a model by themselves, on their way to another engine that reads rows.

use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::device::{Device, Tensor};
use crate::error::{Error, Result};
use crate::kernels::{Kernels, Matrix, Precision, Shard, pad4};

use super::weights::{NormWeights, PartialNorm, PartialWeights};
use super::{Model, Parameters};

/// Largest piece of a copy. Units: bytes.
const PIECE: u64 = 4 << 20;

/// Sizes of a copy; the tensors follow in pieces: of each shard the matrix and the biases, then gain and bias of ln_f.
#[derive(Serialize, Deserialize)]
struct Header {
    n_embd: usize,
    vocab_size: usize,
    layer_norm_epsilon: f32,
    is_f16: bool,
    /// Rows and whether there are biases, by shard.
    shards: Vec<(usize, bool)>,
}

impl Model {
    /// Passes the header of a copy on, then its pieces in order.
    ///
    /// Errors: `missing-tensor` of a partial model, `device-lost`, `gpu-refused`, and those of `send`.
    pub async fn send_decoder(
        &self,
        device: &Device,
        mut send: impl FnMut(Piece<'_>) -> Result<()>,
    ) -> Result<()> {
        let (unembed, ln_f) = (self.unembed()?, self.ln_f()?);
        let header = Header {
            n_embd: self.config.n_embd,
            vocab_size: self.config.vocab_size,
            layer_norm_epsilon: self.config.layer_norm_epsilon,
            is_f16: self.precision == Precision::F16,
            shards: unembed
                .iter()
                .map(|shard| (shard.matrix.n_out, shard.bias.is_some()))
                .collect(),
        };
        let header = serde_json::to_string(&header).map_err(|e| Error::Corrupt(e.to_string()))?;
        send(Piece::Header(&header))?;
        let shards =
            unembed.iter().flat_map(|shard| [Some(&shard.matrix.tensor), shard.bias.as_ref()]);
        for tensor in shards.flatten().chain([&*ln_f.gain, &*ln_f.bias]) {
            let mut start = 0;
            while start < tensor.bytes() {
                let end = tensor.bytes().min(start + PIECE);
                let read: Vec<Vec<u8>> = device.read_ranges(&[(tensor, start..end)]).await?;
                send(Piece::Bytes(read.first().map_or(&[], Vec::as_slice)))?;
                start = end;
            }
        }
        Ok(())
    }
}

/// Part of a copy.
pub enum Piece<'a> {
    /// The header, as JSON.
    Header(&'a str),
    /// The next bytes.
    Bytes(&'a [u8]),
}

/// A copy that is being received.
pub struct DecoderCopy {
    config: Config,
    kernels: Rc<Kernels>,
    precision: Precision,
    shards: Vec<Shard>,
    gain: Tensor,
    bias: Tensor,
    /// Tensor and byte of it at which the next piece belongs.
    at: (usize, u64),
}

impl DecoderCopy {
    /// The precision that a header names.
    ///
    /// Errors: `bad-header`.
    pub fn precision(header: &str) -> Result<Precision> {
        let header: Header = parse(header)?;
        Ok(if header.is_f16 { Precision::F16 } else { Precision::F32 })
    }

    /// Allocates what a header announces.
    ///
    /// Errors: `bad-header`, `out-of-memory`.
    pub async fn new(device: &Device, kernels: Rc<Kernels>, header: &str) -> Result<DecoderCopy> {
        let Header { n_embd, vocab_size, layer_norm_epsilon, is_f16, shards } = parse(header)?;
        let precision = if is_f16 { Precision::F16 } else { Precision::F32 };
        let config = Config { n_embd, vocab_size, layer_norm_epsilon, ..Config::unknown() };
        let allocate = || {
            let (mut first_id, mut first_column) = (0, 0);
            let shards = shards.iter().map(|&(rows, has_bias)| {
                let matrix = Matrix::outputs(device, "unembedding", n_embd, rows, precision);
                let bias = has_bias.then(|| device.tensor("bias", 4 * pad4(rows) as u64));
                let matrix = Rc::new(matrix);
                let shard = Shard { matrix, first_id, first_column, bias };
                (first_id, first_column) = (first_id + rows, first_column + pad4(rows));
                shard
            });
            let norm = || device.tensor("ln_f", 4 * pad4(n_embd) as u64);
            Ok((shards.collect::<Vec<_>>(), norm(), norm()))
        };
        let (shards, gain, bias) = device.allocate("the unembedding", allocate).await?;
        Ok(DecoderCopy { config, kernels, precision, shards, gain, bias, at: (0, 0) })
    }

    fn tensors(&self) -> Vec<&Tensor> {
        let shards = self.shards.iter().flat_map(|s| [Some(&s.matrix.tensor), s.bias.as_ref()]);
        shards.flatten().chain([&self.gain, &self.bias]).collect()
    }

    /// Takes the next piece; true once the copy is complete.
    ///
    /// Errors: `corrupt` for a piece that does not fit.
    pub fn push(&mut self, device: &Device, bytes: &[u8]) -> Result<bool> {
        let (index, offset) = self.at;
        let tensors = self.tensors();
        let n = bytes.len() as u64;
        let Some(&tensor) =
            tensors.get(index).filter(|t| offset + n <= t.bytes() && n.is_multiple_of(4))
        else {
            return Err(Error::Corrupt("the copy of the unembedding".into()));
        };
        device.write(tensor, offset, bytes);
        let is_full = offset + n == tensor.bytes();
        let n_tensors = tensors.len();
        self.at = if is_full { (index + 1, 0) } else { (index, offset + n) };
        Ok(self.at.0 == n_tensors)
    }

    /// The model that a complete copy is: one without blocks and embedding.
    pub fn into_model(self) -> Model {
        let weight_bytes = self.tensors().iter().map(|tensor| tensor.bytes()).sum();
        let DecoderCopy { config, kernels, precision, shards, gain, bias, .. } = self;
        let NormWeights { gain, bias } = NormWeights { gain: Rc::new(gain), bias: Rc::new(bias) };
        let norm = PartialNorm { name: "ln_f".into(), gain: Some(gain), bias: Some(bias) };
        let weights = PartialWeights {
            unembed: Some(Rc::new(shards)),
            norms: vec![norm],
            ..PartialWeights::default()
        };
        let parameters = Parameters::Partial(weights);
        Model { config, kernels, parameters, weight_bytes, precision, extra_tensors: Vec::new() }
    }
}

fn parse(header: &str) -> Result<Header> {
    serde_json::from_str(header).map_err(|e| Error::BadHeader(e.to_string()))
}
