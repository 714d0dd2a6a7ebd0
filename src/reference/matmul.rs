//! Twin of matmul.

use crate::config::Activation;

use super::Real;

/// GELU in the tanh form. Source: Hendrycks and Gimpel 2016; `gelu_new` of transformers.
pub fn gelu<R: Real>(v: R) -> R {
    let inner =
        R::constant((2.0 / std::f64::consts::PI).sqrt()) * (v + R::constant(0.044715) * v * v * v);
    R::constant(0.5) * v * (R::one() + inner.tanh())
}

/// x W + bias, the activation if there is one, + residual.
///
/// Shapes: x \[rows, K\], weight \[K, N\], bias \[N\], residual \[rows, N\] → \[rows, N\].
pub fn matmul<R: Real>(
    x: &[f32],
    weight: &[f32],
    n_in: usize,
    bias: Option<&[f32]>,
    activation: Option<Activation>,
    residual: Option<&[f32]>,
) -> Vec<R> {
    let n_out = weight.len() / n_in;
    let mut out = Vec::with_capacity(x.len() / n_in * n_out);
    for (r, row) in x.chunks(n_in).enumerate() {
        let mut sums = vec![R::zero(); n_out];
        for (k, &value) in row.iter().enumerate() {
            for (sum, &w) in sums.iter_mut().zip(&weight[k * n_out..]) {
                *sum += R::of(value) * R::of(w);
            }
        }
        for (n, sum) in sums.into_iter().enumerate() {
            let sum = sum + bias.map_or(R::zero(), |b| R::of(b[n]));
            let value = match activation {
                None => sum,
                Some(Activation::Gelu) => gelu(sum),
                Some(Activation::Relu) => sum.max(R::zero()),
            };
            out.push(value + residual.map_or(R::zero(), |x| R::of(x[r * n_out + n])));
        }
    }
    out
}
