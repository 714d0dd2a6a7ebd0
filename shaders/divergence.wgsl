// Folds a chunk of two rows' logits into the divergences of their distributions p and q:
// KL(p || q), KL(q || p) and Jensen-Shannon. With r = ln p - ln q and t = tanh(r / 2) = (p - q) / (p + q) they are sums of
//   p (r - 1 + e^-r),   q (-r - 1 + e^r),   (p + q) / 2 ((1 + t) ln(1 + t) + (1 - t) ln(1 - t)) / 2
// because p and q sum to 1. No term is negative, so nothing cancels between tokens; where r is small, a series replaces
// the difference within a term.
// Work: one invocation per pair of rows and lane; no barrier.
struct Params {
  n_rows: u32,
  n_columns: u32,  // of this chunk, without padding
  is_first: u32,   // 1: the sums start empty
  stride: u32,     // of a row of logits
  column: u32,     // first column of this chunk in a row of logits
  width: u32,      // of a row of states
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;       // [2 * rows, V4] f32: of p, then of q
@group(0) @binding(2) var<storage, read> states: array<f32>;       // [2 * rows, width] f32
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;   // [rows, LANES, 3] f32

// x - 1 + e^-x, times p; e^-x p is the other probability.
fn excess(p: f32, q: f32, x: f32) -> f32 {
  if (abs(x) < 0.5) {
    let tail = 1.0 / 24.0 + x * (-1.0 / 120.0 + x * (1.0 / 720.0 + x * (-1.0 / 5040.0 + x / 40320.0)));
    return p * x * x * (0.5 + x * (-1.0 / 6.0 + x * tail));
  }
  return max(p * (x - 1.0) + q, 0.0);
}

// ((1 + t) ln(1 + t) + (1 - t) ln(1 - t)) / 2
fn mixed(t: f32) -> f32 {
  let s = t * t;
  if (s < 0.0625) {
    return s * (0.5 + s * (1.0 / 12.0 + s * (1.0 / 30.0 + s * (1.0 / 56.0 + s / 90.0))));
  }
  let most = 1.0 + abs(t);
  let least = max(1.0 - abs(t), 1e-30);
  return 0.5 * (most * log(most) + least * log(least));
}

// tanh, whose error WGSL bounds only absolutely: near 0 by its series.
fn tanh_of(x: f32) -> f32 {
  if (abs(x) < 0.25) {
    let s = x * x;
    return x * (1.0 + s * (-1.0 / 3.0 + s * (2.0 / 15.0 + s * (-17.0 / 315.0 + s * (62.0 / 2835.0)))));
  }
  return tanh(clamp(x, -20.0, 20.0));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let lane = at.x;
  let row = at.y;
  if (lane >= LANES || row >= params.n_rows) {
    return;
  }
  let p_row = row;
  let q_row = params.n_rows + row;
  let p0 = p_row * params.stride + params.column;
  let q0 = q_row * params.stride + params.column;
  let p_max = states[p_row * params.width + SLOT_M];
  let q_max = states[q_row * params.width + SLOT_M];
  let p_log = log(states[p_row * params.width + SLOT_S]);
  let q_log = log(states[q_row * params.width + SLOT_S]);

  var sum = vec3<f32>(0.0);
  for (var c = lane; c < params.n_columns; c += LANES) {
    let v = logits[p0 + c] - p_max;
    let w = logits[q0 + c] - q_max;
    let p = exp(v - p_log);
    let q = exp(w - q_log);
    let r = (v - w) - (p_log - q_log);
    let t = tanh_of(0.5 * r);
    sum += vec3<f32>(excess(p, q, r), excess(q, p, -r), 0.5 * (p + q) * mixed(t));
  }

  let s = (row * LANES + lane) * 3u;
  for (var i = 0u; i < 3u; i++) {
    sums[s + i] = select(sums[s + i], 0.0, params.is_first == 1u) + sum[i];
  }
}
