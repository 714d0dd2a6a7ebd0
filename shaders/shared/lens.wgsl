// Shared by the lens kernels. Each row has LANES invocations; lane i has the columns i, i + LANES, ..., so that
// neighbouring invocations read neighbouring logits. Ids are kept as f32, which is exact below 2^24.
const LANES: u32 = 64u;
const NEG_HUGE: f32 = -1e30;

// Slots of a running state; the counts above each target follow.
const SLOT_M: u32 = 0u;    // largest logit
const SLOT_S: u32 = 1u;    // sum e^(z-m)
const SLOT_U: u32 = 2u;    // sum e^(z-m) (z-m)
const SLOT_BEST: u32 = 3u; // id of the largest logit
const SLOT_A: u32 = 4u;    // sum e^(z-m) (z_R-M_R), R = final, input
const SLOT_B: u32 = 6u;    // sum p_R (z-m)
const SLOT_P: u32 = 8u;    // sum p_R
const SLOT_BAD: u32 = 10u; // logits that are not finite
const N_SLOTS: u32 = 11u;

// Whether a logit is NaN, infinite or beyond 1e30, where the sums overflow. The bits are compared, because a
// compiler may assume that no float is NaN; 0x7149f2ca is 1e30.
fn is_bad(z: f32) -> bool {
  return (bitcast<u32>(z) & 0x7fffffffu) >= 0x7149f2cau;
}
