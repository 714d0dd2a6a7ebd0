//! Twin of semi_nmf.

use super::Real;

/// g · √((p⁺ + gN⁻) / (p⁻ + gN⁺)) of a row, with `products` gN⁺ and gN⁻. Shapes: \[N\] each.
pub fn semi_nmf<R: Real>(p: &[f32], products: [&[f32]; 2], g: &[f32]) -> Vec<R> {
    let part = |value: R| value.max(R::zero());
    let step = |i: usize| {
        let p = R::of(p[i]);
        let above = part(p) + R::of(products[1][i]);
        let below = part(R::zero() - p) + R::of(products[0][i]);
        let least = R::constant(1e-20);
        R::of(g[i]) * ((above + least) / (below + least)).sqrt()
    };
    (0..g.len()).map(step).collect()
}
