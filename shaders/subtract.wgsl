// y = a - b, row by row: the contribution of half of a block to the residual stream.
// Work: one invocation per four channels of one row.
struct Params {
  n_rows: u32,
  n_in4: u32,   // C4 / 4
  a_row: u32,
  b_row: u32,
  y_row: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;        // [rows, C4] f32
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;        // [rows, C4] f32
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;  // [rows, C4] f32

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let c = at.x;
  let row = at.y;
  if (c >= params.n_in4 || row >= params.n_rows) {
    return;
  }
  let from_a = a[(params.a_row + row) * params.n_in4 + c];
  let from_b = b[(params.b_row + row) * params.n_in4 + c];
  y[(params.y_row + row) * params.n_in4 + c] = from_a - from_b;
}
