//! Any decoded rows over the vocabulary, each with one target of its own: what the atlas needs of the lens.

use crate::error::Result;
use crate::gpu::{Gpu, Recorder};
use crate::kernels::{GatherDot, N_SLOTS, Rows};
use crate::model::Model;

use super::fold::{Group, Logits, OverVocabulary};
use super::{Norm, Room, decoder};

/// Where it is done.
pub struct Ranked {
    room: Room,
}

/// What comes back of each row.
pub struct Found {
    /// The largest logit.
    pub logit: f32,
    /// Its token; the lower id of equals.
    pub argmax: u32,
    /// The target's logit.
    pub target_logit: f32,
}

impl Ranked {
    /// Room for `n_rows` rows at a time.
    pub fn new(gpu: &Gpu, model: &Model, n_rows: usize) -> Ranked {
        Ranked { room: Room::for_targets(gpu, model, n_rows) }
    }

    /// Takes rows through norm and unembedding; `targets` has one token for each. Submits what was
    /// recorded before.
    ///
    /// Errors: `aborted`, `device-lost`, `out-of-memory`.
    pub async fn find(
        &self,
        mut rec: Recorder<'_>,
        model: &Model,
        norm: Norm,
        x: Rows<'_>,
        targets: &[u32],
    ) -> Result<Vec<Found>> {
        let (room, n) = (&self.room, targets.len());
        let gpu = rec.gpu();
        decoder::decode(&mut rec, model, norm, x, room.rows(0), n)?;
        gpu.write(&room.targets, 0, targets);
        model.kernels.gather_dot(
            &mut rec,
            &GatherDot {
                x: room.rows(0),
                unembed: &model.weights.unembed,
                targets: &room.targets,
                n_targets: 1,
                period: n,
                n_rows: n,
                y: &room.target_logits,
            },
        )?;
        let group = Group { first_row: 0, n_rows: n, logits: Logits::Computed };
        let over = OverVocabulary { model, room, period: n, references: false, top_k: 0 };
        over.fold(&mut rec, &group).await?;
        rec.submit()?;
        let bytes = |width: usize| 4 * (n * width) as u64;
        let parts = gpu
            .read(&[(&room.merged, bytes(N_SLOTS + 1)), (&room.target_logits, bytes(1))])
            .await?;
        let found = |(slots, &target_logit): (&[f32], &f32)| Found {
            logit: slots[0],
            argmax: slots[3] as u32,
            target_logit,
        };
        Ok(parts[0].chunks(N_SLOTS + 1).zip(&parts[1]).map(found).collect())
    }
}
