// Merges the lanes of each row into one state, by the law of src/reference/lens_merge.rs; of equal
// maxima the lower id is taken. An empty lane (m = NEG_HUGE, all else 0) contributes nothing.
// For the first n_best rows the id of the largest logit is written into the targets as well. The lanes' lists become
// the K largest of the whole vocabulary; equal logits are ordered by id.
// Work: one invocation per row, which takes the best of LANES heads K times.
struct Params {
  n_rows: u32,
  n_targets: u32,    // J
  k: u32,            // 0: no lists
  n_best: u32,
  best_stride: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> state: array<f32>;           // [rows, LANES, N_SLOTS + J] f32
@group(0) @binding(2) var<storage, read> lists: array<vec2<f32>>;     // [rows, LANES, K] (logit, id)
@group(0) @binding(3) var<storage, read_write> y: array<f32>;         // [rows, N_SLOTS + J] f32
@group(0) @binding(4) var<storage, read_write> targets: array<u32>;   // [n_best, best_stride] u32
@group(0) @binding(5) var<storage, read_write> top: array<vec2<f32>>; // [rows, K] (logit, id)

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let row = at.x;
  if (row >= params.n_rows) {
    return;
  }
  let width = N_SLOTS + params.n_targets;
  let base = row * LANES * width;
  let to = row * width;

  var m = NEG_HUGE;
  var best = 0.0;
  for (var lane = 0u; lane < LANES; lane++) {
    let s = base + lane * width;
    let lane_m = state[s + SLOT_M];
    let id = state[s + SLOT_BEST];
    if (lane_m > m || (lane_m == m && id < best)) {
      m = lane_m;
      best = id;
    }
  }
  var mass = 0.0;
  var moment = 0.0;
  var a = vec2<f32>(0.0);
  var b = vec2<f32>(0.0);
  var p = vec2<f32>(0.0);
  var bad = 0.0;
  for (var lane = 0u; lane < LANES; lane++) {
    let s = base + lane * width;
    let d = state[s + SLOT_M] - m;
    let e = exp(d);
    let lane_mass = state[s + SLOT_S];
    let lane_p = vec2<f32>(state[s + SLOT_P], state[s + SLOT_P + 1u]);
    mass += e * lane_mass;
    moment += e * (state[s + SLOT_U] + d * lane_mass);
    a += e * vec2<f32>(state[s + SLOT_A], state[s + SLOT_A + 1u]);
    b += vec2<f32>(state[s + SLOT_B], state[s + SLOT_B + 1u]) + d * lane_p;
    p += lane_p;
    bad += state[s + SLOT_BAD];
  }
  y[to + SLOT_M] = m;
  y[to + SLOT_S] = mass;
  y[to + SLOT_U] = moment;
  y[to + SLOT_BEST] = best;
  y[to + SLOT_A] = a.x;
  y[to + SLOT_A + 1u] = a.y;
  y[to + SLOT_B] = b.x;
  y[to + SLOT_B + 1u] = b.y;
  y[to + SLOT_P] = p.x;
  y[to + SLOT_P + 1u] = p.y;
  y[to + SLOT_BAD] = bad;
  for (var j = 0u; j < params.n_targets; j++) {
    var above = 0.0;
    for (var lane = 0u; lane < LANES; lane++) {
      above += state[base + lane * width + N_SLOTS + j];
    }
    y[to + N_SLOTS + j] = above;
  }
  if (row < params.n_best) {
    targets[row * params.best_stride] = u32(best);
  }

  var heads: array<u32, LANES>;
  for (var i = 0u; i < params.k; i++) {
    var winner = 0u;
    var largest = vec2<f32>(NEG_HUGE, 0.0);
    for (var lane = 0u; lane < LANES; lane++) {
      if (heads[lane] < params.k) {
        let head = lists[(row * LANES + lane) * params.k + heads[lane]];
        if (head.x > largest.x || (head.x == largest.x && head.y < largest.y)) {
          largest = head;
          winner = lane;
        }
      }
    }
    heads[winner]++;
    top[row * params.k + i] = largest;
  }
}
