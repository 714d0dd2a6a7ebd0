//! shaders/cross.wgsl

use bytemuck::{Pod, Zeroable};

use crate::device::{Recorder, Source, Tensor, Work};
use crate::error::Result;

use super::{Kernels, Rows, check_floats, dim, source, span};

pub(super) static SOURCE: Source =
    source!("cross", [8, 8, 1], [Read, Read, Read, Read, ReadWrite]; 1, on_cpu);

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    a_row: u32,
    b_row: u32,
    n_a4: u32,
    n_b4: u32,
    adds: u32,
}

/// Operands of [`Kernels::cross`].
pub struct Cross<'a> {
    /// Shapes: \[rows, A4\].
    pub a: Rows<'a>,
    /// Subtracted from each row of a. Shapes: \[A4\].
    pub p: &'a Tensor,
    /// Shapes: \[rows, B4\].
    pub b: Rows<'a>,
    /// Subtracted from each row of b. Shapes: \[B4\].
    pub q: &'a Tensor,
    /// Rows to sum over.
    pub n_rows: usize,
    /// Whether the sums are added to what y has.
    pub adds: bool,
    /// Shapes: \[A4, B4\].
    pub y: &'a Tensor,
}

impl Kernels {
    /// y\[i, j\] = Σ (a\[t, i\] − p\[i\])·(b\[t, j\] − q\[j\]) over the rows t.
    ///
    /// Errors: `bad-shape`.
    pub fn cross(&self, rec: &mut Recorder<'_>, op: &Cross<'_>) -> Result<()> {
        let (a4, b4) = (op.a.width4, op.b.width4);
        op.a.check("cross: a", op.n_rows, a4)?;
        op.b.check("cross: b", op.n_rows, b4)?;
        check_floats("cross: p", op.p, &[4 * a4])?;
        check_floats("cross: q", op.q, &[4 * b4])?;
        check_floats("cross: y", op.y, &[4 * a4, 4 * b4])?;
        let params = Params {
            n_rows: dim(op.n_rows),
            a_row: dim(op.a.first),
            b_row: dim(op.b.first),
            n_a4: dim(a4),
            n_b4: dim(b4),
            adds: op.adds.into(),
        };
        let tensors = [op.a.tensor, op.p, op.b.tensor, op.q, op.y];
        let flops = 2.0 * (16 * a4 * b4) as f64 * op.n_rows as f64;
        rec.dispatch(&self.cross, params, &tensors, [b4, a4, 1], flops);
        Ok(())
    }
}

/// A slab of groups of four channels of a.
fn on_cpu(work: &mut Work<'_>) {
    let p: Params = work.params();
    let slab = work.slab.clone();
    let (reads, mut writes) = work.operands();
    let (a4, b4, n) = (p.n_a4 as usize, p.n_b4 as usize, p.n_rows as usize);
    let a = span(reads.get(0), p.a_row as usize, n, a4);
    let b = span(reads.get(2), p.b_row as usize, n, b4);
    loupe_cpu::cross(
        (a, reads.get(1), a4),
        (b, reads.get(3), b4),
        slab,
        p.adds == 1,
        writes.get(0),
    );
}
