//! shaders/attention.wgsl, shaders/attention_shared.wgsl

use bytemuck::{Pod, Zeroable};

use crate::device::{Recorder, Source, Tensor, Work};
use crate::error::Result;

use super::{Kernels, bad_shape, check_floats, dim, pad4, source, wgsl};

pub(super) static SOURCE: Source =
    source!("attention" + "attention", [16, 4, 1], [Read, Read, Read, ReadWrite], TILE; 0, on_cpu);
/// A workgroup for 16 queries of a head.
pub(super) static SHARED: Source = Source {
    file: "attention_shared",
    wgsl: &[wgsl!("attention_shared"), wgsl!("shared/attention")],
    workgroup: [16, 16, 1],
    covers: [16, 1, 4],
    constants: &[("MAX_DIM", MAX_DIM)],
    ..SOURCE
};

/// Output channels that one invocation computes.
const TILE: usize = 32;
/// Widest head of the form for a workgroup.
pub(super) const MAX_DIM: usize = 128;
const _: () = assert!(MAX_DIM == 4 * TILE, "a workgroup has all channels of a head");

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    n_each: u32,
    first_position: u32,
    n_head: u32,
    head_dim: u32,
    stride: u32,
    scale: f32,
    window: u32,
}

/// Operands of [`Kernels::attention`]. `q` and `y` start at their row 0.
pub struct Attention<'a> {
    /// Queries of this block. Shapes: \[rows, C4\].
    pub q: &'a Tensor,
    /// Keys of every position so far. Shapes: \[T, C4\].
    pub k: &'a Tensor,
    /// Values of every position so far. Shapes: \[T, C4\].
    pub v: &'a Tensor,
    /// Position of the first query of each run.
    pub first_position: usize,
    /// Queries of all runs.
    pub n_rows: usize,
    /// Runs of the same length, one after the other; they share the keys and values before the first position.
    pub n_runs: usize,
    /// H.
    pub n_head: usize,
    /// D.
    pub head_dim: usize,
    /// Factor on q·k.
    pub scale: f32,
    /// Positions that a query attends to, its own included; `None` for all up to it.
    pub window: Option<usize>,
    /// The heads' outputs side by side. Shapes: \[rows, C4\].
    pub y: &'a Tensor,
}

impl Kernels {
    /// Causal attention of a block of queries over the keys up to each, within the window.
    ///
    /// Errors: `bad-shape`.
    pub fn attention(&self, rec: &mut Recorder<'_>, op: &Attention<'_>) -> Result<()> {
        let width = op.n_head * op.head_dim;
        let n_each = op.n_rows / op.n_runs.max(1);
        if n_each * op.n_runs != op.n_rows {
            return Err(bad_shape("attention: rows of each run", &[op.n_runs], &[op.n_rows]));
        }
        let n_keys = op.first_position + op.n_rows;
        let stride = pad4(width);
        check_floats("attention: q", op.q, &[op.n_rows, stride])?;
        check_floats("attention: k", op.k, &[n_keys, stride])?;
        check_floats("attention: v", op.v, &[n_keys, stride])?;
        check_floats("attention: y", op.y, &[op.n_rows, stride])?;
        let params = Params {
            n_rows: dim(op.n_rows),
            n_each: dim(n_each.max(1)),
            first_position: dim(op.first_position),
            n_head: dim(op.n_head),
            head_dim: dim(op.head_dim),
            stride: dim(stride),
            scale: op.scale,
            window: op.window.map_or(u32::MAX, dim),
        };
        let invocations = [op.n_rows, op.n_head, op.head_dim.div_ceil(TILE)];
        let most = op.first_position + n_each;
        let seen = most.min(op.window.unwrap_or(most));
        let flops = 4.0 * (op.n_rows * seen) as f64 * width as f64;
        let kernel = self.choice.attention(op.head_dim, op.n_runs);
        rec.dispatch(&kernel, params, &[op.q, op.k, op.v, op.y], invocations, flops);
        Ok(())
    }
}

/// A slab of queries, for all heads.
fn on_cpu(work: &mut Work<'_>) {
    let p: Params = work.params();
    let slab = work.slab.clone();
    let (reads, mut writes) = work.operands();
    let heads = loupe_cpu::Heads {
        n_head: p.n_head as usize,
        head_dim: p.head_dim as usize,
        stride: p.stride as usize,
        scale: p.scale,
        window: p.window as usize,
        first_position: p.first_position as usize,
        n_each: p.n_each as usize,
    };
    loupe_cpu::attention(reads.get(0), reads.get(1), reads.get(2), heads, slab, writes.get(0));
}
