// Keeps, for each row and part of the vocabulary, the K largest logits seen so far, best first.
// Ids come in rising order and only a strictly larger logit overtakes, so ties stay with the lower id.
// Work: one invocation per row and part; no barrier.
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
@group(0) @binding(2) var<storage, read_write> lists: array<vec2<f32>>;  // [rows, PARTS, K] (logit, id)

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let part = at.x;
  let row = at.y;
  if (part >= PARTS || row >= params.n_rows) {
    return;
  }
  let k = min(params.k, MAX_K);
  let z0 = (params.logits_row + row) * params.logits_stride + params.logits_column;
  let l0 = (row * PARTS + part) * k;
  var list: array<vec2<f32>, MAX_K>;
  for (var i = 0u; i < k; i++) {
    list[i] = vec2<f32>(NEG_HUGE, 0.0);
    if (params.is_first == 0u) {
      list[i] = lists[l0 + i];
    }
  }
  for (var c = part; c < params.n_columns; c += PARTS) {
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
