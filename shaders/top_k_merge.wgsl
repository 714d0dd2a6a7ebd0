// Merges the lanes' lists of each row into the K largest of the whole vocabulary; equal logits
// are ordered by id.
// Work: one invocation per row, which takes the best of LANES heads K times.
struct Params {
  n_rows: u32,
  y_row: u32,
  k: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> lists: array<vec2<f32>>;      // [rows, LANES, K] (logit, id)
@group(0) @binding(2) var<storage, read_write> y: array<vec2<f32>>;    // [all rows, K] (logit, id)

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let row = at.x;
  if (row >= params.n_rows) {
    return;
  }
  var heads: array<u32, LANES>;
  for (var i = 0u; i < params.k; i++) {
    var winner = 0u;
    var best = vec2<f32>(NEG_HUGE, 0.0);
    for (var lane = 0u; lane < LANES; lane++) {
      if (heads[lane] < params.k) {
        let head = lists[(row * LANES + lane) * params.k + heads[lane]];
        if (head.x > best.x || (head.x == best.x && head.y < best.y)) {
          best = head;
          winner = lane;
        }
      }
    }
    heads[winner]++;
    y[(params.y_row + row) * params.k + i] = best;
  }
}
