// What the lens kernels share. The vocabulary is dealt to PARTS invocations a row, column by
// column, so that neighbours read neighbouring logits. Ids are kept as f32, exact below 2^24.
const PARTS: u32 = 64u;
const NEG_HUGE: f32 = -1e30;

// Slots of a running state; the counts above each target follow.
const SLOT_M: u32 = 0u;    // largest logit
const SLOT_S: u32 = 1u;    // sum e^(z-m)
const SLOT_U: u32 = 2u;    // sum e^(z-m) (z-m)
const SLOT_BEST: u32 = 3u; // id of the largest logit
const SLOT_A: u32 = 4u;    // sum e^(z-m) (z_R-M_R), R = final, input
const SLOT_B: u32 = 6u;    // sum p_R (z-m)
const SLOT_P: u32 = 8u;    // sum p_R
const N_SLOTS: u32 = 10u;
