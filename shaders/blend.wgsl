// y = scale x, or y + scale x, in some channels of some rows: what an edit of a run writes.
// Work: one invocation per four channels of one row; of a group of four, those outside the range keep their values.
struct Params {
  n_rows: u32,
  n_in4: u32,     // C4 / 4
  x_row: u32,
  x_step: u32,    // 1; or 0 for the same row of x everywhere
  y_row: u32,
  first: u32,     // channels first..end
  end: u32,
  adds: u32,      // 1: to what is there
  scale: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // [rows, C4] f32
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;  // [rows, C4] f32

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let c = at.x;
  let row = at.y;
  if (c >= params.n_in4 || row >= params.n_rows) {
    return;
  }
  let from_x = x[(params.x_row + row * params.x_step) * params.n_in4 + c];
  let to_y = (params.y_row + row) * params.n_in4 + c;
  let old = y[to_y];
  let written = select(params.scale * from_x, fma(vec4<f32>(params.scale), from_x, old), params.adds == 1u);
  let channel = vec4<u32>(4u * c) + vec4<u32>(0u, 1u, 2u, 3u);
  let is_inside = (channel >= vec4<u32>(params.first)) & (channel < vec4<u32>(params.end));
  y[to_y] = select(old, written, is_inside);
}
