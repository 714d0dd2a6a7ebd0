// Causal attention; see shared/attention.wgsl.
// Work: one invocation per query, head and TILE output channels; neighbouring invocations share keys. No barrier: for
// adapters in software, for several runs, and for heads that are too wide for attention_shared.wgsl, which computes the
// same bits.
const TILE: u32 = 32u;

@compute @workgroup_size(16, 4)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let row = at.x;
  let first = at.z * TILE;
  if (row >= params.n_rows || at.y >= params.n_head || first >= params.head_dim) {
    return;
  }
  let head = at.y * params.head_dim;
  let width = min(TILE, params.head_dim - first);
  let from_q = row * params.stride + head;

  var largest = NEG_HUGE;
  var mass = 0.0;
  var sum: array<f32, TILE>;
  let run = row / params.n_each;
  let position = params.first_position + row % params.n_each;
  for (var j = first_key(position); j <= position; j++) {
    let base = row_of_key(j, run) * params.stride + head;
    var dot = 0.0;
    for (var d = 0u; d < params.head_dim; d++) {
      dot = fma(q[from_q + d], k[base + d], dot);
    }
    let score = dot * params.scale;
    var shrink = 1.0;
    if (score > largest) {
      shrink = exp(largest - score);
      for (var d = 0u; d < TILE; d++) {
        sum[d] *= shrink;
      }
      largest = score;
    }
    let p = exp(score - largest);
    mass = fma(mass, shrink, p);
    for (var d = 0u; d < width; d++) {
      sum[d] = fma(p, v[base + first + d], sum[d]);
    }
  }
  for (var d = 0u; d < width; d++) {
    y[from_q + first + d] = sum[d] / mass;
  }
}
