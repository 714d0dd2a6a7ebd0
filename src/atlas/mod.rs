//! The atlas: what a model's weights say by themselves, without any text.
//!
//! The embedding is streamed back from the device a few rows at a time and summed in f64; what is heavy
//! (the Gram matrix, the zero-layer model) runs on the device. Standard deviations are population ones.
//! Source: Adam Scherlis's study of GPT-2's weights.

mod channels;
mod correlations;
mod neighbours;
mod spectrum;
mod table;
mod zero_layer;

pub use channels::{ChannelStatistics, Gains, channel, channels, gains, norms};
pub use correlations::{Correlations, correlations};
pub use neighbours::{By, Neighbours, neighbours};
pub use spectrum::{Spectrum, spectrum};
pub use zero_layer::{Options as ZeroLayerOptions, ZeroLayer, zero_layer};

use crate::error::Result;
use crate::gpu::{Cancel, Gpu};
use crate::model::Model;

/// What every call of the atlas works with.
pub struct Atlas<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// The model.
    pub model: &'a Model,
    /// Whether to stop.
    pub cancel: &'a Cancel,
    /// Told how much of the work is done, 0 to 1.
    pub on_progress: &'a dyn Fn(f64),
}

impl Atlas<'_> {
    /// Lets a cancel in and says how far it has come.
    ///
    /// Errors: `aborted`.
    fn advance(&self, done: f64) -> Result<()> {
        (self.on_progress)(done.min(1.0));
        self.cancel.check()
    }
}
