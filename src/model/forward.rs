//! The forward pass over a block of positions, as one would read it aloud.

use crate::error::Result;
use crate::gpu::{Recorder, Tensor};
use crate::kernels::{Attention, Embed, LayerNorm, Matmul, Rows};

use super::{Linear, Model, Norm, Scratch, Stream};

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
    let (config, weights) = (&model.config, &model.weights);
    let c = config.n_embd;
    let pass = Pass { model, n };
    let at = |tensor| Rows::new(tensor, start, c);
    let here = |tensor| Rows::new(tensor, 0, c);
    let hidden = Rows::new(&scratch.hidden, 0, config.n_inner);

    model.kernels.embed(
        rec,
        &Embed {
            ids: &stream.ids,
            wte: &weights.wte,
            wpe: &weights.wpe,
            first_position: start,
            n_rows: n,
            y: at(&stream.taps[0]),
        },
    )?;
    for (i, block) in weights.blocks.iter().enumerate() {
        let resid_pre = at(&stream.taps[i]);
        pass.norm(rec, resid_pre, &block.ln_1, &scratch.normed)?;
        pass.linear(rec, here(&scratch.normed), &block.q, None, here(&scratch.q))?;
        pass.linear(rec, here(&scratch.normed), &block.k, None, at(&stream.keys[i]))?;
        pass.linear(rec, here(&scratch.normed), &block.v, None, at(&stream.values[i]))?;
        model.kernels.attention(
            rec,
            &Attention {
                q: &scratch.q,
                k: &stream.keys[i],
                v: &stream.values[i],
                first_position: start,
                n_rows: n,
                n_head: config.n_head,
                head_dim: config.head_dim(),
                scale: block.attn_scale,
                y: &scratch.mixed,
            },
        )?;
        let resid_mid = here(&scratch.mid);
        pass.linear(rec, here(&scratch.mixed), &block.attn_out, Some(resid_pre), resid_mid)?;
        pass.norm(rec, resid_mid, &block.ln_2, &scratch.normed)?;
        pass.gelu_linear(rec, here(&scratch.normed), &block.mlp_in, hidden)?;
        let resid_post = at(&stream.taps[i + 1]);
        pass.linear(rec, hidden, &block.mlp_out, Some(resid_mid), resid_post)?;
        rec.breathe().await?;
    }
    Ok(())
}

/// What every call of one pass shares.
struct Pass<'a> {
    model: &'a Model,
    n: usize,
}

impl Pass<'_> {
    fn norm(&self, rec: &mut Recorder<'_>, x: Rows<'_>, norm: &Norm, y: &Tensor) -> Result<()> {
        let config = &self.model.config;
        self.model.kernels.layer_norm(
            rec,
            &LayerNorm {
                x,
                affine: Some((&norm.gain, &norm.bias)),
                epsilon: config.layer_norm_epsilon,
                n_embd: config.n_embd,
                n_rows: self.n,
                y: Rows::new(y, 0, config.n_embd),
            },
        )
    }

    fn linear(
        &self,
        rec: &mut Recorder<'_>,
        x: Rows<'_>,
        linear: &Linear,
        residual: Option<Rows<'_>>,
        y: Rows<'_>,
    ) -> Result<()> {
        self.matmul(rec, x, linear, false, residual, y)
    }

    fn gelu_linear(
        &self,
        rec: &mut Recorder<'_>,
        x: Rows<'_>,
        linear: &Linear,
        y: Rows<'_>,
    ) -> Result<()> {
        self.matmul(rec, x, linear, true, None, y)
    }

    fn matmul(
        &self,
        rec: &mut Recorder<'_>,
        x: Rows<'_>,
        linear: &Linear,
        gelu: bool,
        residual: Option<Rows<'_>>,
        y: Rows<'_>,
    ) -> Result<()> {
        self.model.kernels.matmul(
            rec,
            &Matmul {
                x,
                weight: &linear.weight,
                columns4: None,
                bias: Some(&linear.bias),
                gelu,
                residual,
                n_rows: self.n,
                y,
                y_column4: 0,
            },
        )
    }
}
