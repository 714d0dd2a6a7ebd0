//! Weights as a device stores them: groups of four neighbouring output columns.

use wide::{f32x4, u32x4};

use crate::WIDTH;

/// The groups of a matrix in storage precision, or a part of them.
#[derive(Clone, Copy)]
pub struct Stored<'a> {
    groups: Groups<'a>,
    /// Groups before the first one that is there.
    skipped: usize,
}

#[derive(Clone, Copy)]
enum Groups<'a> {
    F32(&'a [[f32; 4]]),
    F16(&'a [[u16; 4]]),
}

impl<'a> Stored<'a> {
    /// In single precision; `skipped` groups are left out before these.
    pub fn f32(groups: &'a [[f32; 4]], skipped: usize) -> Stored<'a> {
        Stored { groups: Groups::F32(groups), skipped }
    }

    /// In half precision, as bits. No weight is NaN or infinite.
    pub fn f16(groups: &'a [[u16; 4]], skipped: usize) -> Stored<'a> {
        Stored { groups: Groups::F16(groups), skipped }
    }
}

/// Where the groups of a matrix are: group `column / 4` of input k is at `column / 4 * stride_out + k * stride_in`.
#[derive(Clone, Copy)]
pub struct Layout {
    /// Groups from one input to the next.
    pub stride_in: usize,
    /// Groups from four outputs to the next four.
    pub stride_out: usize,
}

/// 2^112: what the exponent of a half lacks once its bits are those of a float.
const SCALE: f32 = f32::from_bits(0x7780_0000);

#[inline(always)]
fn widened(halves: [u16; WIDTH]) -> f32x4 {
    let bits = extended(halves);
    let size: f32x4 = bytemuck::cast((bits & u32x4::splat(0x7fff)) << 13);
    let sign: f32x4 = bytemuck::cast((bits & u32x4::splat(0x8000)) << 16);
    (size * f32x4::splat(SCALE)) | sign
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
#[inline(always)]
fn extended(halves: [u16; WIDTH]) -> u32x4 {
    use core::arch::wasm32::{u32x4_extend_low_u16x8, u64x2_splat};
    // The compiler makes one instruction for each lane of what stands below.
    bytemuck::cast(u32x4_extend_low_u16x8(u64x2_splat(bytemuck::cast(halves))))
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
#[inline(always)]
fn extended(halves: [u16; WIDTH]) -> u32x4 {
    u32x4::from(halves.map(u32::from))
}

impl Stored<'_> {
    /// One group in single precision; zeros beyond the end.
    #[inline(always)]
    pub(crate) fn group(&self, at: usize) -> [f32; WIDTH] {
        let at = at.wrapping_sub(self.skipped);
        match self.groups {
            Groups::F32(groups) => groups.get(at).copied().unwrap_or_default(),
            Groups::F16(groups) => widened(groups.get(at).copied().unwrap_or_default()).to_array(),
        }
    }

    /// One column in groups of four inputs: a row of an embedding.
    #[inline(never)]
    pub fn column(&self, layout: Layout, column: usize, n_in4: usize) -> Vec<[f32; WIDTH]> {
        let base = column / WIDTH * layout.stride_out;
        let value = |k: usize| self.group(base + k * layout.stride_in)[column % WIDTH];
        (0..n_in4).map(|k4| std::array::from_fn(|i| value(WIDTH * k4 + i))).collect()
    }

    /// Writes the panels of some pairs of groups of columns: for each pair, the eight columns of every input. A last group
    /// without a partner stands beside zeros.
    ///
    /// Shapes: panels \[n_groups / 2, n_in, 8\].
    #[inline(never)]
    pub(crate) fn decode(
        &self,
        layout: Layout,
        first: usize,
        n_groups: usize,
        n_in: usize,
        panels: &mut Vec<[f32; 2 * WIDTH]>,
    ) {
        panels.resize(n_in * n_groups.div_ceil(2), [0.0; 2 * WIDTH]);
        let at = At { layout, skipped: self.skipped, first, n_groups, n_in };
        match self.groups {
            Groups::F32(groups) => decode(groups, at, panels, f32x4::from),
            Groups::F16(groups) => decode(groups, at, panels, widened),
        }
    }
}

/// Which groups are decoded.
#[derive(Clone, Copy)]
struct At {
    layout: Layout,
    skipped: usize,
    first: usize,
    n_groups: usize,
    n_in: usize,
}

#[inline(always)]
fn decode<S: Copy + Default>(
    groups: &[S],
    At { layout: Layout { stride_in, stride_out }, skipped, first, n_groups, n_in }: At,
    panels: &mut [[f32; 2 * WIDTH]],
    value: impl Fn(S) -> f32x4,
) {
    let mut write = |pair: usize, k: usize| {
        let Some(out) = panels.get_mut(pair * n_in + k) else { return };
        let from = ((first + 2 * pair) * stride_out + k * stride_in).wrapping_sub(skipped);
        let of = |at: usize| value(groups.get(at).copied().unwrap_or_default()).to_array();
        let partner =
            if 2 * pair + 1 < n_groups { of(from.wrapping_add(stride_out)) } else { [0.0; WIDTH] };
        let ([a, b, c, d], [e, f, g, h]) = (of(from), partner);
        *out = [a, b, c, d, e, f, g, h];
    };
    // In the order of the groups in memory.
    let n_pairs = n_groups.div_ceil(2);
    if stride_in < stride_out {
        (0..n_pairs).for_each(|pair| (0..n_in).for_each(|k| write(pair, k)));
    } else {
        (0..n_in).for_each(|k| (0..n_pairs).for_each(|pair| write(pair, k)));
    }
}

#[cfg(test)]
mod tests {
    use super::widened;

    #[test]
    fn every_finite_half_is_widened_exactly() {
        for bits in (0..=u16::MAX).filter(|bits| bits & 0x7c00 != 0x7c00) {
            let exponent = i32::from(bits >> 10 & 31);
            let fraction = f64::from(bits & 1023);
            let size = match exponent {
                0 => fraction * 2f64.powi(-24),
                _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
            };
            let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
            assert_eq!(f64::from(widened([0, bits, 0, 0]).to_array()[1]), sign * size, "{bits:#x}");
        }
    }
}
