//! shaders/subtract.wgsl

use bytemuck::{Pod, Zeroable};

use crate::error::Result;
use crate::gpu::Recorder;

use super::{Kernels, Rows, groups};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    n_in4: u32,
    a_row: u32,
    b_row: u32,
    y_row: u32,
}

/// Operands of [`Kernels::subtract`]; all rows are equally long.
pub struct Subtract<'a> {
    /// From these. Shapes: \[rows, C4\].
    pub a: Rows<'a>,
    /// These are taken. Shapes: \[rows, C4\].
    pub b: Rows<'a>,
    /// Rows.
    pub n_rows: usize,
    /// Where they go. Shapes: \[rows, C4\].
    pub y: Rows<'a>,
}

impl Kernels {
    /// y = a − b.
    ///
    /// Errors: `bad-shape`.
    pub fn subtract(&self, rec: &mut Recorder<'_>, op: &Subtract<'_>) -> Result<()> {
        for rows in [op.a, op.b, op.y] {
            rows.check("subtract", op.n_rows)?;
        }
        let params = Params {
            n_rows: op.n_rows as u32,
            n_in4: op.y.width4 as u32,
            a_row: op.a.first as u32,
            b_row: op.b.first as u32,
            y_row: op.y.first as u32,
        };
        let size = [groups(op.y.width4, 64), op.n_rows as u32, 1];
        let tensors = [op.a.tensor, op.b.tensor, op.y.tensor];
        rec.dispatch(&self.subtract, params, &tensors, size, 0.0);
        Ok(())
    }
}
