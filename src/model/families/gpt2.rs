//! GPT-2: q, k and v in one `Conv1D`, learned positions, tied unembedding.

use std::rc::Rc;

use crate::config::Config;
use crate::model::plan::Plan;
use crate::model::weights::{Block, Weights};

pub(super) fn weights(plan: &mut Plan<'_>, config: &Config) -> Weights {
    let c = config.n_embd;
    let wte = plan.embedding("wte.weight", config.vocab_size, c);
    let wpe = plan.table("wpe.weight", config.n_ctx, c);
    let blocks = (0..config.n_layer).map(|i| block(plan, config, i)).collect();
    let ln_f = plan.norm("ln_f", c);
    let unembed = match config.tie_word_embeddings {
        true => Rc::clone(&wte),
        false => plan.embedding("lm_head.weight", config.vocab_size, c),
    };
    Weights { wte, wpe, blocks, ln_f, unembed }
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
        ln_2: plan.norm(&format!("h.{i}.ln_2"), c),
        mlp_in,
        mlp_out,
    }
}

/// `h.i.attn.bias` and `h.i.attn.masked_bias` are causal masks; `h.i.attn.c_attn.bias` is not.
pub(super) fn is_ignored(config: &Config, name: &str) -> bool {
    let is_mask = |rest: &str| {
        rest.split_once('.').is_some_and(|(layer, part)| {
            layer.parse::<usize>().is_ok() && matches!(part, "attn.bias" | "attn.masked_bias")
        })
    };
    name.strip_prefix("h.").is_some_and(is_mask)
        || (name == "lm_head.weight" && config.tie_word_embeddings)
}
