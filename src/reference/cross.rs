//! Twin of cross.

use super::Real;

/// Σ (a\[t, i\] − p\[i\])·(b\[t, j\] − q\[j\]) over rows. Shapes: a \[rows, A\], b \[rows, B\] → \[A, B\].
pub fn cross<R: Real>(a: &[f32], p: &[f32], b: &[f32], q: &[f32]) -> Vec<R> {
    let rows = || a.chunks(p.len()).zip(b.chunks(q.len()));
    let sum = |i: usize, j: usize| {
        rows().map(|(a, b)| (R::of(a[i]) - R::of(p[i])) * (R::of(b[j]) - R::of(q[j]))).sum::<R>()
    };
    (0..p.len()).flat_map(|i| (0..q.len()).map(move |j| (i, j))).map(|(i, j)| sum(i, j)).collect()
}
