//! The tokens whose embeddings lie nearest to one.

use crate::error::{Error, Result};

use super::channels::length;
use super::{Atlas, table};

/// What near means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The angle.
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
/// Errors: `bad-token`, `bad-option` for k of 0 or beyond the vocabulary, `aborted`, `device-lost`.
pub async fn neighbours(atlas: &Atlas<'_>, id: u32, k: usize, by: By) -> Result<Neighbours> {
    let vocab_size = atlas.model.config.vocab_size;
    if id as usize >= vocab_size {
        return Err(Error::BadToken { id: id.into(), vocab_size });
    }
    if !(1..=vocab_size).contains(&k) {
        return Err(Error::BadOption(format!("k is {k}, expected 1 to {vocab_size}")));
    }
    let own = table::row(atlas, id as usize).await?;
    let own_length = length(&own);
    let mut all = Vec::with_capacity(vocab_size);
    table::rows(atlas, |other, row| {
        let dot: f64 = own.iter().zip(row).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
        let value = match by {
            By::Dot => dot,
            By::Cosine => dot / (own_length * length(row)).max(f64::MIN_POSITIVE),
        };
        all.push((value as f32, other as u32));
    })
    .await?;
    all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    all.truncate(k);
    let (values, ids) = all.into_iter().unzip();
    Ok(Neighbours { ids, values })
}
