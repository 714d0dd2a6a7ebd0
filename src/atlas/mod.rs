//! The atlas: what a model's weights say without any text.
//!
//! The embedding is streamed back from the device a few rows at a time and summed in f64. The Gram matrix and
//! the zero-layer model run on the device. Standard deviations are population ones. Of a partial model, what
//! needs an absent tensor is `missing-tensor`.
//! Source: Adam Scherlis's study of GPT-2's weights.

mod channels;
mod circuits;
mod components;
mod correlations;
mod eigen;
mod neighbours;
mod spectrum;
mod table;
mod zero_layer;

pub use channels::{ChannelStatistics, Gains, channel, channels, gains, norms, positions, rows_of};
pub use circuits::{Circuits, circuits};
pub use components::{Components, ComponentsOptions, components};
pub use correlations::{Correlations, correlations};
pub use eigen::Eigen;
pub use neighbours::{By, Neighbours, neighbours};
pub use spectrum::{Memo, Spectrum, gram, spectrum};
pub use table::{along, row_of, rows};
pub use zero_layer::{TokenRow, ZeroLayer, ZeroLayerOptions, next_tokens, zero_layer};

use std::pin::Pin;

use crate::device::{Cancel, Device};
use crate::error::{Error, Result};
use crate::model::Model;

/// A future on the heap, for traits that are used as objects.
pub type Boxed<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// The queue of calls for the device, which long work releases between its steps.
pub trait CallQueue {
    /// Lets queued calls run until `until` resolves and they are over.
    fn pause<'a>(&'a self, until: Boxed<'a>) -> Boxed<'a>;
}

/// No other calls.
impl CallQueue for () {
    fn pause<'a>(&'a self, until: Boxed<'a>) -> Boxed<'a> {
        until
    }
}

/// Largest memory that a question to the atlas takes on the CPU. Units: bytes.
const MAX_BYTES: u64 = 512 << 20;

/// Errors: `unsupported-model` for more values of `size` bytes than fit [`MAX_BYTES`].
fn check_memory(what: &str, values: u64, size: u64) -> Result<()> {
    match values.checked_mul(size) {
        Some(bytes) if bytes <= MAX_BYTES => Ok(()),
        _ => Err(Error::UnsupportedModel(format!(
            "{what}: expected at most {} values, got {values}",
            MAX_BYTES / size
        ))),
    }
}

/// The arguments that every call of the atlas shares.
pub struct Atlas<'a> {
    /// The device.
    pub device: &'a Device,
    /// The model.
    pub model: &'a Model,
    /// Whether to stop.
    pub cancel: &'a Cancel,
    /// Called with the share of the work that is done, 0 to 1.
    pub on_progress: &'a dyn Fn(f64),
    /// The calls that long work lets run between its steps.
    pub queue: &'a dyn CallQueue,
    /// The eigenproblem of this model, once solved.
    pub memo: &'a Memo,
}

impl Atlas<'_> {
    /// Reports progress and checks for a cancel.
    ///
    /// Errors: `aborted`.
    fn advance(&self, done: f64) -> Result<()> {
        (self.on_progress)(done.min(1.0));
        self.cancel.check()
    }

    /// The same, after queued calls have run.
    ///
    /// Errors: `aborted`, `device-lost`, `gpu-refused`, `out-of-memory`.
    async fn yield_now(&self, done: f64) -> Result<()> {
        let idle = async {
            // A lost device is reported by the check below.
            let _ = self.device.idle().await;
        };
        self.queue.pause(Box::pin(idle)).await;
        self.device.check()?;
        self.advance(done)
    }
}
