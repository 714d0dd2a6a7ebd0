//! Twin of gram.

use super::Real;

/// Σ counts\[t\]·w\[t, i\]·w\[t, j\] over the tokens t. Shapes: w \[V, C\], counts \[V\] → \[C, C\].
pub fn gram<R: Real>(w: &[f32], counts: &[f32], c: usize) -> Vec<R> {
    let mut out = vec![R::zero(); c * c];
    for (row, &count) in w.chunks(c).zip(counts) {
        for (i, &a) in row.iter().enumerate() {
            for (sum, &b) in out[i * c..].iter_mut().zip(row) {
                *sum += R::of(count) * R::of(a) * R::of(b);
            }
        }
    }
    out
}
