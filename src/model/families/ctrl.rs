//! CTRL: scaled embeddings, sinusoidal positions, ReLU, a bias on the logits.

use crate::config::{Config, single};
use crate::error::Result;
use crate::model::plan::Plan;
use crate::model::weights::{Block, Weights};

pub(super) async fn weights(plan: &mut Plan<'_>, config: &Config) -> Result<Weights> {
    let c = config.n_embd;
    // Where it is tied, the bias of the logits belongs to the shards of the embedding.
    let bias = Some("lm_head.bias");
    let tied_bias = bias.filter(|_| config.tie_word_embeddings);
    let wte = plan.embedding("w.weight", config.vocab_size, c, tied_bias).await?;
    let blocks = plan.blocks(config, block).await?;
    let unembed = plan.unembed(config, &wte, bias).await?;
    let outside = |plan: &mut Plan<'_>| {
        let wpe = plan.constant("positions", config.n_ctx, c, &sinusoids(config.n_ctx, c));
        Weights { wte, wpe, blocks, ln_f: plan.norm("layernorm", c), unembed }
    };
    plan.step(outside).await
}

fn block(plan: &mut Plan<'_>, config: &Config, i: usize) -> Block {
    let (c, inner) = (config.n_embd, config.n_inner);
    let attention = |part: &str| format!("h.{i}.multi_head_attention.{part}");
    Block {
        ln_1: plan.norm(&format!("h.{i}.layernorm1"), c),
        qkv: plan.linears(&["Wq", "Wk", "Wv"].map(attention), c, c, true),
        attn_out: plan.linear(&attention("dense"), c, c, true),
        attn_scale: config.attention_scale(i),
        window: config.windows.get(i).copied().flatten(),
        ln_2: plan.norm(&format!("h.{i}.layernorm2"), c),
        mlp_in: plan.linear(&format!("h.{i}.ffn.0"), c, inner, true).with(config.activation),
        mlp_out: plan.linear(&format!("h.{i}.ffn.2"), inner, c, true),
    }
}

/// sin(t / 10000^(2j/C)) for the channels of the first half, cos of the same for those of the second.
/// Shapes: \[n_ctx, C\].
///
/// Source: Keskar et al. 2019, CTRL; unlike Vaswani et al. 2017 the two are not interleaved.
fn sinusoids(n_ctx: usize, c: usize) -> Vec<f32> {
    let angle = |t: usize, j: usize| t as f64 / 10000f64.powf(2.0 * j as f64 / c as f64);
    let n_sines = c.div_ceil(2);
    let value = |t: usize, i: usize| match i < n_sines {
        true => angle(t, i).sin(),
        false => angle(t, i - n_sines).cos(),
    };
    (0..n_ctx * c).map(|at| single(value(at / c, at % c))).collect()
}

/// None: the mask is not a tensor here.
pub(super) const MASKS: [&str; 0] = [];
