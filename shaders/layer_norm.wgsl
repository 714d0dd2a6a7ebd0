// y = (x - mean) / sqrt(var + epsilon), or x itself, optionally times gain plus bias. Mean and variance are those of the row.
// Work: one invocation per row, four channels per step; no barrier: for adapters in software. layer_norm_shared.wgsl
// computes the same bits.
@compute @workgroup_size(32)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  if (at.x >= params.n_rows * params.n_inputs) {
    return;
  }
  let row = row_of(at.x);
  let from_y = (params.y_row + at.x) * n4();

  var largest = vec4<f32>(0.0);
  for (var c = 0u; c < n4(); c++) {
    largest = max(largest, abs(x(row, c)));
  }
  let unit = unit_of(largest);
  var sum = vec4<f32>(0.0);
  for (var lane = 0u; lane < LANES; lane++) {
    sum += part_of_sum(row, lane, unit);
  }
  let mean = mean_of(sum);
  var squares = vec4<f32>(0.0);
  for (var lane = 0u; lane < LANES; lane++) {
    squares += part_of_squares(row, lane, unit, mean);
  }
  let scale = scale_of(squares, unit);
  for (var c = 0u; c < n4(); c++) {
    write(row, from_y, c, unit, mean, scale);
  }
}
