// y = act(x W + bias) + residual, as in matmul.wgsl and with the same bits.
// Work: one workgroup per TILE_ROWS rows x TILE_COLUMNS4 groups of four columns. TILE_K rows of W and columns of x at a
// time go through workgroup memory, where W is unpacked once; each invocation has ROWS rows x COLUMNS4 groups in
// registers. Rust appends the constants of a configuration: TILE_ROWS, TILE_COLUMNS4, TILE_K, ROWS, COLUMNS4.
const ACROSS: u32 = TILE_COLUMNS4 / COLUMNS4;
const DOWN: u32 = TILE_ROWS / ROWS;
const INVOCATIONS: u32 = ACROSS * DOWN;
const TILE_K4: u32 = TILE_K / 4u;
// One vec4 more, so that neighbouring rows begin in other banks.
const STRIDE_X: u32 = TILE_K4 + 1u;
const STRIDE_W: u32 = TILE_COLUMNS4 + 1u;

var<workgroup> tile_x: array<vec4<f32>, TILE_ROWS * STRIDE_X>;
var<workgroup> tile_w: array<vec4<f32>, TILE_K * STRIDE_W>;

@compute @workgroup_size(ACROSS, DOWN)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let first_column = group.x * TILE_COLUMNS4;
  let first_row = group.y * TILE_ROWS;
  let across = local % ACROSS;
  let down = local / ACROSS;
  var sums: array<vec4<f32>, ROWS * COLUMNS4>;

  for (var k0 = 0u; k0 < params.n_in4; k0 += TILE_K4) {
    // What lies beyond an edge repeats the last row, column or k, and is not used.
    workgroupBarrier();
    for (var i = local; i < TILE_ROWS * TILE_K4; i += INVOCATIONS) {
      let row = min(first_row + i / TILE_K4, params.n_rows - 1u);
      let k = min(k0 + i % TILE_K4, params.n_in4 - 1u);
      tile_x[i / TILE_K4 * STRIDE_X + i % TILE_K4] = x[(params.x_row + row) * params.n_in4 + k];
    }
    for (var i = local; i < TILE_K * TILE_COLUMNS4; i += INVOCATIONS) {
      // Neighbouring invocations read neighbouring weights, in either layout.
      var k = i / TILE_COLUMNS4;
      var c = i % TILE_COLUMNS4;
      if (params.stride_in == 1u) {
        k = i % TILE_K;
        c = i / TILE_K;
      }
      let from_k = min(4u * k0 + k, 4u * params.n_in4 - 1u);
      let column = params.first_out4 + min(first_column + c, params.n_out4 - 1u);
      tile_w[k * STRIDE_W + c] = weight4(column * params.stride_out + from_k * params.stride_in);
    }
    workgroupBarrier();

    let n_k4 = min(TILE_K4, params.n_in4 - k0);
    for (var k4 = 0u; k4 < n_k4; k4++) {
      var v: array<vec4<f32>, ROWS>;
      for (var i = 0u; i < ROWS; i++) {
        v[i] = tile_x[(down * ROWS + i) * STRIDE_X + k4];
      }
      for (var j = 0u; j < COLUMNS4; j++) {
        let w = 4u * k4 * STRIDE_W + across + j * ACROSS;
        let w0 = tile_w[w];
        let w1 = tile_w[w + STRIDE_W];
        let w2 = tile_w[w + 2u * STRIDE_W];
        let w3 = tile_w[w + 3u * STRIDE_W];
        for (var i = 0u; i < ROWS; i++) {
          sums[i * COLUMNS4 + j] = step4(v[i], w0, w1, w2, w3, sums[i * COLUMNS4 + j]);
        }
      }
    }
  }

  for (var i = 0u; i < ROWS; i++) {
    for (var j = 0u; j < COLUMNS4; j++) {
      finish(first_row + down * ROWS + i, first_column + across + j * ACROSS, sums[i * COLUMNS4 + j]);
    }
  }
}
