//! Twin of gather_dot.

use super::Real;

/// x\[row\] · table\[target\] + bias\[target\] for the J targets of each row; the targets of row r are those of r % period.
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
