//! shaders/matmul.wgsl

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::config::Activation;
use crate::error::Result;
use crate::gpu::{Recorder, Tensor};

use super::{Kernels, Matrix, Rows, fits, groups, pad4};

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
    y_stride: u32,
    y_column: u32,
    residual_row: u32,
    has_bias: u32,
    activation: u32,
    has_residual: u32,
}

/// Operands of [`Kernels::matmul`].
pub struct Matmul<'a> {
    /// Input rows. Shapes: \[rows, K4\].
    pub x: Rows<'a>,
    /// W. Shapes: \[K, N\].
    pub weight: &'a Matrix,
    /// Columns of W to compute, in groups of four; `None` for all.
    pub columns4: Option<Range<usize>>,
    /// Shapes: \[N4\].
    pub bias: Option<&'a Tensor>,
    /// What follows.
    pub activation: Option<Activation>,
    /// Added at the end; rows as long as those of `y`.
    pub residual: Option<Rows<'a>>,
    /// Rows to compute.
    pub n_rows: usize,
    /// Output rows.
    pub y: Rows<'a>,
    /// First group of four columns in a row of `y`.
    pub y_column4: usize,
}

impl Kernels {
    /// y = activation(x W + bias) + residual.
    ///
    /// Errors: `bad-shape`.
    pub fn matmul(&self, rec: &mut Recorder<'_>, op: &Matmul<'_>) -> Result<()> {
        let weight = op.weight;
        let columns4 = op.columns4.clone().unwrap_or(0..pad4(weight.n_out) / 4);
        op.x.check("matmul", op.n_rows)?;
        op.y.check("matmul", op.n_rows)?;
        if let Some(bias) = op.bias {
            fits("matmul", bias, 16 * columns4.end)?;
        }
        if let Some(residual) = op.residual {
            residual.check("matmul", op.n_rows)?;
        }
        let params = Params {
            n_rows: op.n_rows as u32,
            n_in4: op.x.width4 as u32,
            n_out4: columns4.len() as u32,
            first_out4: columns4.start as u32,
            stride_in: weight.stride_in(),
            stride_out: weight.stride_out(),
            x_row: op.x.first as u32,
            y_row: op.y.first as u32,
            y_stride: op.y.width4 as u32,
            y_column: op.y_column4 as u32,
            residual_row: op.residual.map_or(0, |r| r.first as u32),
            has_bias: op.bias.is_some().into(),
            activation: op.activation.map_or(0, |a| a as u32),
            has_residual: op.residual.is_some().into(),
        };
        let tensors = [
            op.x.tensor,
            &weight.tensor,
            op.bias.unwrap_or(&self.nothing),
            op.residual.map_or(&self.nothing, |r| r.tensor),
            op.y.tensor,
        ];
        let size = [groups(columns4.len(), 16), groups(op.n_rows.div_ceil(4), 4), 1];
        let flops = 2.0 * (op.n_rows * weight.n_in) as f64 * (4 * columns4.len()) as f64;
        rec.dispatch(&self.matmul, params, &tensors, size, flops);
        Ok(())
    }
}
