//! How far the distributions of two readings are apart, from their kept residual streams.

use crate::error::{Error, Result};
use crate::gpu::{Cancel, Gpu};
use crate::kernels::{LANES, N_SLOTS};

use super::fold::Fold;
use super::{Kept, Moments, Workspace, block_positions};

/// Divergences between two readings a and b at every row and pair of positions; NaN where a logit is not finite.
///
/// Every array is tap-major. Shapes: \[N·columns\] each. Units: nats.
#[derive(Debug, Clone, PartialEq)]
pub struct Divergences {
    /// KL(a ‖ b).
    pub kl: Vec<f32>,
    /// KL(b ‖ a).
    pub kl_reverse: Vec<f32>,
    /// The Jensen–Shannon divergence, at most ln 2.
    pub js: Vec<f32>,
}

/// One row at a position of either reading.
#[derive(Clone, Copy)]
struct Pair {
    tap: usize,
    positions: [usize; 2],
}

/// The divergences between position i of the first reading and position j of the second, for each (i, j) in
/// `columns`. Both readings have the same rows and decoder.
///
/// Errors: `bad-option` for a position that does not exist, `out-of-memory`, `aborted`, `gpu-refused`, `device-lost`.
pub async fn compare(
    gpu: &Gpu,
    readings: [Kept<'_>; 2],
    columns: &[(usize, usize)],
    cancel: &Cancel,
) -> Result<Divergences> {
    let lengths = readings.map(|reading| reading.stream.n_tokens);
    if let Some(&(i, j)) = columns.iter().find(|&&(i, j)| i >= lengths[0] || j >= lengths[1]) {
        let [a, b] = lengths.map(|n| n - 1);
        let expected = format!("positions 0 to {a} of a and 0 to {b} of b");
        return Err(Error::option("columns", expected, format!("[{i}, {j}]")));
    }
    let [Kept { decoder, rows, .. }, _] = readings;
    let row = |tap| columns.iter().map(move |&(i, j)| Pair { tap, positions: [i, j] });
    let pairs: Vec<Pair> = (0..rows.len()).flat_map(row).collect();
    let mut all = Divergences { kl: vec![], kl_reverse: vec![], js: vec![] };
    if pairs.is_empty() {
        return Ok(all);
    }
    let at_once = block_positions(decoder).min(pairs.len());
    let allocate = || {
        let sums = gpu.tensor("divergences", (4 * at_once * LANES * 3) as u64);
        Ok((Workspace::for_pairs(gpu, decoder, at_once), sums))
    };
    let (workspace, sums) = &gpu.allocate("this comparison", allocate).await?;
    let mut rec = gpu.record("this comparison", cancel);
    for pairs in pairs.chunks(at_once) {
        let n = pairs.len();
        for (side, reading) in readings.iter().enumerate() {
            let mut row = side * n;
            // Neighbouring positions of one row are normalised together.
            let follows =
                |a: &Pair, b: &Pair| a.tap == b.tap && a.positions[side] + 1 == b.positions[side];
            for run in pairs.chunk_by(follows) {
                let (Pair { tap, positions }, to) = (run[0], workspace.rows(row));
                reading.normalise(
                    &mut rec,
                    tap,
                    positions[side],
                    run.len(),
                    &workspace.step,
                    to,
                )?;
                row += run.len();
            }
        }
        let (period, top_k) = (n, 0);
        let fold = Fold { decoder, workspace, period, references: false, top_k };
        fold.diverge(&mut rec, sums).await?;
        let states = (&workspace.reference_states, (4 * 2 * n * N_SLOTS) as u64);
        let read = rec.read(&[states, (sums, (4 * n * LANES * 3) as u64)]).await?;
        if let [states, sums] = &read[..] {
            all.extend(states, sums, n);
        }
    }
    Ok(all)
}

impl Divergences {
    /// Adds `n` pairs of rows. Shapes: states \[2·n, N_SLOTS\], sums \[n, LANES, 3\].
    #[expect(clippy::cast_possible_truncation, reason = "statistics are stored in f32")]
    fn extend(&mut self, states: &[f32], sums: &[f32], n: usize) {
        let is_finite = |row: usize| Moments::from_slots(&states[row * N_SLOTS..]).is_finite();
        for (pair, lanes) in sums.chunks(LANES * 3).enumerate() {
            let whole = is_finite(pair) && is_finite(n + pair);
            let total = |i: usize| {
                let sum: f64 = lanes.chunks(3).map(|lane| f64::from(lane[i])).sum();
                if whole { sum as f32 } else { f32::NAN }
            };
            self.kl.push(total(0));
            self.kl_reverse.push(total(1));
            self.js.push(total(2));
        }
    }
}
