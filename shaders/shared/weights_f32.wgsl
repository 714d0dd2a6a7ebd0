// A weight matrix in single precision: vec4 g holds four output columns of one input row.
@group(0) @binding(2) var<storage, read> weights: array<vec4<f32>>; // [K4 * N4 / 4] f32

fn weight4(g: u32) -> vec4<f32> {
  return weights[g];
}
