// y[i, j] = sum over rows t of (a[t, i] - p[i]) (b[t, j] - q[j]), or that added to y: the sums of products that a
// regression needs. p and q are near the means, so that what is summed is not far larger than its spread.
// Work: one invocation per 4 x 4 tile of y, in registers, no barrier; a chain over t.
struct Params {
  n_rows: u32,
  a_row: u32,  // first row
  b_row: u32,
  n_a4: u32,   // groups of four channels of a
  n_b4: u32,
  adds: u32,   // 1: added to what y has
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;        // [rows, A4] f32
@group(0) @binding(2) var<storage, read> p: array<vec4<f32>>;        // [A4] f32
@group(0) @binding(3) var<storage, read> b: array<vec4<f32>>;        // [rows, B4] f32
@group(0) @binding(4) var<storage, read> q: array<vec4<f32>>;        // [B4] f32
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;  // [A4, B4] f32

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let j = at.x;
  let i = at.y;
  if (i >= params.n_a4 || j >= params.n_b4) {
    return;
  }
  let from_a = p[i];
  let from_b = q[j];
  var sum0 = vec4<f32>(0.0);
  var sum1 = vec4<f32>(0.0);
  var sum2 = vec4<f32>(0.0);
  var sum3 = vec4<f32>(0.0);
  for (var t = 0u; t < params.n_rows; t++) {
    let u = a[(params.a_row + t) * params.n_a4 + i] - from_a;
    let v = b[(params.b_row + t) * params.n_b4 + j] - from_b;
    sum0 = fma(vec4<f32>(u.x), v, sum0);
    sum1 = fma(vec4<f32>(u.y), v, sum1);
    sum2 = fma(vec4<f32>(u.z), v, sum2);
    sum3 = fma(vec4<f32>(u.w), v, sum3);
  }
  let row = 4u * i * params.n_b4 + j;
  if (params.adds == 1u) {
    sum0 += y[row];
    sum1 += y[row + params.n_b4];
    sum2 += y[row + 2u * params.n_b4];
    sum3 += y[row + 3u * params.n_b4];
  }
  y[row] = sum0;
  y[row + params.n_b4] = sum1;
  y[row + 2u * params.n_b4] = sum2;
  y[row + 3u * params.n_b4] = sum3;
}
