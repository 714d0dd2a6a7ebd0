//! The model: weights on the device, and the forward pass that fills the taps.

mod copy;
mod families;
mod filling;
mod forward;
mod loader;
mod needs;
mod plan;
mod taps;
mod weights;

pub(crate) use forward::Pass;
pub use forward::forward;
pub use loader::{Keeping, Loader, Progress, RestoreWatch};
pub use needs::Needs;
pub use plan::DEFAULT_SHARD_BYTES;
pub use taps::{Half, Scratch, Stream};
pub use weights::{Block, Linear, Norm, Weights};

use std::rc::Rc;

use crate::config::Config;
use crate::kernels::{Kernels, Precision};

/// A loaded model: everything a reading needs but the text.
pub struct Model {
    /// Sizes and switches.
    pub config: Config,
    /// The compiled kernels.
    pub kernels: Rc<Kernels>,
    /// The parameters.
    pub weights: Weights,
    /// Bytes they take on the device. Units: bytes.
    pub weight_bytes: u64,
    /// Storage of the 2-D weights.
    pub precision: Precision,
    /// Tensors of the file that the model has no use for.
    pub extra_tensors: Vec<String>,
}
