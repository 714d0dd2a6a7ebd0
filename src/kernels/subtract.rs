//! shaders/subtract.wgsl

use bytemuck::{Pod, Zeroable};

use crate::error::Result;
use crate::gpu::{Recorder, Source};

use super::{Kernels, Rows, dim, source};

pub(super) static SOURCE: Source = source!("subtract", [64, 1, 1], [Read, Read, ReadWrite]);

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    n_in4: u32,
    a_row: u32,
    b_row: u32,
    y_row: u32,
}

/// Operands of [`Kernels::subtract`]; all rows have the same length.
pub struct Subtract<'a> {
    /// Minuends. Shapes: \[rows, C4\].
    pub a: Rows<'a>,
    /// Subtrahends. Shapes: \[rows, C4\].
    pub b: Rows<'a>,
    /// Rows.
    pub n_rows: usize,
    /// Differences. Shapes: \[rows, C4\].
    pub y: Rows<'a>,
}

impl Kernels {
    /// y = a − b.
    ///
    /// Errors: `bad-shape`.
    pub fn subtract(&self, rec: &mut Recorder<'_>, op: &Subtract<'_>) -> Result<()> {
        op.a.check("subtract: a", op.n_rows, op.y.width4)?;
        op.b.check("subtract: b", op.n_rows, op.y.width4)?;
        op.y.check("subtract: y", op.n_rows, op.y.width4)?;
        let params = Params {
            n_rows: dim(op.n_rows),
            n_in4: dim(op.y.width4),
            a_row: dim(op.a.first),
            b_row: dim(op.b.first),
            y_row: dim(op.y.first),
        };
        let invocations = [op.y.width4, op.n_rows, 1];
        let tensors = [op.a.tensor, op.b.tensor, op.y.tensor];
        rec.dispatch(&self.subtract, params, &tensors, invocations, 0.0);
        Ok(())
    }
}
