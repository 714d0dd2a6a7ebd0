//! A symmetric eigenproblem in steps, so that it can report progress and be stopped.

use std::cmp::Ordering;

use nalgebra::linalg::givens::GivensRotation;
use nalgebra::{DMatrix, DVector, SymmetricTridiagonal, Vector2, wilkinson_shift};

use crate::lens::descending;

/// Largest number of sweeps for each value; two are usual.
const MAX_SWEEPS: usize = 30;

/// A matrix that is brought to diagonal form: nalgebra makes it tridiagonal and computes the rotations;
/// the sweeps are run one at a time.
///
/// Source: Golub & Van Loan, Matrix Computations, §8.3: the implicit symmetric QR step.
pub struct Eigen {
    diagonal: DVector<f64>,
    off_diagonal: DVector<f64>,
    /// Its columns become the eigenvectors. Shapes: \[C, C\].
    vectors: DMatrix<f64>,
    /// Values beyond it have converged.
    end: usize,
    n_sweeps: usize,
}

impl Eigen {
    /// Starts with a symmetric matrix. Shapes: \[c, c\], c ≥ 1.
    pub fn new(matrix: &[f64], c: usize) -> Eigen {
        let matrix = DMatrix::from_column_slice(c, c, matrix);
        if c == 1 {
            let (diagonal, off_diagonal) = (matrix.column(0).into(), DVector::zeros(0));
            let vectors = DMatrix::identity(1, 1);
            return Eigen { diagonal, off_diagonal, vectors, end: 0, n_sweeps: 0 };
        }
        let (vectors, diagonal, off_diagonal) = SymmetricTridiagonal::new(matrix).unpack();
        Eigen { diagonal, off_diagonal, vectors, end: c - 1, n_sweeps: 0 }
    }

    /// Whether it is solved.
    pub fn is_done(&self) -> bool {
        self.end == 0
    }

    /// The share of the sweeps' work that is done, 0 to 1: a sweep over fewer values is shorter.
    pub fn done(&self) -> f64 {
        1.0 - (self.end as f64 / (self.diagonal.len() - 1).max(1) as f64).powi(2)
    }

    fn is_negligible(&self, i: usize) -> bool {
        let scale = self.diagonal[i].abs() + self.diagonal[i + 1].abs();
        // Also true of NaN, so that the sweeps end.
        self.off_diagonal[i].abs().partial_cmp(&(f64::EPSILON * scale)) != Some(Ordering::Greater)
    }

    /// One sweep.
    pub fn sweep(&mut self) {
        self.n_sweeps += 1;
        let is_stuck = self.n_sweeps > MAX_SWEEPS * self.diagonal.len();
        while self.end > 0 && (is_stuck || self.is_negligible(self.end - 1)) {
            self.end -= 1;
        }
        if self.end == 0 {
            return;
        }
        let end = self.end;
        let mut start = end - 1;
        while start > 0 && !self.is_negligible(start - 1) {
            start -= 1;
        }
        let (d, e) = (&mut self.diagonal, &mut self.off_diagonal);
        // The bulge that the shift makes is chased from the top to the bottom.
        let mut pair =
            Vector2::new(d[start] - wilkinson_shift(d[end - 1], d[end], e[end - 1]), e[start]);
        for i in start..end {
            let Some((rotation, norm)) = GivensRotation::cancel_y(&pair) else { break };
            let (c, s) = (rotation.c(), rotation.s());
            if i > start {
                e[i - 1] = norm;
            }
            let (a, b, between) = (d[i], d[i + 1], e[i]);
            d[i] = c * c * a + s * s * b - 2.0 * c * s * between;
            d[i + 1] = s * s * a + c * c * b + 2.0 * c * s * between;
            e[i] = c * s * (a - b) + between * (c * c - s * s);
            if i + 1 < end {
                pair = Vector2::new(e[i], -s * e[i + 1]);
                e[i + 1] *= c;
            }
            rotation.inverse().rotate_rows(&mut self.vectors.fixed_columns_mut::<2>(i));
        }
    }

    /// Eigenvalues and unit eigenvectors, largest value first. Shapes: \[C\], \[C, C\], a vector
    /// a row.
    pub fn finish(self) -> (Vec<f64>, Vec<f64>) {
        let order = descending(self.diagonal.as_slice());
        let vectors =
            order.iter().flat_map(|&i| self.vectors.column(i).iter().copied().collect::<Vec<_>>());
        (order.iter().map(|&i| self.diagonal[i]).collect(), vectors.collect())
    }
}
