//! shaders/matmul.wgsl, shaders/matmul_wide.wgsl, shaders/matmul_tiled.wgsl

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::config::Activation;
use crate::device::{Recorder, Source, Tensor, Work};
use crate::error::Result;

use super::{
    Kernels, Matrix, Precision, Rows, bad_shape, check_floats, column_bytes, dim, pad4, source,
    stored, wgsl,
};

pub(super) static F32: Source = source!(
    "matmul" + "matmul" + "weights_f32", [16, 4, 1], [Read, Read, Read, Read, ReadWrite, ReadWrite, ReadWrite], TILE_ROWS;
    0, |work| on_cpu(work, Precision::F32), part: |work| part(work, Precision::F32)
);
pub(super) static F16: Source = source!(
    "matmul" + "matmul" + "weights_f16", [16, 4, 1], [Read, Read, Read, Read, ReadWrite, ReadWrite, ReadWrite], TILE_ROWS;
    0, |work| on_cpu(work, Precision::F16), part: |work| part(work, Precision::F16)
);

/// Rows that one invocation computes; also the unit of the grid.
const TILE_ROWS: usize = 4;

/// A configuration of the tiled kernel: rows and groups of columns of a tile, k at a time, rows and groups of columns of
/// an invocation. Its grid is that of the other kernel.
macro_rules! tiled {
    ($base:ident, $weights:literal, [$rows:literal, $columns4:literal, $k:literal, $own_rows:literal, $own_columns4:literal]) => {
        Source {
            file: "matmul_tiled",
            wgsl: &[
                wgsl!("matmul_tiled"),
                wgsl!("shared/matmul"),
                wgsl!("shared/", $weights),
                concat!("const TILE_ROWS: u32 = ", $rows, "u;\n"),
                concat!("const TILE_COLUMNS4: u32 = ", $columns4, "u;\n"),
                concat!("const TILE_K: u32 = ", $k, "u;\n"),
                concat!("const ROWS: u32 = ", $own_rows, "u;\n"),
                concat!("const COLUMNS4: u32 = ", $own_columns4, "u;\n"),
            ],
            workgroup: [$columns4 / $own_columns4, $rows / $own_rows, 1],
            covers: [$columns4, $rows / 4, 1],
            constants: &[],
            ..$base
        }
    };
}

pub(super) static TILES_F32: [Source; 4] = [
    tiled!(F32, "weights_f32", [8, 8, 64, 1, 1]),
    tiled!(F32, "weights_f32", [32, 16, 16, 4, 2]),
    tiled!(F32, "weights_f32", [64, 16, 16, 8, 2]),
    tiled!(F32, "weights_f32", [128, 32, 8, 8, 2]),
];
pub(super) static TILES_F16: [Source; 4] = [
    tiled!(F16, "weights_f16", [8, 8, 64, 1, 1]),
    tiled!(F16, "weights_f16", [32, 16, 16, 4, 2]),
    tiled!(F16, "weights_f16", [64, 16, 16, 8, 2]),
    tiled!(F16, "weights_f16", [128, 32, 8, 8, 2]),
];

/// 8 rows × 16 columns an invocation.
macro_rules! wide {
    ($base:ident, $weights:literal) => {
        Source {
            file: "matmul_wide",
            wgsl: &[wgsl!("matmul_wide"), wgsl!("shared/matmul"), wgsl!("shared/", $weights)],
            workgroup: [8, 1, 1],
            covers: [8 * 4, 8 / 4, 1],
            constants: &[],
            ..$base
        }
    };
}

pub(super) static WIDE_F32: Source = wide!(F32, "weights_f32");
pub(super) static WIDE_F16: Source = wide!(F16, "weights_f16");

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    n_in4: u32,
    n_out4: u32,
    first_out4: u32,
    stride_in: u32,
    stride_out: u32,
    x_row: u32,
    y_row: u32,
    other_row: u32,
    y_stride: u32,
    y_column: u32,
    part4: u32,
    residual_row: u32,
    has_bias: u32,
    activation: u32,
    has_residual: u32,
}

/// Operands of [`Kernels::matmul`]; [`Matmul::new`] leaves out what is optional.
pub struct Matmul<'a> {
    /// Input rows. Shapes: \[rows, K4\].
    pub x: Rows<'a>,
    /// W. Shapes: \[K, P·N\].
    pub weight: &'a Matrix,
    /// Columns of W to compute, in groups of four; all unless given.
    pub columns4: Range<usize>,
    /// Shapes: \[P·N4\].
    pub bias: Option<&'a Tensor>,
    /// Applied to x W + bias.
    pub activation: Option<Activation>,
    /// Added at the end, with rows as long as those of `y`.
    pub residual: Option<Rows<'a>>,
    /// Rows to compute.
    pub n_rows: usize,
    /// Output rows; where there are `others`, of the first part.
    pub y: Rows<'a>,
    /// Output rows of a second and a third part, which begin at the same row.
    pub others: Option<[Rows<'a>; 2]>,
    /// First group of four columns in a row of `y`.
    pub y_column4: usize,
}

impl<'a> Matmul<'a> {
    /// y = x W.
    pub fn new(x: Rows<'a>, weight: &'a Matrix, n_rows: usize, y: Rows<'a>) -> Matmul<'a> {
        let columns4 = 0..weight.n_parts * weight.part4();
        let (bias, activation, residual, others, y_column4) = (None, None, None, None, 0);
        Matmul { x, weight, columns4, bias, activation, residual, n_rows, y, others, y_column4 }
    }
}

impl Kernels {
    /// y = activation(x W + bias) + residual.
    ///
    /// Errors: `bad-shape`.
    pub fn matmul(&self, rec: &mut Recorder<'_>, op: &Matmul<'_>) -> Result<()> {
        let (weight, columns4) = (op.weight, &op.columns4);
        let n_out4 = weight.n_parts * weight.part4();
        op.x.check("matmul: x", op.n_rows, pad4(weight.n_in) / 4)?;
        op.y.check("matmul: y", op.n_rows, op.y.width4)?;
        if columns4.start > columns4.end || columns4.end > n_out4 {
            return Err(bad_shape("matmul: columns of W", &[4 * n_out4], &[4 * columns4.end]));
        }
        // Each output has the columns of its part.
        let part4 = if op.others.is_some() { weight.part4() } else { columns4.len() };
        let n_outputs = if op.others.is_some() { 3 } else { 1 };
        if columns4.len() != n_outputs * part4 {
            let expected = [4 * n_outputs * part4];
            return Err(bad_shape(
                "matmul: columns of three parts",
                &expected,
                &[4 * columns4.len()],
            ));
        }
        for other in op.others.iter().flatten() {
            other.check("matmul: another y", op.n_rows, op.y.width4)?;
        }
        if let Some([a, b]) = op.others.filter(|[a, b]| a.first != b.first) {
            return Err(bad_shape("matmul: first rows of other y", &[a.first], &[b.first]));
        }
        let y_end = op.y_column4 + part4;
        if y_end > op.y.width4 {
            return Err(bad_shape("matmul: columns of y", &[4 * op.y.width4], &[4 * y_end]));
        }
        if let Some(bias) = op.bias {
            check_floats("matmul: bias", bias, &[4 * columns4.end])?;
        }
        if let Some(residual) = op.residual {
            residual.check("matmul: residual", op.n_rows, op.y.width4)?;
        }
        let params = Params {
            n_rows: dim(op.n_rows),
            n_in4: dim(op.x.width4),
            n_out4: dim(columns4.len()),
            first_out4: dim(columns4.start),
            stride_in: weight.stride_in(),
            stride_out: weight.stride_out(),
            x_row: dim(op.x.first),
            y_row: dim(op.y.first),
            other_row: op.others.map_or(0, |[other, _]| dim(other.first)),
            y_stride: dim(op.y.width4),
            y_column: dim(op.y_column4),
            part4: dim(part4),
            residual_row: op.residual.map_or(0, |r| dim(r.first)),
            has_bias: op.bias.is_some().into(),
            activation: op.activation.map_or(0, |a| a as u32),
            has_residual: op.residual.is_some().into(),
        };
        let tensors = [
            op.x.tensor,
            &weight.tensor,
            op.bias.unwrap_or(&self.no_input),
            op.residual.map_or(&self.no_input, |r| r.tensor),
            op.y.tensor,
            op.others.map_or(&self.no_output, |[other, _]| other.tensor),
            op.others.map_or(&self.no_other, |[_, other]| other.tensor),
        ];
        let invocations = [columns4.len(), op.n_rows.div_ceil(TILE_ROWS), 1];
        let flops = 2.0 * (op.n_rows * weight.n_in) as f64 * (4 * columns4.len()) as f64;
        let kernel = match &self.matmul_f32 {
            Some(kernel) if weight.precision == Precision::F32 => kernel.clone(),
            _ => self.choice.matmul(op.n_rows),
        };
        rec.dispatch(&kernel, params, &tensors, invocations, flops);
        Ok(())
    }
}

/// A slab of groups of four columns, for all rows.
fn on_cpu(work: &mut Work<'_>, precision: Precision) {
    let p: Params = work.params();
    let (slab, skipped) = (work.slab.clone(), work.skipped);
    let (reads, mut writes) = work.operands();
    let first = p.first_out4 as usize;
    let part4 = (p.part4 as usize).max(1);
    for part in slab.start / part4..slab.end.div_ceil(part4) {
        let groups = slab.start.max(part * part4)..slab.end.min((part + 1) * part4);
        let finish = loupe_cpu::Finish {
            bias: (p.has_bias == 1).then(|| reads.get(2)),
            activation: match p.activation {
                1 => loupe_cpu::Activation::Gelu,
                2 => loupe_cpu::Activation::Relu,
                _ => loupe_cpu::Activation::None,
            },
            residual: (p.has_residual == 1).then(|| reads.get(3)),
        };
        let places = loupe_cpu::Places {
            n_rows: p.n_rows as usize,
            n_in4: p.n_in4 as usize,
            x_row: p.x_row as usize,
            y_row: if part == 0 { p.y_row } else { p.other_row } as usize,
            y_stride: p.y_stride as usize,
            y_column: p.y_column as usize + groups.start - part * part4,
            residual_row: p.residual_row as usize,
        };
        loupe_cpu::matmul(
            reads.get(0),
            stored(reads, 1, precision, skipped),
            layout(p.stride_in, p.stride_out),
            first + groups.start..first + groups.end,
            finish,
            &places,
            writes.get(part),
        );
    }
}

/// Where the groups of a matrix are.
pub(super) fn layout(stride_in: u32, stride_out: u32) -> loupe_cpu::Layout {
    loupe_cpu::Layout { stride_in: stride_in as usize, stride_out: stride_out as usize }
}

/// The columns of a slab, where they lie together.
fn part(work: &Work<'_>, precision: Precision) -> Option<Range<u64>> {
    let p: Params = work.params();
    let first = p.first_out4 as usize;
    let groups = first + work.slab.start..first + work.slab.end;
    (p.stride_in == 1).then(|| column_bytes(p.stride_out, groups, precision))
}
