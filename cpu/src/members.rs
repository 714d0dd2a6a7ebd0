//! The sums of a set of tokens and of all other tokens; see shaders/members.wgsl.

/// Lanes of a row.
const LANES: usize = 64;
/// Slots of a lane.
pub const MEMBER_SLOTS: usize = 6;
/// Where a lane has no number yet.
const NEG_HUGE: f32 = -1e30;
/// Above every id.
const NO_ID: f32 = 16_777_216.0;

/// A chunk of a row.
pub struct MembersChunk<'a> {
    /// Shapes: \[columns\].
    pub logits: &'a [f32],
    /// Bits by token. Shapes: \[V / 32\].
    pub members: &'a [u32],
    /// The token of the first column.
    pub first_id: usize,
    /// Whether the sums start with this chunk.
    pub is_first: bool,
}

/// Adds a chunk to the sums of the lanes. Shapes: sums \[LANES, MEMBER_SLOTS\].
#[inline(never)]
pub fn members(chunk: &MembersChunk<'_>, sums: &mut [f32]) {
    if chunk.is_first {
        for lane in sums.chunks_exact_mut(MEMBER_SLOTS) {
            lane.copy_from_slice(&[NEG_HUGE, 0.0, NEG_HUGE, 0.0, NO_ID, 0.0]);
        }
    }
    for (c, &z) in chunk.logits.iter().enumerate() {
        let id = chunk.first_id + c;
        let word = chunk.members.get(id / 32).copied().unwrap_or(0);
        let is_member = word >> (id % 32) & 1 == 1;
        let Some(lane) = sums.get_mut(c % LANES * MEMBER_SLOTS..) else { continue };
        let Some(side) = lane.get_mut(if is_member { 0..2 } else { 2..4 }) else { continue };
        let most = side[0].max(z);
        let is_above = z > side[0];
        side[1] = side[1] * (side[0] - most).exp() + (z - most).exp();
        side[0] = most;
        if is_member && is_above {
            lane[4] = id as f32;
        }
    }
}

/// Adds the tokens of a chunk that come before the best member. Shapes: sums \[LANES, MEMBER_SLOTS\].
#[inline(never)]
pub fn members_before(chunk: &MembersChunk<'_>, sums: &mut [f32]) {
    let best = sums.chunks_exact(MEMBER_SLOTS).map(|lane| (lane[0], lane[4]));
    let comes_before = |a: (f32, f32), b: (f32, f32)| a.0 > b.0 || (a.0 == b.0 && a.1 < b.1);
    let best = best.fold((NEG_HUGE, NO_ID), |best, lane| match comes_before(lane, best) {
        true => lane,
        false => best,
    });
    if chunk.is_first {
        sums.chunks_exact_mut(MEMBER_SLOTS).for_each(|lane| lane[5] = 0.0);
    }
    for (c, &z) in chunk.logits.iter().enumerate() {
        let id = (chunk.first_id + c) as f32;
        if let Some(before) = sums.get_mut(c % LANES * MEMBER_SLOTS + 5) {
            *before += f32::from(u8::from(comes_before((z, id), best)));
        }
    }
}
