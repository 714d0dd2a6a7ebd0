//! shaders/attention.wgsl

use bytemuck::{Pod, Zeroable};

use crate::error::Result;
use crate::gpu::{Recorder, Tensor};

use super::{Kernels, Rows, fits, groups};

/// Output channels of one invocation (`TILE` in the shader).
const TILE: usize = 32;

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    first_position: u32,
    n_head: u32,
    head_dim: u32,
    stride: u32,
    scale: f32,
    window: u32,
}

/// Operands of [`Kernels::attention`]. `q` and `y` start at their row 0.
pub struct Attention<'a> {
    /// Queries of this block. Shapes: \[rows, C4\].
    pub q: &'a Tensor,
    /// Keys of every position so far. Shapes: \[T, C4\].
    pub k: &'a Tensor,
    /// Values of every position so far. Shapes: \[T, C4\].
    pub v: &'a Tensor,
    /// Position of the first query.
    pub first_position: usize,
    /// Queries.
    pub n_rows: usize,
    /// H.
    pub n_head: usize,
    /// D.
    pub head_dim: usize,
    /// Factor on q·k.
    pub scale: f32,
    /// Positions a query sees, itself included; none for all before it.
    pub window: Option<usize>,
    /// The heads' outputs side by side. Shapes: \[rows, C4\].
    pub y: &'a Tensor,
}

impl Kernels {
    /// Causal attention of a block of queries over the keys up to each, as far as the window goes.
    ///
    /// Errors: `bad-shape`.
    pub fn attention(&self, rec: &mut Recorder<'_>, op: &Attention<'_>) -> Result<()> {
        let width = op.n_head * op.head_dim;
        let n_keys = op.first_position + op.n_rows;
        let stride = Rows::new(op.q, 0, width).width4 * 4;
        for (tensor, n) in [(op.q, op.n_rows), (op.k, n_keys), (op.v, n_keys), (op.y, op.n_rows)] {
            fits("attention", tensor, 4 * stride * n)?;
        }
        let params = Params {
            n_rows: op.n_rows as u32,
            first_position: op.first_position as u32,
            n_head: op.n_head as u32,
            head_dim: op.head_dim as u32,
            stride: stride as u32,
            scale: op.scale,
            window: op.window.map_or(u32::MAX, |w| w as u32),
        };
        let n_tiles = op.head_dim.div_ceil(TILE);
        let size = [groups(op.n_rows, 16), groups(op.n_head * n_tiles, 4), 1];
        let seen = n_keys.min(op.window.unwrap_or(n_keys));
        let flops = 4.0 * (op.n_rows * seen) as f64 * width as f64;
        rec.dispatch(&self.attention, params, &[op.q, op.k, op.v, op.y], size, flops);
        Ok(())
    }
}
