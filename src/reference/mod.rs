//! The CPU twin of every kernel: same names, plain row-major slices without padding.
//!
//! Each twin is generic over the type it sums in. In f64 it is the oracle; in f32 it shows what a
//! plain sum costs, which is the tolerance a kernel is held to.

mod attention;
mod dense;
mod lens;
mod top_k;

pub use attention::attention;
pub use dense::{embed, gather_dot, gelu, gram, layer_norm, matmul, subtract};
pub use lens::{Columns, Moments, Weight, rank};
pub use top_k::top_k;

/// What the twins sum in: f32 or f64.
pub trait Real: num_traits::Float + std::iter::Sum + std::ops::AddAssign + std::fmt::Debug {
    /// Widens a stored value.
    fn of(value: f32) -> Self;
    /// Takes a constant.
    fn constant(value: f64) -> Self;
    /// As f64, for comparisons.
    fn wide(self) -> f64;
}

impl Real for f32 {
    fn of(value: f32) -> f32 {
        value
    }
    fn constant(value: f64) -> f32 {
        value as f32
    }
    fn wide(self) -> f64 {
        self.into()
    }
}

impl Real for f64 {
    fn of(value: f32) -> f64 {
        value.into()
    }
    fn constant(value: f64) -> f64 {
        value
    }
    fn wide(self) -> f64 {
        self
    }
}
