//! Twins of embed, layer_norm, matmul and gather_dot.

use crate::config::Activation;

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

/// Two-pass LayerNorm of each row. Shapes: x \[rows, C\] → \[rows, C\]; gain and bias \[C\].
pub fn layer_norm<R: Real>(
    x: &[f32],
    c: usize,
    affine: Option<(&[f32], &[f32])>,
    epsilon: f32,
) -> Vec<R> {
    let mut out = Vec::with_capacity(x.len());
    let n = R::constant(c as f64);
    for row in x.chunks(c) {
        let mean = row.iter().map(|&v| R::of(v)).sum::<R>() / n;
        let variance = row.iter().map(|&v| (R::of(v) - mean).powi(2)).sum::<R>() / n;
        let scale = (variance + R::of(epsilon)).sqrt().recip();
        for (i, &v) in row.iter().enumerate() {
            let value = (R::of(v) - mean) * scale;
            out.push(match affine {
                Some((gain, bias)) => value * R::of(gain[i]) + R::of(bias[i]),
                None => value,
            });
        }
    }
    out
}

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

/// a − b. Shapes: any two of the same length.
pub fn subtract<R: Real>(a: &[f32], b: &[f32]) -> Vec<R> {
    a.iter().zip(b).map(|(&a, &b)| R::of(a) - R::of(b)).collect()
}

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

/// x\[row\] · table\[target\] + bias\[target\] for the J targets of each row; those of row r stand at r % period.
///
/// Shapes: x \[rows, C\], table \[V, C\], targets \[period, J\] → \[rows, J\]; 0 for a target ≥ V.
pub fn gather_dot<R: Real>(
    x: &[f32],
    table: &[f32],
    bias: Option<&[f32]>,
    c: usize,
    targets: &[u32],
    period: usize,
) -> Vec<R> {
    let j = targets.len() / period;
    let mut out = Vec::new();
    for (r, row) in x.chunks(c).enumerate() {
        for &id in &targets[(r % period) * j..][..j] {
            let entry = table.chunks(c).nth(id as usize).unwrap_or(&[]);
            let dot: R = row.iter().zip(entry).map(|(&a, &b)| R::of(a) * R::of(b)).sum();
            let bias = bias.and_then(|bias| bias.get(id as usize));
            out.push(dot + bias.map_or(R::zero(), |&b| R::of(b)));
        }
    }
    out
}
