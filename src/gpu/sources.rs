//! The table of WGSL sources: what each kernel is called and how it touches its bindings.

/// How a kernel uses a storage binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    ReadWrite,
}

/// One kernel's text. Binding 0 is always its `Params`, in a uniform.
#[derive(Debug)]
pub struct Source {
    /// File name in `shaders/`, the Rust function and the CPU twin.
    pub name: &'static str,
    /// The text; the kernel comes first, so that error lines are true.
    pub wgsl: &'static str,
    /// Bindings 1, 2, … in order.
    pub bindings: &'static [Access],
}

use Access::{Read as R, ReadWrite as RW};

macro_rules! source {
    ($name:literal $(+ $shared:literal)*, [$($access:expr),*]) => {
        Source {
            name: $name,
            wgsl: concat!(
                include_str!(concat!("../../shaders/", $name, ".wgsl"))
                $(, include_str!(concat!("../../shaders/shared/", $shared, ".wgsl")))*
            ),
            bindings: &[$($access),*],
        }
    };
}

/// `embed` on f32 weights.
pub static EMBED_F32: Source = source!("embed" + "weights_f32", [R, R, R, RW]);
/// `embed` on f16 weights.
pub static EMBED_F16: Source = source!("embed" + "weights_f16", [R, R, R, RW]);
/// `layer_norm`
pub static LAYER_NORM: Source = source!("layer_norm", [R, R, R, RW]);
/// `matmul` on f32 weights.
pub static MATMUL_F32: Source = source!("matmul" + "weights_f32", [R, R, R, R, RW]);
/// `matmul` on f16 weights.
pub static MATMUL_F16: Source = source!("matmul" + "weights_f16", [R, R, R, R, RW]);
/// `attention`
pub static ATTENTION: Source = source!("attention", [R, R, R, RW]);
/// `subtract`
pub static SUBTRACT: Source = source!("subtract", [R, R, RW]);
/// `gram` on f32 weights.
pub static GRAM_F32: Source = source!("gram" + "weights_f32", [R, R, RW]);
/// `gram` on f16 weights.
pub static GRAM_F16: Source = source!("gram" + "weights_f16", [R, R, RW]);
/// `gather_dot` on f32 weights.
pub static GATHER_DOT_F32: Source = source!("gather_dot" + "weights_f32", [R, R, R, R, RW]);
/// `gather_dot` on f16 weights.
pub static GATHER_DOT_F16: Source = source!("gather_dot" + "weights_f16", [R, R, R, R, RW]);
/// `lens_fold`
pub static LENS_FOLD: Source = source!("lens_fold" + "lens", [R, R, R, R, R, RW]);
/// `lens_merge`
pub static LENS_MERGE: Source = source!("lens_merge" + "lens", [R, RW, RW]);
/// `top_k`
pub static TOP_K: Source = source!("top_k" + "lens", [R, RW]);
/// `top_k_merge`
pub static TOP_K_MERGE: Source = source!("top_k_merge" + "lens", [R, RW]);

/// Every source there is.
pub static ALL: [&Source; 15] = [
    &EMBED_F32,
    &EMBED_F16,
    &LAYER_NORM,
    &MATMUL_F32,
    &MATMUL_F16,
    &ATTENTION,
    &SUBTRACT,
    &GRAM_F32,
    &GRAM_F16,
    &GATHER_DOT_F32,
    &GATHER_DOT_F16,
    &LENS_FOLD,
    &LENS_MERGE,
    &TOP_K,
    &TOP_K_MERGE,
];
