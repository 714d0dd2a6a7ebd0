// out[t, h] = sum_j softmax_j(scale q[t, h] . k[j, h]) v[j, h] over 0 <= t - j < window (causal, and local
// where the window is shorter than the text).
// Online softmax: the scores of a row are never stored, and keys are visited in the order j = 0, 1, ...,
// so a row's bits do not depend on how many rows are computed.
// Work: one invocation per query, head and TILE output channels; neighbouring invocations share keys.
// Source: Vaswani et al. 2017; Milakov and Gimelshein 2018 for the online softmax.
const TILE: u32 = 32u;
const NEG_HUGE: f32 = -1e30;

struct Params {
  n_rows: u32,
  first_position: u32,  // of row 0
  n_head: u32,
  head_dim: u32,        // D
  stride: u32,          // C4
  scale: f32,
  window: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>;         // [rows, C4] f32
@group(0) @binding(2) var<storage, read> k: array<f32>;         // [T, C4] f32
@group(0) @binding(3) var<storage, read> v: array<f32>;         // [T, C4] f32
@group(0) @binding(4) var<storage, read_write> y: array<f32>;   // [rows, C4] f32

@compute @workgroup_size(16, 4)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let row = at.x;
  let n_tiles = (params.head_dim + TILE - 1u) / TILE;
  if (row >= params.n_rows || at.y >= params.n_head * n_tiles) {
    return;
  }
  let head = (at.y / n_tiles) * params.head_dim;
  let first = (at.y % n_tiles) * TILE;
  let width = min(TILE, params.head_dim - first);
  let from_q = row * params.stride + head;

  var largest = NEG_HUGE;
  var mass = 0.0;
  var sum: array<f32, TILE>;
  let position = params.first_position + row;
  for (var j = position + 1u - min(position + 1u, params.window); j <= position; j++) {
    let base = j * params.stride + head;
    var dot = 0.0;
    for (var d = 0u; d < params.head_dim; d++) {
      dot = fma(q[from_q + d], k[base + d], dot);
    }
    let score = dot * params.scale;
    if (score > largest) {
      let shrink = exp(largest - score);
      mass *= shrink;
      for (var d = 0u; d < TILE; d++) {
        sum[d] *= shrink;
      }
      largest = score;
    }
    let p = exp(score - largest);
    mass += p;
    for (var d = 0u; d < width; d++) {
      sum[d] = fma(p, v[base + first + d], sum[d]);
    }
  }
  for (var d = 0u; d < width; d++) {
    y[from_q + first + d] = sum[d] / mass;
  }
}
