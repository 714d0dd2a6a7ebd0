//! The choice of the forms of kernels, by a short measurement on the adapter that is there.

use web_time::Instant;

use crate::device::{Backend, Cancel, Recorder, Tensor};
use crate::error::{Error, Result};
use crate::kernels::{Attention, Forms, LayerNorm, Matmul, Matrix, Rows, Tile, Unit, pad4};
use crate::model::Model;

use super::Session;

/// How the forms of kernels are chosen. No result depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tuning {
    /// Those without a barrier: for an adapter in software.
    Off,
    /// Measured when a model is installed.
    Measured,
    /// As they were measured before.
    Given(Forms),
}

/// After so long no other form is tried. Units: seconds.
const SECONDS: f64 = 0.2;
/// Columns of the unembedding that are computed.
const COLUMNS: usize = 4096;
/// Repetitions in one submission, so that its own cost matters little.
const REPEATS: usize = 8;
/// Rows for which the tiles are measured: one typed token's, those of a block of positions, those of a group.
const ROWS: [usize; 3] = [4, Forms::SOME, MOST];
const MOST: usize = 256;

/// The tiles in the order in which they are tried: first what is compiled, then what is most often best.
const ORDER: [Tile; 4] = [Tile::Register, Tile::Rows64, Tile::Rows128, Tile::Rows32];

impl Session {
    /// How forms are chosen; after a measurement, its result.
    pub fn tuning(&self) -> Tuning {
        self.tuning.get()
    }

    /// Chooses forms in this way from the next load on.
    pub fn set_tuning(&self, tuning: Tuning) {
        self.tuning.set(tuning);
    }

    /// Chooses the forms for a model that has been loaded. What the adapter refuses is not used.
    ///
    /// Errors: `device-lost`, `out-of-memory`.
    pub(super) async fn tune(&self, model: &Model) -> Result<()> {
        if self.device.backend() == Backend::Cpu {
            return Ok(());
        }
        let chosen = match self.tuning.get() {
            Tuning::Off => return Ok(()),
            Tuning::Given(forms) => self.choose(model, forms).await?,
            Tuning::Measured => match self.measure(model).await? {
                Some(forms) => self.choose(model, forms).await?,
                None => return Ok(()),
            },
        };
        self.tuning.set(Tuning::Given(if chosen { model.kernels.forms() } else { Forms::PLAIN }));
        Ok(())
    }

    /// Whether the adapter takes these forms.
    ///
    /// Errors: `device-lost`, `out-of-memory`.
    async fn choose(&self, model: &Model, forms: Forms) -> Result<bool> {
        match model.kernels.choose_forms(&self.device, forms).await {
            Ok(()) => Ok(true),
            Err(Error::GpuRefused(_)) => Ok(false),
            Err(other) => Err(other),
        }
    }

    /// The fastest forms for the shapes of a model; `None` for a partial one.
    ///
    /// Errors: `device-lost`, `out-of-memory`.
    async fn measure(&self, model: &Model) -> Result<Option<Forms>> {
        let Ok(weights) = model.whole() else { return Ok(None) };
        let (Some(shard), Some(block)) = (weights.unembed.first(), weights.blocks.first()) else {
            return Ok(None);
        };
        let allocate = || {
            let floats = |n: usize| self.device.tensor("tuning", 4 * n as u64);
            Ok([
                floats(MOST * pad4(model.config.n_embd)),
                floats(MOST * COLUMNS.max(pad4(model.config.n_embd))),
            ])
        };
        let [x, y] = &self.device.allocate("the choice of kernels", allocate).await?;
        let products = [&shard.matrix, &*block.mlp_in.weight];
        let start = Instant::now();
        let is_late = || start.elapsed().as_secs_f64() > SECONDS;

        let mut best = [(Tile::Register, f64::INFINITY); ROWS.len()];
        for tile in ORDER {
            if is_late() {
                break;
            }
            if !self.choose(model, Forms::all(tile, Unit::Invocation)).await? {
                continue;
            }
            for (n_rows, best) in ROWS.into_iter().zip(&mut best) {
                let seconds = self
                    .fastest(|rec| {
                        let mut products = products.iter();
                        products.try_for_each(|weight| product(rec, model, weight, n_rows, [x, y]))
                    })
                    .await?;
                if seconds < best.1 {
                    *best = (tile, seconds);
                }
            }
        }
        let [few, some, many] = best.map(|(tile, _)| tile);

        let mut rows = (Unit::Invocation, f64::INFINITY);
        for unit in [Unit::Invocation, Unit::Workgroup] {
            if is_late() || !self.choose(model, Forms::all(Tile::Register, unit)).await? {
                continue;
            }
            let seconds = self.fastest(|rec| by_rows(rec, model, [x, y])).await?;
            if seconds < rows.1 {
                rows = (unit, seconds);
            }
        }
        Ok(Some(Forms { few, some, many, rows: rows.0 }))
    }

    /// The least of three times of what is recorded; the first one, which compiles, does not count.
    ///
    /// Errors: those of `record`, `device-lost`, `out-of-memory`.
    async fn fastest(&self, record: impl Fn(&mut Recorder<'_>) -> Result<()>) -> Result<f64> {
        let mut least = f64::INFINITY;
        for run in 0..3 {
            let never = Cancel::default();
            let mut rec = self.device.record("the choice of kernels", &never);
            for _ in 0..REPEATS {
                record(&mut rec)?;
            }
            let start = Instant::now();
            rec.finish().await?;
            if run > 0 {
                least = least.min(start.elapsed().as_secs_f64());
            }
        }
        Ok(least)
    }
}

/// Some columns of a matrix product.
fn product(
    rec: &mut Recorder<'_>,
    model: &Model,
    weight: &Matrix,
    n_rows: usize,
    [x, y]: [&Tensor; 2],
) -> Result<()> {
    let columns4 = 0..(pad4(weight.n_out) / 4).min(COLUMNS / 4);
    let (x, y) = (Rows::new(x, 0, model.config.n_embd), Rows::new(y, 0, COLUMNS));
    model.kernels.matmul(rec, &Matmul { columns4, ..Matmul::new(x, weight, n_rows, y) })
}

/// LayerNorm and attention of a block of positions that comes late in a text.
fn by_rows(rec: &mut Recorder<'_>, model: &Model, [x, y]: [&Tensor; 2]) -> Result<()> {
    let config = &model.config;
    let n_rows = Forms::SOME;
    let at = |tensor| Rows::new(tensor, 0, config.n_embd);
    let epsilon = config.layer_norm_epsilon;
    let (affine, n_embd) = (None, config.n_embd);
    model
        .kernels
        .layer_norm(rec, &LayerNorm { x: at(x), affine, epsilon, n_embd, n_rows, y: at(y) })?;
    let attention = Attention {
        q: x,
        k: x,
        v: x,
        first_position: MOST - n_rows,
        n_rows,
        n_head: config.n_head,
        head_dim: config.head_dim(),
        scale: 1.0,
        window: None,
        y,
    };
    model.kernels.attention(rec, &attention)
}
