// g = g sqrt((p+ + g N-) / (p- + g N+)): the step of a semi-nonnegative factorisation E = G F in which G stays at or
// above 0, where p = E F^T, N = F F^T, and + and - are the positive and the negative parts of a number. The products
// g N+ and g N- are computed before, side by side.
// Work: one invocation per four components of one row.
struct Params {
  n_rows: u32,
  n4: u32,     // N4 / 4
  p_row: u32,  // first row of p and of the products
  g_row: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<vec4<f32>>;         // [rows, N4] f32
@group(0) @binding(2) var<storage, read> products: array<vec4<f32>>;  // [rows, 2 N4] f32: g N+, g N-
@group(0) @binding(3) var<storage, read_write> g: array<vec4<f32>>;   // [rows, N4] f32

// Where both sides of the fraction are 0, g is kept.
const LEAST: f32 = 1e-20;

@compute @workgroup_size(16, 4)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let i = at.x;
  if (i >= params.n4 || at.y >= params.n_rows) {
    return;
  }
  let row = params.p_row + at.y;
  let here = p[row * params.n4 + i];
  let above = max(here, vec4<f32>(0.0)) + products[(2u * row + 1u) * params.n4 + i];
  let below = max(-here, vec4<f32>(0.0)) + products[2u * row * params.n4 + i];
  let place = (params.g_row + at.y) * params.n4 + i;
  g[place] *= sqrt((above + LEAST) / (below + LEAST));
}
