//! GPT-Neo: separate projections stored as `Linear`, q, k and v without bias, blocks that see only a window.

use crate::config::Config;
use crate::error::Result;
use crate::model::plan::Plan;
use crate::model::weights::{Block, Weights};

pub(super) async fn weights(plan: &mut Plan<'_>, config: &Config) -> Result<Weights> {
    let c = config.n_embd;
    let wte = plan.embedding("wte.weight", config.vocab_size, c, None).await?;
    let blocks = plan.blocks(config, block).await?;
    let unembed = plan.unembed(config, &wte, None).await?;
    let outside = |plan: &mut Plan<'_>| {
        let wpe = plan.table("wpe.weight", config.n_ctx, c);
        Weights { wte, wpe, blocks, ln_f: plan.norm("ln_f", c), unembed }
    };
    plan.step(outside).await
}

fn block(plan: &mut Plan<'_>, config: &Config, i: usize) -> Block {
    let (c, inner) = (config.n_embd, config.n_inner);
    let attention = |part: &str| format!("h.{i}.attn.attention.{part}");
    Block {
        ln_1: plan.norm(&format!("h.{i}.ln_1"), c),
        qkv: plan.linears(&["q_proj", "k_proj", "v_proj"].map(attention), c, c, false),
        attn_out: plan.linear(&attention("out_proj"), c, c, true),
        attn_scale: config.attention_scale(i),
        window: config.windows.get(i).copied().flatten(),
        ln_2: plan.norm(&format!("h.{i}.ln_2"), c),
        mlp_in: plan.linear(&format!("h.{i}.mlp.c_fc"), c, inner, true).with(config.activation),
        mlp_out: plan.linear(&format!("h.{i}.mlp.c_proj"), inner, c, true),
    }
}

/// Causal and local masks.
pub(super) const MASKS: [&str; 2] = ["attn.attention.bias", "attn.attention.masked_bias"];
