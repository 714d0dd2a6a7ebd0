//! What a model requires, before any of it is downloaded, and whether the device has enough memory.

use crate::config::Config;
use crate::device::{Backend, Device};
use crate::error::{Error, Result};
use crate::kernels::Precision;

use super::families;
use super::plan::{DEFAULT_SHARD_BYTES, Plan, check_sizes};

/// Positions of the reading that must fit beside the weights.
const POSITIONS: u64 = 64;
/// Memory of a reading that does not grow with the model: logits, states, lists. Units: bytes.
const READING_BYTES: u64 = 64 << 20;

/// What a model of some config requires.
#[derive(Debug)]
pub struct Requirements {
    /// Sizes and switches.
    pub config: Config,
    /// Storage of the 2-D weights.
    pub precision: Precision,
    /// The file that Hugging Face publishes of such a model, in single precision with its masks.
    /// Units: bytes.
    pub file_bytes: u64,
    /// The weights in storage precision, on the device and in a kept copy. Units: bytes.
    pub stored_bytes: u64,
    /// Why the device cannot hold it.
    pub problem: Option<Error>,
    /// Whether a trial allocation was made.
    pub is_tried: bool,
}

impl Requirements {
    /// Computes the sizes and compares the largest tensors with the limits of the device.
    pub fn of(device: &Device, config: Config, precision: Precision) -> Requirements {
        let (all, matrices) = (config.parameters(), config.matrix_values());
        let masks = config.n_layer as u64 * (config.n_ctx as u64).pow(2);
        let stored_bytes = matrices * precision.bytes() as u64 + 4 * (all - matrices);
        let too_large = device.memory_limit().filter(|&limit| stored_bytes + READING_BYTES > limit).map(
            |limit| {
                Error::OutOfMemory(format!(
                    "the weights ({stored_bytes} bytes) beside a reading; the CPU's memory in a browser holds {limit}"
                ))
            },
        );
        Requirements {
            file_bytes: 4 * (all + masks),
            stored_bytes,
            problem: check_sizes(device, &config, precision).err().or(too_large),
            is_tried: false,
            config,
            precision,
        }
    }

    /// Allocates the memory of the weights and of a reading on a GPU, and releases it.
    ///
    /// Errors: `device-lost`. Too little memory is not an error but `problem`.
    pub async fn try_allocate(&mut self, device: &Device) -> Result<()> {
        // In WebAssembly, memory that was allocated once is not given back.
        if device.backend() == Backend::Cpu {
            return Ok(());
        }
        let tried = self.allocate(device).await;
        self.is_tried = true;
        device.idle().await?;
        match tried {
            Err(lost @ Error::DeviceLost(_)) => Err(lost),
            other => {
                self.problem = other.err();
                Ok(())
            }
        }
    }

    /// Errors: `out-of-memory`, `gpu-refused`, `device-lost`.
    async fn allocate(&self, device: &Device) -> Result<()> {
        let mut plan = Plan::new(device, self.precision, DEFAULT_SHARD_BYTES);
        let _weights = families::weights(&mut plan, &self.config).await?;
        let Config { n_layer, n_embd, .. } = self.config;
        // Of each block: keys, values, the tap and its decoded rows.
        let block = 4 * POSITIONS * n_embd as u64 * 4;
        let reading = || {
            let blocks = (0..=n_layer).map(|_| device.tensor("a block's rows", block));
            Ok((blocks.collect::<Vec<_>>(), device.tensor("a reading", READING_BYTES)))
        };
        device.allocate("a reading beside the model", reading).await.map(|_| ())
    }
}
