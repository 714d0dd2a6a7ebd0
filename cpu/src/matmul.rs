//! y = activation(x W + bias) + residual.
//!
//! A panel of a few groups of columns is decoded once for all rows; tiles of four rows and eight columns are summed in
//! registers. Every element is one chain over k = 0, 1, …, and `matmul_element` repeats it.

use std::ops::Range;

use wide::{CmpLt, f32x4};

use crate::exp::exp;
use crate::weights::{Layout, Stored};

/// Groups of four columns that are decoded together: a cache line of halves where they lie side by side.
const PANEL: usize = 8;
/// Groups of four columns in a tile.
const TILE: usize = 2;
/// Rows in a tile.
const ROWS: usize = 4;

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
            // NaN stays.
            Activation::Relu => value.cmp_lt(f32x4::ZERO).blend(f32x4::ZERO, value),
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
    let rows = side_by_side(x, at);
    let mut panels = Vec::new();
    let mut start = columns.start;
    while start < columns.end {
        let n_groups = PANEL.min(columns.end - start);
        weights.decode(layout, start, n_groups, n_in, &mut panels);
        let from = at.y_column + (start - columns.start);
        for (t, panel) in panels.chunks_exact(n_in.max(1)).enumerate() {
            let n_tile = TILE.min(n_groups - t * TILE);
            let part = Part { n_tile, group: start + t * TILE, y_group: from + t * TILE };
            for (quad, x) in rows.chunks_exact(n_in.max(1)).enumerate() {
                let row = quad * ROWS;
                match at.n_rows - row {
                    1 => part.write(row, &tile1(panel, x), finish, at, y),
                    2 => part.write(row, &tile2(panel, x), finish, at, y),
                    3 => part.write(row, &tile3(panel, x), finish, at, y),
                    _ => part.write(row, &tile4(panel, x), finish, at, y),
                }
            }
        }
        start += n_groups;
    }
}

/// The sums of a tile: of each row eight columns.
type Sums<const R: usize> = [[f32x4; TILE]; R];

/// The rows of x in fours: of each input the four numbers; zeros in place of rows that are missing.
fn side_by_side(x: &[[f32; 4]], at: &Places) -> Vec<[f32; ROWS]> {
    let n_in = 4 * at.n_in4;
    let mut fours = vec![[0.0; ROWS]; at.n_rows.div_ceil(ROWS) * n_in];
    let x = x.get(at.x_row * at.n_in4..).unwrap_or_default().as_flattened();
    for (row, values) in x.chunks_exact(n_in.max(1)).enumerate().take(at.n_rows) {
        let four = fours.iter_mut().skip(row / ROWS * n_in);
        for (four, &value) in four.zip(values) {
            four[row % ROWS] = value;
        }
    }
    fours
}

/// Sums of some rows, in registers: the rows are names, because an array that is indexed in a loop goes to memory.
macro_rules! tile {
    ($name:ident, $n:literal, [$($value:ident),*], $($sums:ident $row:ident)*) => {
        #[inline(always)]
        fn $name(panel: &[[f32; 8]], x: &[[f32; ROWS]]) -> Sums<$n> {
            $(let mut $sums = [f32x4::ZERO; TILE];)*
            for (w, &[$($value),*]) in panel.iter().zip(x) {
                let [w0, w1, w2, w3, w4, w5, w6, w7] = *w;
                let (low, high) = (f32x4::from([w0, w1, w2, w3]), f32x4::from([w4, w5, w6, w7]));
                $(
                    let value = f32x4::splat($row);
                    $sums[0] += value * low;
                    $sums[1] += value * high;
                )*
            }
            [$($sums),*]
        }
    };
}
tile!(tile1, 1, [v0, _v1, _v2, _v3], a v0);
tile!(tile2, 2, [v0, v1, _v2, _v3], a v0 b v1);
tile!(tile3, 3, [v0, v1, v2, _v3], a v0 b v1 c v2);
tile!(tile4, 4, [v0, v1, v2, v3], a v0 b v1 c v2 d v3);

/// A tile's columns.
struct Part {
    /// Groups in the tile.
    n_tile: usize,
    /// Of W.
    group: usize,
    /// Of y.
    y_group: usize,
}

impl Part {
    #[inline(always)]
    fn write<const R: usize>(
        &self,
        first: usize,
        sums: &Sums<R>,
        finish: Finish<'_>,
        at: &Places,
        y: &mut [[f32; 4]],
    ) {
        for (r, sums) in sums.iter().enumerate() {
            for (g, &sum) in sums.iter().enumerate().take(self.n_tile) {
                let residual_at = (at.residual_row + first + r) * at.y_stride + self.y_group + g;
                let to = (at.y_row + first + r) * at.y_stride + self.y_group + g;
                if let Some(out) = y.get_mut(to) {
                    *out = finish.apply(sum, self.group + g, residual_at);
                }
            }
        }
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
