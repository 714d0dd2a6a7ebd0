//! How KL(final ‖ row) changes with what a row is decoded to: what a map is refined by.

use std::ops::Range;

use crate::device::{Device, Recorder, Tensor};
use crate::error::Result;
use crate::kernels::{Cross, Embed, LANES, Rows, Shard, Slope, pad4};

use super::fold::Fold;
use super::{Decoder, Kept, Workspace, block_positions};

/// Tokens whose rows of the unembedding are on the device as plain rows at a time.
const TOKENS: usize = 1024;

/// The tensors, and what they are of.
pub struct Slopes<'a> {
    decoder: &'a Decoder<'a>,
    workspace: Workspace,
    /// Lanes of the divergences. Shapes: \[n, LANES, 3\].
    sums: Tensor,
    /// q − p of some tokens. Shapes: \[[`TOKENS`], n4\].
    differences: Tensor,
    /// Rows of the unembedding. Shapes: \[[`TOKENS`], C4\].
    rows: Tensor,
    /// Shapes: \[[`TOKENS`], C4\].
    zeros: Tensor,
    /// Neighbouring tokens of one shard: the shard, its columns, their ids.
    tokens: Vec<(&'a Shard, Range<usize>, Tensor)>,
    /// The derivative by the decoded rows, behind gain and bias. Shapes: \[n4, C4\].
    y: Tensor,
}

impl<'a> Slopes<'a> {
    /// For blocks of [`Slopes::n`] positions.
    ///
    /// Errors: `out-of-memory`, `device-lost`.
    pub async fn new(device: &Device, decoder: &'a Decoder<'a>) -> Result<Slopes<'a>> {
        let n = block_positions(decoder, 2);
        let c4 = pad4(decoder.model.config.n_embd);
        let allocate = || {
            let floats = |name: &str, n: usize| device.tensor(name, 4 * n as u64);
            let of_shard = |shard: &'a Shard| {
                let columns: Vec<usize> = (0..shard.matrix.n_out).collect();
                let piece = |columns: &[usize]| {
                    let id = |column: &usize| u32::try_from(shard.first_id + column).ok();
                    let ids: Vec<u32> = columns.iter().filter_map(id).collect();
                    let first = columns.first().copied().unwrap_or_default();
                    (shard, first..first + columns.len(), device.upload("ids", &ids))
                };
                columns.chunks(TOKENS).map(piece).collect::<Vec<_>>()
            };
            Ok(Slopes {
                decoder,
                workspace: Workspace::for_pairs(device, decoder, n, 0),
                sums: floats("divergences", n * LANES * 3),
                differences: floats("differences", TOKENS * pad4(n)),
                rows: floats("embeddings", TOKENS * c4),
                zeros: floats("zeros", TOKENS * c4),
                tokens: decoder.unembed.iter().flat_map(of_shard).collect(),
                y: floats("slopes", pad4(n) * c4),
            })
        };
        device.allocate("this fit", allocate).await
    }

    /// Positions that fit.
    pub fn n(&self) -> usize {
        self.workspace.n_positions
    }

    /// KL(a ‖ b) of `n` neighbouring positions of one row, summed, and its derivative by what the row of b is decoded to, in
    /// the first rows of the tensor. Both have the decoder that this was made with. Shapes: \[n, C4\]. Units: nats.
    ///
    /// Errors: `aborted`, `gpu-refused`, `device-lost`, `out-of-memory`.
    pub async fn of(
        &self,
        rec: &mut Recorder<'_>,
        both: [Kept<'_>; 2],
        tap: usize,
        position: usize,
        n: usize,
    ) -> Result<(f64, Rows<'_>)> {
        let Slopes { decoder, workspace, .. } = self;
        let (kernels, width) = (&decoder.model.kernels, decoder.model.config.n_embd);
        for (side, kept) in both.iter().enumerate() {
            let to = workspace.rows(side * n);
            kept.normalise(rec, tap, position, n, &workspace.step, to)?;
        }
        let fold = Fold { decoder, workspace, period: n, top_k: 0 };
        fold.diverge(rec, &self.sums).await?;
        let y = Rows::new(&self.y, 0, width);
        let differences = Rows::new(&self.differences, 0, self.n());
        let (rows, zeros) = (Rows::new(&self.rows, 0, width), &self.zeros);
        for (i, (shard, columns, ids)) in self.tokens.iter().enumerate() {
            let n_columns = columns.len();
            let slope = Slope {
                logits: &workspace.kept_logits,
                stride: workspace.logit_columns,
                column: shard.first_column + columns.start,
                n_columns,
                n_rows: n,
                states: &workspace.merged,
                y: differences,
            };
            kernels.slope(rec, &slope)?;
            let embed = Embed {
                ids,
                wte: std::slice::from_ref(*shard),
                wpe: zeros,
                scale: 1.0,
                factors: None,
                first_position: 0,
                n_rows: n_columns,
                y: rows,
            };
            kernels.embed(rec, &embed)?;
            let (a, b, adds) = (differences, rows, i > 0);
            let sum = Cross { a, p: zeros, b, q: zeros, n_rows: n_columns, adds, y: &self.y };
            kernels.cross(rec, &sum)?;
            rec.yield_now().await?;
        }
        let read = rec.read(&[(&self.sums, (4 * n * LANES * 3) as u64)]).await?;
        let lanes = read.iter().flat_map(|sums| sums.chunks(3));
        let kl = lanes.filter_map(|lane| lane.first()).map(|&kl| f64::from(kl)).sum();
        Ok((kl, y))
    }
}
