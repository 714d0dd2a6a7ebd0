// Causal attention of one run; see shared/attention.wgsl.
// Work: one workgroup per QUERIES queries of a head of at most MAX_DIM channels. The queries, and some keys at a time, then
// the values of these, lie in workgroup memory. An invocation computes one score, then updates the sums of every LANES-th
// channel of its query, key by key.
const QUERIES: u32 = 16u;
const LANES: u32 = 16u;
const INVOCATIONS: u32 = 256u;
const MAX_DIM: u32 = 128u;
const MAX_KEYS: u32 = 16u;
// Floats of the keys or the values that are there; a row has one more than its channels, so that rows begin in other banks.
const TILE: u32 = 1536u;
// Up to this width MAX_KEYS keys fit, and beyond it half as many.
const NARROW: u32 = 95u;
const CHANNELS: u32 = MAX_DIM / LANES;

var<workgroup> queries: array<f32, QUERIES * MAX_DIM>;
var<workgroup> tile: array<f32, TILE>;
var<workgroup> scores: array<f32, QUERIES * MAX_KEYS>;

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let dim = min(params.head_dim, MAX_DIM);
  let n_keys = select(MAX_KEYS / 2u, MAX_KEYS, dim <= NARROW);
  let head = group.y * params.head_dim;
  let first_row = group.x * QUERIES;
  let last_row = min(first_row + QUERIES, params.n_rows) - 1u;
  for (var i = local; i < QUERIES * dim; i += INVOCATIONS) {
    let row = min(first_row + i / dim, last_row);
    queries[i] = q[row * params.stride + head + i % dim];
  }

  let query = local / LANES;
  let lane = local % LANES;
  let row = first_row + query;
  let position = params.first_position + row;
  let start = first_key(position);
  var largest = NEG_HUGE;
  var mass = 0.0;
  var sums: array<f32, CHANNELS>;

  let end = params.first_position + last_row + 1u;
  for (var j0 = first_key(params.first_position + first_row); j0 < end; j0 += n_keys) {
    let n = min(n_keys, end - j0);
    workgroupBarrier();
    for (var i = local; i < n * dim; i += INVOCATIONS) {
      tile[i / dim * (dim + 1u) + i % dim] = k[(j0 + i / dim) * params.stride + head + i % dim];
    }
    workgroupBarrier();
    for (var i = local; i < QUERIES * n; i += INVOCATIONS) {
      let query_at = i / n * dim;
      let key = i % n * (dim + 1u);
      var dot = 0.0;
      for (var d = 0u; d < dim; d++) {
        dot = fma(queries[query_at + d], tile[key + d], dot);
      }
      scores[i / n * MAX_KEYS + i % n] = dot * params.scale;
    }
    workgroupBarrier();
    for (var i = local; i < n * dim; i += INVOCATIONS) {
      tile[i / dim * (dim + 1u) + i % dim] = v[(j0 + i / dim) * params.stride + head + i % dim];
    }
    workgroupBarrier();
    for (var key = 0u; key < n; key++) {
      if (j0 + key < start || j0 + key > position) {
        continue;
      }
      let score = scores[query * MAX_KEYS + key];
      var shrink = 1.0;
      if (score > largest) {
        shrink = exp(largest - score);
        for (var i = 0u; i < CHANNELS; i++) {
          sums[i] *= shrink;
        }
        largest = score;
      }
      let p = exp(score - largest);
      mass = fma(mass, shrink, p);
      for (var i = 0u; i < CHANNELS; i++) {
        let d = lane + i * LANES;
        if (d < dim) {
          sums[i] = fma(p, tile[key * (dim + 1u) + d], sums[i]);
        }
      }
    }
  }

  if (row > last_row) {
    return;
  }
  for (var i = 0u; i < CHANNELS; i++) {
    let d = lane + i * LANES;
    if (d < dim) {
      y[row * params.stride + head + d] = sums[i] / mass;
    }
  }
}
