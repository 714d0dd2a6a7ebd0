//! Sets of tokens over the whole vocabulary: their summed probability and the rank of their best member at every cell, from
//! the kept residual stream.

use crate::device::{Cancel, Device, Tensor};
use crate::error::{Error, Result};
use crate::kernels::{LANES, MEMBER_SLOTS};

use super::fold::Fold;
use super::{Kept, Workspace, block_positions};

/// Most sets that are summed together.
const MAX_SETS: usize = 16;

/// One set at every cell. Every array is tap-major; NaN, and a rank of 0, where a logit is not finite.
#[derive(Debug, Clone, PartialEq)]
pub struct SetScores {
    /// The summed probability of its tokens. Shapes: \[N·T\].
    pub prob: Vec<f32>,
    /// The rank of the member that comes first; 1 is best. Shapes: \[N·T\].
    pub rank: Vec<f32>,
}

/// The sets as bits by token. Shapes: \[V / 32\] each.
///
/// Errors: `bad-option` for no set, too many, or an empty one; `bad-token`.
fn bits_of(sets: &[Vec<u32>], vocab_size: usize) -> Result<Vec<Vec<u32>>> {
    if !(1..=MAX_SETS).contains(&sets.len()) {
        let expected = format!("1 to {MAX_SETS} sets");
        return Err(Error::option("sets", expected, sets.len()));
    }
    let bits_of = |set: &Vec<u32>| {
        if set.is_empty() {
            return Err(Error::option("sets", "at least one token in each set", "none"));
        }
        let mut bits = vec![0; vocab_size.div_ceil(32)];
        for &id in set {
            let word = bits.get_mut(id as usize / 32).filter(|_| (id as usize) < vocab_size);
            let word = word.ok_or(Error::BadToken { id: id.into(), vocab_size })?;
            *word |= 1 << (id % 32);
        }
        Ok(bits)
    };
    sets.iter().map(bits_of).collect()
}

/// Sums sets of tokens at every row and position.
///
/// Errors: `bad-option`, `bad-token`, `out-of-memory`, `aborted`, `gpu-refused`, `device-lost`.
pub async fn sum_sets(
    device: &Device,
    from: &Kept<'_>,
    sets: &[Vec<u32>],
    cancel: &Cancel,
    on_progress: impl Fn(f64),
) -> Result<Vec<SetScores>> {
    let decoder = from.decoder;
    let bits = bits_of(sets, decoder.model.config.vocab_size)?;
    let (n_taps, t) = (from.rows.len(), from.stream.n_tokens);
    let at_once = block_positions(decoder, 2).min(n_taps * t);
    let lane_bytes = (4 * LANES * MEMBER_SLOTS) as u64;
    let allocate = || {
        let of_set = |bits: &Vec<u32>| {
            let sums = device.tensor("sums of a set", at_once as u64 * lane_bytes);
            (device.upload("members of a set", bits), sums)
        };
        let tensors: Vec<(Tensor, Tensor)> = bits.iter().map(of_set).collect();
        Ok((Workspace::for_sets(device, decoder, at_once), tensors))
    };
    let (workspace, tensors) = &device.allocate("these sets", allocate).await?;
    let empty = || SetScores { prob: Vec::new(), rank: Vec::new() };
    let mut found: Vec<SetScores> = sets.iter().map(|_| empty()).collect();
    let mut rec = device.record("these sets", cancel);
    let cells: Vec<(usize, usize)> =
        (0..n_taps).flat_map(|tap| (0..t).map(move |position| (tap, position))).collect();
    for (block, cells) in cells.chunks(at_once).enumerate() {
        let mut row = 0;
        for run in cells.chunk_by(|a, b| a.0 == b.0) {
            let ((tap, position), to) = (run[0], workspace.rows(row));
            from.normalise(&mut rec, tap, position, run.len(), &workspace.step, to)?;
            row += run.len();
        }
        let fold = Fold { decoder, workspace, period: cells.len(), top_k: 0 };
        fold.keep_logits(&mut rec, 0, 0, cells.len()).await?;
        for (members, sums) in tensors {
            fold.sum_members(&mut rec, members, sums).await?;
        }
        let bytes = cells.len() as u64 * lane_bytes;
        let ranges: Vec<(&Tensor, u64)> = tensors.iter().map(|(_, sums)| (sums, bytes)).collect();
        let read = rec.read(&ranges).await?;
        for (scores, sums) in found.iter_mut().zip(&read) {
            scores.extend(sums);
        }
        on_progress((((block + 1) * at_once) as f64 / (n_taps * t) as f64).min(1.0));
    }
    Ok(found)
}

impl SetScores {
    /// Adds rows. Shapes: sums \[rows, LANES, MEMBER_SLOTS\].
    #[expect(clippy::cast_possible_truncation, reason = "statistics are stored in f32")]
    fn extend(&mut self, sums: &[f32]) {
        for lanes in sums.chunks_exact(LANES * MEMBER_SLOTS) {
            let lanes = || lanes.chunks_exact(MEMBER_SLOTS);
            let largest =
                lanes().map(|lane| lane[0].max(lane[2])).fold(f32::NEG_INFINITY, f32::max);
            // The mass of one side, which has its largest logit and its sum in these slots.
            let mass = |slot: usize| -> f64 {
                let of = |lane: &[f32]| {
                    f64::from(lane[slot + 1]) * (f64::from(lane[slot]) - f64::from(largest)).exp()
                };
                lanes().map(of).sum()
            };
            let (inside, outside) = (mass(0), mass(2));
            let prob = (inside / (inside + outside)) as f32;
            let before: f32 = lanes().map(|lane| lane[5]).sum();
            self.prob.push(prob);
            self.rank.push(if prob.is_nan() { 0.0 } else { 1.0 + before });
        }
    }
}
