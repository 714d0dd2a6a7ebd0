//! The CPU twin of every kernel: the same names, one file each, on plain row-major slices without padding.
//!
//! Only tests, benchmarks and examples name this module. Each twin is generic over the type it sums in.
//! In f64 it is the oracle; in f32 it shows the rounding of a plain sum, which is a kernel's tolerance.

mod attention;
mod blend;
mod cross;
mod divergence;
mod embed;
mod gather_dot;
mod gram;
mod layer_norm;
mod lens_fold;
mod lens_merge;
mod matmul;
mod members;
mod semi_nmf;
mod slope;
mod subtract;
mod top_k;

pub use attention::attention;
pub use blend::blend;
pub use cross::cross;
pub use divergence::divergence;
pub use embed::embed;
pub use gather_dot::gather_dot;
pub use gram::gram;
pub use layer_norm::layer_norm;
pub use lens_fold::{Columns, Sums, Weight, rank};
pub use matmul::{gelu, matmul};
pub use members::members;
pub use semi_nmf::semi_nmf;
pub use slope::slope;
pub use subtract::subtract;
pub use top_k::top_k;

use std::ops::{Add, AddAssign, Div, Mul, Sub};

/// What the twins sum in: f32 or f64.
pub trait Real:
    Copy
    + PartialOrd
    + std::fmt::Debug
    + std::iter::Sum
    + AddAssign
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    /// A stored value.
    fn of(value: f32) -> Self;
    /// A constant.
    fn constant(value: f64) -> Self;
    /// As f64, for comparisons.
    fn wide(self) -> f64;
    /// e^self.
    fn exp(self) -> Self;
    /// ln self.
    fn ln(self) -> Self;
    /// √self.
    fn sqrt(self) -> Self;
    /// tanh self.
    fn tanh(self) -> Self;
    /// The larger of the two.
    fn max(self, other: Self) -> Self;

    /// 0.
    fn zero() -> Self {
        Self::constant(0.0)
    }
    /// 1.
    fn one() -> Self {
        Self::constant(1.0)
    }
    /// self · self.
    fn squared(self) -> Self {
        self * self
    }
}

macro_rules! real {
    ($type:ident) => {
        impl Real for $type {
            fn of(value: f32) -> $type {
                value.into()
            }
            #[allow(clippy::cast_possible_truncation, reason = "constants are rounded to the type")]
            fn constant(value: f64) -> $type {
                value as $type
            }
            fn wide(self) -> f64 {
                self.into()
            }
            fn exp(self) -> $type {
                self.exp()
            }
            fn ln(self) -> $type {
                self.ln()
            }
            fn sqrt(self) -> $type {
                self.sqrt()
            }
            fn tanh(self) -> $type {
                self.tanh()
            }
            fn max(self, other: $type) -> $type {
                self.max(other)
            }
        }
    };
}
real!(f32);
real!(f64);
