//! The law by which the sums of lanes become those of a row; see src/reference/lens_merge.rs.

use crate::exp::exp_one;

/// Merges the lanes of a row; of equal maxima the lower id is taken. An empty lane contributes nothing.
///
/// Shapes: lanes \[LANES, width\] → \[width\]; the counts above targets follow `n_slots` sums.
#[inline(never)]
pub fn merge(lanes: &[f32], width: usize, n_slots: usize) -> Vec<f32> {
    let mut out = vec![0.0; width];
    let lanes = || lanes.chunks_exact(width);
    let (mut m, mut best) = (-1e30, 0.0);
    for lane in lanes() {
        let Some(&[top, _, _, id]) = lane.first_chunk() else { continue };
        if top > m || (top == m && id < best) {
            (m, best) = (top, id);
        }
    }
    for lane in lanes() {
        let Some(&[top, mass, moment, _, a0, a1, b0, b1, p0, p1, bad]) = lane.first_chunk() else {
            continue;
        };
        let d = top - m;
        let e = exp_one(d);
        let sums = [
            0.0,
            e * mass,
            e * (moment + d * mass),
            0.0,
            e * a0,
            e * a1,
            b0 + d * p0,
            b1 + d * p1,
            p0,
            p1,
            bad,
        ];
        for (out, sum) in out.iter_mut().zip(sums) {
            *out += sum;
        }
        for (out, count) in out.iter_mut().zip(lane).skip(n_slots) {
            *out += count;
        }
    }
    if let Some([to_m, _, _, to_best]) = out.first_chunk_mut() {
        (*to_m, *to_best) = (m, best);
    }
    out
}
