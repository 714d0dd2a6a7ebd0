//! The K largest logits of each lane.

/// Lanes of a row.
const LANES: usize = 64;

/// A logit and its token.
pub type Best = [f32; 2];

/// What stands in a list before there are as many logits.
pub const NO_BEST: Best = [-1e30, 0.0];

/// Longest list.
const MAX_K: usize = 32;

/// Puts the logits of a row into its lanes' lists, best first; of equal logits the lower id comes first. One that is not
/// among the k best of the row so far is left out, so that lists may be shorter than their lanes' best k.
///
/// Shapes: lists \[LANES, k\].
#[inline(never)]
pub fn top_k(logits: &[f32], first_id: u32, k: usize, lists: &mut [Best]) {
    let mut best = [NO_BEST; MAX_K];
    let Some(best) = best.get_mut(..k).filter(|best| !best.is_empty()) else { return };
    merge_lists(lists, k, best);
    let mut least = best.last().map_or(0.0, |last| last[0]);
    for (row, first) in logits.chunks(LANES).zip((first_id..).step_by(LANES)) {
        // Without an early exit the compiler uses SIMD. Never for NaN.
        if !row.iter().fold(false, |any, &z| any | (z > least)) {
            continue;
        }
        for ((list, &z), id) in lists.chunks_exact_mut(k).zip(row).zip(first..) {
            let is_better = z > least;
            if is_better {
                let new = [z, id as f32];
                insert(list, new);
                insert(best, new);
                least = best.last().map_or(0.0, |last| last[0]);
            }
        }
    }
}

/// Puts a logit that comes after all of its equals into a list, whose last one goes. A list of a device that is wrong may be
/// in any order.
fn insert(list: &mut [Best], new: Best) {
    let at = list.partition_point(|known| known[0] >= new[0]);
    if let Some(rest) = list.get_mut(at..).filter(|rest| !rest.is_empty()) {
        rest.rotate_right(1);
        if let Some(first) = rest.first_mut() {
            *first = new;
        }
    }
}

/// The K largest of all lanes, best first; equal logits are ordered by id. Shapes: lists \[LANES, k\], y \[k\].
#[inline(never)]
pub fn merge_lists(lists: &[Best], k: usize, y: &mut [Best]) {
    let mut heads = [0usize; LANES];
    for out in y {
        let (mut winner, mut best) = (0, NO_BEST);
        for (lane, &head) in heads.iter().enumerate() {
            if head >= k {
                continue;
            }
            let Some(&[z, id]) = lists.get(lane * k + head) else { continue };
            if z > best[0] || (z == best[0] && id < best[1]) {
                (winner, best) = (lane, [z, id]);
            }
        }
        heads[winner] += 1;
        *out = best;
    }
}
