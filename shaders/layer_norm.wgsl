// y = (x - mean) / sqrt(var + epsilon), optionally times gain plus bias. Mean and variance are those of the row.
// The variance is summed over the centred row: GPT-2 has activations a thousand times larger than the rest, and
// E[x^2] - E[x]^2 would cancel. A row with values beyond LARGE is scaled by a power of two first, so that the sum of
// 65,536 squares never overflows and a finite row always has a finite result; NaN and infinity make the row NaN.
// Work: one invocation per row, four channels per step; no barrier.
// Source: Ba et al. 2016, layer normalization; population variance.
struct Params {
  n_rows: u32,
  n_embd: u32,   // C
  x_row: u32,
  y_row: u32,
  affine: u32,   // 1: gain and bias
  epsilon: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // [rows, C4] f32
@group(0) @binding(2) var<storage, read> gain: array<vec4<f32>>;     // [C4] f32
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;     // [C4] f32
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;  // [rows, C4] f32

const LARGE: f32 = 1e15;
const SHRINK: f32 = 0x1p-73;

// 1 where the channel exists, 0 in the padding of the last four.
fn mask(c: u32) -> vec4<f32> {
  let channel = vec4<u32>(4u * c) + vec4<u32>(0u, 1u, 2u, 3u);
  return select(vec4<f32>(0.0), vec4<f32>(1.0), channel < vec4<u32>(params.n_embd));
}

fn total(v: vec4<f32>) -> f32 {
  return (v.x + v.y) + (v.z + v.w);
}

@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let row = at.x;
  if (row >= params.n_rows) {
    return;
  }
  let n4 = (params.n_embd + 3u) / 4u;
  let from_x = (params.x_row + row) * n4;
  let from_y = (params.y_row + row) * n4;
  let n = f32(params.n_embd);

  var largest = vec4<f32>(0.0);
  for (var c = 0u; c < n4; c++) {
    largest = max(largest, abs(x[from_x + c]));
  }
  let unit = select(1.0, SHRINK, max(max(largest.x, largest.y), max(largest.z, largest.w)) > LARGE);

  var sum = vec4<f32>(0.0);
  for (var c = 0u; c < n4; c++) {
    sum += x[from_x + c] * unit;
  }
  let mean = total(sum) / n;
  var squares = vec4<f32>(0.0);
  for (var c = 0u; c < n4; c++) {
    let centred = (x[from_x + c] * unit - mean) * mask(c);
    squares = fma(centred, centred, squares);
  }
  // In a scaled row epsilon is negligible; the lower bound avoids 0 / 0.
  let scale = 1.0 / sqrt(total(squares) / n + max(params.epsilon * unit * unit, 1e-36));
  for (var c = 0u; c < n4; c++) {
    var value = (x[from_x + c] * unit - mean) * scale;
    if (params.affine == 1u) {
      value = fma(value, gain[c], bias[c]);
    }
    y[from_y + c] = value * mask(c);
  }
}
