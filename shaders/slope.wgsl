// The derivative of KL(p || q) by the logits of q, which is q - p, over a chunk of the vocabulary, transposed: a row of y
// is a token, so that a product with the tokens' rows of the unembedding sums over it.
// Work: one invocation per token and four pairs of rows; no barrier.
struct Params {
  n_rows: u32,     // pairs
  n_columns: u32,  // of this chunk
  stride: u32,     // of a row of logits
  column: u32,     // first column of this chunk in a row of logits
  width: u32,      // of a row of states
  n_rows4: u32,    // groups of four in a row of y
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;         // [2 * rows, V4] f32: of p, then of q
@group(0) @binding(2) var<storage, read> states: array<f32>;         // [2 * rows, width] f32
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;  // [columns, rows4] f32

fn probability(row: u32, column: u32) -> f32 {
  let state = row * params.width;
  return exp(logits[row * params.stride + column] - states[state + SLOT_M]) / states[state + SLOT_S];
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let c = at.x;
  if (c >= params.n_columns || at.y >= params.n_rows4) {
    return;
  }
  var difference = vec4<f32>(0.0);
  for (var i = 0u; i < 4u; i++) {
    let row = 4u * at.y + i;
    if (row < params.n_rows) {
      let column = params.column + c;
      difference[i] = probability(params.n_rows + row, column) - probability(row, column);
    }
  }
  y[c * params.n_rows4 + at.y] = difference;
}
