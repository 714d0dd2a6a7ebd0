//! y = activation(x W + bias) + residual.
//!
//! A panel of a few groups of columns is decoded once for all rows; tiles of four rows and eight columns are summed in
//! registers. Every element is one chain over k = 0, 1, …, and `matmul_element` repeats it.

use std::ops::Range;

use wide::f32x4;

use crate::exp::exp;
use crate::weights::{Layout, Stored};

/// Groups of four columns that are decoded together: a cache line of halves where they lie side by side.
const PANEL: usize = 8;
/// Groups of four columns in a tile.
const TILE: usize = 2;

/// What is done to x W + bias.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// GELU in the tanh form.
    Gelu,
    /// The positive part.
    Relu,
}

/// What becomes of the sums.
#[derive(Clone, Copy)]
pub struct Finish<'a> {
    /// Of the columns of W.
    pub bias: Option<&'a [[f32; 4]]>,
    /// Applied to x W + bias.
    pub activation: Activation,
    /// Added at the end. Shapes: as `y`.
    pub residual: Option<&'a [[f32; 4]]>,
}

impl Finish<'_> {
    #[inline(always)]
    fn apply(&self, sum: f32x4, group: usize, residual_at: usize) -> [f32; 4] {
        let at = |of: &[[f32; 4]], i: usize| f32x4::from(of.get(i).copied().unwrap_or_default());
        let mut value = sum;
        if let Some(bias) = self.bias {
            value += at(bias, group);
        }
        value = match self.activation {
            Activation::None => value,
            Activation::Gelu => gelu(value),
            Activation::Relu => value.fast_max(f32x4::ZERO),
        };
        if let Some(residual) = self.residual {
            value += at(residual, residual_at);
        }
        value.to_array()
    }
}

/// v (1 + tanh u) / 2 = v / (1 + e^(−2u)), with u = √(2/π) (v + 0.044715 v³). Where e^(−2u) is infinite, v is 0 beside it.
#[inline(always)]
fn gelu(v: f32x4) -> f32x4 {
    let u = (v + f32x4::splat(0.044_715) * v * v * v) * f32x4::splat(0.797_884_6);
    let e = exp((u * f32x4::splat(-2.0)).fast_min(f32x4::splat(80.0)));
    v / (f32x4::ONE + e)
}

/// The operands' places: groups of four floats throughout.
pub struct Places {
    /// Rows to compute.
    pub n_rows: usize,
    /// Groups in a row of x.
    pub n_in4: usize,
    /// First row of x.
    pub x_row: usize,
    /// First row of y.
    pub y_row: usize,
    /// Groups in a row of y and of the residual.
    pub y_stride: usize,
    /// Group in a row of y at which column group `columns.start` belongs.
    pub y_column: usize,
    /// First row of the residual.
    pub residual_row: usize,
}

/// Computes some groups of columns of y for all rows.
///
/// Shapes: x \[rows, K4 / 4\], y \[rows, stride\], in groups of four.
#[inline(never)]
pub fn matmul(
    x: &[[f32; 4]],
    weights: Stored<'_>,
    layout: Layout,
    columns: Range<usize>,
    finish: Finish<'_>,
    at: &Places,
    y: &mut [[f32; 4]],
) {
    let n_in = 4 * at.n_in4;
    let mut panel = Vec::new();
    let mut start = columns.start;
    while start < columns.end {
        let n_groups = PANEL.min(columns.end - start);
        weights.decode(layout, start, n_groups, n_in, &mut panel);
        let from = at.y_column + (start - columns.start);
        for tile in (0..n_groups).step_by(TILE) {
            let n_tile = TILE.min(n_groups - tile);
            let mut row = 0;
            while row < at.n_rows {
                let part = Part {
                    panel: &panel,
                    n_groups,
                    tile,
                    n_tile,
                    group: start + tile,
                    y_group: from + tile,
                };
                let n = at.n_rows - row;
                match n {
                    1 => part.rows::<1>(x, row, finish, at, y),
                    2 => part.rows::<2>(x, row, finish, at, y),
                    3 => part.rows::<3>(x, row, finish, at, y),
                    _ => part.rows::<4>(x, row, finish, at, y),
                }
                row += 4;
            }
        }
        start += n_groups;
    }
}

/// A tile's columns.
struct Part<'a> {
    panel: &'a [[f32; 4]],
    /// In a row of the panel.
    n_groups: usize,
    /// First group in the panel.
    tile: usize,
    /// Groups in the tile.
    n_tile: usize,
    /// Of W.
    group: usize,
    /// Of y.
    y_group: usize,
}

impl Part<'_> {
    /// A tile of `R` rows.
    #[inline(always)]
    fn rows<const R: usize>(
        &self,
        x: &[[f32; 4]],
        first: usize,
        finish: Finish<'_>,
        at: &Places,
        y: &mut [[f32; 4]],
    ) {
        let inputs: [&[[f32; 4]]; R] = std::array::from_fn(|r| {
            let from = (at.x_row + first + r) * at.n_in4;
            x.get(from..from + at.n_in4).unwrap_or_default()
        });
        let sums = if self.n_tile == TILE {
            self.sums::<R, TILE>(inputs)
        } else {
            self.sums::<R, 1>(inputs).map(|[sum]| [sum, f32x4::ZERO])
        };
        for (r, sums) in sums.into_iter().enumerate() {
            for (g, sum) in sums.into_iter().enumerate().take(self.n_tile) {
                let residual_at = (at.residual_row + first + r) * at.y_stride + self.y_group + g;
                let to = (at.y_row + first + r) * at.y_stride + self.y_group + g;
                if let Some(out) = y.get_mut(to) {
                    *out = finish.apply(sum, self.group + g, residual_at);
                }
            }
        }
    }

    #[inline(always)]
    fn sums<const R: usize, const G: usize>(&self, inputs: [&[[f32; 4]]; R]) -> [[f32x4; G]; R] {
        let mut sums = [[f32x4::ZERO; G]; R];
        let step = 4 * self.n_groups;
        let rows = self.panel.chunks_exact(step);
        for (k4, four) in rows.enumerate() {
            let values: [[f32; 4]; R] =
                std::array::from_fn(|r| inputs[r].get(k4).copied().unwrap_or_default());
            for (i, row) in four.chunks_exact(self.n_groups).enumerate().take(4) {
                let Some(groups) = row.get(self.tile..).and_then(|rest| rest.first_chunk::<G>())
                else {
                    continue;
                };
                let w = groups.map(f32x4::from);
                for (sums, values) in sums.iter_mut().zip(&values) {
                    let value = f32x4::splat(values[i]);
                    for (sum, &w) in sums.iter_mut().zip(&w) {
                        *sum += value * w;
                    }
                }
            }
        }
        sums
    }
}

/// x · W\[:, column\] of one row, by the same chain.
#[inline(never)]
pub fn matmul_element(x: &[[f32; 4]], weights: Stored<'_>, layout: Layout, column: usize) -> f32 {
    let mut at = column / 4 * layout.stride_out;
    let mut sum = 0.0;
    for value in x.as_flattened() {
        let w = weights.group(at)[column % 4];
        // As above: a product, then a sum.
        sum += value * w;
        at += layout.stride_in;
    }
    sum
}
