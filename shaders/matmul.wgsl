// y = act(x W + bias) + residual; bias, activation and residual are optional.
// Work: one invocation per TILE_ROWS rows x 4 columns, in registers, no barrier. Every element is one
// chain of fma over k = 0, 1, ...: gather_dot.wgsl repeats it, so both give the same bits.
// Layout of W: four neighbouring output columns of one input row are one vec4, at
// column / 4 * stride_out + k * stride_in. [K, N] files have stride_in = N4 / 4, stride_out = 1;
// [N, K] files (wte) are interleaved in groups of four at load: stride_in = 1, stride_out = K4.
const TILE_ROWS: u32 = 4u;

struct Params {
  n_rows: u32,
  n_in4: u32,          // K4 / 4
  n_out4: u32,         // groups of four columns to compute
  first_out4: u32,     // first of them in W and bias
  stride_in: u32,
  stride_out: u32,
  x_row: u32,
  y_row: u32,
  y_stride: u32,       // vec4s in a row of y
  y_column: u32,       // first vec4 in a row of y
  residual_row: u32,
  has_bias: u32,
  activation: u32,     // 0 none, 1 GELU, 2 ReLU
  has_residual: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;         // [rows, K4] f32
// binding 2: weights                                                 // [K4, N4] f32 or f16
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;      // [N4] f32
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;  // [rows, N4] f32
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;   // [rows, N4] f32

// The tanh form of GPT-2; beyond 15 tanh is 1 in f32, and some drivers give NaN for large arguments.
fn gelu(v: vec4<f32>) -> vec4<f32> {
  let inner = 0.7978845608028654 * (v + 0.044715 * v * v * v);
  return 0.5 * v * (1.0 + tanh(clamp(inner, vec4<f32>(-15.0), vec4<f32>(15.0))));
}

// Four steps of the fma chain of one row and four columns.
fn step4(v: vec4<f32>, w0: vec4<f32>, w1: vec4<f32>, w2: vec4<f32>, w3: vec4<f32>, sum: vec4<f32>) -> vec4<f32> {
  let a = fma(v.xxxx, w0, sum);
  let b = fma(v.yyyy, w1, a);
  let c = fma(v.zzzz, w2, b);
  return fma(v.wwww, w3, c);
}

fn finish(row: u32, column: u32, sum: vec4<f32>) {
  if (row >= params.n_rows) {
    return;
  }
  var value = sum;
  if (params.has_bias == 1u) {
    value += bias[params.first_out4 + column];
  }
  if (params.activation == 1u) {
    value = gelu(value);
  } else if (params.activation == 2u) {
    value = max(value, vec4<f32>(0.0));
  }
  if (params.has_residual == 1u) {
    value += residual[(params.residual_row + row) * params.y_stride + params.y_column + column];
  }
  y[(params.y_row + row) * params.y_stride + params.y_column + column] = value;
}

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
