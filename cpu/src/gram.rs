//! y\[i, j\] = Σ s\[t\] W\[i, t\] W\[j, t\] over tokens t.

use std::ops::Range;

use wide::f32x4;

use crate::weights::Stored;

/// Groups of four tokens that are decoded together.
const BLOCK: usize = 16;

/// Adds some tiles i of four channels, and their mirrored tiles, to y; every tile j ≤ i.
///
/// Shapes: s \[rows4 / 4\], weights \[groups, C4\] groups of four tokens, y \[C4, C4 / 4\].
#[inline(never)]
pub fn gram(
    s: &[[f32; 4]],
    weights: Stored<'_>,
    n_in4: usize,
    groups: Range<usize>,
    tiles: Range<usize>,
    y: &mut [[f32; 4]],
) {
    let n_in = 4 * n_in4;
    let mut block = Vec::new();
    let mut weighted = Vec::new();
    let mut sums = vec![[[f32x4::ZERO; 4]; 4]; (tiles.end - tiles.start) * n_in4];
    let mut start = groups.start;
    while start < groups.end {
        let n = BLOCK.min(groups.end - start);
        block.clear();
        block.extend((start * n_in..(start + n) * n_in).map(|g| weights.group(g)));
        for i in tiles.clone() {
            // s W of the tile's four channels.
            weighted.clear();
            for (g, row) in block.chunks_exact(n_in).enumerate() {
                let counts = f32x4::from(s.get(start + g).copied().unwrap_or_default());
                weighted.extend(row.iter().skip(4 * i).take(4).map(|&w| counts * f32x4::from(w)));
            }
            for j in 0..=i {
                let Some(sum) = sums.get_mut((i - tiles.start) * n_in4 + j) else { continue };
                let mut acc = *sum;
                for (a, row) in weighted.as_chunks::<4>().0.iter().zip(block.chunks_exact(n_in)) {
                    let Some(b) = row.get(4 * j..).and_then(|rest| rest.first_chunk::<4>()) else {
                        continue;
                    };
                    let b = b.map(f32x4::from);
                    for (acc, &a) in acc.iter_mut().zip(a) {
                        for (acc, &b) in acc.iter_mut().zip(&b) {
                            *acc += a * b;
                        }
                    }
                }
                *sum = acc;
            }
        }
        start += n;
    }
    for i in tiles.clone() {
        for j in 0..=i {
            let Some(sum) = sums.get((i - tiles.start) * n_in4 + j) else { continue };
            let tile = sum.map(|row| row.map(|v| v.reduce_add()));
            for (r, row) in tile.iter().enumerate() {
                if let Some(out) = y.get_mut((4 * i + r) * n_in4 + j) {
                    *out = *row;
                }
                if let Some(out) = y.get_mut((4 * j + r) * n_in4 + i) {
                    *out = tile.map(|row| row.get(r).copied().unwrap_or_default());
                }
            }
        }
    }
}
