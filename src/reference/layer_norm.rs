//! Twin of layer_norm.

use super::Real;

/// Two-pass LayerNorm of each row; without epsilon only gain and bias. Shapes: x \[rows, C\] → \[rows, C\]; gain and bias \[C\].
pub fn layer_norm<R: Real>(
    x: &[f32],
    c: usize,
    affine: Option<(&[f32], &[f32])>,
    epsilon: Option<f32>,
) -> Vec<R> {
    let mut out = Vec::with_capacity(x.len());
    let n = R::constant(c as f64);
    for row in x.chunks(c) {
        let (mean, deviation) = match epsilon {
            Some(epsilon) => {
                let mean = row.iter().map(|&v| R::of(v)).sum::<R>() / n;
                let variance = row.iter().map(|&v| (R::of(v) - mean).squared()).sum::<R>() / n;
                (mean, (variance + R::of(epsilon)).sqrt())
            }
            None => (R::constant(0.0), R::constant(1.0)),
        };
        for (i, &v) in row.iter().enumerate() {
            let value = (R::of(v) - mean) / deviation;
            out.push(match affine {
                Some((gain, bias)) => value * R::of(gain[i]) + R::of(bias[i]),
                None => value,
            });
        }
    }
    out
}
