//! GPT-2: q, k and v in one `Conv1D`, learned positions, tied unembedding.

use crate::config::Config;
use crate::model::plan::Plan;
use crate::model::weights::{Block, Weights};

pub(super) fn weights(plan: &mut Plan<'_>, config: &Config) -> Weights {
    let c = config.n_embd;
    let wte = plan.embedding("wte.weight", config.vocab_size, c, None);
    Weights {
        wpe: plan.table("wpe.weight", config.n_ctx, c),
        wte_scale: config.embedding_scale(),
        blocks: (0..config.n_layer).map(|i| block(plan, config, i)).collect(),
        ln_f: plan.norm("ln_f", c),
        unembed: plan.unembed(config, &wte, None),
        wte,
    }
}

fn block(plan: &mut Plan<'_>, config: &Config, i: usize) -> Block {
    let c = config.n_embd;
    let [q, k, v] = plan.conv1d(&format!("h.{i}.attn.c_attn"), c, c);
    let [attn_out] = plan.conv1d(&format!("h.{i}.attn.c_proj"), c, c);
    let [mlp_in] = plan.conv1d(&format!("h.{i}.mlp.c_fc"), c, config.n_inner);
    let [mlp_out] = plan.conv1d(&format!("h.{i}.mlp.c_proj"), config.n_inner, c);
    Block {
        ln_1: plan.norm(&format!("h.{i}.ln_1"), c),
        q,
        k,
        v,
        attn_out,
        attn_scale: config.attention_scale(i),
        window: config.windows[i],
        ln_2: plan.norm(&format!("h.{i}.ln_2"), c),
        mlp_in,
        activation: config.activation,
        mlp_out,
    }
}

/// `attn.bias` and `attn.masked_bias` are causal masks; `attn.c_attn.bias` is not.
pub(super) const MASKS: [&str; 2] = ["attn.bias", "attn.masked_bias"];
