//! What is done to whole rows.

use std::ops::Range;

use wide::f32x4;

/// Beyond it squares, or the sum of 65,536 of them, would overflow.
const LARGE: f32 = 1e15;
/// 2^−73.
const SHRINK: f32 = f32::from_bits((127 - 73) << 23);

fn total(v: f32x4) -> f32 {
    let [x, y, z, w] = v.to_array();
    (x + y) + (z + w)
}

/// Gain and bias. Shapes: \[C4 / 4\].
pub type Affine<'a> = (&'a [[f32; 4]], &'a [[f32; 4]]);

/// (x − mean) / √(var + ε), or x itself without ε, optionally times gain plus bias, for one row; see shaders/shared/layer_norm.wgsl.
///
/// Shapes: \[C4 / 4\], of which the first `n_embd` floats are channels.
#[inline(never)]
pub fn layer_norm(
    x: &[[f32; 4]],
    affine: Option<Affine<'_>>,
    n_embd: usize,
    epsilon: Option<f32>,
    y: &mut [[f32; 4]],
) {
    let n = n_embd as f32;
    // 1 where a channel is, 0 in the padding of the last four.
    let mask = |c: usize| {
        f32x4::from(std::array::from_fn::<f32, 4, _>(
            |i| if 4 * c + i < n_embd { 1.0 } else { 0.0 },
        ))
    };
    let large = x.iter().fold(f32x4::ZERO, |most, &v| most.max(f32x4::from(v).abs())).to_array();
    let is_large = epsilon.is_some() && large.iter().any(|&v| v > LARGE);
    let unit = if is_large { SHRINK } else { 1.0 };
    let scaled = |v: [f32; 4]| f32x4::from(v) * f32x4::splat(unit);
    let sum = || total(x.iter().fold(f32x4::ZERO, |sum, &v| sum + scaled(v)));
    let mean = if epsilon.is_some() { sum() / n } else { 0.0 };
    let mut squares = f32x4::ZERO;
    for (c, &v) in x.iter().enumerate() {
        let centred = (scaled(v) - f32x4::splat(mean)) * mask(c);
        squares += centred * centred;
    }
    // In a scaled row epsilon is negligible; the lower bound avoids 0 / 0.
    let scale = epsilon.map_or(1.0, |epsilon| {
        1.0 / (total(squares) / n + (epsilon * unit * unit).max(1e-36)).sqrt()
    });
    for (c, (&v, out)) in x.iter().zip(y).enumerate() {
        let mut value = (scaled(v) - f32x4::splat(mean)) * f32x4::splat(scale);
        if let Some((gain, bias)) = affine {
            let at = |of: &[[f32; 4]]| f32x4::from(of.get(c).copied().unwrap_or_default());
            value = value * at(gain) + at(bias);
        }
        *out = (value * mask(c)).to_array();
    }
}

/// y = a − b.
#[inline(never)]
pub fn subtract(a: &[[f32; 4]], b: &[[f32; 4]], y: &mut [[f32; 4]]) {
    for ((&a, &b), y) in a.iter().zip(b).zip(y) {
        *y = (f32x4::from(a) - f32x4::from(b)).to_array();
    }
}

/// y = scale · x, or y + scale · x, in some channels.
#[inline(never)]
pub fn blend(scale: f32, x: &[[f32; 4]], adds: bool, channels: Range<usize>, y: &mut [[f32; 4]]) {
    for (c, (x, y)) in x.iter().zip(y).enumerate() {
        for (i, (&x, y)) in x.iter().zip(y).enumerate() {
            if channels.contains(&(4 * c + i)) {
                *y = if adds { *y + scale * x } else { scale * x };
            }
        }
    }
}

/// y = factors ∘ y.
#[inline(never)]
pub fn multiply(factors: &[[f32; 4]], y: &mut [[f32; 4]]) {
    for (y, &factors) in y.iter_mut().zip(factors) {
        *y = (f32x4::from(factors) * f32x4::from(*y)).to_array();
    }
}

/// y = scale · a + b.
#[inline(never)]
pub fn add_scaled(scale: f32, a: &[[f32; 4]], b: &[[f32; 4]], y: &mut [[f32; 4]]) {
    for ((&a, &b), y) in a.iter().zip(b).zip(y) {
        *y = (f32x4::splat(scale) * f32x4::from(a) + f32x4::from(b)).to_array();
    }
}

/// y\[i, j\] = Σ (a\[t, i\] − p\[i\])·(b\[t, j\] − q\[j\]) over rows, for some groups of four channels i; or that added to y. An operand is its
/// rows, what is subtracted from each, and its groups of four.
#[inline(never)]
pub fn cross(
    (a, p, a4): (&[[f32; 4]], &[[f32; 4]], usize),
    (b, q, b4): (&[[f32; 4]], &[[f32; 4]], usize),
    groups: Range<usize>,
    adds: bool,
    y: &mut [[f32; 4]],
) {
    for i in groups {
        let Some(y) = y.get_mut(4 * i * b4..4 * (i + 1) * b4) else { return };
        let mut sums = vec![f32x4::ZERO; 4 * b4];
        let from = p.get(i).copied().unwrap_or_default();
        for (a, b) in a.chunks_exact(a4).zip(b.chunks_exact(b4)) {
            let row = a.get(i).copied().unwrap_or_default();
            let u: [f32; 4] = std::array::from_fn(|k| row[k] - from[k]);
            for (sums, u) in sums.chunks_exact_mut(b4).zip(u) {
                let u = f32x4::splat(u);
                for ((sum, &b), &q) in sums.iter_mut().zip(b).zip(q) {
                    *sum += u * (f32x4::from(b) - f32x4::from(q));
                }
            }
        }
        for (y, sum) in y.iter_mut().zip(sums) {
            let before = if adds { f32x4::from(*y) } else { f32x4::ZERO };
            *y = (sum + before).to_array();
        }
    }
}

/// g = g · √((p⁺ + gN⁻) / (p⁻ + gN⁺)) of one row; see shaders/semi_nmf.wgsl. Shapes: p, g \[N4 / 4\]; products twice that.
#[inline(never)]
pub fn semi_nmf(p: &[[f32; 4]], products: &[[f32; 4]], g: &mut [[f32; 4]]) {
    let least = f32x4::splat(1e-20);
    let (plus, minus) = products.split_at(products.len() / 2);
    for (((g, &p), &plus), &minus) in g.iter_mut().zip(p).zip(plus).zip(minus) {
        let p = f32x4::from(p);
        let above = p.max(f32x4::ZERO) + f32x4::from(minus);
        let below = (-p).max(f32x4::ZERO) + f32x4::from(plus);
        *g = (f32x4::from(*g) * ((above + least) / (below + least)).sqrt()).to_array();
    }
}
