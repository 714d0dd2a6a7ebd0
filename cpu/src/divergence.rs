//! The divergences of two rows' distributions; see shaders/divergence.wgsl for the sums.

/// Lanes of a row.
const LANES: usize = 64;

/// p (x − 1) + q with q = p e^−x: by a series where the terms would cancel.
fn excess(p: f32, q: f32, x: f32) -> f32 {
    if x.abs() < 0.5 {
        let tail =
            1.0 / 24.0 + x * (-1.0 / 120.0 + x * (1.0 / 720.0 + x * (-1.0 / 5040.0 + x / 40320.0)));
        return p * x * x * (0.5 + x * (-1.0 / 6.0 + x * tail));
    }
    (p * (x - 1.0) + q).max(0.0)
}

/// ((1 + t) ln(1 + t) + (1 − t) ln(1 − t)) / 2
fn mixed(t: f32) -> f32 {
    let s = t * t;
    if s < 0.0625 {
        return s * (0.5 + s * (1.0 / 12.0 + s * (1.0 / 30.0 + s * (1.0 / 56.0 + s / 90.0))));
    }
    let (most, least) = (1.0 + t.abs(), (1.0 - t.abs()).max(1e-30));
    0.5 * (most * most.ln() + least * least.ln())
}

/// Adds a chunk to the lanes of KL(p ‖ q), KL(q ‖ p) and the Jensen–Shannon divergence.
///
/// Shapes: logits \[2\]\[columns\], `largest` and `mass` those of p and q, sums \[LANES, 3\].
#[inline(never)]
pub fn divergence(logits: [&[f32]; 2], largest: [f32; 2], mass: [f32; 2], sums: &mut [f32]) {
    let logs = mass.map(f32::ln);
    let [p_row, q_row] = logits;
    for (p_row, q_row) in p_row.chunks(LANES).zip(q_row.chunks(LANES)) {
        for ((sums, &z_p), &z_q) in sums.chunks_exact_mut(3).zip(p_row).zip(q_row) {
            let (v, w) = (z_p - largest[0], z_q - largest[1]);
            let (p, q) = ((v - logs[0]).exp(), (w - logs[1]).exp());
            let r = (v - w) - (logs[0] - logs[1]);
            let t = (0.5 * r).tanh();
            let terms = [excess(p, q, r), excess(q, p, -r), 0.5 * (p + q) * mixed(t)];
            for (sum, term) in sums.iter_mut().zip(terms) {
                *sum += term;
            }
        }
    }
}

/// q − p for some tokens of a pair of rows, transposed: a row of y is a token, of which this is the element `row`. Shapes: logits
/// \[columns\], with the largest logit and the mass of all, y \[columns, width\].
#[inline(never)]
pub fn slope(
    (p_logits, p_largest, p_mass): (&[f32], f32, f32),
    (q_logits, q_largest, q_mass): (&[f32], f32, f32),
    row: usize,
    width: usize,
    y: &mut [f32],
) {
    for ((y, &z_p), &z_q) in y.chunks_exact_mut(width).zip(p_logits).zip(q_logits) {
        if let Some(y) = y.get_mut(row) {
            *y = (z_q - q_largest).exp() / q_mass - (z_p - p_largest).exp() / p_mass;
        }
    }
}
