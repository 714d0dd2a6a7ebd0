//! Ridge regression from sums of products, in f64.

use nalgebra::{Cholesky, DMatrix, DVector, Dyn};

use crate::config::single;
use crate::error::{Error, Result};

use super::Fitted;
use super::sums::Sums;

/// The equations of a row: sums of products about the means.
pub(super) struct Equations {
    /// Means of the row and of what it is to predict. Shapes: \[C\].
    pub(super) mean: DVector<f64>,
    mean_y: DVector<f64>,
    /// Shapes: \[C, C\].
    xx: DMatrix<f64>,
    xy: DMatrix<f64>,
}

impl Equations {
    /// From the sums over `n` positions, of which what is to be predicted has a shift and a sum of its own.
    pub(super) fn new(sums: Sums, (y_shift, y): &(Vec<f64>, DVector<f64>), n: f64) -> Equations {
        let Sums { shift, mut xx, mut xy, x } = sums;
        xx.ger(-1.0 / n, &x, &x, 1.0);
        xy.ger(-1.0 / n, &x, y, 1.0);
        let mean = |shift: &[f64], sum: &DVector<f64>| {
            DVector::from_iterator(sum.len(), shift.iter().zip(sum).map(|(p, sum)| p + sum / n))
        };
        Equations { mean: mean(&shift, &x), mean_y: mean(y_shift, y), xx, xy }
    }

    /// The left side with a ridge, relative to the mean variance of the row's channels.
    ///
    /// Errors: `bad-option` for a ridge that does not make the equations solvable, as of a row that is everywhere the same.
    pub(super) fn factor(&self, ridge: f64) -> Result<Cholesky<f64, Dyn>> {
        let c = self.mean.len();
        let added = ridge * self.xx.trace() / c as f64;
        let mut regular = self.xx.clone();
        (0..c).for_each(|i| regular[(i, i)] += added);
        Cholesky::new(regular).ok_or_else(|| {
            Error::option("ridge", "one that makes the equations solvable: a larger one", ridge)
        })
    }

    /// Gives up what only the solution needs.
    pub(super) fn forget_target(&mut self) {
        self.xy = DMatrix::zeros(0, 0);
    }

    /// The map for a ridge.
    ///
    /// Errors: those of [`Equations::factor`].
    pub(super) fn solve(&self, ridge: f64) -> Result<Fitted> {
        let weight = self.factor(ridge)?.solve(&self.xy);
        // A column of the transposed matrix is a row of the matrix.
        let mut point = weight.transpose().as_slice().to_vec();
        point.extend(self.mean_y.iter());
        Ok(self.map(&point))
    }

    /// y = (x − mean) W + constant, W with the constant as the last row, as y = x W + b. Shapes: \[C + 1, C\].
    pub(super) fn map(&self, point: &[f64]) -> Fitted {
        let c = self.mean.len();
        let (weight, constant) = point.split_at(c * c);
        let bias = self.shifted(weight, constant, -1.0);
        (weight.iter().map(|&v| single(v)).collect(), bias.map(single).collect())
    }

    /// The same backwards.
    pub(super) fn point(&self, (weight, bias): &Fitted) -> Vec<f64> {
        let wide = |values: &[f32]| values.iter().map(|&v| f64::from(v)).collect::<Vec<f64>>();
        let (mut point, bias) = (wide(weight), wide(bias));
        let constant: Vec<f64> = self.shifted(&point, &bias, 1.0).collect();
        point.extend(constant);
        point
    }

    /// constant + sign · mean W.
    fn shifted<'v>(
        &'v self,
        weight: &'v [f64],
        constant: &'v [f64],
        sign: f64,
    ) -> impl Iterator<Item = f64> + 'v {
        let rows = move |j: usize| weight.iter().skip(j).step_by(constant.len());
        let along = move |j: usize| rows(j).zip(self.mean.iter()).map(|(w, m)| w * m).sum::<f64>();
        constant.iter().enumerate().map(move |(j, constant)| constant + sign * along(j))
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use serde_json::Value;

    fn numbers(of: &Value) -> Vec<f64> {
        let all = of.as_array().expect("an array").iter();
        all.map(|number| number.as_f64().expect("a number")).collect()
    }

    /// The sums of rows about places that are near no mean.
    fn sums(x: &DMatrix<f64>, y: &DMatrix<f64>) -> (Sums, (Vec<f64>, DVector<f64>)) {
        let shift_of = |m: &DMatrix<f64>| -> Vec<f64> { m.row(3).iter().copied().collect() };
        let shifted = |m: &DMatrix<f64>| {
            let shift = shift_of(m);
            DMatrix::from_fn(m.nrows(), m.ncols(), |i, j| m[(i, j)] - shift[j])
        };
        let (a, b) = (shifted(x), shifted(y));
        let of_x = Sums {
            shift: shift_of(x),
            xx: a.transpose() * &a,
            xy: a.transpose() * &b,
            x: a.row_sum().transpose(),
        };
        (of_x, (shift_of(y), b.row_sum().transpose()))
    }

    #[test]
    fn maps_are_those_of_numpy() {
        let golden: Value =
            serde_json::from_str(include_str!("../../../tests/golden/lenses/ridge.json"))
                .expect("JSON");
        let (n, c) = (40, 7);
        let [x, y] = ["x", "y"].map(|name| DMatrix::from_row_slice(n, c, &numbers(&golden[name])));
        let (of_x, of_y) = sums(&x, &y);
        let equations = Equations::new(of_x, &of_y, n as f64);
        for fit in golden["fits"].as_array().expect("fits") {
            let ridge = fit["ridge"].as_f64().expect("a ridge");
            let map = equations.solve(ridge).expect("a map");
            for (got, exact) in [(&map.0, &fit["weight"]), (&map.1, &fit["bias"])] {
                let exact = numbers(exact);
                let size = exact.iter().map(|v| v * v).sum::<f64>().sqrt();
                let off =
                    got.iter().zip(&exact).map(|(g, e)| (f64::from(*g) - e).powi(2)).sum::<f64>();
                assert!(off.sqrt() / size < 1e-6, "{ridge}: {}", off.sqrt() / size);
            }
            // Forth and back, but for the rounding of the map.
            let again = equations.map(&equations.point(&map));
            for (a, b) in again.0.iter().chain(&again.1).zip(map.0.iter().chain(&map.1)) {
                assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0), "{a} {b}");
            }
        }
    }
}
