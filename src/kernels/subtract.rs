//! shaders/subtract.wgsl

use bytemuck::{Pod, Zeroable};

use crate::device::{Recorder, Source, Work};
use crate::error::Result;

use super::{Kernels, Rows, dim, source, span, span_mut};

pub(super) static SOURCE: Source =
    source!("subtract", [64, 1, 1], [Read, Read, ReadWrite]; 1, on_cpu);

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

/// A slab of rows.
fn on_cpu(work: &mut Work<'_>) {
    let p: Params = work.params();
    let (first, n, width) = (work.slab.start, work.slab.len(), p.n_in4 as usize);
    let (reads, mut writes) = work.operands();
    loupe_cpu::subtract(
        span(reads.get(0), p.a_row as usize + first, n, width),
        span(reads.get(1), p.b_row as usize + first, n, width),
        span_mut(writes.get(0), p.y_row as usize + first, n, width),
    );
}
