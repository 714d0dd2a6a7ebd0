// The residual stream before any block: y[t] = scale factors wte[id(t)] + wpe[position(t)]; without factors they are 1.
// Work: one invocation per four channels of one token. wte is split into shards of whole rows; a token of another
// shard is computed by the dispatch of that shard.
// Source: Radford et al. 2019, GPT-2 (scale 1); Keskar et al. 2019, CTRL (scale sqrt(C)).
struct Params {
  n_rows: u32,
  n_in4: u32,          // C4 / 4
  first_position: u32,
  y_row: u32,
  first_id: u32,       // of this shard
  n_ids: u32,
  stride_in: u32,
  stride_out: u32,
  scale: f32,
  has_factors: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>;               // [T] u32
// binding 2: weights, rows of wte as output columns                    // [C4, rows4] f32 or f16
@group(0) @binding(3) var<storage, read> wpe: array<vec4<f32>>;         // [n_ctx, C4] f32
@group(0) @binding(4) var<storage, read> factors: array<vec4<f32>>;     // [C4] f32
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;     // [T, C4] f32

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let c = at.x;
  let row = at.y;
  if (c >= params.n_in4 || row >= params.n_rows) {
    return;
  }
  let position = params.first_position + row;
  let id = ids[position];
  if (id < params.first_id || id - params.first_id >= params.n_ids) {
    return;
  }
  let column = id - params.first_id;
  let g = (column / 4u) * params.stride_out + 4u * c * params.stride_in;
  let component = column % 4u;
  var token = vec4<f32>(
    weight4(g)[component],
    weight4(g + params.stride_in)[component],
    weight4(g + 2u * params.stride_in)[component],
    weight4(g + 3u * params.stride_in)[component],
  );
  if (params.has_factors == 1u) {
    token *= factors[c];
  }
  y[(params.y_row + row) * params.n_in4 + c] = params.scale * token + wpe[position * params.n_in4 + c];
}
