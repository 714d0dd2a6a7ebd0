// A weight matrix in half precision: storage only, two halves in a u32; arithmetic stays f32.
@group(0) @binding(2) var<storage, read> weights: array<vec2<u32>>; // [K4 * N4 / 4] 4 x f16

fn weight4(g: u32) -> vec4<f32> {
  let packed = weights[g];
  return vec4<f32>(unpack2x16float(packed.x), unpack2x16float(packed.y));
}
