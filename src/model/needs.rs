//! What a model takes, before any of it is downloaded, and whether the device has the room.

use crate::config::Config;
use crate::error::{Error, Result};
use crate::gpu::Gpu;
use crate::kernels::Precision;

use super::loader;
use super::plan::{DEFAULT_SHARD_BYTES, check_sizes};

/// Positions of the reading that must fit beside the weights.
const POSITIONS: u64 = 64;
/// Room of a reading that does not grow with the model: logits, states, lists. Units: bytes.
const READING_BYTES: u64 = 48 << 20;

/// What a model of some config takes.
#[derive(Debug)]
pub struct Needs {
    /// Sizes and switches.
    pub config: Config,
    /// Storage of the 2-D weights.
    pub precision: Precision,
    /// The file that Hugging Face publishes of such a model, single precision with its masks.
    /// Units: bytes.
    pub file_bytes: u64,
    /// The weights in storage precision, on the device as in a kept copy. Units: bytes.
    pub stored_bytes: u64,
    /// Why the device cannot hold it.
    pub refusal: Option<Error>,
    /// Whether it was tried out.
    pub is_tried: bool,
}

impl Needs {
    /// Counts, and holds the largest tensors against the limits of the device.
    pub fn of(gpu: &Gpu, config: Config, precision: Precision) -> Needs {
        let (all, matrices) = (config.parameters(), config.matrix_values());
        let masks = config.n_layer as u64 * (config.n_ctx as u64).pow(2);
        Needs {
            file_bytes: 4 * (all + masks),
            stored_bytes: matrices * precision.bytes() as u64 + 4 * (all - matrices),
            refusal: check_sizes(gpu, &config, precision).err(),
            is_tried: false,
            config,
            precision,
        }
    }

    /// Takes the room of the weights and of a reading, and gives it back.
    ///
    /// Errors: `device-lost`. That there is no room is no error but `refusal`.
    pub async fn try_out(&mut self, gpu: &Gpu) -> Result<()> {
        let weights =
            loader::allocate(gpu, &self.config, self.precision, DEFAULT_SHARD_BYTES).await;
        let Config { n_layer, n_embd, .. } = self.config;
        // Of each block: keys, values, the tap and its decoded rows.
        let block = 4 * POSITIONS * n_embd as u64 * 4;
        let refusal = match &weights {
            Ok(_) => {
                let room = || {
                    let blocks = (0..=n_layer).map(|_| gpu.tensor("a block's rows", block));
                    Ok((blocks.collect::<Vec<_>>(), gpu.tensor("a reading", READING_BYTES)))
                };
                gpu.allocate("a reading beside the model", room).await.err()
            }
            Err(_) => None,
        };
        self.refusal = weights.err().or(refusal);
        self.is_tried = true;
        gpu.settle().await?;
        match self.refusal.take_if(|e| matches!(e, Error::DeviceLost(_))) {
            Some(lost) => Err(lost),
            None => Ok(()),
        }
    }
}
