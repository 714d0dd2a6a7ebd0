// y[i, j] = sum over some tokens t of s[t] W[i, t] W[j, t]: a partial sum of wte's Gram matrix over its channels,
// where s is the weight of each token.
// Work: one invocation per 4 x 4 tile of y on and below the diagonal, in registers, no barrier; it also writes the
// mirrored tile.
// Layout of W: as in shared/matmul.wgsl for [N, K] files: four neighbouring tokens of channel k are one vec4,
// at token / 4 * n_in4 * 4 + k.
struct Params {
  n_in4: u32,        // C4 / 4
  first_group: u32,  // of four tokens
  n_groups: u32,
}
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> s: array<vec4<f32>>;         // [rows4] f32
// binding 2: weights                                                 // [C4, rows4] f32 or f16
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;   // [C4, C4] f32

@compute @workgroup_size(8, 8)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let j = at.x;
  let i = at.y;
  if (i >= params.n_in4 || j > i) {
    return;
  }
  var sum0 = vec4<f32>(0.0);
  var sum1 = vec4<f32>(0.0);
  var sum2 = vec4<f32>(0.0);
  var sum3 = vec4<f32>(0.0);
  for (var g = 0u; g < params.n_groups; g++) {
    let base = (params.first_group + g) * params.n_in4 * 4u;
    let b0 = weight4(base + 4u * j);
    let b1 = weight4(base + 4u * j + 1u);
    let b2 = weight4(base + 4u * j + 2u);
    let b3 = weight4(base + 4u * j + 3u);
    let counts = s[params.first_group + g];
    let a0 = counts * weight4(base + 4u * i);
    let a1 = counts * weight4(base + 4u * i + 1u);
    let a2 = counts * weight4(base + 4u * i + 2u);
    let a3 = counts * weight4(base + 4u * i + 3u);
    sum0 += vec4<f32>(dot(a0, b0), dot(a0, b1), dot(a0, b2), dot(a0, b3));
    sum1 += vec4<f32>(dot(a1, b0), dot(a1, b1), dot(a1, b2), dot(a1, b3));
    sum2 += vec4<f32>(dot(a2, b0), dot(a2, b1), dot(a2, b2), dot(a2, b3));
    sum3 += vec4<f32>(dot(a3, b0), dot(a3, b1), dot(a3, b2), dot(a3, b3));
  }
  let row = 4u * i * params.n_in4 + j;
  y[row] = sum0;
  y[row + params.n_in4] = sum1;
  y[row + 2u * params.n_in4] = sum2;
  y[row + 3u * params.n_in4] = sum3;
  let mirrored = transpose(mat4x4<f32>(sum0, sum1, sum2, sum3));
  let column = 4u * j * params.n_in4 + i;
  y[column] = mirrored[0];
  y[column + params.n_in4] = mirrored[1];
  y[column + 2u * params.n_in4] = mirrored[2];
  y[column + 3u * params.n_in4] = mirrored[3];
}
