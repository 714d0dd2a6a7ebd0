//! The K largest logits of each lane.

/// Lanes of a row.
const LANES: usize = 64;

/// A logit and its token.
pub type Best = [f32; 2];

/// What stands in a list before there are as many logits.
pub const NO_BEST: Best = [-1e30, 0.0];

/// Puts the logits of a row into its lanes' lists, best first; of equal logits the lower id comes first.
///
/// Shapes: lists \[LANES, k\].
#[inline(never)]
pub fn top_k(logits: &[f32], first_id: u32, k: usize, lists: &mut [Best]) {
    if k == 0 {
        return;
    }
    for (row, first) in logits.chunks(LANES).zip((first_id..).step_by(LANES)) {
        for ((list, &z), id) in lists.chunks_exact_mut(k).zip(row).zip(first..) {
            let Some((last, _)) = list.split_last_mut() else { continue };
            // Never for NaN.
            let is_better = z > last[0];
            if !is_better {
                continue;
            }
            *last = [z, id as f32];
            let mut i = k - 1;
            while i > 0 && list.get(i - 1).is_some_and(|before| z > before[0]) {
                list.swap(i - 1, i);
                i -= 1;
            }
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
