// Folds some columns of logits into the running state of each row: maximum, centred moments, the cross
// terms of both KL divergences with the final and the input row, counts above each target, the
// number of logits that are not finite, and the K largest of each lane. A row with a logit that is not finite has no
// statistics. Lists are sorted, best first: ids are visited in ascending order and only a strictly larger logit moves
// ahead, so of equal logits the lower id comes first.
//   m = max z   S = sum e^(z-m)   U = sum e^(z-m)(z-m)
//   A_R = sum e^(z-m)(z_R-M_R)    B_R = sum p_R (z-m)    P_R = sum p_R    for R = final, input
// When CHUNK columns raise m by -d: S,A *= e^d, U = e^d (U + d S), B += d P (the merge law of
// src/reference/lens_merge.rs). m is never added back, because uncentred sums lose a digit.
// Work: one invocation per row and lane; no barrier. CHUNK columns at a time are read twice, once for all that compares
// and once for the sums; then all of them once for every sixteen targets beyond the first four.
const CHUNK: u32 = 4096u;
const MAX_K: u32 = 20u;
const HUGE: f32 = 1e30; // no logit in a list is as large: see is_bad

struct Params {
  n_rows: u32,
  n_columns: u32,          // of this chunk, without padding
  first_id: u32,           // token id of its first column
  is_first: u32,           // 1: the state starts empty
  logits_stride: u32,
  logits_column: u32,
  first_row: u32,          // of row 0 among all rows of the block
  period: u32,             // positions in the block: row r is at position r % period
  n_targets: u32,          // J
  has_references: u32,
  reference_stride: u32,
  reference_column: u32,
  k: u32,                  // 0: no lists
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;            // [rows, chunk4] f32
@group(0) @binding(2) var<storage, read> reference_logits: array<f32>;  // [2 * period, V4] f32: final, then input
@group(0) @binding(3) var<storage, read> references: array<f32>;        // [2 * period, N_SLOTS] f32
@group(0) @binding(4) var<storage, read> targets: array<u32>;           // [period, J] u32
@group(0) @binding(5) var<storage, read> target_logits: array<f32>;     // [all rows, J] f32
@group(0) @binding(6) var<storage, read_write> state: array<f32>;       // [rows, LANES, N_SLOTS + J] f32
@group(0) @binding(7) var<storage, read_write> lists: array<vec2<f32>>; // [rows, LANES, K] (logit, id)

// A logit as a number that is ordered in the same way; both zeros are 0.
fn order(z: f32) -> i32 {
  let bits = bitcast<i32>(z);
  return select(bits, -(bits & 0x7fffffff), bits < 0);
}

// Four targets of a row: their ids, and the orders of their logits.
struct Four {
  ids: vec4<u32>,
  orders: vec4<i32>,
}

fn targets_of(position: u32, row: u32, first: u32) -> Four {
  // A target beyond the last one repeats it.
  let last = max(params.n_targets, 1u) - 1u;
  let j = min(vec4<u32>(first) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(last));
  let i = vec4<u32>(position * params.n_targets) + j;
  let z = vec4<u32>(row * params.n_targets) + j;
  return Four(
    vec4<u32>(targets[i.x], targets[i.y], targets[i.z], targets[i.w]),
    vec4<i32>(
      order(target_logits[z.x]), order(target_logits[z.y]), order(target_logits[z.z]), order(target_logits[z.w])
    )
  );
}

// 1 for each target below this logit: that is smaller, or equal and of a higher id. A target is not below itself if the
// logits are equal.
fn above(z: i32, id: u32, four: Four) -> vec4<u32> {
  let least = select(four.orders, four.orders - 1, vec4<u32>(id) < four.ids);
  return select(vec4<u32>(0u), vec4<u32>(1u), vec4<i32>(z) > least);
}

// What `above` counts of targets in this lane's columns themselves: their logits were computed by another kernel, and would
// not be equal if that one had other bits.
fn itself(z0: u32, lane: u32, four: Four) -> vec4<u32> {
  let columns = four.ids - vec4<u32>(params.first_id);
  let is_here = (columns < vec4<u32>(params.n_columns)) & (columns % LANES == vec4<u32>(lane));
  if (!any(is_here)) {
    return vec4<u32>(0u);
  }
  let c = vec4<u32>(z0) + select(vec4<u32>(0u), columns, is_here);
  let z = vec4<i32>(order(logits[c.x]), order(logits[c.y]), order(logits[c.z]), order(logits[c.w]));
  return select(vec4<u32>(0u), vec4<u32>(1u), is_here & (z > four.orders));
}

fn write_count(state_at: u32, target_index: u32, count: u32) {
  if (target_index < params.n_targets) {
    let slot = state_at + N_SLOTS + target_index;
    state[slot] = select(state[slot], 0.0, params.is_first == 1u) + f32(count);
  }
}

fn write_counts(state_at: u32, first: u32, counts: vec4<u32>) {
  write_count(state_at, first, counts.x);
  write_count(state_at, first + 1u, counts.y);
  write_count(state_at, first + 2u, counts.z);
  write_count(state_at, first + 3u, counts.w);
}

// A slot of a reference; 1 where there is none.
fn reference(row: u32, slot: u32) -> f32 {
  if (params.has_references == 0u) {
    return 1.0;
  }
  return references[row * N_SLOTS + slot];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let lane = at.x;
  let row = at.y;
  if (lane >= LANES || row >= params.n_rows) {
    return;
  }
  let z0 = row * params.logits_stride + params.logits_column;
  let of_block = params.first_row + row;
  let position = of_block % params.period;
  let s = (of_block * LANES + lane) * (N_SLOTS + params.n_targets);

  var m = NEG_HUGE;
  var mass = 0.0;
  var moment = 0.0;
  var best = 0.0;
  var a = vec2<f32>(0.0);
  var b = vec2<f32>(0.0);
  var p = vec2<f32>(0.0);
  var bad = 0.0;
  if (params.is_first == 0u) {
    m = state[s + SLOT_M];
    mass = state[s + SLOT_S];
    moment = state[s + SLOT_U];
    best = state[s + SLOT_BEST];
    a = vec2<f32>(state[s + SLOT_A], state[s + SLOT_A + 1u]);
    b = vec2<f32>(state[s + SLOT_B], state[s + SLOT_B + 1u]);
    p = vec2<f32>(state[s + SLOT_P], state[s + SLOT_P + 1u]);
    bad = state[s + SLOT_BAD];
  }

  let k = min(params.k, MAX_K);
  let l0 = (of_block * LANES + lane) * k;
  // The list stands at the end; what is before it never moves.
  let before = MAX_K - k;
  var list: array<vec2<f32>, MAX_K>;
  for (var i = 0u; i < MAX_K; i++) {
    list[i] = vec2<f32>(select(NEG_HUGE, HUGE, i < before), 0.0);
    if (params.is_first == 0u && i >= before) {
      list[i] = lists[l0 + i - before];
    }
  }
  let four = targets_of(position, of_block, 0u);
  var counts = vec4<u32>(0u);
  let centre = vec2<f32>(reference(position, SLOT_M), reference(params.period + position, SLOT_M));
  let share = 1.0 / vec2<f32>(reference(position, SLOT_S), reference(params.period + position, SLOT_S));
  let f0 = position * params.reference_stride + params.reference_column;
  let i0 = (params.period + position) * params.reference_stride + params.reference_column;

  for (var start = 0u; start < params.n_columns; start += CHUNK) {
    let end = min(start + CHUNK, params.n_columns);
    var top = m;
    for (var c = start + lane; c < end; c += LANES) {
      let z = logits[z0 + c];
      let is_fine = !is_bad(z);
      bad += select(1.0, 0.0, is_fine);
      if (is_fine && z > top) {
        top = z;
        best = f32(params.first_id + c);
      }
      counts += above(order(z), params.first_id + c, four);
      if (is_fine && z > list[MAX_K - 1u].x) {
        insert(&list, vec2<f32>(z, f32(params.first_id + c)), k);
      }
    }
    if (top > m) {
      let d = m - top;
      let e = exp(d);
      moment = e * (moment + d * mass);
      mass *= e;
      a *= e;
      b += d * p;
      m = top;
    }
    if (params.has_references == 1u) {
      for (var c = start + lane; c < end; c += LANES) {
        let w = logits[z0 + c] - m;
        let e = exp(w);
        mass += e;
        moment = fma(e, w, moment);
        let r = vec2<f32>(reference_logits[f0 + c], reference_logits[i0 + c]) - centre;
        let q = exp(r) * share;
        a = fma(vec2<f32>(e), r, a);
        b = fma(q, vec2<f32>(w), b);
        p += q;
      }
    } else {
      for (var c = start + lane; c < end; c += LANES) {
        let w = logits[z0 + c] - m;
        let e = exp(w);
        mass += e;
        moment = fma(e, w, moment);
      }
    }
  }
  for (var first = 4u; first < params.n_targets; first += 16u) {
    let four0 = targets_of(position, of_block, first);
    let four1 = targets_of(position, of_block, first + 4u);
    let four2 = targets_of(position, of_block, first + 8u);
    let four3 = targets_of(position, of_block, first + 12u);
    var counts0 = vec4<u32>(0u);
    var counts1 = vec4<u32>(0u);
    var counts2 = vec4<u32>(0u);
    var counts3 = vec4<u32>(0u);
    for (var c = lane; c < params.n_columns; c += LANES) {
      let z = order(logits[z0 + c]);
      let id = params.first_id + c;
      counts0 += above(z, id, four0);
      counts1 += above(z, id, four1);
      counts2 += above(z, id, four2);
      counts3 += above(z, id, four3);
    }
    write_counts(s, first, counts0 - itself(z0, lane, four0));
    write_counts(s, first + 4u, counts1 - itself(z0, lane, four1));
    write_counts(s, first + 8u, counts2 - itself(z0, lane, four2));
    write_counts(s, first + 12u, counts3 - itself(z0, lane, four3));
  }
  write_counts(s, 0u, counts - itself(z0, lane, four));
  for (var i = 0u; i < MAX_K; i++) {
    if (i >= before) {
      lists[l0 + i - before] = list[i];
    }
  }

  state[s + SLOT_M] = m;
  state[s + SLOT_S] = mass;
  state[s + SLOT_U] = moment;
  state[s + SLOT_BEST] = best;
  state[s + SLOT_A] = a.x;
  state[s + SLOT_A + 1u] = a.y;
  state[s + SLOT_B] = b.x;
  state[s + SLOT_B + 1u] = b.y;
  state[s + SLOT_P] = p.x;
  state[s + SLOT_P + 1u] = p.y;
  state[s + SLOT_BAD] = bad;
}
