//! shaders/blend.wgsl

use std::ops::Range;

use bytemuck::{Pod, Zeroable};

use crate::device::{Recorder, Source, Work};
use crate::error::Result;

use super::{Kernels, Rows, bad_shape, dim, source, span, span_mut};

pub(super) static SOURCE: Source = source!("blend", [64, 1, 1], [Read, ReadWrite]; 1, on_cpu);

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct Params {
    n_rows: u32,
    n_in4: u32,
    x_row: u32,
    x_step: u32,
    y_row: u32,
    first: u32,
    end: u32,
    adds: u32,
    scale: f32,
}

/// Operands of [`Kernels::blend`]; all rows have the same length.
#[derive(Clone)]
pub struct Blend<'a> {
    /// What is written. Shapes: \[rows, C4\].
    pub x: Rows<'a>,
    /// Whether the first row of x is for all rows of y.
    pub is_one: bool,
    /// Factor on x.
    pub scale: f32,
    /// Whether it is added to what is there, instead of taking its place.
    pub adds: bool,
    /// The channels that are written.
    pub channels: Range<usize>,
    /// Rows.
    pub n_rows: usize,
    /// Where it is written. Shapes: \[rows, C4\].
    pub y: Rows<'a>,
}

impl Kernels {
    /// y = scale · x, or y + scale · x, in some channels; the others keep their values.
    ///
    /// Errors: `bad-shape`.
    pub fn blend(&self, rec: &mut Recorder<'_>, op: &Blend<'_>) -> Result<()> {
        op.x.check("blend: x", if op.is_one { 1 } else { op.n_rows }, op.y.width4)?;
        op.y.check("blend: y", op.n_rows, op.y.width4)?;
        if op.channels.start > op.channels.end || op.channels.end > 4 * op.y.width4 {
            let got = [op.channels.start, op.channels.end];
            return Err(bad_shape("blend: channels", &[0, 4 * op.y.width4], &got));
        }
        let params = Params {
            n_rows: dim(op.n_rows),
            n_in4: dim(op.y.width4),
            x_row: dim(op.x.first),
            x_step: (!op.is_one).into(),
            y_row: dim(op.y.first),
            first: dim(op.channels.start),
            end: dim(op.channels.end),
            adds: op.adds.into(),
            scale: op.scale,
        };
        let invocations = [op.y.width4, op.n_rows, 1];
        rec.dispatch(&self.blend, params, &[op.x.tensor, op.y.tensor], invocations, 0.0);
        Ok(())
    }
}

/// A slab of rows.
fn on_cpu(work: &mut Work<'_>) {
    let p: Params = work.params();
    let slab = work.slab.clone();
    let (reads, mut writes) = work.operands();
    let width = p.n_in4 as usize;
    for row in slab {
        let x = span(reads.get(0), p.x_row as usize + row * p.x_step as usize, 1, width);
        let y = span_mut(writes.get(0), p.y_row as usize + row, 1, width);
        loupe_cpu::blend(p.scale, x, p.adds == 1, p.first as usize..p.end as usize, y);
    }
}
