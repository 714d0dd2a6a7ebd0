//! What each family's blocks are made of, and what its files call the parts.

mod gpt2;

use crate::config::{Config, Family};

use super::plan::Plan;
use super::weights::Weights;

/// Allocates the weights of a model and plans which tensor fills each.
pub(super) fn weights(plan: &mut Plan<'_>, config: &Config) -> Weights {
    match config.family {
        Family::Gpt2 => gpt2::weights(plan, config),
    }
}

/// Whether a tensor (without prefix) is known to be no parameter: attention masks, the tied head.
pub(super) fn is_ignored(config: &Config, name: &str) -> bool {
    match config.family {
        Family::Gpt2 => gpt2::is_ignored(config, name),
    }
}
