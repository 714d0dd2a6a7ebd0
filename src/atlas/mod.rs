//! The atlas: what a model's weights say by themselves, without any text.
//!
//! The embedding is streamed back from the device a few rows at a time and summed in f64; what is heavy
//! (the Gram matrix, the zero-layer model) runs on the device. Standard deviations are population ones.
//! Of a file with only some of the tensors, what needs an absent one is `missing-tensor`.
//! Source: Adam Scherlis's study of GPT-2's weights.

mod channels;
mod correlations;
mod eigen;
mod neighbours;
mod spectrum;
mod table;
mod zero_layer;

pub use channels::{ChannelStatistics, Gains, channel, channels, gains, norms, positions, rows_of};
pub use correlations::{Correlations, correlations};
pub use eigen::Eigen;
pub use neighbours::{By, Neighbours, neighbours};
pub use spectrum::{Memo, Spectrum, spectrum};
pub use zero_layer::{Options as ZeroLayerOptions, Row, ZeroLayer, next_tokens, zero_layer};

use std::future::Future;
use std::pin::Pin;

use crate::error::Result;
use crate::gpu::{Cancel, Gpu};
use crate::model::Model;

/// Others who want the device too.
pub trait Others {
    /// Lets them have it for a while.
    fn go_first(&self) -> Pin<Box<dyn Future<Output = ()> + '_>>;
}

/// There are none.
impl Others for () {
    fn go_first(&self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(std::future::ready(()))
    }
}

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
    /// Whom long work lets go first between its steps.
    pub others: &'a dyn Others,
    /// The eigenproblem of this model, once it has been solved.
    pub memo: &'a Memo,
}

impl Atlas<'_> {
    /// Lets a cancel in and says how far it has come.
    ///
    /// Errors: `aborted`.
    fn advance(&self, done: f64) -> Result<()> {
        (self.on_progress)(done.min(1.0));
        self.cancel.check()
    }

    /// The same, after others have had their turn.
    ///
    /// Errors: `aborted`, `device-lost`, `out-of-memory`.
    async fn rest(&self, done: f64) -> Result<()> {
        self.others.go_first().await;
        self.gpu.check()?;
        self.advance(done)
    }
}
