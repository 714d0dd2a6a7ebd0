//! The forward pass over a block of positions.

use std::ops::Range;

use crate::device::{Recorder, Tensor};
use crate::error::Result;
use crate::kernels::{Attention, Embed, LayerNorm, Matmul, Rows};

use super::{Block, Edits, Half, Linear, Model, NormWeights, Scratch, Stream, Tap};

/// Runs positions `start..start + n` through one transformer block after the other, and leaves the residual stream in the
/// taps.
///
/// The stream must hold the taps of the positions before `start`, and their keys and values if it keeps them; otherwise
/// these are computed again. The numbers of a position depend only on the tokens up to it, not on how many positions are
/// computed at a time. From block `first_block` on everything is computed; what comes before must be there. Of a stream
/// that keeps no keys and values, a text is best computed at once.
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
        for part in pass.parts() {
            part.embed(rec, stream)?;
        }
    }
    let before = Pass { start: 0, n: if stream.keeps_cache() { 0 } else { pass.start }, ..*pass };
    for (i, block) in pass.model.whole()?.blocks.iter().enumerate().skip(first_block) {
        let [keys, values] = stream.cache(i);
        before.recall(rec, (i, block), stream, [keys, values])?;
        for part in pass.parts() {
            let resid_pre = part.positions_of(stream.resid_pre(i));
            let resid_mid = match stream.resid_mid(i) {
                Some(tap) => part.positions_of(tap),
                None => part.scratch_rows(&part.scratch.mid),
            };
            let resid_post = part.positions_of(stream.resid_post(i));
            part.attn(rec, (i, block), resid_pre, keys, values, resid_mid)?;
            part.mlp(rec, (i, block), resid_mid, resid_post)?;
            rec.yield_now().await?;
        }
    }
    stream.cached(pass.start + pass.n);
    Ok(())
}

/// Computes keys and values of positions that were copied from a stream that did not keep them. The pass is over all
/// positions that were copied.
///
/// Errors: those of [`forward`].
pub async fn complete(rec: &mut Recorder<'_>, pass: &Pass<'_>, stream: &Stream) -> Result<()> {
    let (first, end) = (stream.n_cached(), pass.start + pass.n);
    if !stream.keeps_cache() || first >= end {
        return Ok(());
    }
    let missing = Pass { start: first, n: end - first, ..*pass };
    for (i, block) in pass.model.whole()?.blocks.iter().enumerate() {
        missing.recall(rec, (i, block), stream, stream.cache(i))?;
        rec.yield_now().await?;
    }
    stream.cached(end);
    Ok(())
}

/// The arguments that every step of a pass over positions `start..start + n` shares.
#[derive(Clone, Copy)]
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

impl<'a> Pass<'a> {
    /// The same over as many positions at a time as the scratch tensors hold. Not for a sweep.
    fn parts(&self) -> impl Iterator<Item = Pass<'a>> + use<'a> {
        let (pass, end) = (*self, self.start + self.n);
        let starts = (pass.start..end).step_by(pass.scratch.n_rows.max(1));
        starts.map(move |start| Pass { start, n: pass.scratch.n_rows.min(end - start), ..pass })
    }

    /// Computes the keys and values of one block from its tap; the queries, which stand beside them in one matrix, are
    /// not used. All of it may be one submission: some 20 GFLOP at most. Shapes: keys, values \[≥ start + n, C4\].
    ///
    /// Errors: `bad-shape`.
    pub(crate) fn recall(
        &self,
        rec: &mut Recorder<'_>,
        (i, block): (usize, &Block),
        stream: &Stream,
        [keys, values]: [&Tensor; 2],
    ) -> Result<()> {
        for part in self.parts() {
            let x = part.positions_of(stream.resid_pre(i));
            part.queries(rec, (i, block), x, keys, values)?;
        }
        Ok(())
    }

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
        let (q, mixed) = (self.scratch.q(), self.scratch.mixed());
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
        let normed = self.scratch_rows(self.scratch.normed());
        self.norm(rec, x, self.edits.weights.norm(i, Half::Attn, block), normed)?;
        let others = Some([keys, values].map(|tensor| self.positions_of(tensor)));
        let op = self.operands(normed, &block.qkv, self.scratch_rows(self.scratch.q()));
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
        let normed = self.scratch_rows(self.scratch.normed());
        let hidden = Rows::new(self.scratch.hidden(), 0, self.model.config.n_inner);
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
