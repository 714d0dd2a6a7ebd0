//! One file per WGSL kernel: its `Params`, its shape checks, its dispatch size.

mod attention;
mod embed;
mod gather_dot;
mod gram;
mod layer_norm;
mod lens_fold;
mod lens_merge;
mod matmul;
mod matrix;
mod subtract;
mod top_k;
mod top_k_merge;

use crate::error::{Error, Result};
use crate::gpu::{Gpu, Kernel, Tensor, sources};

pub use attention::Attention;
pub use embed::Embed;
pub use gather_dot::GatherDot;
pub use gram::Gram;
pub use layer_norm::LayerNorm;
pub use lens_fold::{Chunk, LensFold, References};
pub use lens_merge::LensMerge;
pub use matmul::Matmul;
pub use matrix::{Matrix, Packer, Precision, Shard, encode};
pub use subtract::Subtract;
pub use top_k::TopK;
pub use top_k_merge::TopKMerge;

/// Invocations that share a row's vocabulary (`PARTS` in shaders/shared/lens.wgsl).
pub const PARTS: usize = 64;
/// Slots of a running lens state before the counts (`N_SLOTS` there).
pub const N_SLOTS: usize = 10;
/// Longest top-k list (`MAX_K` in shaders/top_k.wgsl).
pub const MAX_K: usize = 20;

/// Rounds a row length up to the multiple of four that tensors are padded to.
pub fn pad4(n: usize) -> usize {
    n.next_multiple_of(4)
}

/// Consecutive rows of an activation tensor. Shapes: \[first.., width4·4\] f32.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// Where they are.
    pub tensor: &'a Tensor,
    /// Index of the first one.
    pub first: usize,
    /// Length of a row in groups of four floats.
    pub width4: usize,
}

impl<'a> Rows<'a> {
    /// Rows of `width` floats, padded to a multiple of four, from row `first` on.
    pub fn new(tensor: &'a Tensor, first: usize, width: usize) -> Rows<'a> {
        Rows { tensor, first, width4: pad4(width) / 4 }
    }

    fn check(&self, kernel: &str, n_rows: usize) -> Result<()> {
        fits(kernel, self.tensor, (self.first + n_rows) * self.width4 * 16)
    }
}

/// Every pipeline a model of one precision needs, compiled once for each device.
pub struct Kernels {
    embed: Kernel,
    layer_norm: Kernel,
    matmul: Kernel,
    attention: Kernel,
    subtract: Kernel,
    gather_dot: Kernel,
    gram: Kernel,
    lens_fold: Kernel,
    lens_merge: Kernel,
    top_k: Kernel,
    top_k_merge: Kernel,
    /// Bound where an optional input is absent.
    nothing: Tensor,
    /// Bound where an optional output is absent.
    nowhere: Tensor,
}

impl Kernels {
    /// Compiles the kernels.
    ///
    /// Errors: `device-lost` when a shader or a layout is refused as invalid, with the words of
    /// the refusal.
    pub async fn new(gpu: &Gpu, precision: Precision) -> Result<Kernels> {
        use sources as s;
        let (embed, matmul, gather_dot, gram) = match precision {
            Precision::F32 => (&s::EMBED_F32, &s::MATMUL_F32, &s::GATHER_DOT_F32, &s::GRAM_F32),
            Precision::F16 => (&s::EMBED_F16, &s::MATMUL_F16, &s::GATHER_DOT_F16, &s::GRAM_F16),
        };
        gpu.allocate("the kernels", || {
            Ok(Kernels {
                embed: Kernel::new(gpu, embed),
                layer_norm: Kernel::new(gpu, &sources::LAYER_NORM),
                matmul: Kernel::new(gpu, matmul),
                attention: Kernel::new(gpu, &sources::ATTENTION),
                subtract: Kernel::new(gpu, &sources::SUBTRACT),
                gather_dot: Kernel::new(gpu, gather_dot),
                gram: Kernel::new(gpu, gram),
                lens_fold: Kernel::new(gpu, &sources::LENS_FOLD),
                lens_merge: Kernel::new(gpu, &sources::LENS_MERGE),
                top_k: Kernel::new(gpu, &sources::TOP_K),
                top_k_merge: Kernel::new(gpu, &sources::TOP_K_MERGE),
                nothing: gpu.tensor("nothing", 16),
                nowhere: gpu.tensor("nowhere", 16),
            })
        })
        .await
    }
}

/// Workgroups for `n` invocations in groups of `size`.
fn groups(n: usize, size: usize) -> u32 {
    n.div_ceil(size) as u32
}

/// Errors: `bad-shape` if a tensor is shorter than a kernel is about to use.
fn fits(kernel: &str, tensor: &Tensor, bytes: usize) -> Result<()> {
    if tensor.bytes() < bytes as u64 {
        return Err(Error::BadShape {
            name: format!("an operand of {kernel}, in bytes"),
            expected: vec![bytes as u64],
            found: vec![tensor.bytes()],
        });
    }
    Ok(())
}
