//! What might say how frequent a token is, and how far these agree.

use crate::error::{Error, Result};

use super::channels::{check_channel, length};
use super::{Atlas, spectrum, table};

/// How much of the work the first direction is, by rule of thumb.
const SPECTRUM_SHARE: f64 = 0.9;

/// Each of some numbers of a token with each. Shapes: \[m, m\] each.
#[derive(Debug, Clone, PartialEq)]
pub struct Correlations {
    /// What they are.
    pub names: Vec<String>,
    /// Of the values.
    pub pearson: Vec<f64>,
    /// Of their ranks; equal values share the mean of theirs.
    pub spearman: Vec<f64>,
}

/// A channel, the embedding's length, the first direction of the SVD and the id, and if they are
/// known the counts of the tokens in some text (any numbers), over all tokens. Shapes: counts \[V\].
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
        return Err(Error::BadOption(format!("counts are {n}, expected {vocab_size}")));
    }
    if counts.is_some_and(|counts| !counts.iter().all(|n| n.is_finite())) {
        return Err(Error::BadOption("counts hold what is no finite number".into()));
    }
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

/// Ranks from 1; equal values share the mean of theirs.
fn average_ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
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
