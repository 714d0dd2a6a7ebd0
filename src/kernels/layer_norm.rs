//! shaders/layer_norm.wgsl

use bytemuck::{Pod, Zeroable};

use crate::error::Result;
use crate::gpu::{Recorder, Tensor};

use super::{Kernels, Rows, fits, groups};

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
    /// Gain and bias, `None` to leave them out. Shapes: \[C4\] each.
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
        op.x.check("layer_norm", op.n_rows)?;
        op.y.check("layer_norm", op.n_rows)?;
        let (gain, bias) = op.affine.unwrap_or((&self.nothing, &self.nothing));
        if op.affine.is_some() {
            fits("layer_norm", gain, 4 * op.n_embd)?;
            fits("layer_norm", bias, 4 * op.n_embd)?;
        }
        let params = Params {
            n_rows: op.n_rows as u32,
            n_embd: op.n_embd as u32,
            x_row: op.x.first as u32,
            y_row: op.y.first as u32,
            affine: op.affine.is_some().into(),
            epsilon: op.epsilon,
        };
        let tensors = [op.x.tensor, gain, bias, op.y.tensor];
        rec.dispatch(&self.layer_norm, params, &tensors, [groups(op.n_rows, 32), 1, 1], 0.0);
        Ok(())
    }
}
