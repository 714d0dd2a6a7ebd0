//! A check of the device: a short reading whose every step is repeated on the CPU.

use crate::device::{Audit, Backend, Cancel, Finding, Recorder};
use crate::error::Result;
use crate::kernels::{
    Attention, Blend, Cross, Divergence, Forms, GatherDot, Gram, LANES, MEMBER_SLOTS, Matmul,
    Members, Rows, SemiNmf, Slope, Subtract, pad4,
};
use crate::lens::{Decoder, Depth, Lens, Norm, Options};
use crate::model::{Edits, Model, Pass, forward};

use super::Session;
use super::read::{check_ids, empty_reading};

/// Tokens that are read.
const N_TOKENS: usize = 6;
/// Above this relative difference, a kernel's results are wrong and not rounded otherwise.
pub const TOLERANCE: f64 = 1e-3;
/// Rows of the products and keys of the attention that forms are checked with, and columns of the products.
const N_ROWS: usize = 80;
const N_COLUMNS: usize = 256;
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
        let n = N_TOKENS.min(config.n_ctx);
        // Neighbours in the vocabulary, so that little of a large embedding has to be read back.
        let middle = config.vocab_size / 2;
        let ids: Vec<u32> = (middle..).take(n).filter_map(|id| u32::try_from(id).ok()).collect();
        check_ids(&loaded, &ids)?;
        let options = Options { depth: Depth::Blocks, norm: Norm::Affine, ..Options::default() };
        let decoder = Decoder::new(&loaded.model, options.norm)?;
        let mut tensors = self.tensors(&decoder, &ids, &options, &[]).await?;
        // As if there were many rows, so that logits are computed chunk by chunk.
        tensors.workspace.n_kept = 2 * tensors.workspace.n_positions;
        let mut reading = empty_reading(&loaded, &ids, &options, &tensors.rows, &[])?;

        let audit = Audit::default();
        let mut rec = self.device.record_audited("a check", cancel, &audit);
        let edits = Edits::default();
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
            edits: &edits,
        };
        let n = n.min(tensors.workspace.n_positions);
        let (model, scratch) = (&loaded.model, &tensors.scratch);
        let pass = Pass { model, scratch, edits: &edits, start: 0, n, n_runs: 1, is_alone: false };
        forward(&mut rec, &pass, &tensors.stream, 0).await?;
        let block = lens.begin_block(&mut rec, 0).await?;
        block.finish(&loaded.model, &mut reading).await?;

        // What a reading does not use, and targets that are neighbours.
        let (kernels, width) = (&loaded.model.kernels, config.n_embd);
        let (wte, unembed) = (loaded.model.wte()?, loaded.model.unembed()?);
        let embedding = &wte[0].matrix;
        let allocate = || {
            let step = self.device.tensor("a check", (4 * n * pad4(width)) as u64);
            let sums = self.device.tensor("a check", (4 * n * LANES * 3) as u64);
            let n_counts = pad4(embedding.n_out).max(2 * n * pad4(width));
            let counts = self.device.upload("a check", &vec![1.0f32; n_counts]);
            let matrix = self.device.tensor("a check", 4 * (pad4(width) as u64).pow(2));
            let of_set = self.device.tensor("a check", (4 * n * LANES * MEMBER_SLOTS) as u64);
            // Every third token.
            let bits = vec![0x4924_9249u32; config.vocab_size.div_ceil(32)];
            let members = self.device.upload("a check", &bits);
            let targets = self.device.upload("a check", &ids);
            let logits = self.device.tensor("a check", 4 * n as u64);
            let slopes = self.device.tensor("a check", (4 * n * pad4(n)) as u64);
            Ok((step, sums, counts, matrix, targets, logits, of_set, members, slopes))
        };
        let made = self.device.allocate("a check", allocate).await?;
        let (step, sums, counts, matrix, targets, logits, of_set, members, slopes) = made;
        let tap = |i: usize| Rows::new(&tensors.stream.taps[i], 0, width);
        let (a, b, y) = (tap(1), tap(0), Rows::new(&step, 0, width));
        kernels.subtract(&mut rec, &Subtract { a, b, n_rows: n, y })?;
        let channels = 1..width.max(2) - 1;
        let (is_one, scale, adds) = (false, 0.5, true);
        kernels.blend(&mut rec, &Blend { x: a, is_one, scale, adds, channels, n_rows: n, y })?;
        let workspace = &tensors.workspace;
        let divergence = Divergence {
            logits: &workspace.kept_logits,
            stride: workspace.logit_columns,
            column: 0,
            n_columns: workspace.chunk.min(unembed[0].matrix.n_out),
            n_rows: n,
            states: &workspace.reference_states,
            n_targets: 0,
            is_first: true,
            y: &sums,
        };
        kernels.divergence(&mut rec, &divergence)?;
        let slope = Slope {
            logits: &workspace.kept_logits,
            stride: workspace.logit_columns,
            column: 0,
            n_columns: n.min(unembed[0].matrix.n_out),
            n_rows: n,
            states: &workspace.reference_states,
            y: Rows::new(&slopes, 0, n),
        };
        kernels.slope(&mut rec, &slope)?;
        for counts in [false, true] {
            let op = Members {
                logits: &workspace.kept_logits,
                stride: workspace.logit_columns,
                column: 0,
                n_columns: workspace.chunk.min(unembed[0].matrix.n_out),
                first_id: 0,
                n_rows: n,
                members: &members,
                counts,
                is_first: true,
                y: &of_set,
            };
            kernels.members(&mut rec, &op)?;
        }
        let groups = 0..GRAM_GROUPS.min(pad4(embedding.n_out) / 4);
        kernels.gram(&mut rec, &Gram { weight: embedding, counts: &counts, groups, y: &matrix })?;
        let cross = Cross { a, p: &counts, b, q: &counts, n_rows: n, adds: true, y: &matrix };
        kernels.cross(&mut rec, &cross)?;
        kernels.semi_nmf(&mut rec, &SemiNmf { p: a, products: &counts, n_rows: n, g: y })?;
        let (x, period, n_targets) = (Rows::new(&workspace.rows, 0, width), n, 1);
        let targets = &targets;
        let gather = GatherDot { x, unembed, targets, n_targets, period, n_rows: n, y: &logits };
        kernels.gather_dot(&mut rec, &gather)?;
        self.check_forms(&mut rec, &loaded.model).await?;
        rec.finish().await?;
        Ok(Checked { findings: audit.findings() })
    }

    /// Products of as many rows as each form in use is for, and attention over more keys than a workgroup has at once: a
    /// short text has neither.
    async fn check_forms(&self, rec: &mut Recorder<'_>, model: &Model) -> Result<()> {
        let config = &model.config;
        let width = config.n_embd;
        let numbers: Vec<f32> =
            (0..N_ROWS * pad4(width)).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
        let allocate = || {
            let floats = |n: usize| self.device.tensor("a check", 4 * n as u64);
            let x = self.device.upload("a check", &numbers);
            Ok((x, floats(N_ROWS * N_COLUMNS), floats(N_ROWS * pad4(width))))
        };
        let (x, product, mixed) = self.device.allocate("a check", allocate).await?;
        let Some(shard) = model.unembed()?.first() else { return Ok(()) };
        for n_rows in [Forms::FEW, Forms::SOME, N_ROWS] {
            let columns4 = 0..(pad4(shard.matrix.n_out) / 4).min(N_COLUMNS / 4);
            let y = Rows::new(&product, 0, N_COLUMNS);
            let op = Matmul::new(Rows::new(&x, 0, width), &shard.matrix, n_rows, y);
            model.kernels.matmul(rec, &Matmul { columns4, ..op })?;
        }
        let n_rows = Forms::FEW + 1;
        let attention = Attention {
            q: &x,
            k: &x,
            v: &x,
            first_position: N_ROWS - n_rows,
            n_runs: 1,
            n_rows,
            n_head: config.n_head,
            head_dim: config.head_dim(),
            scale: 0.25,
            window: None,
            y: &mixed,
        };
        model.kernels.attention(rec, &attention)?;
        rec.finish().await
    }
}
