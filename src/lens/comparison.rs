//! How two readings differ, from their kept residual streams.

use crate::device::{Cancel, Device};
use crate::error::{Error, Result};
use crate::kernels::{LANES, N_SLOTS};
use crate::reading::NO_TOKEN;

use super::fold::Fold;
use super::options::{MAX_TRACK, check_track};
use super::summary::Scored;
use super::{Kept, Moments, Workspace, block_positions};

/// What to compare.
#[derive(Debug, Clone, Default)]
pub struct Pairs {
    /// Positions of the first and of the second reading.
    pub columns: Vec<(usize, usize)>,
    /// Tokens to score in both readings: J lists of one token a column, [`NO_TOKEN`] for none.
    pub targets: Vec<Vec<u32>>,
}

/// How two readings a and b differ at every row and pair of positions.
///
/// Every array is tap-major. Shapes: \[N·columns\] each. Units: nats. NaN where a logit is not finite.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// KL(a ‖ b).
    pub kl: Vec<f32>,
    /// KL(b ‖ a).
    pub kl_reverse: Vec<f32>,
    /// The Jensen–Shannon divergence, at most ln 2.
    pub js: Vec<f32>,
    /// The largest logit of a and of b; [`NO_TOKEN`] where a logit is not finite.
    pub top: [Vec<u32>; 2],
    /// For each list of targets, their scores in a and in b.
    pub targets: Vec<[Scores; 2]>,
}

/// One token at every row and column; NaN, and a rank of 0, where there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Its logit. Shapes: \[N·columns\].
    pub logit: Vec<f32>,
    /// Its log-probability. Shapes: \[N·columns\]. Units: nats.
    pub logprob: Vec<f32>,
    /// Its rank; 1 is best. Shapes: \[N·columns\].
    pub rank: Vec<f32>,
}

/// A row at one column.
#[derive(Clone, Copy)]
struct Cell {
    tap: usize,
    column: usize,
    /// The positions of the column in either reading.
    positions: [usize; 2],
}

/// Errors: `bad-option` for more lists of targets than one comparison scores.
pub fn check_lists(name: &str, n: usize) -> Result<()> {
    match n <= MAX_TRACK {
        true => Ok(()),
        false => {
            let expected = format!("at most {MAX_TRACK} lists");
            Err(Error::option(name, expected, format!("{n} lists")))
        }
    }
}

impl Pairs {
    /// Errors: `bad-option`, `bad-token`.
    fn check(&self, [a, b]: &[Kept<'_>; 2]) -> Result<()> {
        let (a_end, b_end) = (a.stream.n_tokens, b.stream.n_tokens);
        if let Some((i, j)) = self.columns.iter().find(|&&(i, j)| i >= a_end || j >= b_end) {
            let expected = format!("positions 0 to {} of a and 0 to {} of b", a_end - 1, b_end - 1);
            return Err(Error::option("columns", expected, format!("[{i}, {j}]")));
        }
        check_lists("targets", self.targets.len())?;
        for list in &self.targets {
            if list.len() != self.columns.len() {
                let expected = format!("{} tokens in each list", self.columns.len());
                return Err(Error::option("targets", expected, list.len()));
            }
            for &id in list.iter().filter(|&&id| id != NO_TOKEN) {
                check_track("targets", &[id], &a.decoder.model.config)?;
            }
        }
        Ok(())
    }
}

/// The divergences between position i of the first reading and position j of the second, for each column (i, j), and
/// the targets' scores. Both readings have the same rows and decoder.
///
/// Errors: `bad-option`, `bad-token`, `out-of-memory`, `aborted`, `gpu-refused`, `device-lost`.
pub async fn compare(
    device: &Device,
    readings: [Kept<'_>; 2],
    pairs: &Pairs,
    cancel: &Cancel,
) -> Result<Comparison> {
    pairs.check(&readings)?;
    let [Kept { decoder, rows, .. }, _] = readings;
    let (n_columns, n_targets) = (pairs.columns.len(), pairs.targets.len());
    let n_cells = rows.len() * n_columns;
    let mut all = Comparison::empty(n_targets, n_cells);
    if n_cells == 0 {
        return Ok(all);
    }
    let cell = |i: usize| {
        let (tap, column) = (i / n_columns, i % n_columns);
        let (a, b) = pairs.columns[column];
        Cell { tap, column, positions: [a, b] }
    };
    let at_once = block_positions(decoder, 2).min(n_cells);
    let allocate = || {
        let sums = device.tensor("divergences", (4 * at_once * LANES * 3) as u64);
        Ok((Workspace::for_pairs(device, decoder, at_once, n_targets), sums))
    };
    let (workspace, sums) = &device.allocate("this comparison", allocate).await?;
    let mut rec = device.record("this comparison", cancel);
    for first in (0..n_cells).step_by(at_once) {
        let cells: Vec<Cell> = (first..n_cells.min(first + at_once)).map(cell).collect();
        let n = cells.len();
        for (side, reading) in readings.iter().enumerate() {
            let mut row = side * n;
            // Neighbouring positions of one row are normalised together.
            let follows =
                |a: &Cell, b: &Cell| a.tap == b.tap && a.positions[side] + 1 == b.positions[side];
            for run in cells.chunk_by(follows) {
                let (Cell { tap, positions, .. }, to) = (run[0], workspace.rows(row));
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
        let ids: Vec<u32> = cells
            .iter()
            .flat_map(|cell| pairs.targets.iter().map(|list| list[cell.column]))
            .collect();
        if n_targets > 0 {
            device.write(&workspace.targets, 0, &ids);
        }
        let (period, top_k) = (n, 0);
        let fold = Fold { decoder, workspace, period, top_k };
        fold.diverge(&mut rec, sums).await?;
        let floats = |count: usize| 4 * count as u64;
        let read = rec
            .read(&[
                (&workspace.merged, floats(2 * n * (N_SLOTS + n_targets))),
                (&workspace.target_logits, floats(2 * n * n_targets)),
                (sums, floats(n * LANES * 3)),
            ])
            .await?;
        if let [merged, target_logits, sums] = &read[..] {
            all.extend(merged, target_logits, sums, &ids, n);
        }
    }
    Ok(all)
}

impl Comparison {
    /// With room for the numbers of that many cells.
    fn empty(n_targets: usize, n_cells: usize) -> Comparison {
        let room = || Vec::with_capacity(n_cells);
        let scores = || Scores { logit: room(), logprob: room(), rank: room() };
        let targets = (0..n_targets).map(|_| [scores(), scores()]).collect();
        let top = [(); 2].map(|()| Vec::with_capacity(n_cells));
        Comparison { kl: room(), kl_reverse: room(), js: room(), top, targets }
    }

    /// Adds `n` pairs of rows.
    ///
    /// Shapes: merged \[2·n, N_SLOTS + J\], target_logits \[2·n, J\], sums \[n, LANES, 3\], ids \[n, J\].
    #[expect(clippy::cast_possible_truncation, reason = "statistics are stored in f32")]
    fn extend(
        &mut self,
        merged: &[f32],
        target_logits: &[f32],
        sums: &[f32],
        ids: &[u32],
        n: usize,
    ) {
        let j = self.targets.len();
        let slots = |row: usize| &merged[row * (N_SLOTS + j)..][..N_SLOTS + j];
        let moments = |row: usize| Moments::from_slots(slots(row));
        for (pair, lanes) in sums.chunks(LANES * 3).enumerate() {
            let sides = [moments(pair), moments(n + pair)];
            let is_finite = sides.iter().all(Moments::is_finite);
            let total = |i: usize| {
                let sum: f64 = lanes.chunks(3).map(|lane| f64::from(lane[i])).sum();
                if is_finite { sum as f32 } else { f32::NAN }
            };
            self.kl.push(total(0));
            self.kl_reverse.push(total(1));
            self.js.push(total(2));
            for (top, side) in self.top.iter_mut().zip(&sides) {
                top.push(if side.is_finite() { side.best } else { NO_TOKEN });
            }
            for (target, both) in self.targets.iter_mut().enumerate() {
                let is_there = ids[pair * j + target] != NO_TOKEN;
                for (side, scores) in both.iter_mut().enumerate() {
                    let row = side * n + pair;
                    let (logit, above) =
                        (target_logits[row * j + target], slots(row)[N_SLOTS + target]);
                    let scored = Scored::new(&sides[side], logit, above);
                    let Scored { logit, logprob, rank } =
                        if is_there { scored } else { Scored::NONE };
                    scores.logit.push(logit);
                    scores.logprob.push(logprob as f32);
                    scores.rank.push(rank);
                }
            }
        }
    }
}
