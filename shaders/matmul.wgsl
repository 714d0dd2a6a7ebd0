// y = act(x W + bias) + residual; bias, activation and residual are optional.
// Work: one invocation per TILE_ROWS rows x 4 columns, in registers, no barrier: for few rows, and for most adapters
// in software. matmul_wide.wgsl and matmul_tiled.wgsl compute the same bits.
const TILE_ROWS: u32 = 4u;

@compute @workgroup_size(16, 4)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let column = at.x;
  let row = at.y * TILE_ROWS;
  if (column >= params.n_out4 || row >= params.n_rows) {
    return;
  }
  // Rows past the end repeat the last one and are not written.
  let last = params.n_rows - 1u;
  let x0 = (params.x_row + row) * params.n_in4;
  let x1 = (params.x_row + min(row + 1u, last)) * params.n_in4;
  let x2 = (params.x_row + min(row + 2u, last)) * params.n_in4;
  let x3 = (params.x_row + min(row + 3u, last)) * params.n_in4;
  var g = (params.first_out4 + column) * params.stride_out;
  var sum0 = vec4<f32>(0.0);
  var sum1 = vec4<f32>(0.0);
  var sum2 = vec4<f32>(0.0);
  var sum3 = vec4<f32>(0.0);
  for (var k = 0u; k < params.n_in4; k++) {
    let v0 = x[x0 + k];
    let v1 = x[x1 + k];
    let v2 = x[x2 + k];
    let v3 = x[x3 + k];
    // The loop is unrolled, because some compilers put a vector that is indexed by a variable into memory.
    let w0 = weight4(g);
    let w1 = weight4(g + params.stride_in);
    let w2 = weight4(g + 2u * params.stride_in);
    let w3 = weight4(g + 3u * params.stride_in);
    sum0 = step4(v0, w0, w1, w2, w3, sum0);
    sum1 = step4(v1, w0, w1, w2, w3, sum1);
    sum2 = step4(v2, w0, w1, w2, w3, sum2);
    sum3 = step4(v3, w0, w1, w2, w3, sum3);
    g += 4u * params.stride_in;
  }
  finish(row, column, sum0);
  finish(row + 1u, column, sum1);
  finish(row + 2u, column, sum2);
  finish(row + 3u, column, sum3);
}
