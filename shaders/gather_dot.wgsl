// y[row, j] = x[row] . W[:, target(row, j)] + bias[target(row, j)]: the logits of a few chosen tokens.
// Work: one invocation per row and target, with the fma chain of shared/matmul.wgsl, so that the bits agree.
// A target outside this shard is computed by the dispatch of its own shard; an absent one (id u32::MAX) is skipped.
struct Params {
  n_rows: u32,
  n_targets: u32,  // J
  n_in4: u32,      // C4 / 4
  x_row: u32,
  period: u32,     // the targets of row r are those of r % period
  first_id: u32,   // of this shard
  n_ids: u32,
  stride_in: u32,
  stride_out: u32,
  has_bias: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;      // [rows, C4] f32
// binding 2: weights                                              // [C4, rows4] f32 or f16
@group(0) @binding(3) var<storage, read> bias: array<f32>;         // [rows4] f32
@group(0) @binding(4) var<storage, read> targets: array<u32>;      // [period, J] u32
@group(0) @binding(5) var<storage, read_write> y: array<f32>;      // [rows, J] f32

@compute @workgroup_size(4, 16)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let j = at.x;
  let row = at.y;
  if (j >= params.n_targets || row >= params.n_rows) {
    return;
  }
  let id = targets[(row % params.period) * params.n_targets + j];
  if (id < params.first_id || id - params.first_id >= params.n_ids) {
    return;
  }
  let column = id - params.first_id;
  let component = column % 4u;
  let base = (params.x_row + row) * params.n_in4;
  var g = (column / 4u) * params.stride_out;
  var sum = 0.0;
  for (var k = 0u; k < params.n_in4; k++) {
    let value = x[base + k];
    for (var i = 0u; i < 4u; i++) {
      sum = fma(value[i], weight4(g)[component], sum);
      g += params.stride_in;
    }
  }
  if (params.has_bias == 1u) {
    sum += bias[column];
  }
  y[row * params.n_targets + j] = sum;
}
