//! The K largest logits of each lane.

/// Lanes of a row.
const LANES: usize = 64;

/// A logit and its token.
pub type Best = [f32; 2];

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
