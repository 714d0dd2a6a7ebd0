//! Causal attention with an online softmax over the keys in order.

use std::ops::Range;

use wide::f32x4;

use crate::WIDTH;
use crate::exp::exp_one;

/// What all queries share.
#[derive(Clone, Copy)]
pub struct Heads {
    /// H.
    pub n_head: usize,
    /// D.
    pub head_dim: usize,
    /// Floats in a row of every operand.
    pub stride: usize,
    /// Factor on q·k.
    pub scale: f32,
    /// Positions that a query attends to, its own included.
    pub window: usize,
    /// Position of row 0, and of the first row of each run.
    pub first_position: usize,
    /// Rows of a run.
    pub n_each: usize,
}

/// The dot product of two rows of the same length, in four partial sums.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a4, a1), (b4, b1)) = (a.as_chunks::<WIDTH>(), b.as_chunks::<WIDTH>());
    let mut sum = f32x4::ZERO;
    for (&a, &b) in a4.iter().zip(b4) {
        sum += f32x4::from(a) * f32x4::from(b);
    }
    let [x, y, z, w] = sum.to_array();
    let rest = a1.iter().zip(b1).fold(0.0, |sum, (a, b)| sum + a * b);
    ((x + y) + (z + w)) + rest
}

/// out += p · v.
#[inline(always)]
fn add_scaled(out: &mut [f32], p: f32, v: &[f32]) {
    let ((out4, out1), (v4, v1)) = (out.as_chunks_mut::<WIDTH>(), v.as_chunks::<WIDTH>());
    for (out, &v) in out4.iter_mut().zip(v4) {
        *out = (f32x4::from(*out) + f32x4::splat(p) * f32x4::from(v)).to_array();
    }
    for (out, v) in out1.iter_mut().zip(v1) {
        *out += p * v;
    }
}

/// Computes some rows of y. Shapes: q and y \[rows, stride\], k and v \[T, stride\].
#[inline(never)]
pub fn attention(q: &[f32], k: &[f32], v: &[f32], heads: Heads, rows: Range<usize>, y: &mut [f32]) {
    let Heads { n_head, head_dim, stride, scale, window, first_position, n_each } = heads;
    for row in rows {
        let (run, at) = (row / n_each.max(1), row % n_each.max(1));
        let position = first_position + at;
        // Runs share the keys before the first position.
        let row_of_key = |j: usize| if j < first_position { j } else { j + run * n_each };
        let first_key = (position + 1).saturating_sub(window);
        for head in 0..n_head {
            let part =
                |row: usize| row * stride + head * head_dim..row * stride + (head + 1) * head_dim;
            let (Some(query), Some(out)) = (q.get(part(row)), y.get_mut(part(row))) else {
                continue;
            };
            out.fill(0.0);
            let (mut largest, mut mass) = (-1e30f32, 0.0f32);
            for j in first_key..=position {
                let key = part(row_of_key(j));
                let (Some(key), Some(value)) = (k.get(key.clone()), v.get(key)) else { continue };
                let score = dot(query, key) * scale;
                if score > largest {
                    let shrink = exp_one(largest - score);
                    mass *= shrink;
                    out.iter_mut().for_each(|sum| *sum *= shrink);
                    largest = score;
                }
                let p = exp_one(score - largest);
                mass += p;
                add_scaled(out, p, value);
            }
            out.iter_mut().for_each(|sum| *sum /= mass);
        }
    }
}
