//! shaders/top_k.wgsl

use bytemuck::{Pod, Zeroable};

use crate::device::{Recorder, Source, Tensor, Work};
use crate::error::{Error, Result};

use super::{Chunk, Kernels, LANES, MAX_K, check_floats, dim, source, span_mut};

pub(super) static SOURCE: Source = source!("top_k" + "lens", [64, 1, 1], [Read, ReadWrite], LANES, MAX_K; 1, on_cpu, digest: best_of_rows, columns: |_| 2);

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
    /// The logits to search.
    pub chunk: Chunk<'a>,
    /// K, at most [`super::MAX_K`].
    pub k: usize,
    /// (logit, id) pairs. Shapes: \[rows, LANES, K\].
    pub lists: &'a Tensor,
}

impl Kernels {
    /// Keeps the K largest logits of each row and lane.
    ///
    /// Errors: `bad-option` for a K beyond [`super::MAX_K`], `bad-shape`.
    pub fn top_k(&self, rec: &mut Recorder<'_>, op: &TopK<'_>) -> Result<()> {
        let chunk = &op.chunk;
        if op.k > MAX_K {
            return Err(Error::option("top_k", format!("at most {MAX_K}"), op.k));
        }
        chunk.check("top_k: logits")?;
        check_floats("top_k: lists", op.lists, &[2, chunk.n_rows, LANES, op.k])?;
        let params = Params {
            n_rows: dim(chunk.n_rows),
            n_columns: dim(chunk.n_columns),
            first_id: dim(chunk.first_id),
            is_first: chunk.is_first.into(),
            logits_row: dim(chunk.row),
            logits_stride: dim(chunk.stride),
            logits_column: dim(chunk.column),
            k: dim(op.k),
        };
        let flops = (chunk.n_rows * chunk.n_columns) as f64;
        let invocations = [LANES, chunk.n_rows, 1];
        rec.dispatch(&self.top_k, params, &[chunk.logits, op.lists], invocations, flops);
        Ok(())
    }
}

/// A slab of rows.
fn on_cpu(work: &mut Work<'_>) {
    let p: Params = work.params();
    let slab = work.slab.clone();
    let (reads, mut writes) = work.operands();
    let k = p.k as usize;
    for row in slab {
        let from =
            (p.logits_row as usize + row) * p.logits_stride as usize + p.logits_column as usize;
        let logits = reads.get(0).get(from..from + p.n_columns as usize).unwrap_or(&[]);
        let lists: &mut [loupe_cpu::Best] = span_mut(writes.get(0), row, 1, LANES * k);
        if p.is_first == 1 {
            lists.fill(loupe_cpu::NO_BEST);
        }
        loupe_cpu::top_k(logits, p.first_id, k, lists);
    }
}

/// The K largest of each row: the lanes' lists of a CPU leave out what is not among them.
fn best_of_rows(params: &[u8], lists: &[f32]) -> Vec<f32> {
    let Some(p) = params.get(..size_of::<Params>()).map(bytemuck::pod_read_unaligned::<Params>)
    else {
        return Vec::new();
    };
    let k = p.k as usize;
    let lists: &[loupe_cpu::Best] = bytemuck::cast_slice(lists);
    let rows = lists.chunks_exact((LANES * k).max(1)).take(p.n_rows as usize);
    let best_of = |row: &[loupe_cpu::Best]| {
        let mut best = vec![loupe_cpu::NO_BEST; k];
        loupe_cpu::merge_lists(row, k, &mut best);
        best
    };
    rows.flat_map(best_of).flatten().collect()
}
