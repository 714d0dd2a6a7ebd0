//! Twin of attention: the plain softmax over stored scores.

use super::Real;

/// Causal attention of a block of queries over the keys up to each, within the window.
///
/// Shapes: q \[rows, C\], k and v \[T, C\] → \[rows, C\]; row r is at `first_position + r`.
#[expect(clippy::too_many_arguments, reason = "the operands of the kernel")]
pub fn attention<R: Real>(
    q: &[f32],
    k: &[f32],
    v: &[f32],
    first_position: usize,
    n_head: usize,
    scale: f32,
    window: Option<usize>,
    c: usize,
) -> Vec<R> {
    let d = c / n_head;
    let mut out = vec![R::zero(); q.len()];
    for (r, query) in q.chunks(c).enumerate() {
        let n_keys = first_position + r + 1;
        let first_key = n_keys.saturating_sub(window.unwrap_or(n_keys));
        for head in 0..n_head {
            let part = head * d..(head + 1) * d;
            let scores: Vec<R> = (first_key..n_keys)
                .map(|j| {
                    let key = &k[j * c..][part.clone()];
                    let dot: R = query[part.clone()]
                        .iter()
                        .zip(key)
                        .map(|(&a, &b)| R::of(a) * R::of(b))
                        .sum();
                    dot * R::of(scale)
                })
                .collect();
            let largest = scores.iter().copied().fold(R::of(f32::NEG_INFINITY), R::max);
            let weights: Vec<R> = scores.iter().map(|&s| (s - largest).exp()).collect();
            let mass: R = weights.iter().copied().sum();
            for (j, &w) in (first_key..).zip(&weights) {
                for (i, &value) in v[j * c..][part.clone()].iter().enumerate() {
                    out[r * c + part.start + i] += w / mass * R::of(value);
                }
            }
        }
    }
    out
}
