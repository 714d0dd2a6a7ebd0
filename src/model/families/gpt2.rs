//! GPT-2: q, k and v in one `Conv1D`, learned positions, tied unembedding.

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
    let c = config.n_embd;
    let inner = config.n_inner;
    Block {
        ln_1: plan.norm(&format!("h.{i}.ln_1"), c),
        qkv: plan.conv1d(&format!("h.{i}.attn.c_attn"), c, c, 3),
        attn_out: plan.conv1d(&format!("h.{i}.attn.c_proj"), c, c, 1),
        attn_scale: config.attention_scale(i),
        window: config.windows.get(i).copied().flatten(),
        ln_2: plan.norm(&format!("h.{i}.ln_2"), c),
        mlp_in: plan.conv1d(&format!("h.{i}.mlp.c_fc"), c, inner, 1).with(config.activation),
        mlp_out: plan.conv1d(&format!("h.{i}.mlp.c_proj"), inner, c, 1),
    }
}

/// `attn.bias` and `attn.masked_bias` are causal masks; `attn.c_attn.bias` is not.
pub(super) const MASKS: [&str; 2] = ["attn.bias", "attn.masked_bias"];
