// What both forms of attention have in common:
// out[t, h] = sum_j softmax_j(scale q[t, h] . k[j, h]) v[j, h] over 0 <= t - j < window (causal, and local
// where the window is shorter than the text).
// Online softmax: the scores of a row are never stored, and keys are visited in the order j = 0, 1, ..., each score one
// chain of fma over the channels, so a row's bits depend neither on how many rows are computed nor on the form.
// Source: Vaswani et al. 2017; Milakov and Gimelshein 2018 for the online softmax.
const NEG_HUGE: f32 = -1e30;

struct Params {
  n_rows: u32,
  n_each: u32,          // rows of a run: rows n_each, n_each + 1, ... are those of the next one
  first_position: u32,  // of row 0, and of the first row of each run
  n_head: u32,
  head_dim: u32,        // D
  stride: u32,          // C4
  scale: f32,
  window: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<f32>;         // [rows, C4] f32
@group(0) @binding(2) var<storage, read> k: array<f32>;         // [T, C4] f32
@group(0) @binding(3) var<storage, read> v: array<f32>;         // [T, C4] f32
@group(0) @binding(4) var<storage, read_write> y: array<f32>;   // [rows, C4] f32

// The row of a run's key: runs share those before the first position, and their own follow, run by run.
fn row_of_key(j: u32, run: u32) -> u32 {
  return select(j, j + run * params.n_each, j >= params.first_position);
}

// The first key that a position attends to.
fn first_key(position: u32) -> u32 {
  return position + 1u - min(position + 1u, params.window);
}
