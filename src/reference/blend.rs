//! Twin of blend.

use std::ops::Range;

use super::Real;

/// `scale · x`, or `y + scale · x`, in some channels of rows of `c` channels; the others keep the values of y. A single row
/// x is for all rows.
///
/// Shapes: x \[1 or rows, C\], y \[rows, C\] → \[rows, C\].
pub fn blend<R: Real>(
    scale: f32,
    x: &[f32],
    adds: bool,
    channels: &Range<usize>,
    c: usize,
    y: &[f32],
) -> Vec<R> {
    let mut out = Vec::with_capacity(y.len());
    for (row, old) in y.chunks(c).enumerate() {
        let new = if x.len() == c { x } else { &x[row * c..][..c] };
        for (channel, (&new, &old)) in new.iter().zip(old).enumerate() {
            let old = R::of(old);
            let written = R::of(scale) * R::of(new);
            out.push(match (channels.contains(&channel), adds) {
                (false, _) => old,
                (true, false) => written,
                (true, true) => old + written,
            });
        }
    }
    out
}
