// Keeps, for each row and lane, the K largest logits so far, best first. Ids are visited in ascending order and only
// a strictly larger logit moves ahead, so of equal logits the lower id comes first.
// Work: one invocation per row and lane; no barrier.
const MAX_K: u32 = 20u;

struct Params {
  n_rows: u32,
  n_columns: u32,
  first_id: u32,
  is_first: u32,       // 1: the lists start empty
  logits_row: u32,
  logits_stride: u32,
  logits_column: u32,
  k: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;        // [rows, chunk4] f32
@group(0) @binding(2) var<storage, read_write> lists: array<vec2<f32>>;  // [rows, LANES, K] (logit, id)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let lane = at.x;
  let row = at.y;
  if (lane >= LANES || row >= params.n_rows) {
    return;
  }
  let k = min(params.k, MAX_K);
  let z0 = (params.logits_row + row) * params.logits_stride + params.logits_column;
  let l0 = (row * LANES + lane) * k;
  var list: array<vec2<f32>, MAX_K>;
  for (var i = 0u; i < k; i++) {
    list[i] = vec2<f32>(NEG_HUGE, 0.0);
    if (params.is_first == 0u) {
      list[i] = lists[l0 + i];
    }
  }
  for (var c = lane; c < params.n_columns; c += LANES) {
    let z = logits[z0 + c];
    if (z > list[k - 1u].x) {
      var i = k - 1u;
      while (i > 0u && z > list[i - 1u].x) {
        list[i] = list[i - 1u];
        i--;
      }
      list[i] = vec2<f32>(z, f32(params.first_id + c));
    }
  }
  for (var i = 0u; i < k; i++) {
    lists[l0 + i] = list[i];
  }
}
