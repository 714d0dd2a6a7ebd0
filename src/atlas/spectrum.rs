//! The singular value decomposition of `wte`, uncentred, by way of its Gram matrix.

use nalgebra::{DMatrix, SymmetricEigen};

use crate::error::{Error, Result};
use crate::kernels::{Gram, pad4};

use super::{Atlas, table};

/// Tokens that are summed on the device before f64 takes over.
const TOKENS: usize = 4096;
/// How much of the work each of the two passes over the embedding is, by rule of thumb.
const GRAM_SHARE: f64 = 0.7;

/// Singular values and the first directions.
#[derive(Debug, Clone, PartialEq)]
pub struct Spectrum {
    /// All of them, largest first. Shapes: \[C\].
    pub singular_values: Vec<f32>,
    /// Unit vectors over the channels; the mean of the tokens' projections is not negative.
    /// Shapes: \[n, C\].
    pub directions: Vec<f32>,
    /// wte · directionᵀ. Shapes: \[n, V\].
    pub tokens: Vec<f32>,
    /// Cosine of each direction with the mean embedding. Shapes: \[n\].
    pub cosine_with_mean: Vec<f32>,
}

/// The spectrum with its first `n` directions.
///
/// Errors: `bad-option` for n of 0 or more than the channels, `aborted`, `device-lost`,
/// `out-of-memory`.
pub async fn spectrum(atlas: &Atlas<'_>, n: usize) -> Result<Spectrum> {
    let config = &atlas.model.config;
    let (c, v) = (config.n_embd, config.vocab_size);
    if !(1..=c).contains(&n) {
        return Err(Error::BadOption(format!("a spectrum of {n} directions, expected 1 to {c}")));
    }
    let gram = gram(atlas).await?;
    let eigen = SymmetricEigen::new(DMatrix::from_row_slice(c, c, &gram));
    let mut order: Vec<usize> = (0..c).collect();
    order.sort_by(|&a, &b| eigen.eigenvalues[b].total_cmp(&eigen.eigenvalues[a]));
    let value = |&i: &usize| eigen.eigenvalues[i].max(0.0).sqrt() as f32;
    let singular_values = order.iter().map(value).collect();
    let mut directions: Vec<Vec<f64>> = order[..n]
        .iter()
        .map(|&i| eigen.eigenvectors.column(i).iter().copied().collect())
        .collect();
    atlas.advance(GRAM_SHARE)?;

    let dot =
        |row: &[f32], d: &[f64]| row.iter().zip(d).map(|(&x, y)| f64::from(x) * y).sum::<f64>();
    let mut tokens = vec![0f32; n * v];
    let mut sum = vec![0f64; c];
    let second = Atlas {
        on_progress: &|done| (atlas.on_progress)(GRAM_SHARE + (1.0 - GRAM_SHARE) * done),
        ..*atlas
    };
    table::rows(&second, |id, row| {
        sum.iter_mut().zip(row).for_each(|(s, &x)| *s += f64::from(x));
        for (k, direction) in directions.iter().enumerate() {
            tokens[k * v + id] = dot(row, direction) as f32;
        }
    })
    .await?;
    let length = sum.iter().map(|s| s * s).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    let mut cosine_with_mean = Vec::with_capacity(n);
    for (k, direction) in directions.iter_mut().enumerate() {
        let mut along: f64 = direction.iter().zip(&sum).map(|(d, s)| d * s).sum();
        if along < 0.0 {
            along = -along;
            direction.iter_mut().for_each(|d| *d = -*d);
            tokens[k * v..][..v].iter_mut().for_each(|t| *t = -*t);
        }
        cosine_with_mean.push((along / length) as f32);
    }
    let directions = directions.concat().into_iter().map(|d| d as f32).collect();
    Ok(Spectrum { singular_values, directions, tokens, cosine_with_mean })
}

/// wteᵀ·wte over the channels, summed on the device some thousand tokens at a time. Shapes: \[C, C\].
async fn gram(atlas: &Atlas<'_>) -> Result<Vec<f64>> {
    let (gpu, model) = (atlas.gpu, atlas.model);
    let (c, padded) = (model.config.n_embd, pad4(model.config.n_embd));
    let mut out = vec![0f64; c * c];
    let most = model.weights.wte.iter().map(|s| pad4(s.matrix.n_out)).max().unwrap_or(0);
    let allocate = || {
        Ok((
            gpu.upload("counts", &vec![1f32; most]),
            gpu.tensor("gram", (4 * padded * padded) as u64),
        ))
    };
    let (counts, part) = gpu.allocate("the Gram matrix", allocate).await?;
    for shard in model.weights.wte.iter() {
        let n_groups = pad4(shard.matrix.n_out) / 4;
        for first in (0..n_groups).step_by(TOKENS / 4) {
            let groups = first..(first + TOKENS / 4).min(n_groups);
            let done = shard.first_id + 4 * groups.end;
            let mut rec = gpu.record(atlas.cancel);
            let op = Gram { weight: &shard.matrix, counts: &counts, groups, y: &part };
            model.kernels.gram(&mut rec, &op)?;
            rec.submit()?;
            let sums = table::plain(atlas, &part, c, c).await?;
            out.iter_mut().zip(sums).for_each(|(total, sum)| *total += f64::from(sum));
            atlas.advance(GRAM_SHARE * done as f64 / model.config.vocab_size as f64)?;
        }
    }
    Ok(out)
}
