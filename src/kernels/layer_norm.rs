//! shaders/layer_norm.wgsl, shaders/layer_norm_shared.wgsl

use bytemuck::{Pod, Zeroable};

use crate::device::{Recorder, Source, Tensor, Work};
use crate::error::Result;

use super::{Kernels, Rows, bad_shape, check_floats, dim, pad4, source, span, span_mut, wgsl};

pub(super) static SOURCE: Source = source!("layer_norm" + "layer_norm", [32, 1, 1], [Read, Read, Read, Read, Read, Read, Read, ReadWrite], MAX_INPUTS; 0, on_cpu);
/// Tensors whose rows are normalised in one dispatch: with gain, bias and output as many as WebGPU's default limit has room
/// for.
pub const MAX_INPUTS: usize = 5;
/// A workgroup for each row.
pub(super) static SHARED: Source = Source {
    file: "layer_norm_shared",
    wgsl: &[wgsl!("layer_norm_shared"), wgsl!("shared/layer_norm")],
    covers: [1, 1, 1],
    ..SOURCE
};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    n_inputs: u32,
    n_embd: u32,
    x_row: u32,
    y_row: u32,
    affine: u32,
    centred: u32,
    epsilon: f32,
}

/// Operands of [`Kernels::layer_norm`].
pub struct LayerNorm<'a> {
    /// Input rows.
    pub x: Rows<'a>,
    /// Up to four more tensors with the same rows, which are normalised after those of `x`.
    pub others: &'a [&'a Tensor],
    /// Gain and bias; `None` for neither. Shapes: \[C4\] each.
    pub affine: Option<(&'a Tensor, &'a Tensor)>,
    /// Added to the variance; `None` to take the rows as they are, without mean and variance.
    pub epsilon: Option<f32>,
    /// C.
    pub n_embd: usize,
    /// Rows to normalise of each tensor.
    pub n_rows: usize,
    /// Output rows: those of the first tensor, then those of the next.
    pub y: Rows<'a>,
}

impl Kernels {
    /// Normalises each row by its own mean and variance, or takes it as it is; then gain and bias.
    ///
    /// Errors: `bad-shape`.
    pub fn layer_norm(&self, rec: &mut Recorder<'_>, op: &LayerNorm<'_>) -> Result<()> {
        let width = pad4(op.n_embd);
        let n_inputs = 1 + op.others.len();
        if n_inputs > MAX_INPUTS {
            return Err(bad_shape("layer_norm: others", &[MAX_INPUTS - 1], &[op.others.len()]));
        }
        let mut inputs = [op.x.tensor; MAX_INPUTS];
        for (input, other) in inputs[1..].iter_mut().zip(op.others) {
            *input = other;
        }
        for tensor in &inputs[..n_inputs] {
            Rows { tensor, ..op.x }.check("layer_norm: x", op.n_rows, width / 4)?;
        }
        op.y.check("layer_norm: y", n_inputs * op.n_rows, width / 4)?;
        let (gain, bias) = op.affine.unwrap_or((&self.no_input, &self.no_input));
        if op.affine.is_some() {
            check_floats("layer_norm: gain", gain, &[width])?;
            check_floats("layer_norm: bias", bias, &[width])?;
        }
        let params = Params {
            n_rows: dim(op.n_rows),
            n_inputs: dim(n_inputs),
            n_embd: dim(op.n_embd),
            x_row: dim(op.x.first),
            y_row: dim(op.y.first),
            affine: op.affine.is_some().into(),
            centred: op.epsilon.is_some().into(),
            epsilon: op.epsilon.unwrap_or_default(),
        };
        let [a, b, c, d, e] = inputs;
        let tensors = [a, b, c, d, e, gain, bias, op.y.tensor];
        let invocations = [n_inputs * op.n_rows, 1, 1];
        rec.dispatch(&self.choice.layer_norm(), params, &tensors, invocations, 0.0);
        Ok(())
    }
}

/// A slab of rows.
fn on_cpu(work: &mut Work<'_>) {
    let p: Params = work.params();
    let slab = work.slab.clone();
    let (reads, mut writes) = work.operands();
    let (n_embd, width) = (p.n_embd as usize, pad4(p.n_embd as usize) / 4);
    let affine = (p.affine == 1).then(|| (reads.get(MAX_INPUTS), reads.get(MAX_INPUTS + 1)));
    let n_rows = p.n_rows.max(1) as usize;
    let epsilon = (p.centred == 1).then_some(p.epsilon);
    for row in slab {
        let x = span(reads.get(row / n_rows), p.x_row as usize + row % n_rows, 1, width);
        let y = span_mut(writes.get(0), p.y_row as usize + row, 1, width);
        loupe_cpu::layer_norm(x, affine, n_embd, epsilon, y);
    }
}
