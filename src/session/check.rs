//! A check of the device: a short reading whose every step is repeated on the CPU.

use crate::device::{Audit, Backend, Cancel, Finding};
use crate::error::Result;
use crate::kernels::{Divergence, Gram, LANES, Rows, Subtract, pad4};
use crate::lens::{self, Decoder, Depth, Lens, Norm, Options};
use crate::model::forward;

use super::Session;
use super::read::{check_ids, empty_reading};

/// Tokens that are read.
const N_TOKENS: usize = 6;
/// Above this relative difference, a kernel's results are wrong and not rounded otherwise.
const TOLERANCE: f64 = 1e-3;
/// Groups of four tokens in the partial sum of the Gram matrix.
const GRAM_GROUPS: usize = 16;

/// What a check found.
#[derive(Debug)]
pub struct Checked {
    /// By kernel.
    pub findings: Vec<Finding>,
}

impl Checked {
    /// The largest relative difference.
    pub fn largest(&self) -> f64 {
        self.findings.iter().map(|finding| finding.difference).fold(0.0, f64::max)
    }

    /// Whether the device computes what the CPU computes.
    pub fn has_passed(&self) -> bool {
        self.largest() <= TOLERANCE
    }
}

impl Session {
    /// Reads a short text of built-in token ids and repeats every dispatch on the CPU, from the GPU's own operands.
    /// Nothing of it is kept. A CPU has nothing to be compared with.
    ///
    /// Errors: `not-found`, `missing-tensor` of a partial model, `out-of-memory`, `aborted`, `gpu-refused`,
    /// `device-lost`.
    pub async fn check(&self, cancel: &Cancel) -> Result<Checked> {
        self.device.check()?;
        let loaded = self.loaded()?;
        loaded.model.whole()?;
        if self.device.backend() == Backend::Cpu {
            return Ok(Checked { findings: Vec::new() });
        }
        let config = &loaded.model.config;
        // Spread over the vocabulary, so that every shard of an embedding is used.
        let n = N_TOKENS.min(config.n_ctx);
        let last = config.vocab_size.saturating_sub(1) as u64;
        #[allow(clippy::cast_possible_truncation, reason = "an id")]
        let ids: Vec<u32> = (0..n as u64).map(|i| (last * i / n as u64) as u32).collect();
        check_ids(&loaded, &ids)?;
        let options = Options { depth: Depth::Blocks, norm: Norm::Affine, ..Options::default() };
        let decoder = Decoder::new(&loaded.model, options.norm)?;
        let tensors = self.tensors(&decoder, &ids, &options, &[]).await?;
        let mut reading = empty_reading(&loaded, &ids, &options, &tensors.rows, &[])?;

        let audit = Audit::default();
        let mut rec = self.device.record_audited("a check", cancel, &audit);
        let lens = Lens {
            decoder: &decoder,
            stream: &tensors.stream,
            rows: &tensors.rows,
            extension: None,
            scratch: &tensors.scratch,
            workspace: &tensors.workspace,
            options: &options,
            ids: &ids,
            helpers: &[],
        };
        let n = n.min(lens::block_positions(&decoder));
        forward(&mut rec, &loaded.model, &tensors.stream, &tensors.scratch, 0, n).await?;
        lens.read_block(&mut rec, 0, &mut reading).await?;

        // What a reading does not use.
        let (kernels, width) = (&loaded.model.kernels, config.n_embd);
        let tap = |i: usize| Rows::new(&tensors.stream.taps[i], 0, width);
        let step = self.device.tensor("a check", (4 * n * pad4(width)) as u64);
        let (a, b, y) = (tap(1), tap(0), Rows::new(&step, 0, width));
        kernels.subtract(&mut rec, &Subtract { a, b, n_rows: n, y })?;
        let workspace = &tensors.workspace;
        let sums = self.device.tensor("a check", (4 * n * LANES * 3) as u64);
        let divergence = Divergence {
            logits: &workspace.reference_logits,
            stride: workspace.logit_columns,
            column: 0,
            n_columns: workspace.chunk.min(loaded.model.unembed()?[0].matrix.n_out),
            n_rows: n,
            states: &workspace.reference_states,
            n_targets: 0,
            is_first: true,
            y: &sums,
        };
        kernels.divergence(&mut rec, &divergence)?;
        let embedding = &loaded.model.wte()?[0].matrix;
        let groups = 0..GRAM_GROUPS.min(pad4(embedding.n_out) / 4);
        let counts = self.device.upload("a check", &vec![1.0f32; pad4(embedding.n_out)]);
        let matrix = self.device.tensor("a check", 4 * (pad4(width) as u64).pow(2));
        kernels.gram(&mut rec, &Gram { weight: embedding, counts: &counts, groups, y: &matrix })?;
        rec.finish().await?;
        Ok(Checked { findings: audit.findings() })
    }
}
