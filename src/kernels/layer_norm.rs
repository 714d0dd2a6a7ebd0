//! shaders/layer_norm.wgsl, shaders/layer_norm_shared.wgsl

use bytemuck::{Pod, Zeroable};

use crate::device::{Recorder, Source, Tensor, Work};
use crate::error::Result;

use super::{Kernels, Rows, check_floats, dim, pad4, source, span, span_mut};

pub(super) static SOURCE: Source =
    source!("layer_norm" + "layer_norm", [32, 1, 1], [Read, Read, Read, ReadWrite]; 0, on_cpu);
/// A workgroup for each row.
pub(super) static SHARED: Source = Source {
    file: "layer_norm_shared",
    wgsl: &[
        include_str!("../../shaders/layer_norm_shared.wgsl"),
        include_str!("../../shaders/shared/layer_norm.wgsl"),
    ],
    covers: [1, 1, 1],
    ..SOURCE
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    n_embd: u32,
    x_row: u32,
    y_row: u32,
    affine: u32,
    epsilon: f32,
}

/// Operands of [`Kernels::layer_norm`].
pub struct LayerNorm<'a> {
    /// Input rows.
    pub x: Rows<'a>,
    /// Gain and bias; `None` for neither. Shapes: \[C4\] each.
    pub affine: Option<(&'a Tensor, &'a Tensor)>,
    /// Added to the variance.
    pub epsilon: f32,
    /// C.
    pub n_embd: usize,
    /// Rows to normalise.
    pub n_rows: usize,
    /// Output rows.
    pub y: Rows<'a>,
}

impl Kernels {
    /// Normalises each row by its own mean and variance.
    ///
    /// Errors: `bad-shape`.
    pub fn layer_norm(&self, rec: &mut Recorder<'_>, op: &LayerNorm<'_>) -> Result<()> {
        let width = pad4(op.n_embd);
        op.x.check("layer_norm: x", op.n_rows, width / 4)?;
        op.y.check("layer_norm: y", op.n_rows, width / 4)?;
        let (gain, bias) = op.affine.unwrap_or((&self.no_input, &self.no_input));
        if op.affine.is_some() {
            check_floats("layer_norm: gain", gain, &[width])?;
            check_floats("layer_norm: bias", bias, &[width])?;
        }
        let params = Params {
            n_rows: dim(op.n_rows),
            n_embd: dim(op.n_embd),
            x_row: dim(op.x.first),
            y_row: dim(op.y.first),
            affine: op.affine.is_some().into(),
            epsilon: op.epsilon,
        };
        let tensors = [op.x.tensor, gain, bias, op.y.tensor];
        rec.dispatch(&self.choice.layer_norm(), params, &tensors, [op.n_rows, 1, 1], 0.0);
        Ok(())
    }
}

/// A slab of rows.
fn on_cpu(work: &mut Work<'_>) {
    let p: Params = work.params();
    let slab = work.slab.clone();
    let (reads, mut writes) = work.operands();
    let (n_embd, width) = (p.n_embd as usize, pad4(p.n_embd as usize) / 4);
    let affine = (p.affine == 1).then(|| (reads.get(1), reads.get(2)));
    for row in slab {
        let x = span(reads.get(0), p.x_row as usize + row, 1, width);
        let y = span_mut(writes.get(0), p.y_row as usize + row, 1, width);
        loupe_cpu::layer_norm(x, affine, n_embd, p.epsilon, y);
    }
}
