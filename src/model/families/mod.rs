//! What the blocks of each family consist of, and the names of their tensors in the files.

mod ctrl;
mod gpt2;
mod gpt_neo;

use crate::config::{Config, Family};
use crate::error::Result;

use super::plan::Plan;
use super::weights::Weights;

/// Allocates the weights of a model, step by step, and plans which tensor fills each.
///
/// Errors: `out-of-memory`, `gpu-refused`, `device-lost`.
pub(super) async fn weights(plan: &mut Plan<'_>, config: &Config) -> Result<Weights> {
    match config.family {
        Family::Gpt2 => gpt2::weights(plan, config).await,
        Family::GptNeo => gpt_neo::weights(plan, config).await,
        Family::Ctrl => ctrl::weights(plan, config).await,
    }
}

/// Whether a tensor (without prefix) is known not to be a parameter: attention masks, the tied head.
pub(super) fn is_ignored(config: &Config, name: &str) -> bool {
    let masks: &[&str] = match config.family {
        Family::Gpt2 => &gpt2::MASKS,
        Family::GptNeo => &gpt_neo::MASKS,
        Family::Ctrl => &ctrl::MASKS,
    };
    let is_mask = |rest: &str| {
        rest.split_once('.')
            .is_some_and(|(layer, mask)| layer.parse::<usize>().is_ok() && masks.contains(&mask))
    };
    name.strip_prefix("h.").is_some_and(is_mask)
        || (name == "lm_head.weight" && config.tie_word_embeddings)
}
