//! Any decoded rows over the vocabulary, each with one target of its own: what the atlas needs of the lens.

use crate::error::Result;
use crate::gpu::{Gpu, Recorder};
use crate::kernels::{N_SLOTS, Rows};
use crate::model::Model;

use super::{Norm, Room, decoder, fold};

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
        decoder::decode(&mut rec, model, norm, x, room.rows(0), n)?;
        rec.gpu().write(&room.targets, 0, targets);
        let [merged, logits] = fold::targets_of_rows(rec, model, room, n, n).await?;
        let found = |(slots, &target_logit): (&[f32], &f32)| Found {
            logit: slots[0],
            argmax: slots[3] as u32,
            target_logit,
        };
        Ok(merged.chunks(N_SLOTS + 1).zip(&logits).map(found).collect())
    }
}
