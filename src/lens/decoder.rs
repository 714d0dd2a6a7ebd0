//! The decoder: from the residual stream through the norm to the unembedding.

use crate::device::{Recorder, Tensor};
use crate::error::Result;
use crate::kernels::{Blend, LayerNorm, Matmul, Rows, Shard, pad4};
use crate::model::{EditedWeights, Model, NormWeights};

use super::Norm;
use super::fold::Span;

/// Norm and unembedding of a model.
pub struct Decoder<'a> {
    pub(super) model: &'a Model,
    norm: Norm,
    /// Gain and bias of the norm, where there are any.
    affine: Option<NormWeights>,
    /// Factors on channels of what is unembedded, where they are not those of a norm.
    factors: Vec<(usize, f32)>,
    pub(super) unembed: &'a [Shard],
}

impl<'a> Decoder<'a> {
    /// The decoder of `model` with that norm.
    ///
    /// Errors: `missing-tensor` of a partial model.
    pub fn new(model: &'a Model, norm: Norm) -> Result<Decoder<'a>> {
        Decoder::edited(model, norm, &EditedWeights::default())
    }

    /// The same of a model whose weights are edited.
    ///
    /// Errors: `missing-tensor` of a partial model.
    pub fn edited(model: &'a Model, norm: Norm, weights: &EditedWeights) -> Result<Decoder<'a>> {
        let affine = match norm {
            Norm::Affine => Some(weights.ln_f.clone().map_or_else(|| model.ln_f(), Ok)?),
            Norm::Plain => weights.plain.clone(),
            Norm::None => None,
        };
        let factors = if norm == Norm::None { weights.unembed.clone() } else { Vec::new() };
        Ok(Decoder { model, norm, affine, factors, unembed: model.unembed()? })
    }

    /// Without a norm, over other rows than those of the unembedding.
    pub fn over(model: &'a Model, unembed: &'a [Shard]) -> Decoder<'a> {
        Decoder { model, norm: Norm::None, affine: None, factors: Vec::new(), unembed }
    }

    /// The model.
    pub fn model(&self) -> &'a Model {
        self.model
    }

    /// Gain and bias behind the norm, where there are any. Shapes: \[C4\] each.
    pub fn affine(&self) -> Option<(&Tensor, &Tensor)> {
        self.affine.as_ref().map(|affine| (&*affine.gain, &*affine.bias))
    }

    /// Factors on channels of what is unembedded, where there is no norm.
    pub fn factors(&self) -> &[(usize, f32)] {
        &self.factors
    }

    /// Columns of the logits of all shards side by side, each shard padded to four.
    pub(super) fn logit_columns(&self) -> usize {
        let last = self.unembed.last();
        last.map_or(0, |s| s.first_column + pad4(s.matrix.n_out))
    }

    /// Applies the norm to `n` rows, each by its own mean and variance.
    pub fn normalise(
        &self,
        rec: &mut Recorder<'_>,
        from: Rows<'_>,
        to: Rows<'_>,
        n: usize,
    ) -> Result<()> {
        self.normalise_each(rec, &[from], to, n, true)
    }

    /// The same of `n` rows of each of at most [`MAX_INPUTS`](crate::kernels::MAX_INPUTS) tensors, one after the other; the first row has the same index
    /// in all of them. Of what predicts the normalised stream (not `is_stream`), mean and variance stay.
    pub(super) fn normalise_each(
        &self,
        rec: &mut Recorder<'_>,
        from: &[Rows<'_>],
        to: Rows<'_>,
        n: usize,
        is_stream: bool,
    ) -> Result<()> {
        let Some((&x, others)) = from.split_first() else { return Ok(()) };
        if self.norm == Norm::None {
            let row_bytes = 16 * to.width4 as u64;
            let (from_byte, bytes) = (x.first as u64 * row_bytes, n as u64 * row_bytes);
            let mut to_byte = to.first as u64 * row_bytes;
            for rows in from {
                rec.copy(rows.tensor, from_byte, to.tensor, to_byte, bytes);
                to_byte += bytes;
            }
            return self.scale_channels(rec, from, to, n);
        }
        let config = &self.model.config;
        self.model.kernels.layer_norm(
            rec,
            &LayerNorm {
                x,
                others: &others.iter().map(|rows| rows.tensor).collect::<Vec<_>>(),
                affine: self.affine(),
                epsilon: is_stream.then_some(config.layer_norm_epsilon),
                n_embd: config.n_embd,
                n_rows: n,
                y: to,
            },
        )
    }

    /// Multiplies channels of copied rows.
    fn scale_channels(
        &self,
        rec: &mut Recorder<'_>,
        from: &[Rows<'_>],
        to: Rows<'_>,
        n: usize,
    ) -> Result<()> {
        for (i, &x) in from.iter().enumerate() {
            for &(channel, scale) in &self.factors {
                let channels = channel..channel + 1;
                let y = Rows { first: to.first + i * n, ..to };
                let op = Blend { x, is_one: false, scale, adds: false, channels, n_rows: n, y };
                self.model.kernels.blend(rec, &op)?;
            }
        }
        Ok(())
    }

    /// Logits of `n` normalised rows over a span of the vocabulary, from group `y_column4` of `y` on.
    pub(super) fn logits(
        &self,
        rec: &mut Recorder<'_>,
        x: Rows<'_>,
        n: usize,
        span: &Span<'_>,
        y: Rows<'_>,
        y_column4: usize,
    ) -> Result<()> {
        let first4 = span.column / 4;
        let op = Matmul {
            columns4: first4..first4 + span.n_columns.div_ceil(4),
            bias: span.shard.bias.as_ref(),
            y_column4,
            ..Matmul::new(x, &span.shard.matrix, n, y)
        };
        self.model.kernels.matmul(rec, &op)
    }
}
