//! The choice of the tiles of matrix products, by a short measurement on the adapter that is there.

use web_time::Instant;

use crate::device::{Backend, Cancel};
use crate::error::{Error, Result};
use crate::kernels::{Matmul, Matrix, Rows, Tile, Tiles, pad4};
use crate::model::Model;

use super::Session;

/// How the tiles of matrix products are chosen. No result depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tuning {
    /// Registers only: for an adapter in software.
    Off,
    /// Measured when a model is installed.
    Measured,
    /// As they were measured before.
    Given(Tiles),
}

/// After so long no other tile is tried. Units: seconds.
const SECONDS: f64 = 0.2;
/// Columns of the unembedding that are computed.
const COLUMNS: usize = 4096;
/// Products in one submission, so that its own cost matters little.
const PRODUCTS: usize = 8;
/// Rows for which the tiles are measured: one typed token's, those of a block of positions, those of a group.
const ROWS: [usize; 3] = [4, 64, 256];

/// The tiles in the order in which they are tried: first what is compiled, then what is most often best.
const ORDER: [Tile; 4] = [Tile::Register, Tile::Rows64, Tile::Rows128, Tile::Rows32];

impl Session {
    /// How tiles are chosen; after a measurement, its result.
    pub fn tuning(&self) -> Tuning {
        self.tuning.get()
    }

    /// Chooses tiles in this way from the next load on.
    pub fn set_tuning(&self, tuning: Tuning) {
        self.tuning.set(tuning);
    }

    /// Chooses the tiles for a model that has been loaded. What the adapter refuses is not used.
    ///
    /// Errors: `device-lost`, `out-of-memory`.
    pub(super) async fn tune(&self, model: &Model) -> Result<()> {
        if self.device.backend() == Backend::Cpu {
            return Ok(());
        }
        let chosen = match self.tuning.get() {
            Tuning::Off => return Ok(()),
            Tuning::Given(tiles) => self.choose(model, tiles).await?,
            Tuning::Measured => match self.measure(model).await? {
                Some(tiles) => self.choose(model, tiles).await?,
                None => return Ok(()),
            },
        };
        self.tuning.set(Tuning::Given(if chosen {
            model.kernels.tiles()
        } else {
            Tiles::REGISTER
        }));
        Ok(())
    }

    /// Whether the adapter takes these tiles.
    ///
    /// Errors: `device-lost`, `out-of-memory`.
    async fn choose(&self, model: &Model, tiles: Tiles) -> Result<bool> {
        match model.kernels.choose_tiles(&self.device, tiles).await {
            Ok(()) => Ok(true),
            Err(Error::GpuRefused(_)) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// The fastest tiles for the shapes of a model; `None` for a partial one.
    ///
    /// Errors: `device-lost`, `out-of-memory`.
    async fn measure(&self, model: &Model) -> Result<Option<Tiles>> {
        let Ok(weights) = model.whole() else { return Ok(None) };
        let (Some(shard), Some(block)) = (weights.unembed.first(), weights.blocks.first()) else {
            return Ok(None);
        };
        let products = [&shard.matrix, &*block.mlp_in.weight];
        let most = ROWS.into_iter().max().unwrap_or_default();
        let width = pad4(model.config.n_embd);
        let allocate = || {
            let x = self.device.tensor("tuning", 4 * (most * width) as u64);
            let y = self.device.tensor("tuning", 4 * (most * COLUMNS) as u64);
            Ok([x, y])
        };
        let [x, y] = &self.device.allocate("the choice of tiles", allocate).await?;
        let run = async |n_rows: usize| -> Result<f64> {
            let never = Cancel::default();
            let mut rec = self.device.record("the choice of tiles", &never);
            for _ in 0..PRODUCTS {
                for weight in products {
                    let columns4 = 0..n_columns4(weight);
                    let x = Rows::new(x, 0, model.config.n_embd);
                    let y = Rows::new(y, 0, COLUMNS);
                    let op = Matmul { columns4, ..Matmul::new(x, weight, n_rows, y) };
                    model.kernels.matmul(&mut rec, &op)?;
                }
            }
            let start = Instant::now();
            rec.finish().await?;
            Ok(start.elapsed().as_secs_f64())
        };

        let start = Instant::now();
        let mut best = [(Tile::Register, f64::INFINITY); ROWS.len()];
        for tile in ORDER {
            if start.elapsed().as_secs_f64() > SECONDS {
                break;
            }
            if !self.choose(model, Tiles::all(tile)).await? {
                continue;
            }
            // The first run of a pipeline compiles it.
            run(1).await?;
            for (n_rows, best) in ROWS.into_iter().zip(&mut best) {
                let seconds = run(n_rows).await?.min(run(n_rows).await?);
                if seconds < best.1 {
                    *best = (tile, seconds);
                }
            }
        }
        let [few, some, many] = best.map(|(tile, _)| tile);
        Ok(Some(Tiles { few, some, many }))
    }
}

/// Groups of columns of a matrix that are computed.
fn n_columns4(weight: &Matrix) -> usize {
    (pad4(weight.n_out) / 4).min(COLUMNS / 4)
}
