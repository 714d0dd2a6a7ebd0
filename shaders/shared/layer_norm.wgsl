// What both forms of LayerNorm have in common.
// The variance is summed over the centred row: GPT-2 has activations a thousand times larger than the rest, and
// E[x^2] - E[x]^2 would cancel. A row with values beyond LARGE is scaled by a power of two first, so that the sum of
// 65,536 squares never overflows and a finite row always has a finite result; NaN and infinity make the row NaN.
// A sum has LANES parts, of which lane i has the groups of four channels i, i + LANES, ...; they are added in the order
// of the lanes. So its bits do not depend on how many invocations share the work.
// Source: Ba et al. 2016, layer normalization; population variance.
const LANES: u32 = 32u;
const MAX_INPUTS: u32 = 5u;
const LARGE: f32 = 1e15;
const SHRINK: f32 = 0x1p-73;

struct Params {
  n_rows: u32,    // of each input
  n_inputs: u32,
  n_embd: u32,   // C
  x_row: u32,
  y_row: u32,
  affine: u32,   // 1: gain and bias
  centred: u32,  // 1: by mean and variance; 0: the row as it is
  epsilon: f32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x_0: array<vec4<f32>>;      // [rows, C4] f32
@group(0) @binding(2) var<storage, read> x_1: array<vec4<f32>>;      // the same of the next input, if there is one
@group(0) @binding(3) var<storage, read> x_2: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> x_3: array<vec4<f32>>;
@group(0) @binding(5) var<storage, read> x_4: array<vec4<f32>>;
@group(0) @binding(6) var<storage, read> gain: array<vec4<f32>>;     // [C4] f32
@group(0) @binding(7) var<storage, read> bias: array<vec4<f32>>;     // [C4] f32
@group(0) @binding(8) var<storage, read_write> y: array<vec4<f32>>;  // [rows, C4] f32: the inputs one after the other

// A row of an input.
struct Row {
  input: u32,
  first: u32,  // its first group of four channels
}

fn row_of(row: u32) -> Row {
  return Row(row / params.n_rows, (params.x_row + row % params.n_rows) * n4());
}

fn x(row: Row, c: u32) -> vec4<f32> {
  let at = row.first + c;
  switch row.input {
    case 0u: { return x_0[at]; }
    case 1u: { return x_1[at]; }
    case 2u: { return x_2[at]; }
    case 3u: { return x_3[at]; }
    default: { return x_4[at]; }
  }
}

// Groups of four channels in a row.
fn n4() -> u32 {
  return (params.n_embd + 3u) / 4u;
}

// 1 where the channel exists, 0 in the padding of the last four.
fn mask(c: u32) -> vec4<f32> {
  let channel = vec4<u32>(4u * c) + vec4<u32>(0u, 1u, 2u, 3u);
  return select(vec4<f32>(0.0), vec4<f32>(1.0), channel < vec4<u32>(params.n_embd));
}

fn total(v: vec4<f32>) -> f32 {
  return (v.x + v.y) + (v.z + v.w);
}

// What a row is multiplied with first.
fn unit_of(largest: vec4<f32>) -> f32 {
  let is_large = max(max(largest.x, largest.y), max(largest.z, largest.w)) > LARGE;
  return select(1.0, SHRINK, is_large && params.centred == 1u);
}

fn part_of_sum(row: Row, lane: u32, unit: f32) -> vec4<f32> {
  var sum = vec4<f32>(0.0);
  for (var c = lane; c < n4(); c += LANES) {
    sum += x(row, c) * unit;
  }
  return sum;
}

fn mean_of(sum: vec4<f32>) -> f32 {
  return select(0.0, total(sum) / f32(params.n_embd), params.centred == 1u);
}

fn part_of_squares(row: Row, lane: u32, unit: f32, mean: f32) -> vec4<f32> {
  var squares = vec4<f32>(0.0);
  for (var c = lane; c < n4(); c += LANES) {
    let centred = (x(row, c) * unit - mean) * mask(c);
    squares = fma(centred, centred, squares);
  }
  return squares;
}

// In a scaled row epsilon is negligible; the lower bound avoids 0 / 0.
fn scale_of(squares: vec4<f32>, unit: f32) -> f32 {
  let deviation = sqrt(total(squares) / f32(params.n_embd) + max(params.epsilon * unit * unit, 1e-36));
  return select(1.0, 1.0 / deviation, params.centred == 1u);
}

fn write(row: Row, from_y: u32, c: u32, unit: f32, mean: f32, scale: f32) {
  var value = (x(row, c) * unit - mean) * scale;
  if (params.affine == 1u) {
    value = fma(value, gain[c], bias[c]);
  }
  y[from_y + c] = value * mask(c);
}
