//! The choice of the forms of kernels, by a short measurement on the adapter that is there.

use web_time::Instant;

use crate::device::{Backend, Cancel, Device, Recorder, Tensor};
use crate::error::{Error, Result};
use crate::kernels::{Attention, Forms, LayerNorm, Matmul, Rows, Tile, Unit, pad4};
use crate::model::Model;

use super::Session;

/// How the forms of kernels are chosen. No result depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tuning {
    /// The plain ones: for an adapter in software.
    Off,
    /// Measured when a model is installed.
    Measured,
    /// These: as they were measured before, or because they are known to suit the adapter.
    Given(Forms),
}

/// Measurements take no longer than this together; compiling does not count. Units: seconds.
const SECONDS: f64 = 0.2;
/// As long as one measurement is at least, so that a round trip matters little. Units: seconds.
const ENOUGH: f64 = 0.004;
/// Columns of the unembedding that are computed.
const COLUMNS: usize = 4096;
/// Rows for which the tiles are measured: those of a block of positions, of the forward pass and of the lens, one typed token's.
const ROWS: [usize; 3] = [Forms::SOME, MOST, 4];
const MOST: usize = 256;
/// Rows whose bits are compared: more than the smaller tiles have, fewer than the largest.
const COMPARED: usize = 68;

/// The tiles in the order in which they are tried: first what is compiled, then what is most often best. The wide one is for
/// an adapter that is not measured.
const ORDER: [Tile; 5] = [Tile::Register, Tile::Rows64, Tile::Rows128, Tile::Rows8, Tile::Rows32];

impl Session {
    /// How forms are chosen; after a measurement, its result.
    pub fn tuning(&self) -> Tuning {
        self.tuning.get()
    }

    /// Chooses forms in this way from the next load on.
    pub fn set_tuning(&self, tuning: Tuning) {
        self.tuning.set(tuning);
    }

    /// The forms that this adapter takes and that have the bits of the plain ones, with the model in use: the units of
    /// rows, then the tiles. The forms in use stay.
    ///
    /// Errors: `not-found`, `out-of-memory`, `gpu-refused`, `aborted`, `device-lost`.
    pub async fn usable_forms(&self, cancel: &Cancel) -> Result<Vec<Forms>> {
        let loaded = self.loaded()?;
        let in_use = loaded.model.kernels.forms();
        let trial = Trial::new(&self.device, &loaded.model, cancel).await?;
        let [units, tiles] = [trial.units().await?, trial.tiles().await?];
        loaded.model.kernels.choose_forms(&self.device, in_use).await?;
        Ok([units, tiles].concat())
    }

    /// Chooses the forms for a model that has been loaded. What the adapter refuses, or computes in another way, is not
    /// used.
    ///
    /// Errors: `aborted`, `device-lost`.
    pub(super) async fn tune(&self, model: &Model, cancel: &Cancel) -> Result<()> {
        if self.device.backend() == Backend::Cpu || model.whole().is_err() {
            return Ok(());
        }
        let forms = match self.tuning.get() {
            Tuning::Off => return Ok(()),
            Tuning::Given(forms) => forms,
            Tuning::Measured => match Trial::new(&self.device, model, cancel).await {
                Ok(mut trial) => trial.forms().await?,
                Err(error) => refusal(error)?.unwrap_or(Forms::PLAIN),
            },
        };
        let chosen = model.kernels.choose_forms(&self.device, forms).await;
        match chosen.map_or_else(refusal, |()| Ok(Some(forms)))? {
            Some(forms) => self.tuning.set(Tuning::Given(forms)),
            None => {
                model.kernels.choose_forms(&self.device, Forms::PLAIN).await?;
                self.tuning.set(Tuning::Given(Forms::PLAIN));
            }
        }
        Ok(())
    }
}

/// `None` for what only says that a form cannot be used here.
///
/// Errors: `aborted`, `device-lost`.
fn refusal<V>(error: Error) -> Result<Option<V>> {
    match error {
        Error::Aborted | Error::DeviceLost(_) => Err(error),
        _ => Ok(None),
    }
}

/// A measurement, with the shapes and weights of a model.
struct Trial<'a> {
    device: &'a Device,
    model: &'a Model,
    cancel: &'a Cancel,
    x: Tensor,
    y: Tensor,
    /// Seconds measured so far.
    spent: f64,
}

impl<'a> Trial<'a> {
    /// Errors: `out-of-memory`, `gpu-refused`, `device-lost`.
    async fn new(device: &'a Device, model: &'a Model, cancel: &'a Cancel) -> Result<Trial<'a>> {
        let width = pad4(model.config.n_embd);
        let numbers: Vec<f32> =
            (0..MOST * width).map(|i| (i * 37 % 101) as f32 / 50.0 - 1.0).collect();
        let allocate = || {
            let y = device.tensor("tuning", 4 * (MOST * COLUMNS.max(width)) as u64);
            Ok((device.upload("tuning", &numbers), y))
        };
        let (x, y) = device.allocate("the choice of kernels", allocate).await?;
        Ok(Trial { device, model, cancel, x, y, spent: 0.0 })
    }

    /// The fastest forms.
    ///
    /// Errors: `aborted`, `device-lost`.
    async fn forms(&mut self) -> Result<Forms> {
        let mut forms = Forms::PLAIN;
        let units = self.units().await?;
        forms.rows = self.fastest(&units, Work::Rows).await?.rows;
        let tiles = self.tiles().await?;
        for n_rows in ROWS {
            let suitable: Vec<Forms> =
                tiles.iter().copied().filter(|forms| forms.few.suits(n_rows)).collect();
            let best = self.fastest(&suitable, Work::Products(n_rows)).await?.of(n_rows);
            let place = match n_rows {
                0..=Forms::FEW => &mut forms.few,
                Forms::SOME => &mut forms.some,
                _ => &mut forms.many,
            };
            *place = best;
        }
        Ok(forms)
    }

    /// The usable units for rows.
    ///
    /// Errors: `aborted`, `device-lost`.
    async fn units(&self) -> Result<Vec<Forms>> {
        let units = [Unit::Invocation, Unit::Workgroup];
        self.agreeing(&units.map(|unit| Forms::all(Tile::Register, unit)), Work::Rows).await
    }

    /// The usable tiles.
    ///
    /// Errors: `aborted`, `device-lost`.
    async fn tiles(&self) -> Result<Vec<Forms>> {
        let tiles = ORDER.map(|tile| Forms::all(tile, Unit::Invocation));
        self.agreeing(&tiles, Work::Products(COMPARED)).await
    }

    /// Those forms that this adapter takes and that have the bits of the first one.
    ///
    /// Errors: `aborted`, `device-lost`.
    async fn agreeing(&self, forms: &[Forms], work: Work) -> Result<Vec<Forms>> {
        let (mut agreeing, mut expected) = (Vec::new(), None);
        for &forms in forms {
            let bits: Vec<u32> = match self.bits(forms, work).await {
                Ok(bits) => bits,
                Err(error) => {
                    refusal::<()>(error)?;
                    continue;
                }
            };
            if *expected.get_or_insert_with(|| bits.clone()) == bits {
                agreeing.push(forms);
            }
        }
        Ok(agreeing)
    }

    /// What a piece of work writes.
    ///
    /// Errors: `aborted`, `gpu-refused`, `out-of-memory`, `device-lost`.
    async fn bits(&self, forms: Forms, work: Work) -> Result<Vec<u32>> {
        self.model.kernels.choose_forms(self.device, forms).await?;
        // Nothing is left of the form before.
        self.device.write(&self.y, 0, &vec![0f32; COMPARED * COLUMNS]);
        self.run(work, 1).await?;
        let bytes = 4 * (COMPARED * COLUMNS) as u64;
        let read = self.device.read(&[(&self.y, bytes)]).await?.into_iter().flatten();
        Ok(read.map(f32::to_bits).collect())
    }

    /// The fastest of some forms, of which the first one is the plain one; of those that there is time for.
    ///
    /// Errors: `aborted`, `device-lost`.
    async fn fastest(&mut self, forms: &[Forms], work: Work) -> Result<Forms> {
        let mut best = (Forms::PLAIN, f64::INFINITY);
        for &forms in forms {
            if self.spent > SECONDS {
                break;
            }
            match self.seconds(forms, work).await {
                Ok(seconds) if seconds < best.1 => best = (forms, seconds),
                Ok(_) => {}
                Err(error) => _ = refusal::<()>(error)?,
            }
        }
        Ok(best.0)
    }

    /// How long a piece of work takes: so many repetitions in one submission that it is long enough.
    ///
    /// Errors: `aborted`, `gpu-refused`, `out-of-memory`, `device-lost`.
    async fn seconds(&mut self, forms: Forms, work: Work) -> Result<f64> {
        self.model.kernels.choose_forms(self.device, forms).await?;
        let mut repeats = 1;
        loop {
            let seconds = self.run(work, repeats).await?;
            self.spent += seconds;
            if seconds >= ENOUGH || repeats >= 256 {
                let again = self.run(work, repeats).await?;
                self.spent += again;
                return Ok(seconds.min(again) / f64::from(repeats));
            }
            repeats *= 2;
        }
    }

    /// Errors: `aborted`, `gpu-refused`, `out-of-memory`, `device-lost`.
    async fn run(&self, work: Work, repeats: u32) -> Result<f64> {
        self.cancel.check()?;
        let mut rec = self.device.record("the choice of kernels", self.cancel);
        for _ in 0..repeats {
            match work {
                Work::Products(n_rows) => self.products(&mut rec, n_rows)?,
                Work::Rows => self.by_rows(&mut rec)?,
            }
        }
        let start = Instant::now();
        rec.finish().await?;
        self.device.check()?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Some columns of the first MLP, then of the unembedding.
    fn products(&self, rec: &mut Recorder<'_>, n_rows: usize) -> Result<()> {
        let weights = self.model.whole()?;
        let mlp = weights.blocks.first().map(|block| &*block.mlp_in.weight);
        let unembed = weights.unembed.first().map(|shard| &*shard.matrix);
        for weight in mlp.into_iter().chain(unembed) {
            let columns4 = 0..(pad4(weight.n_out) / 4).min(COLUMNS / 4);
            let x = Rows::new(&self.x, 0, self.model.config.n_embd);
            let op = Matmul::new(x, weight, n_rows, Rows::new(&self.y, 0, COLUMNS));
            self.model.kernels.matmul(rec, &Matmul { columns4, ..op })?;
        }
        Ok(())
    }

    /// LayerNorm and attention of a block of positions that comes late in a text.
    fn by_rows(&self, rec: &mut Recorder<'_>) -> Result<()> {
        let (config, n_rows) = (&self.model.config, Forms::SOME);
        let n_embd = config.n_embd;
        let attention = Attention {
            q: &self.x,
            k: &self.x,
            v: &self.x,
            first_position: MOST - n_rows,
            n_runs: 1,
            n_rows,
            n_head: config.n_head,
            head_dim: config.head_dim(),
            scale: 1.0,
            window: None,
            y: &self.y,
        };
        self.model.kernels.attention(rec, &attention)?;
        let norm = LayerNorm {
            x: Rows::new(&self.x, 0, n_embd),
            others: &[],
            affine: None,
            epsilon: Some(config.layer_norm_epsilon),
            n_embd,
            n_rows,
            y: Rows::new(&self.y, n_rows, n_embd),
        };
        self.model.kernels.layer_norm(rec, &norm)
    }
}

/// What is measured.
#[derive(Clone, Copy)]
enum Work {
    /// Matrix products of so many rows.
    Products(usize),
    /// LayerNorm and attention.
    Rows,
}
