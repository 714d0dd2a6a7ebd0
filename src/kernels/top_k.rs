//! shaders/top_k.wgsl

use bytemuck::{Pod, Zeroable};

use crate::error::{Error, Result};
use crate::gpu::{Recorder, Tensor};

use super::{Chunk, Kernels, MAX_K, PARTS, fits};

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    n_columns: u32,
    first_id: u32,
    is_first: u32,
    logits_row: u32,
    logits_stride: u32,
    logits_column: u32,
    k: u32,
}

/// Operands of [`Kernels::top_k`].
pub struct TopK<'a> {
    /// The logits to look through.
    pub chunk: Chunk<'a>,
    /// K, at most [`super::MAX_K`].
    pub k: usize,
    /// (logit, id) pairs. Shapes: \[rows, PARTS, K\].
    pub lists: &'a Tensor,
}

impl Kernels {
    /// Keeps the K largest logits of each row and part.
    ///
    /// Errors: `bad-shape`.
    pub fn top_k(&self, rec: &mut Recorder<'_>, op: &TopK<'_>) -> Result<()> {
        let chunk = &op.chunk;
        if op.k > MAX_K {
            return Err(Error::BadOption(format!("top_k is {}, expected at most {MAX_K}", op.k)));
        }
        chunk.check("top_k")?;
        fits("top_k", op.lists, 8 * chunk.n_rows * PARTS * op.k)?;
        let params = Params {
            n_rows: chunk.n_rows as u32,
            n_columns: chunk.n_columns as u32,
            first_id: chunk.first_id as u32,
            is_first: chunk.is_first.into(),
            logits_row: chunk.row as u32,
            logits_stride: chunk.stride as u32,
            logits_column: chunk.column as u32,
            k: op.k as u32,
        };
        let flops = (chunk.n_rows * chunk.n_columns) as f64;
        let size = [1, chunk.n_rows as u32, 1];
        rec.dispatch(&self.top_k, params, &[chunk.logits, op.lists], size, flops);
        Ok(())
    }
}
