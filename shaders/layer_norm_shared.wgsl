// LayerNorm as in layer_norm.wgsl, with the same bits.
// Work: one workgroup per row, one lane of its sums per invocation.
var<workgroup> parts: array<vec4<f32>, LANES>;

// The parts of all lanes, in their order.
fn total_of(lane: u32, part: vec4<f32>) -> vec4<f32> {
  workgroupBarrier();
  parts[lane] = part;
  workgroupBarrier();
  var sum = vec4<f32>(0.0);
  for (var i = 0u; i < LANES; i++) {
    sum += parts[i];
  }
  return sum;
}

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = min(group.x, params.n_rows * params.n_inputs - 1u);
  let row = row_of(at);
  let from_y = (params.y_row + at) * n4();

  var largest = vec4<f32>(0.0);
  for (var c = lane; c < n4(); c += LANES) {
    largest = max(largest, abs(x(row, c)));
  }
  parts[lane] = largest;
  workgroupBarrier();
  for (var i = 0u; i < LANES; i++) {
    largest = max(largest, parts[i]);
  }
  let unit = unit_of(largest);
  let mean = mean_of(total_of(lane, part_of_sum(row, lane, unit)));
  let scale = scale_of(total_of(lane, part_of_squares(row, lane, unit, mean)), unit);
  for (var c = lane; c < n4(); c += LANES) {
    write(row, from_y, c, unit, mean, scale);
  }
}
