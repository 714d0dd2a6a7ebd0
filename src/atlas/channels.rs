//! Channel by channel: statistics over tokens and positions, and the gains of every LayerNorm.

use std::rc::Rc;

use crate::config::single;
use crate::device::Tensor;
use crate::error::{Error, Result};

use super::{Atlas, table};

/// Mean and standard deviation of every channel. Shapes: \[C\] each, or empty where the embedding is
/// absent.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelStatistics {
    /// Of the token embedding, over the tokens.
    pub wte_mean: Vec<f32>,
    /// Of the token embedding, over the tokens.
    pub wte_std: Vec<f32>,
    /// Of the position embedding, over the positions.
    pub wpe_mean: Vec<f32>,
    /// Of the position embedding, over the positions.
    pub wpe_std: Vec<f32>,
}

/// Gain and bias of one LayerNorm. Shapes: \[C\] each, or empty where it is absent.
#[derive(Debug, Clone, PartialEq)]
pub struct Gains {
    /// `h.i.ln_1`, `h.i.ln_2` or `ln_f`.
    pub name: String,
    /// The gain.
    pub weight: Vec<f32>,
    /// The bias.
    pub bias: Vec<f32>,
}

/// Sums over rows, in f64 relative to the first row, so that little precision is lost where a mean is large.
#[derive(Default)]
struct Sums {
    n: f64,
    origin: Vec<f64>,
    first: Vec<f64>,
    second: Vec<f64>,
}

impl Sums {
    fn add(&mut self, row: &[f32]) {
        if self.n == 0.0 {
            self.origin = row.iter().map(|&v| v.into()).collect();
            self.first = vec![0.0; row.len()];
            self.second = vec![0.0; row.len()];
        }
        self.n += 1.0;
        loupe_numbers::add_row(row, &self.origin, &mut self.first, &mut self.second);
    }

    /// Mean and population standard deviation of each channel.
    fn finish(self) -> (Vec<f32>, Vec<f32>) {
        let mean = self.origin.iter().zip(&self.first).map(|(o, s)| single(o + s / self.n));
        let variance = |(first, second): (&f64, &f64)| {
            let m = first / self.n;
            single((second / self.n - m * m).max(0.0).sqrt())
        };
        (mean.collect(), self.first.iter().zip(&self.second).map(variance).collect())
    }
}

/// Statistics of every channel, of the embeddings that the model has.
///
/// Errors: `aborted`, `device-lost`, `out-of-memory`.
pub async fn channels(atlas: &Atlas<'_>) -> Result<ChannelStatistics> {
    let (mut tokens, mut positions) = (Sums::default(), Sums::default());
    if let Ok(wte) = atlas.model.wte() {
        table::rows(atlas, wte, |_, row| tokens.add(row)).await?;
    }
    if atlas.model.wpe().is_ok() {
        let wpe = table::positions(atlas).await?;
        wpe.chunks(atlas.model.config.n_embd).for_each(|row| positions.add(row));
    }
    let ((wte_mean, wte_std), (wpe_mean, wpe_std)) = (tokens.finish(), positions.finish());
    Ok(ChannelStatistics { wte_mean, wte_std, wpe_mean, wpe_std })
}

/// Gains and biases of every LayerNorm that the model has, in the order of the pass.
///
/// Errors: `aborted`, `device-lost`, `out-of-memory`.
pub async fn gains(atlas: &Atlas<'_>) -> Result<Vec<Gains>> {
    let norms = atlas.model.norms();
    let tensors = norms.iter().flat_map(|norm| [&norm.gain, &norm.bias]).flatten();
    let bytes = 4 * atlas.model.config.n_embd as u64;
    let tensors: Vec<(&Tensor, u64)> = tensors.map(|tensor| (&**tensor, bytes)).collect();
    let mut values = atlas.device.read(&tensors).await?.into_iter();
    atlas.advance(1.0)?;
    let mut next = |tensor: &Option<Rc<Tensor>>| match tensor {
        Some(_) => values.next().unwrap_or_default(),
        None => Vec::new(),
    };
    let gains = norms.iter().map(|norm| {
        let (weight, bias) = (next(&norm.gain), next(&norm.bias));
        Gains { name: norm.name.clone(), weight, bias }
    });
    Ok(gains.collect())
}

/// Largest number of rows in one answer.
const MAX_ROWS: usize = 4096;

/// The embeddings of some tokens. Shapes: \[n, C\].
///
/// Errors: `missing-tensor`, `bad-token`, `bad-option` for more than 4,096, `aborted`, `device-lost`,
/// `out-of-memory`.
pub async fn rows_of(atlas: &Atlas<'_>, ids: &[u32]) -> Result<Vec<f32>> {
    if ids.len() > MAX_ROWS {
        let n = ids.len();
        let got = format!("{n} tokens");
        return Err(Error::option("ids", format!("at most {MAX_ROWS} tokens"), got));
    }
    table::rows_of(atlas, ids).await
}

/// The position embedding. Shapes: \[n_ctx, C\].
///
/// Errors: `missing-tensor`, `device-lost`, `out-of-memory`.
pub async fn positions(atlas: &Atlas<'_>) -> Result<Vec<f32>> {
    let wpe = table::positions(atlas).await?;
    atlas.advance(1.0)?;
    Ok(wpe)
}

/// Norm of every token's embedding. Shapes: \[V\].
///
/// Errors: `missing-tensor`, `aborted`, `device-lost`, `out-of-memory`.
pub async fn norms(atlas: &Atlas<'_>) -> Result<Vec<f32>> {
    let mut out = vec![0.0; atlas.model.config.vocab_size];
    table::rows(atlas, atlas.model.wte()?, |id, row| out[id] = single(length(row))).await?;
    Ok(out)
}

/// One channel of every token's embedding. Shapes: \[V\].
///
/// Errors: `missing-tensor`, `bad-option` for a channel that does not exist, `aborted`, `device-lost`, `out-of-memory`.
pub async fn channel(atlas: &Atlas<'_>, channel: usize) -> Result<Vec<f32>> {
    check_channel(atlas, channel)?;
    let mut out = vec![0.0; atlas.model.config.vocab_size];
    table::rows(atlas, atlas.model.wte()?, |id, row| out[id] = row[channel]).await?;
    Ok(out)
}

/// Errors: `bad-option`.
pub(super) fn check_channel(atlas: &Atlas<'_>, channel: usize) -> Result<()> {
    let n_embd = atlas.model.config.n_embd;
    if channel < n_embd {
        return Ok(());
    }
    Err(Error::option("channel", format!("0 to {}", n_embd.saturating_sub(1)), channel))
}

/// The norm of a row.
pub(super) fn length(row: &[f32]) -> f64 {
    row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}
