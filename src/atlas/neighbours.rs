//! The tokens whose embeddings are nearest to that of one token.

use crate::config::single;
use crate::error::{Error, Result};
use crate::kernels::Shard;
use crate::lens::descending;

use super::channels::length;
use super::{Atlas, table};

/// The measure of nearness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The cosine of the angle.
    Cosine,
    /// The inner product.
    Dot,
}

/// Tokens, nearest first; a tie goes to the lower id. Shapes: \[k\] each.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    /// Their ids; the token itself is one of them.
    pub ids: Vec<u32>,
    /// Cosines or inner products.
    pub values: Vec<f32>,
}

/// The `k` nearest tokens of `id`, itself included.
///
/// Errors: `missing-tensor`, `bad-token`, `bad-option` for k of 0 or beyond the vocabulary, `aborted`, `device-lost`.
pub async fn neighbours(atlas: &Atlas<'_>, id: u32, k: usize, by: By) -> Result<Neighbours> {
    let quiet = Atlas { on_progress: &|_| {}, ..*atlas };
    let own: Vec<f64> = table::rows_of(&quiet, &[id]).await?.into_iter().map(f64::from).collect();
    let own_length = own.iter().map(|v| v * v).sum::<f64>().sqrt();
    nearest(atlas, atlas.model.wte()?, k, &own, |dot, _, row| match by {
        By::Dot => dot,
        By::Cosine => dot / (own_length * length(row)).max(f64::MIN_POSITIVE),
    })
    .await
}

/// The `k` tokens with the largest `value(own·row, token, row)` in an embedding. Shapes: own \[C\].
///
/// Errors: `bad-option`, `aborted`, `device-lost`, `out-of-memory`.
pub(super) async fn nearest(
    atlas: &Atlas<'_>,
    shards: &[Shard],
    k: usize,
    own: &[f64],
    value: impl Fn(f64, usize, &[f32]) -> f64,
) -> Result<Neighbours> {
    let vocab_size = atlas.model.config.vocab_size;
    if !(1..=vocab_size).contains(&k) {
        return Err(Error::option("k", format!("1 to {vocab_size}"), k));
    }
    let mut values = Vec::with_capacity(vocab_size);
    table::rows(atlas, shards, |other, row| {
        let dot = loupe_numbers::dot(row, own);
        values.push(f64::from(single(value(dot, other, row))));
    })
    .await?;
    let nearest = descending(&values).into_iter().take(k);
    let nearest = nearest.filter_map(|id| Some((u32::try_from(id).ok()?, single(values[id]))));
    let (ids, values) = nearest.unzip();
    Ok(Neighbours { ids, values })
}
