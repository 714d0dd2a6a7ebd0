//! Quantities that may reflect how frequent a token is, and their correlations.

use crate::error::{Error, Result};
use crate::lens::descending;

use super::channels::{check_channel, length};
use super::{Atlas, check_memory, spectrum, table};

/// The share of the work that the first direction takes, approximately.
const SPECTRUM_SHARE: f64 = 0.9;

/// Correlations of every two of m quantities. Shapes: \[m, m\] each.
#[derive(Debug, Clone, PartialEq)]
pub struct Correlations {
    /// The quantities.
    pub names: Vec<String>,
    /// Pearson's r of the values.
    pub pearson: Vec<f64>,
    /// Spearman's ρ: Pearson's r of the ranks, where equal values share their mean rank.
    pub spearman: Vec<f64>,
}

/// A channel, the embedding's norm, the first direction of the SVD, the id and, if given, the counts of
/// the tokens in some text (any numbers), over all tokens. Shapes: counts \[V\].
///
/// Errors: `missing-tensor`, `bad-option` for a channel that does not exist or counts of another
/// length, `aborted`, `device-lost`, `out-of-memory`.
pub async fn correlations(
    atlas: &Atlas<'_>,
    channel: usize,
    counts: Option<&[f64]>,
) -> Result<Correlations> {
    check_channel(atlas, channel)?;
    let vocab_size = atlas.model.config.vocab_size;
    if let Some(n) = counts.map(<[f64]>::len).filter(|&n| n != vocab_size) {
        return Err(Error::option("counts", format!("{vocab_size} numbers"), n));
    }
    let mut numbers = counts.unwrap_or_default().iter();
    if let Some(i) = numbers.position(|n| !n.is_finite()) {
        let got = counts.map_or(f64::NAN, |counts| counts[i]);
        return Err(Error::option(format!("counts[{i}]"), "a finite number", got));
    }
    // Five columns and their ranks, and an order.
    check_memory("correlations over the vocabulary", vocab_size as u64, 11 * 8)?;
    let before = |done| (atlas.on_progress)(SPECTRUM_SHARE * done);
    let found = spectrum(&Atlas { on_progress: &before, ..*atlas }, 1).await?;
    let first = found.tokens.into_iter().map(f64::from).collect();
    let ids = (0..vocab_size).map(|id| id as f64).collect();
    let (mut of_channel, mut norms) = (Vec::new(), Vec::new());
    let after = |done| (atlas.on_progress)(SPECTRUM_SHARE + (1.0 - SPECTRUM_SHARE) * done);
    let rest = Atlas { on_progress: &after, ..*atlas };
    table::rows(&rest, atlas.model.wte()?, |_, row| {
        of_channel.push(row[channel].into());
        norms.push(length(row));
    })
    .await?;
    let names = [&*format!("channel {channel}"), "norm", "svd 0", "token id", "count"];
    let values = [of_channel, norms, first, ids].into_iter().chain(counts.map(<[f64]>::to_vec));
    let values: Vec<_> = values.collect();
    let ranks: Vec<_> = values.iter().map(|values| average_ranks(values)).collect();
    let table = |columns: &[Vec<f64>]| {
        columns.iter().flat_map(|a| columns.iter().map(|b| pearson(a, b))).collect::<Vec<_>>()
    };
    Ok(Correlations {
        names: names.into_iter().take(values.len()).map(String::from).collect(),
        pearson: table(&values),
        spearman: table(&ranks),
    })
}

/// Pearson's r; 0 where one of them does not vary.
fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len() as f64;
    let (mean_a, mean_b) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let (mut ab, mut aa, mut bb) = (0.0, 0.0, 0.0);
    for (x, y) in a.iter().zip(b) {
        let (x, y) = (x - mean_a, y - mean_b);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    if aa * bb > 0.0 { ab / (aa * bb).sqrt() } else { 0.0 }
}

/// Ranks from 1; equal values share their mean rank.
fn average_ranks(values: &[f64]) -> Vec<f64> {
    let order: Vec<usize> = descending(values).into_iter().rev().collect();
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let same = |&&i: &&usize| values[i] == values[order[start]];
        let end = start + order[start..].iter().take_while(same).count().max(1);
        let shared = (start + 1 + end) as f64 / 2.0;
        order[start..end].iter().for_each(|&i| ranks[i] = shared);
        start = end;
    }
    ranks
}
