//! The forward pass over a block of positions.

use std::ops::Range;

use crate::device::{Recorder, Tensor};
use crate::error::Result;
use crate::kernels::{Attention, Embed, LayerNorm, Matmul, Rows};

use super::{Block, Edits, Half, Linear, Model, NormWeights, Scratch, Stream, Tap};

/// Runs positions `start..start + n` through the model and leaves the residual stream in the taps.
///
/// The stream must hold the keys and values of the positions before `start`. The numbers of a position
/// depend only on the tokens up to it, not on how the text is cut into blocks. From block `first_block` on everything is
/// computed; what comes before must be there.
///
/// Errors: `missing-tensor` of a partial model, `aborted`, `device-lost`, `gpu-refused`, `out-of-memory`.
/// Source: Radford et al. 2019, GPT-2; names of activations as in TransformerLens.
pub async fn forward(
    rec: &mut Recorder<'_>,
    pass: &Pass<'_>,
    stream: &Stream,
    first_block: usize,
) -> Result<()> {
    if first_block == 0 {
        pass.embed(rec, stream)?;
    }
    let blocks = pass.model.whole()?.blocks.iter().zip(stream.keys.iter().zip(&stream.values));
    for (i, (block, (keys, values))) in blocks.enumerate().skip(first_block) {
        let resid_pre = pass.positions_of(stream.resid_pre(i));
        let resid_mid = match stream.resid_mid(i) {
            Some(tap) => pass.positions_of(tap),
            None => pass.scratch_rows(&pass.scratch.mid),
        };
        let resid_post = pass.positions_of(stream.resid_post(i));
        pass.attn(rec, (i, block), resid_pre, keys, values, resid_mid)?;
        pass.mlp(rec, (i, block), resid_mid, resid_post)?;
        rec.yield_now().await?;
    }
    Ok(())
}

/// The arguments that every step of a pass over positions `start..start + n` shares.
pub struct Pass<'a> {
    /// The model.
    pub model: &'a Model,
    /// The intermediate activations.
    pub scratch: &'a Scratch,
    /// The edits of the run.
    pub edits: &'a Edits,
    /// The first position.
    pub start: usize,
    /// Rows: positions, of all runs.
    pub n: usize,
    /// Runs of a sweep that begin at the same position; 1 for a text.
    pub n_runs: usize,
    /// Whether each position attends to itself only: what the model makes of a token without the others.
    pub is_alone: bool,
}

impl Pass<'_> {
    /// The rows of these positions in a tensor over the whole text. Shapes: \[T, C4\].
    pub(crate) fn positions_of<'t>(&self, tensor: &'t Tensor) -> Rows<'t> {
        Rows::new(tensor, self.start, self.model.config.n_embd)
    }

    /// The rows of these positions in a tensor over this pass only. Shapes: \[n, C4\].
    pub(crate) fn scratch_rows<'t>(&self, tensor: &'t Tensor) -> Rows<'t> {
        Rows::new(tensor, 0, self.model.config.n_embd)
    }

    fn positions(&self) -> Range<usize> {
        self.start..self.start + self.n
    }

    /// input = scale · wte\[id\] + wpe\[position\].
    fn embed(&self, rec: &mut Recorder<'_>, stream: &Stream) -> Result<()> {
        self.embed_into(rec, stream, self.positions_of(stream.input()))
    }

    /// The same, to other rows.
    pub(crate) fn embed_into(
        &self,
        rec: &mut Recorder<'_>,
        stream: &Stream,
        y: Rows<'_>,
    ) -> Result<()> {
        let weights = &self.edits.weights;
        let wpe = match &weights.wpe {
            Some(wpe) => wpe,
            None => self.model.wpe()?,
        };
        let op = Embed {
            ids: &stream.ids,
            wte: self.model.wte()?,
            wpe,
            scale: self.model.config.embedding_scale(),
            factors: weights.embed.as_ref(),
            first_position: self.start,
            n_rows: self.n,
            y,
        };
        self.model.kernels.embed(rec, &op)?;
        self.edits.edit_tap(rec, self.model, Tap::Input, y, self.positions())
    }

    /// y = x + attn(ln_1 x). Writes the keys and values of these positions. Shapes: keys and values
    /// \[T, C4\].
    pub(crate) fn attn(
        &self,
        rec: &mut Recorder<'_>,
        (i, block): (usize, &Block),
        x: Rows<'_>,
        keys: &Tensor,
        values: &Tensor,
        y: Rows<'_>,
    ) -> Result<()> {
        let Scratch { q, mixed, .. } = self.scratch;
        let (mixed_rows, edits) = (self.scratch_rows(mixed), self.edits);
        self.queries(rec, (i, block), x, keys, values)?;
        self.model.kernels.attention(
            rec,
            &Attention {
                q,
                k: keys,
                v: values,
                first_position: self.start,
                n_rows: self.n,
                n_runs: self.n_runs,
                n_head: self.model.config.n_head,
                head_dim: self.model.config.head_dim(),
                scale: block.attn_scale,
                window: if self.is_alone { Some(1) } else { block.window },
                y: mixed,
            },
        )?;
        edits.edit_inner(rec, self.model, (i, Half::Attn), mixed_rows, self.positions())?;
        self.linear_onto(rec, mixed_rows, &block.attn_out, x, y)?;
        self.edit_half(rec, (i, Half::Attn), [x, y])
    }

    /// The queries, keys and values of ln_1 x. Shapes: keys and values \[T, C4\].
    pub(crate) fn queries(
        &self,
        rec: &mut Recorder<'_>,
        (i, block): (usize, &Block),
        x: Rows<'_>,
        keys: &Tensor,
        values: &Tensor,
    ) -> Result<()> {
        let normed = self.scratch_rows(&self.scratch.normed);
        self.norm(rec, x, self.edits.weights.norm(i, Half::Attn, block), normed)?;
        let others = Some([keys, values].map(|tensor| self.positions_of(tensor)));
        let op = self.operands(normed, &block.qkv, self.scratch_rows(&self.scratch.q));
        self.model.kernels.matmul(rec, &Matmul { others, ..op })
    }

    /// y = x + mlp(ln_2 x).
    pub(crate) fn mlp(
        &self,
        rec: &mut Recorder<'_>,
        (i, block): (usize, &Block),
        x: Rows<'_>,
        y: Rows<'_>,
    ) -> Result<()> {
        let edits = self.edits;
        let normed = self.scratch_rows(&self.scratch.normed);
        let hidden = Rows::new(&self.scratch.hidden, 0, self.model.config.n_inner);
        self.norm(rec, x, edits.weights.norm(i, Half::Mlp, block), normed)?;
        self.linear(rec, normed, &block.mlp_in, hidden)?;
        edits.edit_inner(rec, self.model, (i, Half::Mlp), hidden, self.positions())?;
        self.linear_onto(rec, hidden, &block.mlp_out, x, y)?;
        self.edit_half(rec, (i, Half::Mlp), [x, y])
    }

    /// Edits what half of a block adds, then the stream behind it.
    fn edit_half(
        &self,
        rec: &mut Recorder<'_>,
        half: (usize, Half),
        [x, y]: [Rows<'_>; 2],
    ) -> Result<()> {
        let (edits, positions) = (self.edits, self.positions());
        edits.edit_sum(rec, self.model, half, None, [x, y], positions.clone())?;
        edits.edit_tap(rec, self.model, Tap::After(half.0, half.1), y, positions)
    }

    fn norm(
        &self,
        rec: &mut Recorder<'_>,
        x: Rows<'_>,
        norm: &NormWeights,
        y: Rows<'_>,
    ) -> Result<()> {
        let config = &self.model.config;
        self.model.kernels.layer_norm(
            rec,
            &LayerNorm {
                x,
                others: &[],
                affine: Some((&norm.gain, &norm.bias)),
                epsilon: Some(config.layer_norm_epsilon),
                n_embd: config.n_embd,
                n_rows: self.n,
                y,
            },
        )
    }

    /// y = activation(x W + bias).
    pub(crate) fn linear(
        &self,
        rec: &mut Recorder<'_>,
        x: Rows<'_>,
        linear: &Linear,
        y: Rows<'_>,
    ) -> Result<()> {
        self.model.kernels.matmul(rec, &self.operands(x, linear, y))
    }

    /// y = residual + activation(x W + bias).
    fn linear_onto(
        &self,
        rec: &mut Recorder<'_>,
        x: Rows<'_>,
        linear: &Linear,
        residual: Rows<'_>,
        y: Rows<'_>,
    ) -> Result<()> {
        let op = Matmul { residual: Some(residual), ..self.operands(x, linear, y) };
        self.model.kernels.matmul(rec, &op)
    }

    fn operands<'t>(&self, x: Rows<'t>, linear: &'t Linear, y: Rows<'t>) -> Matmul<'t> {
        Matmul {
            bias: linear.bias.as_deref(),
            activation: linear.activation,
            ..Matmul::new(x, &linear.weight, self.n, y)
        }
    }
}
