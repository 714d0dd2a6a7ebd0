//! Which token a row still holds: the row of wte that is nearest to a linear reconstruction.

use crate::atlas;
use crate::config::single;
use crate::device::Cancel;
use crate::error::{Error, Result};
use crate::kernels::{Rows, Shard, pad4};
use crate::lens::{BLOCK, Decoder, Maps, Ranked, Row, RowSource};
use crate::model::Stream;
use crate::reading::NO_TOKEN;

use super::lens::OpenLens;
use super::{Lensed, Loaded, Session, check_results, in_use};

/// The nearest tokens, tap-major. Shapes: \[N·T\] each.
pub struct Recovered {
    /// The token whose embedding is nearest to the reconstruction, the lower id of equals; [`NO_TOKEN`] in a row without a map.
    pub ids: Vec<u32>,
    /// The rank of the true token by that distance; 1 is nearest, 0 in a row without a map.
    pub rank: Vec<f32>,
}

/// A row of a text, reconstructed.
pub(super) struct Reconstructed {
    /// Shapes: \[T, C4\].
    pub(super) rows: Vec<f32>,
    /// Shapes: \[T\].
    pub(super) ids: Vec<u32>,
    /// Shapes: \[T\].
    pub(super) rank: Vec<f32>,
}

impl Session {
    /// Reconstructs the token of every position from every row that the probe has a map of. Hold the guard of
    /// [`Session::lock`].
    ///
    /// Errors: `bad-option` for a lens that is no probe, or one of another model; `not-found`, `out-of-memory`, `aborted`,
    /// `gpu-refused`, `device-lost`.
    pub async fn recover(
        &self,
        lensed: &Lensed,
        probe: &OpenLens,
        cancel: &Cancel,
    ) -> Result<Recovered> {
        self.device.check()?;
        let loaded = in_use(&lensed.loaded)?;
        if !probe.is_probe() {
            let expected = "a fit on the input";
            return Err(Error::option(
                "probe",
                expected,
                format!("a lens of kind {}", probe.card.kind),
            ));
        }
        probe.maps.check(&loaded.model.config)?;
        let (n, t) = (lensed.rows.len(), lensed.ids.len());
        check_results(n, t, 2)?;
        let mut found = Recovered { ids: Vec::new(), rank: Vec::new() };
        self.nearest(&loaded, cancel).await?;
        for row in &lensed.rows {
            let of = (&lensed.stream, row);
            match self.reconstruct(&loaded, of, &probe.maps, &lensed.ids, cancel).await? {
                Some(one) => {
                    found.ids.extend(one.ids);
                    found.rank.extend(one.rank);
                }
                None => {
                    found.ids.resize(found.ids.len() + t, NO_TOKEN);
                    found.rank.resize(found.rank.len() + t, 0.0);
                }
            }
        }
        Ok(found)
    }

    /// One row of a text through its map, and the tokens nearest to it; none for a row without a map.
    pub(super) async fn reconstruct(
        &self,
        loaded: &Loaded,
        (stream, row): (&Stream, &Row),
        maps: &Maps,
        ids: &[u32],
        cancel: &Cancel,
    ) -> Result<Option<Reconstructed>> {
        let (Some(map), RowSource::Tap(tap)) = (maps.map(&row.name), row.source) else {
            return Ok(None);
        };
        let model = &loaded.model;
        let nearest = self.nearest(loaded, cancel).await?;
        let (device, c4, t) = (&self.device, pad4(model.config.n_embd), ids.len());
        let decoder = Decoder::over(model, nearest);
        let allocate = || {
            let mapped = device.tensor("reconstruction", (4 * t * c4) as u64);
            Ok((mapped, Ranked::new(device, &decoder, BLOCK.min(t))))
        };
        let (mapped, ranked) = device.allocate("this reconstruction", allocate).await?;
        let mut rec = device.record("this reconstruction", cancel);
        let x = Rows::new(&stream.taps[tap], 0, model.config.n_embd);
        map.apply(&mut rec, model, x, t, &mapped)?;
        let read = rec.read(&[(&mapped, (4 * t * c4) as u64)]).await?;
        let mut found = Reconstructed {
            rows: read.into_iter().next().unwrap_or_default(),
            ids: Vec::with_capacity(t),
            rank: Vec::with_capacity(t),
        };
        for (block, targets) in ids.chunks(BLOCK).enumerate() {
            let x = Rows::new(&mapped, block * BLOCK, model.config.n_embd);
            let rec = device.record("this reconstruction", cancel);
            for row in ranked.rank(rec, x, targets).await? {
                found.ids.push(row.argmax);
                found.rank.push(row.target_rank);
            }
        }
        Ok(Some(found))
    }

    /// The rows of wte with −‖e‖² / 2 as bias: of ŷ · e − ‖e‖² / 2 the largest is that of the row nearest to ŷ.
    async fn nearest<'l>(&self, loaded: &'l Loaded, cancel: &Cancel) -> Result<&'l [Shard]> {
        if let Some(shards) = loaded.nearest.get() {
            return Ok(shards);
        }
        let wte = loaded.model.wte()?;
        let mut biases: Vec<f32> = Vec::new();
        let add = |_: usize, row: &[f32]| {
            let square: f64 = row.iter().map(|&v| f64::from(v).powi(2)).sum();
            biases.push(single(-0.5 * square));
        };
        atlas::rows(&self.atlas_of(loaded, cancel), wte, add).await?;
        let device = &self.device;
        let make = || {
            let shard = |shard: &Shard| {
                let (first_id, n) = (shard.first_id, shard.matrix.n_out);
                let mut bias = biases.get(first_id..first_id + n).unwrap_or_default().to_vec();
                bias.resize(pad4(n), 0.0);
                let bias = Some(device.upload("squares", &bias));
                let (matrix, first_column) = (shard.matrix.clone(), shard.first_column);
                Shard { matrix, first_id, first_column, bias }
            };
            Ok(wte.iter().map(shard).collect::<Vec<_>>())
        };
        let shards = device.allocate("this reconstruction", make).await?;
        Ok(loaded.nearest.get_or_init(|| shards))
    }
}
