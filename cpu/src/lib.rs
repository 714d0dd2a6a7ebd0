//! The arithmetic of the kernels on a CPU, on plain slices, with four floats at a time.
//!
//! Like `numbers`, this is a package of its own so that it is compiled for speed, and nothing is inlined into its
//! callers. Every sum has one order, which depends neither on the number of rows nor on how the work is cut, so a row has
//! the same bits however it is computed. `a * b + c` is rounded twice everywhere: there is no fused form in WebAssembly.
#![deny(missing_docs)]

mod attention;
mod divergence;
mod exp;
mod gram;
mod lens;
mod matmul;
mod members;
mod merge;
mod rows;
mod top_k;
mod weights;

pub use attention::{Heads, attention};
pub use divergence::{divergence, slope};
pub use exp::exp_all;
pub use gram::gram;
pub use lens::{Fold, References, count_above, fold, probabilities};
pub use matmul::{Activation, Finish, Places, matmul, matmul_element};
pub use members::{MEMBER_SLOTS, MembersChunk, members, members_before};
pub use merge::merge;
pub use rows::{Affine, add_scaled, blend, cross, layer_norm, multiply, semi_nmf, subtract};
pub use top_k::{Best, NO_BEST, merge_lists, top_k};
pub use weights::{Layout, Stored};

/// Floats of one SIMD vector.
const WIDTH: usize = 4;
