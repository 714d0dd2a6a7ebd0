// The same as list_registers.wgsl, from the end of the list up to the place of the logit: for SwiftShader, which copies in
// every round of a loop what it keeps in registers, whether it is needed or not.
fn insert(list: ptr<function, array<vec2<f32>, MAX_K>>, coming: vec2<f32>, k: u32) {
  for (var i = MAX_K - 1u; ; i--) {
    let before = (*list)[max(i, 1u) - 1u];
    let is_place = i + k <= MAX_K || before.x >= coming.x;
    (*list)[i] = select(before, coming, is_place);
    if (is_place) {
      break;
    }
  }
}
