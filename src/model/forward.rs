//! The forward pass over a block of positions, as one would read it aloud.

use crate::config::Activation;
use crate::error::Result;
use crate::gpu::{Recorder, Tensor};
use crate::kernels::{Attention, Embed, LayerNorm, Matmul, Rows};

use super::{Block, Linear, Model, Norm, Scratch, Stream};

/// Runs positions `start..start + n` through the model and leaves the residual stream in the taps.
///
/// Keys and values of the positions before `start` must be in the stream. A position's numbers
/// depend on the tokens up to it and on nothing else, not even on how the text is cut into blocks.
///
/// Errors: `aborted`, `device-lost`.
/// Source: Radford et al. 2019, GPT-2; names of activations as in TransformerLens.
pub async fn forward(
    rec: &mut Recorder<'_>,
    model: &Model,
    stream: &Stream,
    scratch: &Scratch,
    start: usize,
    n: usize,
) -> Result<()> {
    let weights = &model.weights;
    let pass = Pass { model, scratch, start, n };
    model.kernels.embed(
        rec,
        &Embed {
            ids: &stream.ids,
            wte: &weights.wte,
            wpe: &weights.wpe,
            scale: weights.wte_scale,
            first_position: start,
            n_rows: n,
            y: pass.at(stream.input()),
        },
    )?;
    for (i, block) in weights.blocks.iter().enumerate() {
        let resid_pre = pass.at(stream.resid_pre(i));
        let resid_mid = match stream.resid_mid(i) {
            Some(tap) => pass.at(tap),
            None => pass.here(&scratch.mid),
        };
        pass.attn(rec, block, resid_pre, &stream.keys[i], &stream.values[i], resid_mid)?;
        pass.mlp(rec, block, resid_mid, pass.at(stream.resid_post(i)))?;
        rec.breathe().await?;
    }
    Ok(())
}

/// What every call of one pass over positions `start..start + n` shares.
pub(crate) struct Pass<'a> {
    pub(crate) model: &'a Model,
    pub(crate) scratch: &'a Scratch,
    pub(crate) start: usize,
    pub(crate) n: usize,
}

impl<'a> Pass<'a> {
    /// These positions of a tensor that has all of a text. Shapes: \[T, C4\].
    pub(crate) fn at(&self, tensor: &'a Tensor) -> Rows<'a> {
        Rows::new(tensor, self.start, self.model.config.n_embd)
    }

    /// The first rows of a tensor that has only this pass. Shapes: \[rows, C4\].
    pub(crate) fn here(&self, tensor: &'a Tensor) -> Rows<'a> {
        Rows::new(tensor, 0, self.model.config.n_embd)
    }

    /// y = x + attn(ln_1 x); leaves the keys and values of these positions. Shapes: keys and
    /// values \[T, C4\].
    pub(crate) fn attn(
        &self,
        rec: &mut Recorder<'_>,
        block: &Block,
        x: Rows<'_>,
        keys: &Tensor,
        values: &Tensor,
        y: Rows<'_>,
    ) -> Result<()> {
        let (config, scratch) = (&self.model.config, self.scratch);
        let normed = self.here(&scratch.normed);
        let cached = |tensor| Rows::new(tensor, self.start, config.n_embd);
        self.norm(rec, x, &block.ln_1, normed)?;
        self.linear(rec, normed, &block.q, None, None, self.here(&scratch.q))?;
        self.linear(rec, normed, &block.k, None, None, cached(keys))?;
        self.linear(rec, normed, &block.v, None, None, cached(values))?;
        self.model.kernels.attention(
            rec,
            &Attention {
                q: &scratch.q,
                k: keys,
                v: values,
                first_position: self.start,
                n_rows: self.n,
                n_head: config.n_head,
                head_dim: config.head_dim(),
                scale: block.attn_scale,
                window: block.window,
                y: &scratch.mixed,
            },
        )?;
        self.linear(rec, self.here(&scratch.mixed), &block.attn_out, None, Some(x), y)
    }

    /// y = x + mlp(ln_2 x).
    pub(crate) fn mlp(
        &self,
        rec: &mut Recorder<'_>,
        block: &Block,
        x: Rows<'_>,
        y: Rows<'_>,
    ) -> Result<()> {
        let normed = self.here(&self.scratch.normed);
        let hidden = Rows::new(&self.scratch.hidden, 0, self.model.config.n_inner);
        self.norm(rec, x, &block.ln_2, normed)?;
        self.linear(rec, normed, &block.mlp_in, Some(block.activation), None, hidden)?;
        self.linear(rec, hidden, &block.mlp_out, None, Some(x), y)
    }

    fn norm(&self, rec: &mut Recorder<'_>, x: Rows<'_>, norm: &Norm, y: Rows<'_>) -> Result<()> {
        let config = &self.model.config;
        self.model.kernels.layer_norm(
            rec,
            &LayerNorm {
                x,
                affine: Some((&norm.gain, &norm.bias)),
                epsilon: config.layer_norm_epsilon,
                n_embd: config.n_embd,
                n_rows: self.n,
                y,
            },
        )
    }

    #[allow(clippy::too_many_arguments)] // the operands of one line of the paper
    fn linear(
        &self,
        rec: &mut Recorder<'_>,
        x: Rows<'_>,
        linear: &Linear,
        activation: Option<Activation>,
        residual: Option<Rows<'_>>,
        y: Rows<'_>,
    ) -> Result<()> {
        self.model.kernels.matmul(
            rec,
            &Matmul {
                x,
                weight: &linear.weight,
                columns4: None,
                bias: linear.bias.as_deref(),
                activation,
                residual,
                n_rows: self.n,
                y,
                y_column4: 0,
            },
        )
    }
}
