//! shaders/semi_nmf.wgsl

use bytemuck::{Pod, Zeroable};

use crate::device::{Recorder, Source, Tensor, Work};
use crate::error::Result;

use super::{Kernels, Rows, check_floats, dim, source, span, span_mut};

pub(super) static SOURCE: Source =
    source!("semi_nmf", [16, 4, 1], [Read, Read, ReadWrite]; 1, on_cpu);

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    n4: u32,
    p_row: u32,
    g_row: u32,
}

/// Operands of [`Kernels::semi_nmf`].
pub struct SemiNmf<'a> {
    /// E · Fᵀ. Shapes: \[rows, N4\].
    pub p: Rows<'a>,
    /// G · N⁺ and G · N⁻ of the same rows, side by side, with N = F · Fᵀ. Shapes: \[rows, 2·N4\].
    pub products: &'a Tensor,
    /// Rows.
    pub n_rows: usize,
    /// What is multiplied. Shapes: \[rows, N4\].
    pub g: Rows<'a>,
}

impl Kernels {
    /// g = g · √((p⁺ + gN⁻) / (p⁻ + gN⁺)), element by element.
    ///
    /// Errors: `bad-shape`.
    /// Source: Ding, Li and Jordan 2010, *Convex and semi-nonnegative matrix factorizations*, equation 11.
    pub fn semi_nmf(&self, rec: &mut Recorder<'_>, op: &SemiNmf<'_>) -> Result<()> {
        let n4 = op.g.width4;
        op.g.check("semi_nmf: g", op.n_rows, n4)?;
        op.p.check("semi_nmf: p", op.n_rows, n4)?;
        check_floats("semi_nmf: products", op.products, &[op.p.first + op.n_rows, 8 * n4])?;
        let params = Params {
            n_rows: dim(op.n_rows),
            n4: dim(n4),
            p_row: dim(op.p.first),
            g_row: dim(op.g.first),
        };
        let tensors = [op.p.tensor, op.products, op.g.tensor];
        rec.dispatch(&self.semi_nmf, params, &tensors, [n4, op.n_rows, 1], 0.0);
        Ok(())
    }
}

/// A slab of rows.
fn on_cpu(work: &mut Work<'_>) {
    let p: Params = work.params();
    let slab = work.slab.clone();
    let (reads, mut writes) = work.operands();
    let n4 = p.n4 as usize;
    for row in slab {
        let of_p = p.p_row as usize + row;
        let here = span(reads.get(0), of_p, 1, n4);
        let products = span(reads.get(1), of_p, 1, 2 * n4);
        let g = span_mut(writes.get(0), p.g_row as usize + row, 1, n4);
        loupe_cpu::semi_nmf(here, products, g);
    }
}
