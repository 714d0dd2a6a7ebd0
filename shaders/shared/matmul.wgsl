// What the kernels of y = act(x W + bias) + residual have in common. Every element is one chain of fma over
// k = 0, 1, ..., whatever the tile: gather_dot.wgsl repeats it, so all of them give the same bits.
// Layout of W: four neighbouring output columns of one input row are one vec4, at
// column / 4 * stride_out + k * stride_in. [K, N] files have stride_in = N4 / 4, stride_out = 1;
// [N, K] files (wte) are interleaved in groups of four at load: stride_in = 1, stride_out = K4.
struct Params {
  n_rows: u32,
  n_in4: u32,          // K4 / 4
  n_out4: u32,         // groups of four columns to compute
  first_out4: u32,     // first of them in W and bias
  stride_in: u32,
  stride_out: u32,
  x_row: u32,
  y_row: u32,
  other_row: u32,      // the same of y1 and y2
  y_stride: u32,       // vec4s in a row of y
  y_column: u32,       // first vec4 in a row of y
  part4: u32,          // groups of four columns for each of y, y1 and y2
  residual_row: u32,
  has_bias: u32,
  activation: u32,     // 0 none, 1 GELU, 2 ReLU
  has_residual: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;         // [rows, K4] f32
// binding 2: weights                                                 // [K4, parts * N4] f32 or f16
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;      // [parts * N4] f32
@group(0) @binding(4) var<storage, read> residual: array<vec4<f32>>;  // [rows, N4] f32
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;   // [rows, N4] f32
@group(0) @binding(6) var<storage, read_write> y1: array<vec4<f32>>;  // [rows, N4] f32
@group(0) @binding(7) var<storage, read_write> y2: array<vec4<f32>>;  // [rows, N4] f32

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
  if (row >= params.n_rows || column >= params.n_out4) {
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
  let part = column / params.part4;
  let at = row * params.y_stride + params.y_column + column - part * params.part4;
  if (part == 0u) {
    y[params.y_row * params.y_stride + at] = value;
  } else if (part == 1u) {
    y1[params.other_row * params.y_stride + at] = value;
  } else {
    y2[params.other_row * params.y_stride + at] = value;
  }
}
