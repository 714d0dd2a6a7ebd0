// y = act(x W + bias) + residual, as in matmul.wgsl and with the same bits.
// Work: one invocation per 8 rows x 16 columns, in registers, no barrier: for SwiftShader, which checks every load at run
// time, so that one costs as much as several steps of a sum. Rows and columns past an edge repeat the last one and are not
// written.

// Four rows of W by sixteen columns; the column of each matrix is a row of W.
struct Weights {
  a: mat4x4<f32>,
  b: mat4x4<f32>,
  c: mat4x4<f32>,
  d: mat4x4<f32>,
}

// Sixteen columns of one row of y.
struct Sums {
  a: vec4<f32>,
  b: vec4<f32>,
  c: vec4<f32>,
  d: vec4<f32>,
}

fn weights_from(g: u32) -> mat4x4<f32> {
  let step = params.stride_in;
  return mat4x4<f32>(weight4(g), weight4(g + step), weight4(g + 2u * step), weight4(g + 3u * step));
}

fn step16(v: vec4<f32>, w: Weights, sums: Sums) -> Sums {
  return Sums(
    step4(v, w.a[0], w.a[1], w.a[2], w.a[3], sums.a),
    step4(v, w.b[0], w.b[1], w.b[2], w.b[3], sums.b),
    step4(v, w.c[0], w.c[1], w.c[2], w.c[3], sums.c),
    step4(v, w.d[0], w.d[1], w.d[2], w.d[3], sums.d)
  );
}

fn finish16(row: u32, column: u32, sums: Sums) {
  finish(row, column, sums.a);
  finish(row, column + 1u, sums.b);
  finish(row, column + 2u, sums.c);
  finish(row, column + 3u, sums.d);
}

// The first vec4 of a row of x.
fn row_of_x(row: u32) -> u32 {
  return (params.x_row + min(row, params.n_rows - 1u)) * params.n_in4;
}

// The first weights of a group of columns.
fn group(column: u32) -> u32 {
  return (params.first_out4 + min(column, params.n_out4 - 1u)) * params.stride_out;
}

@compute @workgroup_size(8)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  let column = at.x * 4u;
  let row = at.y * 8u;
  if (column >= params.n_out4 || row >= params.n_rows) {
    return;
  }
  let x0 = row_of_x(row);
  let x1 = row_of_x(row + 1u);
  let x2 = row_of_x(row + 2u);
  let x3 = row_of_x(row + 3u);
  let x4 = row_of_x(row + 4u);
  let x5 = row_of_x(row + 5u);
  let x6 = row_of_x(row + 6u);
  let x7 = row_of_x(row + 7u);
  var a = group(column);
  var b = group(column + 1u);
  var c = group(column + 2u);
  var d = group(column + 3u);
  var sums0 = Sums();
  var sums1 = Sums();
  var sums2 = Sums();
  var sums3 = Sums();
  var sums4 = Sums();
  var sums5 = Sums();
  var sums6 = Sums();
  var sums7 = Sums();
  for (var k = 0u; k < params.n_in4; k++) {
    let w = Weights(weights_from(a), weights_from(b), weights_from(c), weights_from(d));
    sums0 = step16(x[x0 + k], w, sums0);
    sums1 = step16(x[x1 + k], w, sums1);
    sums2 = step16(x[x2 + k], w, sums2);
    sums3 = step16(x[x3 + k], w, sums3);
    sums4 = step16(x[x4 + k], w, sums4);
    sums5 = step16(x[x5 + k], w, sums5);
    sums6 = step16(x[x6 + k], w, sums6);
    sums7 = step16(x[x7 + k], w, sums7);
    let step = 4u * params.stride_in;
    a += step;
    b += step;
    c += step;
    d += step;
  }
  finish16(row, column, sums0);
  finish16(row + 1u, column, sums1);
  finish16(row + 2u, column, sums2);
  finish16(row + 3u, column, sums3);
  finish16(row + 4u, column, sums4);
  finish16(row + 5u, column, sums5);
  finish16(row + 6u, column, sums6);
  finish16(row + 7u, column, sums7);
}
