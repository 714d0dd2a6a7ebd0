//! One file per kernel: its WGSL source, its `Params`, its shape checks, its dispatch size, and what computes the same on a
//! CPU.

mod attention;
mod blend;
mod cross;
mod divergence;
mod embed;
mod forms;
mod gather_dot;
mod gram;
mod layer_norm;
mod lens_fold;
mod lens_merge;
mod matmul;
mod matrix;
mod members;
mod semi_nmf;
mod slope;
mod subtract;

use crate::error::{Error, Result};
use std::ops::Range;

use loupe_cpu::Stored;

use crate::device::{Device, Kernel, Reads, Source, Tensor, Verdict};

use forms::Choice;

pub use attention::Attention;
pub use blend::Blend;
pub use cross::Cross;
pub use divergence::Divergence;
pub use embed::Embed;
pub use forms::{Forms, Tile, Unit};
pub use gather_dot::GatherDot;
pub use gram::Gram;
pub use layer_norm::{LayerNorm, MAX_INPUTS};
pub use lens_fold::{Chunk, LensFold, Lists, References, Targets};
pub use lens_merge::LensMerge;
pub use matmul::Matmul;
pub use matrix::{Matrix, Order, Packer, Precision, Shard, encode, shard_of};
pub use members::{MEMBER_SLOTS, Members};
pub use semi_nmf::SemiNmf;
pub use slope::Slope;
pub use subtract::Subtract;

/// Invocations that share the vocabulary of a row: lane i has the columns i, i + LANES, …
pub const LANES: usize = 64;
/// Slots of a lens state before the counts above each target.
pub const N_SLOTS: usize = 11;
/// Columns of the vocabulary that a row's sums take in at a time: a multiple of [`LANES`], and always the same, because the
/// bits of the sums depend on it.
pub const CHUNK: usize = 4096;
/// Longest top-k list.
pub const MAX_K: usize = 20;

/// Every source.
pub static SOURCES: [&Source; 32] = [
    &embed::F32,
    &embed::F16,
    &layer_norm::SOURCE,
    &layer_norm::SHARED,
    &matmul::F32,
    &matmul::F16,
    &matmul::WIDE_F32,
    &matmul::WIDE_F16,
    &matmul::TILES_F32[0],
    &matmul::TILES_F32[1],
    &matmul::TILES_F32[2],
    &matmul::TILES_F32[3],
    &matmul::TILES_F16[0],
    &matmul::TILES_F16[1],
    &matmul::TILES_F16[2],
    &matmul::TILES_F16[3],
    &attention::SOURCE,
    &attention::SHARED,
    &subtract::SOURCE,
    &blend::SOURCE,
    &gram::F32,
    &gram::F16,
    &gather_dot::F32,
    &gather_dot::F16,
    &lens_fold::SOURCE,
    &lens_fold::IN_MEMORY,
    &lens_merge::SOURCE,
    &divergence::SOURCE,
    &members::SOURCE,
    &cross::SOURCE,
    &semi_nmf::SOURCE,
    &slope::SOURCE,
];

/// The text of a shader, from which build.rs has taken the comments.
macro_rules! wgsl {
    ($($name:literal),*) => {
        include_str!(concat!(env!("OUT_DIR"), "/shaders/", $($name,)* ".wgsl"))
    };
}
use wgsl;

/// The [`Source`] of `shaders/$name.wgsl`, followed by the files of `shaders/shared/` that it needs, and after a semicolon
/// what computes the same on a CPU: the axis of its slabs, and the function.
macro_rules! source {
    (
        $name:literal $(+ $shared:literal)*, $workgroup:expr, [$($access:ident),*] $(, $constant:ident)*;
        $axis:literal, $run:expr $(, $how:ident: $value:expr)*
    ) => {
        $crate::device::Source {
            name: $name,
            file: $name,
            wgsl: &[
                $crate::kernels::wgsl!($name)
                $(, $crate::kernels::wgsl!("shared/", $shared))*
            ],
            bindings: &[$($crate::device::Access::$access),*],
            workgroup: $workgroup,
            covers: $workgroup,
            constants: &[$((stringify!($constant), $constant)),*],
            cpu: $crate::device::Run {
                $($how: Some($value),)*
                ..$crate::device::Run::new($axis, $run)
            },
        }
    }
}
use source;

/// Rounds a row length up to the multiple of four that tensors are padded to.
pub fn pad4(n: usize) -> usize {
    n.next_multiple_of(4)
}

/// A size as kernels take it. Sizes beyond 32 bits have failed a shape check before.
fn dim(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Consecutive rows of an activation tensor. Shapes: \[first.., width4·4\] f32.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    /// The tensor that holds them.
    pub tensor: &'a Tensor,
    /// Index of the first row.
    pub first: usize,
    /// Length of a row in groups of four floats.
    pub width4: usize,
}

impl<'a> Rows<'a> {
    /// Rows of `width` floats, padded to a multiple of four, from row `first` on.
    pub fn new(tensor: &'a Tensor, first: usize, width: usize) -> Rows<'a> {
        Rows { tensor, first, width4: pad4(width) / 4 }
    }

    /// Errors: `bad-shape` unless there are `n_rows` rows of `width4` groups.
    fn check(&self, name: &str, n_rows: usize, width4: usize) -> Result<()> {
        if self.width4 != width4 {
            return Err(bad_shape(name, &[n_rows, 4 * width4], &[n_rows, 4 * self.width4]));
        }
        check_floats(name, self.tensor, &[self.first + n_rows, 4 * width4])
    }
}

/// The pipelines that a model of one precision needs, compiled once per device.
pub struct Kernels {
    embed: Kernel,
    choice: Choice,
    /// Products with matrices in f32 beside a model in f16: the maps of lenses.
    matmul_f32: Option<Kernel>,
    subtract: Kernel,
    blend: Kernel,
    gather_dot: Kernel,
    gram: Kernel,
    lens_merge: Kernel,
    divergence: Kernel,
    members: Kernel,
    cross: Kernel,
    semi_nmf: Kernel,
    slope: Kernel,
    /// Bound in place of an optional input that is not given.
    no_input: Tensor,
    /// Bound in place of an optional output that is not given.
    no_output: Tensor,
    /// The same of another one: no tensor may be bound twice to be written.
    no_other: Tensor,
}

impl Kernels {
    /// Compiles the kernels.
    ///
    /// Errors: `gpu-refused` for a shader or a layout that the device refuses, with its message;
    /// `device-lost`.
    pub async fn new(device: &Device, precision: Precision) -> Result<Kernels> {
        let (kernels, verdict) = Kernels::begin(device, precision);
        verdict.check(Kernels::WHAT).await?;
        device.check_lost()?;
        Ok(kernels)
    }

    /// What errors call them.
    pub const WHAT: &str = "the kernels";

    /// Begins to compile the kernels; they may be used once the device has answered.
    pub fn begin(device: &Device, precision: Precision) -> (Kernels, Verdict) {
        let by_precision = |f32, f16| match precision {
            Precision::F32 => Kernel::new(device, f32),
            Precision::F16 => Kernel::new(device, f16),
        };
        device.scoped(|| Kernels {
            embed: by_precision(&embed::F32, &embed::F16),
            choice: Choice::new(device, precision),
            matmul_f32: (precision == Precision::F16).then(|| Kernel::new(device, &matmul::F32)),
            subtract: Kernel::new(device, &subtract::SOURCE),
            blend: Kernel::new(device, &blend::SOURCE),
            gather_dot: by_precision(&gather_dot::F32, &gather_dot::F16),
            gram: by_precision(&gram::F32, &gram::F16),
            lens_merge: Kernel::new(device, &lens_merge::SOURCE),
            divergence: Kernel::new(device, &divergence::SOURCE),
            members: Kernel::new(device, &members::SOURCE),
            cross: Kernel::new(device, &cross::SOURCE),
            semi_nmf: Kernel::new(device, &semi_nmf::SOURCE),
            slope: Kernel::new(device, &slope::SOURCE),
            no_input: device.tensor("no input", 16),
            no_output: device.tensor("no output", 16),
            no_other: device.tensor("no other output", 16),
        })
    }

    /// The forms in use.
    pub fn forms(&self) -> Forms {
        self.choice.forms()
    }

    /// Computes in these forms from now on; a CPU has one form only.
    ///
    /// Errors: `gpu-refused`, `device-lost`.
    pub async fn choose_forms(&self, device: &Device, forms: Forms) -> Result<()> {
        self.choice.choose(device, forms).await
    }
}

/// Errors: `bad-shape` if `tensor` has fewer values of four bytes than `shape`.
fn check_floats(name: &str, tensor: &Tensor, shape: &[usize]) -> Result<()> {
    let bytes = shape.iter().try_fold(4u64, |n, &d| n.checked_mul(d as u64));
    match bytes.is_some_and(|bytes| bytes <= tensor.bytes()) {
        true => Ok(()),
        false => {
            let got = usize::try_from(tensor.bytes() / 4).unwrap_or(usize::MAX);
            Err(bad_shape(name, shape, &[got]))
        }
    }
}

/// Groups of four weights in storage precision, as a CPU reads them.
fn stored<'w>(reads: Reads<'w, '_>, n: usize, precision: Precision, skipped: u64) -> Stored<'w> {
    let skipped = usize::try_from(skipped / group_bytes(precision)).unwrap_or(usize::MAX);
    match precision {
        Precision::F32 => Stored::f32(reads.get(n), skipped),
        Precision::F16 => Stored::f16(reads.get(n), skipped),
    }
}

/// Bytes of four weights.
fn group_bytes(precision: Precision) -> u64 {
    4 * precision.bytes() as u64
}

/// Where some columns of a matrix whose file stores them one after the other lie in it, in groups of four. Units: bytes.
fn column_bytes(stride_out: u32, groups: Range<usize>, precision: Precision) -> Range<u64> {
    let at = |group: usize| group as u64 * u64::from(stride_out) * group_bytes(precision);
    at(groups.start)..at(groups.end)
}

/// The columns of chosen tokens, from the first to the last of them. Units: bytes.
fn token_bytes(
    ids: impl Iterator<Item = u32>,
    [first_id, n_ids, stride_out]: [u32; 3],
    precision: Precision,
) -> Range<u64> {
    let columns = ids.filter_map(|id| id.checked_sub(first_id).filter(|&column| column < n_ids));
    let (least, most) = columns.fold((u32::MAX, 0), |(least, most), c| (least.min(c), most.max(c)));
    match least <= most {
        true => column_bytes(stride_out, least as usize / 4..most as usize / 4 + 1, precision),
        false => 0..0,
    }
}

/// Consecutive rows of `width` values, or none where there are not so many.
fn span<V>(of: &[V], first_row: usize, n_rows: usize, width: usize) -> &[V] {
    of.get(first_row * width..(first_row + n_rows) * width).unwrap_or(&[])
}

/// The same to be written.
fn span_mut<V>(of: &mut [V], first_row: usize, n_rows: usize, width: usize) -> &mut [V] {
    of.get_mut(first_row * width..(first_row + n_rows) * width).unwrap_or(&mut [])
}

fn bad_shape(name: &str, expected: &[usize], got: &[usize]) -> Error {
    let shape = |sizes: &[usize]| sizes.iter().map(|&n| n as u64).collect();
    Error::BadShape { name: name.into(), expected: shape(expected), got: shape(got) }
}
