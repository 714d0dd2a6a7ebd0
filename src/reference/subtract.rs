//! Twin of subtract.

use super::Real;

/// a − b. Shapes: any two of the same length.
pub fn subtract<R: Real>(a: &[f32], b: &[f32]) -> Vec<R> {
    a.iter().zip(b).map(|(&a, &b)| R::of(a) - R::of(b)).collect()
}
