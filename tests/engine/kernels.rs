//! Compares the kernels of the forward pass with their CPU twins on odd shapes: natively, in Chromium and in Firefox.
//! Those of the lens are in lens_kernels.rs.

use crate::support::{Lab, Noise, assert_close, assert_rows_close, stored};
use std::rc::Rc;

use loupe::config::Activation;
use loupe::device::Tensor;
use loupe::kernels::{
    Attention, Blend, Cross, Embed, Forms, GatherDot, Gram, LayerNorm, MAX_INPUTS, Matmul,
    Precision, Rows, SemiNmf, Shard, Subtract, Tile, Unit, pad4,
};
use loupe::reference;

device_tests! {
    cross semi_nmf
    embed layer_norm layer_norm_with_massive_activation layer_norm_of_any_finite_row
    layer_norm_of_several_tensors
    matmul_f32 matmul_f16 matmul_columns matmul_parts attention attention_of_several_runs subtract blend gram
    gather_dot_has_the_bits_of_matmul rows_are_independent_of_each_other
    gelu_of_large_arguments empty_error_scope shapes_are_checked
}

const BOTH: [Precision; 2] = [Precision::F16, Precision::F32];

/// Splits a table \[V, C\] into shards of `rows` rows.
fn shards(lab: &Lab, table: &[f32], c: usize, rows: usize, precision: Precision) -> Vec<Shard> {
    let mut first_column = 0;
    let cut = |(i, piece): (usize, &[f32])| {
        let matrix = Rc::new(lab.matrix(piece, c, precision, true));
        let shard = Shard { first_id: i * rows, first_column, matrix, bias: None };
        first_column += pad4(shard.matrix.n_out);
        shard
    };
    table.chunks(rows * c).enumerate().map(cut).collect()
}

async fn embed() {
    for precision in BOTH {
        let lab = Lab::open(precision).await;
        for (v, c, shard_rows, scale) in
            [(7, 1, 7, 1.0), (13, 5, 1, 2.3), (23, 35, 7, 1.0), (40, 64, 8, 8.0), (22, 35, 7, 2.3)]
        {
            let mut noise = Noise::new(v as u64);
            let (wte, wpe) = (noise.values(v * c), noise.values(9 * c));
            let ids: Vec<u32> = (0..9).map(|_| noise.below(v) as u32).collect();
            let wte = stored(&wte, precision);
            let y = lab.device.tensor("y", (4 * 9 * pad4(c)) as u64);
            let mut rec = lab.device.record("a test", &lab.cancel);
            let factors = (v % 2 == 0).then(|| noise.values(c));
            let factor_rows = factors.as_ref().map(|factors| lab.rows(factors, c));
            // There are two blocks; the second starts at position 4.
            for (first_position, n_rows) in [(0, 4), (4, 5)] {
                let op = Embed {
                    ids: &lab.device.upload("ids", &ids),
                    wte: &shards(&lab, &wte, c, shard_rows, precision),
                    wpe: &lab.rows(&wpe, c),
                    scale,
                    factors: factor_rows.as_ref(),
                    first_position,
                    n_rows,
                    y: Rows::new(&y, first_position, c),
                };
                lab.kernels.embed(&mut rec, &op).expect("embed");
                rec.finish().await.expect("the device");
            }
            let got = lab.read_rows(&y, 9, c).await;
            // The twin has no factors: each row of wte is multiplied before.
            let factor = |i: usize| factors.as_ref().map_or(1.0, |factors| factors[i % c]);
            let wte: Vec<f32> = wte.iter().enumerate().map(|(i, w)| w * factor(i)).collect();
            let exact = reference::embed::<f64>(&ids, &wte, &wpe, scale, c, 0);
            let plain = reference::embed::<f32>(&ids, &wte, &wpe, scale, c, 0);
            let what = format!("embed {precision:?} V={v} C={c}");
            assert_rows_close(&what, &got, &exact, &plain, c);
        }
    }
}

async fn run_layer_norm(lab: &Lab, x: &[f32], c: usize, affine: Option<(&[f32], &[f32])>) {
    for epsilon in [Some(1e-5), None] {
        run_layer_norm_by(lab, x, c, affine, epsilon).await;
    }
}

/// Without epsilon, rows stay as they are before gain and bias.
async fn run_layer_norm_by(
    lab: &Lab,
    x: &[f32],
    c: usize,
    affine: Option<(&[f32], &[f32])>,
    epsilon: Option<f32>,
) {
    let n_rows = x.len() / c;
    let y = lab.device.tensor("y", (4 * n_rows * pad4(c)) as u64);
    let tensors = affine.map(|(gain, bias)| (lab.rows(gain, c), lab.rows(bias, c)));
    let mut rec = lab.device.record("a test", &lab.cancel);
    let x_tensor = lab.rows(x, c);
    let op = LayerNorm {
        x: Rows::new(&x_tensor, 0, c),
        others: &[],
        affine: tensors.as_ref().map(|(gain, bias)| (gain, bias)),
        epsilon,
        n_embd: c,
        n_rows,
        y: Rows::new(&y, 0, c),
    };
    lab.kernels.layer_norm(&mut rec, &op).expect("layer_norm");
    let got = lab.read_done(&mut rec, &y, n_rows, c).await;
    let exact = reference::layer_norm::<f64>(x, c, affine, epsilon);
    let plain = reference::layer_norm::<f32>(x, c, affine, epsilon);
    let what = format!("layer_norm rows={n_rows} C={c} {epsilon:?} affine={}", affine.is_some());
    assert_rows_close(&what, &got, &exact, &plain, c);
}

/// Sums of products of odd widths, of some rows in the middle, added to what is there or not.
async fn cross() {
    let lab = Lab::open(Precision::F32).await;
    for (n_rows, ca, cb, first) in
        [(1, 1, 1, 0), (3, 4, 5, 2), (64, 7, 33, 1), (65, 35, 3, 0), (130, 68, 37, 3), (0, 5, 5, 0)]
    {
        let mut noise = Noise::new((n_rows * ca + cb) as u64);
        let n_all = first + n_rows + 2;
        let (a, b) = (noise.values(n_all * ca), noise.values(n_all * cb));
        let (p, q) = (noise.values(ca), noise.values(cb));
        let [a_rows, p_row] = [&a, &p].map(|values| lab.rows(values, ca));
        let [b_rows, q_row] = [&b, &q].map(|values| lab.rows(values, cb));
        let y = lab.device.tensor("y", (4 * pad4(ca) * pad4(cb)) as u64);
        let part = |values: &[f32], c: usize| values[first * c..(first + n_rows) * c].to_vec();
        let (a, b) = (part(&a, ca), part(&b, cb));
        let exact = reference::cross::<f64>(&a, &p, &b, &q);
        let plain = reference::cross::<f32>(&a, &p, &b, &q);
        for (adds, times) in [(false, 1.0), (true, 2.0), (false, 1.0)] {
            let mut rec = lab.device.record("a test", &lab.cancel);
            let (a, b) = (Rows::new(&a_rows, first, ca), Rows::new(&b_rows, first, cb));
            let op = Cross { a, p: &p_row, b, q: &q_row, n_rows, adds, y: &y };
            lab.kernels.cross(&mut rec, &op).expect("cross");
            let got = lab.read_done(&mut rec, &y, pad4(ca), cb).await;
            let (got, padding) = got.split_at(ca * cb);
            assert!(padding.iter().all(|&v| v == 0.0));
            let times = |values: &[f64]| values.iter().map(|v| times * v).collect::<Vec<f64>>();
            let wide: Vec<f64> = plain.iter().map(|&v| f64::from(v)).collect();
            let plain: Vec<f32> = times(&wide).iter().map(|&v| v as f32).collect();
            let what = format!("cross {n_rows} × {ca} × {cb}");
            assert_rows_close(&what, got, &times(&exact), &plain, ca * cb);
        }
    }
}

/// Rows in the middle, of odd widths; a 0 over a 0 keeps the loading, and what is beside the rows its bits.
async fn semi_nmf() {
    let lab = Lab::open(Precision::F32).await;
    for (n_rows, n, first) in [(1, 1, 0), (3, 5, 2), (7, 4, 1), (67, 35, 3), (130, 68, 0)] {
        let mut noise = Noise::new((n_rows + n) as u64);
        let (n4, n_all) = (pad4(n), first + n_rows + 2);
        let mut positive =
            |many: usize| -> Vec<f32> { noise.values(many).iter().map(|v| v.abs()).collect() };
        let [g, mut plus, mut minus] = [(); 3].map(|()| positive(n_all * n));
        let mut p = noise.values(n_all * n);
        let still = (first + n_rows - 1) * n + n - 1;
        [p[still], plus[still], minus[still]] = [0.0; 3];
        // Side by side, each with its padding.
        let mut both = Vec::new();
        for row in 0..n_all {
            for of in [&plus, &minus] {
                both.extend_from_slice(&of[row * n..][..n]);
                both.resize(both.len() + n4 - n, 0.0);
            }
        }
        let (p_rows, g_rows) = (lab.rows(&p, n), lab.rows(&g, n));
        let products = lab.device.upload("products", &both);
        let mut rec = lab.device.record("a test", &lab.cancel);
        let op = SemiNmf {
            p: Rows::new(&p_rows, first, n),
            products: &products,
            n_rows,
            g: Rows::new(&g_rows, first, n),
        };
        lab.kernels.semi_nmf(&mut rec, &op).expect("semi_nmf");
        let got = lab.read_done(&mut rec, &g_rows, n_all, n).await;
        let inside = first * n..(first + n_rows) * n;
        let of = |values: &'_ [f32]| values[inside.clone()].to_vec();
        let exact = reference::semi_nmf::<f64>(&of(&p), [&of(&plus), &of(&minus)], &of(&g));
        let plain = reference::semi_nmf::<f32>(&of(&p), [&of(&plus), &of(&minus)], &of(&g));
        assert_rows_close("semi_nmf", &of(&got), &exact, &plain, n);
        assert_eq!(got[still], g[still]);
        assert_eq!(got[..inside.start], g[..inside.start]);
        assert_eq!(got[inside.end..n_all * n], g[inside.end..]);
    }
}

async fn layer_norm() {
    let lab = Lab::open(Precision::F32).await;
    for (n_rows, c) in [(1, 1), (1, 4), (31, 3), (32, 5), (33, 35), (2, 768), (67, 13)] {
        let mut noise = Noise::new(c as u64);
        let x: Vec<f32> = noise.values(n_rows * c).iter().map(|v| 3.0 * v + 1.5).collect();
        let (gain, bias) = (noise.values(c), noise.values(c));
        run_layer_norm(&lab, &x, c, Some((&gain, &bias))).await;
        run_layer_norm(&lab, &x, c, None).await;
    }
}

/// Several tensors in one dispatch have the same bits as one after the other, and nothing beside their rows is written.
async fn layer_norm_of_several_tensors() {
    let lab = Lab::open(Precision::F32).await;
    for (n_inputs, n_rows, c, first) in [
        (2, 1, 3, 0),
        (3, 7, 35, 2),
        (4, 33, 5, 1),
        (MAX_INPUTS, 13, 132, 3),
        (MAX_INPUTS, 64, 8, 0),
    ] {
        let mut noise = Noise::new((n_inputs * c) as u64);
        let n_all = first + n_rows + 1;
        let inputs: Vec<Tensor> =
            (0..n_inputs).map(|_| lab.rows(&noise.values(n_all * c), c)).collect();
        let (gain, bias) = (lab.rows(&noise.values(c), c), lab.rows(&noise.values(c), c));
        let n_out = n_inputs * n_rows + 2;
        let [together, apart] =
            [(); 2].map(|()| lab.device.tensor("y", (4 * n_out * pad4(c)) as u64));
        let mut rec = lab.device.record("a test", &lab.cancel);
        let others: Vec<&Tensor> = inputs[1..].iter().collect();
        let mut op = LayerNorm {
            x: Rows::new(&inputs[0], first, c),
            others: &others,
            affine: Some((&gain, &bias)),
            epsilon: Some(1e-5),
            n_embd: c,
            n_rows,
            y: Rows::new(&together, 1, c),
        };
        lab.kernels.layer_norm(&mut rec, &op).expect("layer_norm");
        op.others = &[];
        for (i, input) in inputs.iter().enumerate() {
            op.x = Rows::new(input, first, c);
            op.y = Rows::new(&apart, 1 + i * n_rows, c);
            lab.kernels.layer_norm(&mut rec, &op).expect("layer_norm");
        }
        let together = lab.read_done(&mut rec, &together, n_out, c).await;
        let is_outside = |row: &[f32]| row.iter().all(|&v| v == 0.0);
        assert!(is_outside(&together[..c]) && is_outside(&together[(n_out - 1) * c..]));
        assert!(together[c..(n_out - 1) * c].chunks(c).all(|row| !is_outside(row)));
        assert_eq!(together, lab.read_rows(&apart, n_out, c).await, "{n_inputs} × {n_rows} × {c}");
    }
}

async fn layer_norm_with_massive_activation() {
    let lab = Lab::open(Precision::F32).await;
    let mut x = Noise::new(3).values(3 * 768);
    for row in x.chunks_mut(768) {
        row[447] = 3000.0; // GPT-2's channel 447 is of that size
        row[138] = -800.0;
    }
    run_layer_norm(&lab, &x, 768, None).await;
}

/// The squares of large values, or their sum over a row, overflow single precision, and an unscaled sum would give the
/// bias alone. The smallest scales are around the point where the kernel starts to scale the row.
async fn layer_norm_of_any_finite_row() {
    let lab = Lab::open(Precision::F32).await;
    let c = 37;
    // Every channel is large: the sum of the squares overflows before a single square does.
    for (c, scale) in [(768, 9e14f32), (768, 6.6e17), (768, 9e17), (8195, 9e14), (8195, 2e17)] {
        let x: Vec<f32> = Noise::new(6).values(2 * c).iter().map(|v| v.signum() * scale).collect();
        let y = normalised(&lab, &x, c).await;
        let exact = reference::layer_norm::<f64>(&x, c, None, Some(1e-5));
        for (got, exact) in y.iter().zip(exact) {
            // A plain sum of 8,195 squares rounds to about 1e-5.
            assert!((f64::from(*got) - exact).abs() < 1e-4, "{c} × {scale}: {got} {exact}");
        }
    }
    for scale in [1e14f32, 1e15, 1.1e15, 1e18, 1e20, 1e30, 1e38] {
        let x: Vec<f32> = Noise::new(6).values(3 * c).iter().map(|v| v * scale).collect();
        let y = normalised(&lab, &x, c).await;
        let exact = reference::layer_norm::<f64>(&x, c, None, Some(1e-5));
        for (got, exact) in y.iter().zip(exact) {
            assert!((f64::from(*got) - exact).abs() < 1e-5, "{scale}: {got} {exact}");
        }
    }
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = Noise::new(7).values(c);
        x[5] = bad;
        let y = normalised(&lab, &x, c).await;
        assert!(y.iter().all(|v| !v.is_finite()), "{bad} must reach every channel");
    }
}

async fn normalised(lab: &Lab, x: &[f32], c: usize) -> Vec<f32> {
    let n_rows = x.len() / c;
    let y = lab.device.tensor("y", (4 * n_rows * pad4(c)) as u64);
    let x_tensor = lab.rows(x, c);
    let (x, y_rows) = (Rows::new(&x_tensor, 0, c), Rows::new(&y, 0, c));
    let op = LayerNorm {
        x,
        others: &[],
        affine: None,
        epsilon: Some(1e-5),
        n_embd: c,
        n_rows,
        y: y_rows,
    };
    let mut rec = lab.device.record("a test", &lab.cancel);
    lab.kernels.layer_norm(&mut rec, &op).expect("layer_norm");
    rec.finish().await.expect("the device");
    let read = lab.device.read(&[(&y, (4 * n_rows * pad4(c)) as u64)]).await.expect("a readback");
    read[0].chunks(pad4(c)).flat_map(|row| row[..c].to_vec()).collect()
}

/// Shapes are compared, not only sizes: every operand here has enough bytes.
async fn shapes_are_checked() {
    let lab = Lab::open(Precision::F32).await;
    let [big, out] = ["big", "out"].map(|label| lab.device.tensor(label, 4096));
    let small = lab.device.tensor("small", 32);
    let weight = lab.matrix(&[0.5; 8 * 12], 8, Precision::F32, false);
    let rows = |width| Rows::new(&big, 0, width);
    let mut rec = lab.device.record("a test", &lab.cancel);
    let out_rows = |width| Rows::new(&out, 0, width);
    let fine = || Matmul::new(rows(8), &weight, 2, out_rows(12));
    let mut matmul = |op: &Matmul<'_>| lab.kernels.matmul(&mut rec, op).map_err(|e| e.code());
    assert_eq!(matmul(&fine()), Ok(()));
    let wrong = [
        ("x is wider than K", Matmul { x: rows(12), ..fine() }),
        ("columns beyond N", Matmul { columns4: 2..4, ..fine() }),
        ("columns beyond a row of y", Matmul { y_column4: 1, ..fine() }),
        ("a residual of another width", Matmul { residual: Some(rows(8)), ..fine() }),
        ("rows beyond the tensor", Matmul { n_rows: 1 << 30, ..fine() }),
        ("outputs of one part", Matmul { others: Some([out_rows(12); 2]), ..fine() }),
    ];
    for (what, op) in &wrong {
        assert_eq!(matmul(op), Err("bad-shape"), "{what}");
    }
    let op = LayerNorm {
        x: rows(8),
        others: &[],
        affine: None,
        epsilon: Some(1e-5),
        n_embd: 8,
        n_rows: 2,
        y: out_rows(4),
    };
    let result = lab.kernels.layer_norm(&mut rec, &op).map_err(|e| e.code());
    assert_eq!(result, Err("bad-shape"), "output rows of another width");
    let fine = LayerNorm { y: rows(8), ..op };
    for (what, others) in [("one tensor too many", vec![&big; 5]), ("one too short", vec![&small])]
    {
        let op = LayerNorm { others: &others, ..fine };
        let result = lab.kernels.layer_norm(&mut rec, &op).map_err(|e| e.code());
        assert_eq!(result, Err("bad-shape"), "{what}");
    }
    let fine = Blend {
        x: rows(8),
        is_one: false,
        scale: 1.0,
        adds: false,
        channels: 0..8,
        n_rows: 2,
        y: out_rows(8),
    };
    let wrong = [
        ("channels beyond a row", Blend { channels: 0..9, ..fine.clone() }),
        ("rows of another width", Blend { x: rows(4), ..fine.clone() }),
        ("rows beyond the tensor", Blend { n_rows: 1 << 20, ..fine }),
    ];
    for (what, op) in &wrong {
        let result = lab.kernels.blend(&mut rec, op).map_err(|e| e.code());
        assert_eq!(result, Err("bad-shape"), "{what}");
    }
    let op = Attention {
        q: &big,
        k: &big,
        v: &big,
        first_position: 0,
        n_rows: 7,
        n_runs: 2,
        n_head: 1,
        head_dim: 4,
        scale: 1.0,
        window: None,
        y: &out,
    };
    let result = lab.kernels.attention(&mut rec, &op).map_err(|e| e.code());
    assert_eq!(result, Err("bad-shape"), "runs of different lengths");
    let op = Gram { weight: &weight, counts: &big, groups: 0..4, y: &out };
    let result = lab.kernels.gram(&mut rec, &op).map_err(|e| e.code());
    assert_eq!(result, Err("bad-shape"), "tokens beyond the matrix");
    rec.finish().await.expect("no invalid operation was recorded");
}

async fn run_matmul(lab: &Lab, precision: Precision, outputs: bool, shape: [usize; 3]) {
    let [n_rows, n_in, n_out] = shape;
    let mut noise = Noise::new((n_rows * 1000 + n_in * 10 + n_out) as u64);
    let x = noise.values(n_rows * n_in);
    let weight = stored(&noise.values(n_in * n_out), precision);
    let file: Vec<f32> = match outputs {
        false => weight.clone(),
        true => (0..n_out)
            .flat_map(|n| (0..n_in).map(move |k| (n, k)))
            .map(|(n, k)| weight[k * n_out + n])
            .collect(),
    };
    let matrix = lab.matrix(&file, n_in, precision, outputs);
    let (bias, residual) = (noise.values(n_out), noise.values(n_rows * n_out));
    let x_tensor = lab.rows(&x, n_in);
    let (bias_tensor, residual_tensor) = (lab.rows(&bias, n_out), lab.rows(&residual, n_out));
    let (gelu, relu) = (Some(Activation::Gelu), Some(Activation::Relu));
    for (with_bias, activation, with_residual) in [
        (false, None, false),
        (true, None, true),
        (true, gelu, false),
        (false, gelu, true),
        (true, relu, true),
    ] {
        let y = lab.device.tensor("y", (4 * n_rows * pad4(n_out)) as u64);
        let mut rec = lab.device.record("a test", &lab.cancel);
        let (x_rows, y_rows) = (Rows::new(&x_tensor, 0, n_in), Rows::new(&y, 0, n_out));
        let op = Matmul {
            bias: with_bias.then_some(&bias_tensor),
            activation,
            residual: with_residual.then(|| Rows::new(&residual_tensor, 0, n_out)),
            ..Matmul::new(x_rows, &matrix, n_rows, y_rows)
        };
        lab.kernels.matmul(&mut rec, &op).expect("matmul");
        let got = lab.read_done(&mut rec, &y, n_rows, n_out).await;
        let bias = with_bias.then_some(&bias[..]);
        let residual = with_residual.then_some(&residual[..]);
        let exact = reference::matmul::<f64>(&x, &weight, n_in, bias, activation, residual);
        let plain = reference::matmul::<f32>(&x, &weight, n_in, bias, activation, residual);
        let what = format!(
            "matmul {precision:?} outputs={outputs} {shape:?} bias={with_bias} activation={activation:?} residual={with_residual}"
        );
        assert_rows_close(&what, &got, &exact, &plain, n_out);
    }
}

/// The sizes are 1, tile − 1, tile, tile + 1 and primes; a workgroup computes 16 rows × 64 columns.
const MATMUL_SHAPES: [[usize; 3]; 9] = [
    [1, 1, 1],
    [3, 2, 3],
    [4, 4, 4],
    [5, 5, 5],
    [15, 63, 63],
    [16, 64, 64],
    [17, 65, 65],
    [1, 131, 97],
    [37, 35, 105],
];

async fn matmul_f32() {
    let lab = Lab::open(Precision::F32).await;
    for shape in MATMUL_SHAPES {
        run_matmul(&lab, Precision::F32, false, shape).await;
        run_matmul(&lab, Precision::F32, true, shape).await;
    }
}

async fn matmul_f16() {
    let lab = Lab::open(Precision::F16).await;
    for shape in MATMUL_SHAPES {
        run_matmul(&lab, Precision::F16, false, shape).await;
        run_matmul(&lab, Precision::F16, true, shape).await;
    }
}

/// Three products side by side, each into an output of its own: the first rows of one, later rows of the others.
async fn matmul_parts() {
    for precision in [Precision::F32, Precision::F16] {
        let lab = Lab::open(precision).await;
        for (n_in, n_out, outputs) in [(7, 19, false), (7, 19, true), (12, 64, false), (5, 3, true)]
        {
            let (n_rows, first) = (6, 2);
            let mut noise = Noise::new((n_in * n_out) as u64);
            let x = noise.values(n_rows * n_in);
            let parts = [0, 0, 0].map(|_| stored(&noise.values(n_in * n_out), precision));
            let biases = [0, 0, 0].map(|_| noise.values(n_out));
            let matrix = lab.parts(&parts, n_in, precision, outputs);
            let bias = lab.rows(&biases.concat(), n_out);
            let y = [n_rows, first + n_rows, first + n_rows]
                .map(|rows| lab.device.tensor("y", (4 * rows * pad4(n_out)) as u64));
            let x_tensor = lab.rows(&x, n_in);
            let mut rec = lab.device.record("a test", &lab.cancel);
            let others = Some([&y[1], &y[2]].map(|tensor| Rows::new(tensor, first, n_out)));
            let (x_rows, y_rows) = (Rows::new(&x_tensor, 0, n_in), Rows::new(&y[0], 0, n_out));
            let op = Matmul {
                others,
                bias: Some(&bias),
                ..Matmul::new(x_rows, &matrix, n_rows, y_rows)
            };
            lab.kernels.matmul(&mut rec, &op).expect("matmul");
            rec.finish().await.expect("the device");
            for (part, first) in [0, first, first].into_iter().enumerate() {
                let got = lab.read_rows(&y[part], first + n_rows, n_out).await;
                assert!(got[..first * n_out].iter().all(|&v| v == 0.0), "rows before the first");
                let (weight, bias) = (&parts[part], Some(&biases[part][..]));
                let exact = reference::matmul::<f64>(&x, weight, n_in, bias, None, None);
                let plain = reference::matmul::<f32>(&x, weight, n_in, bias, None, None);
                let what =
                    format!("part {part} of {n_in} × {n_out} {precision:?} outputs={outputs}");
                assert_rows_close(&what, &got[first * n_out..], &exact, &plain, n_out);
            }
        }
    }
}

/// Some columns of W are computed into some columns of y, and some rows of x into other rows of y.
async fn matmul_columns() {
    let lab = Lab::open(Precision::F32).await;
    let (n_in, n_out) = (7, 19);
    let mut noise = Noise::new(5);
    let (x, weight) = (noise.values(6 * n_in), noise.values(n_in * n_out));
    let y = lab.device.tensor("y", 4 * 8 * 24);
    let mut rec = lab.device.record("a test", &lab.cancel);
    let x_tensor = lab.rows(&x, n_in);
    let matrix = lab.matrix(&weight, n_in, Precision::F32, false);
    let (x_rows, y_rows) = (Rows::new(&x_tensor, 2, n_in), Rows::new(&y, 3, 24));
    let op = Matmul { columns4: 2..5, y_column4: 1, ..Matmul::new(x_rows, &matrix, 4, y_rows) };
    lab.kernels.matmul(&mut rec, &op).expect("matmul");
    let got = lab.read_done(&mut rec, &y, 8, 24).await;
    let exact = reference::matmul::<f64>(&x, &weight, n_in, None, None, None);
    for row in 0..8 {
        for column in 0..24 {
            let value = f64::from(got[row * 24 + column]);
            let is_written = (3..7).contains(&row) && (4..15).contains(&column);
            let expected = if is_written { exact[(row - 1) * n_out + column + 4] } else { 0.0 };
            assert!((value - expected).abs() < 1e-5, "y[{row}, {column}]: {value}, {expected}");
        }
    }
}

async fn attention() {
    let lab = Lab::open(Precision::F32).await;
    for (n_head, head_dim, t) in [(1, 1, 1), (5, 7, 17), (2, 31, 16), (3, 33, 15), (1, 64, 67)] {
        let c = n_head * head_dim;
        let mut noise = Noise::new((c + t) as u64);
        let [q, k, v] = [0, 0, 0].map(|_| noise.values(t * c));
        let scale = 3.0;
        // The whole text is computed at once, and its end as a second block over the cached keys. The window has
        // every key so far, one, a few, or more than there are.
        let windows = [None, Some(1), Some(5), Some(t + 3)];
        for (first_position, window) in [0, t / 2].into_iter().flat_map(|p| windows.map(|w| (p, w)))
        {
            let exact = reference::attention::<f64>(&q, &k, &v, 0, n_head, scale, window, c);
            let plain = reference::attention::<f32>(&q, &k, &v, 0, n_head, scale, window, c);
            let n_rows = t - first_position;
            let y = lab.device.tensor("y", (4 * n_rows * pad4(c)) as u64);
            let mut rec = lab.device.record("a test", &lab.cancel);
            let op = Attention {
                q: &lab.rows(&q[first_position * c..], c),
                k: &lab.rows(&k, c),
                v: &lab.rows(&v, c),
                first_position,
                n_rows,
                n_runs: 1,
                n_head,
                head_dim,
                scale,
                window,
                y: &y,
            };
            lab.kernels.attention(&mut rec, &op).expect("attention");
            let got = lab.read_done(&mut rec, &y, n_rows, c).await;
            let from = first_position * c;
            let what =
                format!("attention H={n_head} D={head_dim} T={t} from {first_position} {window:?}");
            assert_rows_close(&what, &got, &exact[from..], &plain[from..], c);
        }
    }
}

/// Runs that share the keys before their first position have the bits of each one alone, whatever form is in use.
async fn attention_of_several_runs() {
    let lab = Lab::open(Precision::F32).await;
    for forms in [Forms::PLAIN, Forms::all(Tile::Register, Unit::Workgroup)] {
        lab.kernels.choose_forms(&lab.device, forms).await.expect("forms");
        for (n_head, head_dim, first_position, n_each, n_runs, window) in [
            (1, 1, 0, 1, 3, None),
            (2, 31, 5, 3, 4, None),
            (3, 7, 2, 17, 2, Some(4)),
            (1, 64, 20, 1, 5, Some(7)),
        ] {
            let c = n_head * head_dim;
            let n_rows = n_runs * n_each;
            let mut noise = Noise::new((c + n_rows) as u64);
            let q = noise.values(n_rows * c);
            let [k, v] = [0, 0].map(|_| noise.values((first_position + n_rows) * c));
            let run = async |q: &[f32], k: &[f32], v: &[f32], n_rows: usize, n_runs: usize| {
                let y = lab.device.tensor("y", (4 * n_rows * pad4(c)) as u64);
                let mut rec = lab.device.record("a test", &lab.cancel);
                let op = Attention {
                    q: &lab.rows(q, c),
                    k: &lab.rows(k, c),
                    v: &lab.rows(v, c),
                    first_position,
                    n_rows,
                    n_runs,
                    n_head,
                    head_dim,
                    scale: 3.0,
                    window,
                    y: &y,
                };
                lab.kernels.attention(&mut rec, &op).expect("attention");
                lab.read_done(&mut rec, &y, n_rows, c).await
            };
            let together = run(&q, &k, &v, n_rows, n_runs).await;
            for i in 0..n_runs {
                let own = |of: &[f32]| {
                    let (shared, rest) = of.split_at(first_position * c);
                    [shared, &rest[i * n_each * c..][..n_each * c]].concat()
                };
                let q = &q[i * n_each * c..][..n_each * c];
                let alone = run(q, &own(&k), &own(&v), n_each, 1).await;
                let got = &together[i * n_each * c..][..n_each * c];
                assert_eq!(got, alone, "H={n_head} D={head_dim} run {i} of {n_runs}");
            }
        }
    }
}

async fn subtract() {
    let lab = Lab::open(Precision::F32).await;
    for (n_rows, c) in [(1, 1), (3, 5), (7, 67), (2, 260)] {
        let mut noise = Noise::new(c as u64);
        let [a, b] = [0, 0].map(|_| noise.values((n_rows + 2) * c));
        let y = lab.device.tensor("y", (4 * (n_rows + 1) * pad4(c)) as u64);
        let (a_tensor, b_tensor) = (lab.rows(&a, c), lab.rows(&b, c));
        let mut rec = lab.device.record("a test", &lab.cancel);
        let op = Subtract {
            a: Rows::new(&a_tensor, 2, c),
            b: Rows::new(&b_tensor, 1, c),
            n_rows,
            y: Rows::new(&y, 1, c),
        };
        lab.kernels.subtract(&mut rec, &op).expect("subtract");
        let got = lab.read_done(&mut rec, &y, n_rows + 1, c).await;
        assert!(got[..c].iter().all(|&v| v == 0.0), "a row that does not belong to it was written");
        let exact = reference::subtract::<f64>(&a[2 * c..], &b[c..]);
        let plain = reference::subtract::<f32>(&a[2 * c..], &b[c..]);
        let n = n_rows * c;
        assert_rows_close("subtract", &got[c..], &exact[..n], &plain[..n], c);
    }
}

/// Some channels of some rows are written, of one row for all or of a row for each; nothing else changes.
async fn blend() {
    let lab = Lab::open(Precision::F32).await;
    let shapes = [(1, 1, 0..1), (3, 5, 1..4), (7, 67, 0..67), (2, 260, 129..131), (4, 12, 5..5)];
    for ((n_rows, c, channels), is_one) in shapes.iter().flat_map(|s| [(s, false), (s, true)]) {
        let (n_rows, c) = (*n_rows, *c);
        for (adds, scale) in [(false, 1.0), (false, -0.5), (true, 3.0), (true, 0.0)] {
            let mut noise = Noise::new(c as u64);
            let x = noise.values((n_rows + 2) * c);
            let before = noise.values((n_rows + 2) * c);
            let (x_tensor, y) = (lab.rows(&x, c), lab.rows(&before, c));
            let mut rec = lab.device.record("a test", &lab.cancel);
            let op = Blend {
                x: Rows::new(&x_tensor, 2, c),
                is_one,
                scale,
                adds,
                channels: channels.clone(),
                n_rows,
                y: Rows::new(&y, 1, c),
            };
            lab.kernels.blend(&mut rec, &op).expect("blend");
            let got = lab.read_done(&mut rec, &y, n_rows + 2, c).await;
            let (inside, n) = (c..(n_rows + 1) * c, if is_one { 1 } else { n_rows });
            assert_eq!(got[..c], before[..c]);
            assert_eq!(got[inside.end..], before[inside.end..]);
            let (x, y) = (&x[2 * c..][..n * c], &before[inside.clone()]);
            let exact = reference::blend::<f64>(scale, x, adds, channels, c, y);
            let plain = reference::blend::<f32>(scale, x, adds, channels, c, y);
            let got = &got[inside];
            assert_rows_close("blend", got, &exact, &plain, c);
            let kept = |i: &usize| !channels.contains(&(i % c)) || adds && scale == 0.0;
            assert!((0..got.len()).filter(kept).all(|i| got[i] == y[i]), "others keep their bits");
        }
    }
}

async fn gram() {
    for precision in BOTH {
        let lab = Lab::open(precision).await;
        for (v, c, from) in [(1, 1, 0), (7, 5, 0), (29, 35, 3), (131, 67, 20)] {
            let mut noise = Noise::new((v + c) as u64);
            let w = stored(&noise.values(v * c), precision);
            let mut counts: Vec<f32> = noise.values(v).iter().map(|s| s.abs()).collect();
            // Groups of four before `from` are skipped.
            let matrix = lab.matrix(&w, c, precision, true);
            let y = lab.device.tensor("y", (4 * pad4(c) * pad4(c)) as u64);
            let counts_tensor = lab.rows(&counts, v);
            let mut rec = lab.device.record("a test", &lab.cancel);
            let groups = from..pad4(v) / 4;
            let op = Gram { weight: &matrix, counts: &counts_tensor, groups, y: &y };
            lab.kernels.gram(&mut rec, &op).expect("gram");
            let got = lab.read_done(&mut rec, &y, c, c).await;
            counts.iter_mut().take(4 * from).for_each(|s| *s = 0.0);
            let exact = reference::gram::<f64>(&w, &counts, c);
            let plain = reference::gram::<f32>(&w, &counts, c);
            let what = format!("gram {precision:?} V={v} C={c}");
            assert_rows_close(&what, &got, &exact, &plain, c);
        }
    }
}

async fn gather_dot_has_the_bits_of_matmul() {
    for precision in BOTH {
        let lab = Lab::open(precision).await;
        let (v, c, n_rows, period) = (29, 67, 18, 6);
        let mut noise = Noise::new(11);
        let (x, table) = (noise.values(n_rows * c), stored(&noise.values(v * c), precision));
        let mut targets: Vec<u32> = (0..period * 5).map(|_| noise.below(v) as u32).collect();
        targets[3] = u32::MAX; // absent
        let x_tensor = lab.rows(&x, c);
        let biases = noise.values(v);
        for (shard_rows, bias) in [(1, None), (7, None), (v, None), (7, Some(&biases[..]))] {
            let exact = reference::gather_dot::<f64>(&x, &table, bias, c, &targets, period);
            let plain = reference::gather_dot::<f32>(&x, &table, bias, c, &targets, period);
            let mut unembed = shards(&lab, &table, c, shard_rows, precision);
            for (shard, piece) in unembed.iter_mut().zip(biases.chunks(shard_rows)) {
                shard.bias = bias.map(|_| lab.rows(piece, piece.len()));
            }
            let y = lab.device.tensor("y", (4 * n_rows * 5) as u64);
            let width = unembed.last().map_or(0, |s| s.first_column + pad4(s.matrix.n_out));
            let logits = lab.device.tensor("logits", (4 * n_rows * width) as u64);
            let mut rec = lab.device.record("a test", &lab.cancel);
            let op = GatherDot {
                x: Rows::new(&x_tensor, 0, c),
                unembed: &unembed,
                targets: &lab.device.upload("targets", &targets),
                n_targets: 5,
                period,
                n_rows,
                y: &y,
            };
            lab.kernels.gather_dot(&mut rec, &op).expect("gather_dot");
            for shard in &unembed {
                let (x, y) = (Rows::new(&x_tensor, 0, c), Rows::new(&logits, 0, width));
                let op = Matmul {
                    bias: shard.bias.as_ref(),
                    y_column4: shard.first_column / 4,
                    ..Matmul::new(x, &shard.matrix, n_rows, y)
                };
                lab.kernels.matmul(&mut rec, &op).expect("matmul");
            }
            rec.finish().await.expect("the device");
            let bytes = [(&y, (4 * n_rows * 5) as u64), (&logits, (4 * n_rows * width) as u64)];
            let read = lab.device.read(&bytes).await.expect("a readback");
            assert_close("gather_dot", &read[0], &exact, &plain);
            for (i, &got) in read[0].iter().enumerate() {
                let (row, id) = (i / 5, targets[(i / 5 % period) * 5 + i % 5] as usize);
                if id >= v {
                    assert_eq!(got, 0.0, "an absent target was written");
                    continue;
                }
                let column = unembed[id / shard_rows].first_column + id % shard_rows;
                let same = read[1][row * width + column];
                assert_eq!(got.to_bits(), same.to_bits(), "row {row} id {id}: {got} and {same}");
            }
        }
    }
}

/// The bits of a row depend on that row alone, not on how many rows are computed with it.
async fn rows_are_independent_of_each_other() {
    let lab = Lab::open(Precision::F32).await;
    let (n_in, n_out) = (35, 41);
    let mut noise = Noise::new(2);
    let (x, weight) = (noise.values(9 * n_in), noise.values(n_in * n_out));
    let matrix = lab.matrix(&weight, n_in, Precision::F32, false);
    let mut results = Vec::new();
    for n_rows in [1, 2, 5, 9] {
        let y = lab.device.tensor("y", (4 * n_rows * pad4(n_out)) as u64);
        let mut rec = lab.device.record("a test", &lab.cancel);
        let x_tensor = lab.rows(&x, n_in);
        let (x_rows, y_rows) = (Rows::new(&x_tensor, 0, n_in), Rows::new(&y, 0, n_out));
        let activation = Some(Activation::Gelu);
        let op = Matmul { activation, ..Matmul::new(x_rows, &matrix, n_rows, y_rows) };
        lab.kernels.matmul(&mut rec, &op).expect("matmul");
        rec.finish().await.expect("the device");
        results.push(lab.read_rows(&y, n_rows, n_out).await);
    }
    for result in &results {
        for (a, b) in result.iter().zip(&results[3]) {
            assert_eq!(a.to_bits(), b.to_bits());
        }
    }
}

/// tanh of a large argument is NaN on some drivers; GELU must not be.
async fn gelu_of_large_arguments() {
    let lab = Lab::open(Precision::F32).await;
    let x = [-1e4f32, -50.0, -15.0, -1.0, 0.0, 1.0, 15.0, 50.0, 1e4];
    let y = lab.device.tensor("y", 16 * 9);
    let mut rec = lab.device.record("a test", &lab.cancel);
    let x_tensor = lab.rows(&x, 1);
    let matrix = lab.matrix(&[1.0], 1, Precision::F32, false);
    let (x_rows, y_rows) = (Rows::new(&x_tensor, 0, 1), Rows::new(&y, 0, 1));
    let activation = Some(Activation::Gelu);
    let op = Matmul { activation, ..Matmul::new(x_rows, &matrix, 9, y_rows) };
    lab.kernels.matmul(&mut rec, &op).expect("matmul");
    let got = lab.read_done(&mut rec, &y, 9, 1).await;
    let exact: Vec<f64> = x.iter().map(|&v| reference::gelu(f64::from(v))).collect();
    let plain: Vec<f32> = x.iter().map(|&v| reference::gelu(v)).collect();
    assert_close("gelu", &got, &exact, &plain);
}

/// wgpu 30.0.0 was reported to hang here in Chromium; every allocation relies on it.
async fn empty_error_scope() {
    let lab = Lab::open(Precision::F32).await;
    let made = lab.device.allocate("a small tensor", || Ok(lab.device.tensor("small", 64))).await;
    assert_eq!(made.expect("64 bytes of memory").bytes(), 64);
}
