//! What each family's blocks are made of, and what its files call the parts.

mod ctrl;
mod gpt2;
mod gpt_neo;

use crate::config::{Config, Family};

use super::plan::Plan;
use super::weights::Weights;

/// Allocates the weights of a model and plans which tensor fills each.
pub(super) fn weights(plan: &mut Plan<'_>, config: &Config) -> Weights {
    match config.family {
        Family::Gpt2 => gpt2::weights(plan, config),
        Family::GptNeo => gpt_neo::weights(plan, config),
        Family::Ctrl => ctrl::weights(plan, config),
    }
}

/// Whether a tensor (without prefix) is known to be no parameter: attention masks, the tied head.
pub(super) fn is_ignored(config: &Config, name: &str) -> bool {
    let masks: &[&str] = match config.family {
        Family::Gpt2 => &gpt2::MASKS,
        Family::GptNeo => &gpt_neo::MASKS,
        Family::Ctrl => &ctrl::MASKS,
    };
    let is_mask = |rest: &str| {
        rest.split_once('.')
            .is_some_and(|(layer, part)| layer.parse::<usize>().is_ok() && masks.contains(&part))
    };
    name.strip_prefix("h.").is_some_and(is_mask)
        || (name == "lm_head.weight" && config.tie_word_embeddings)
}
