//! Twin of embed.

use super::Real;

/// scale · wte\[id\] + wpe\[position\] for each id. Shapes: ids \[T\], wte \[V, C\], wpe \[n_ctx, C\] → \[T, C\].
pub fn embed<R: Real>(
    ids: &[u32],
    wte: &[f32],
    wpe: &[f32],
    scale: f32,
    c: usize,
    first_position: usize,
) -> Vec<R> {
    let row = |t: usize, id: u32| {
        let token = &wte[id as usize * c..][..c];
        let place = &wpe[(first_position + t) * c..][..c];
        token
            .iter()
            .zip(place)
            .map(|(&a, &b)| R::of(scale) * R::of(a) + R::of(b))
            .collect::<Vec<_>>()
    };
    ids.iter().enumerate().flat_map(|(t, &id)| row(t, id)).collect()
}
