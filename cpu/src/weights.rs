//! Weights as a device stores them: groups of four neighbouring output columns.

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
fn widened(half: u16) -> f32 {
    let bits = u32::from(half);
    let size = f32::from_bits((bits & 0x7fff) << 13) * SCALE;
    f32::from_bits(size.to_bits() | ((bits & 0x8000) << 16))
}

impl Stored<'_> {
    /// One group in single precision; zeros beyond the end.
    #[inline(always)]
    pub(crate) fn group(&self, at: usize) -> [f32; WIDTH] {
        let at = at.wrapping_sub(self.skipped);
        match self.groups {
            Groups::F32(groups) => groups.get(at).copied().unwrap_or_default(),
            Groups::F16(groups) => groups.get(at).copied().unwrap_or_default().map(widened),
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
        if n_groups % 2 == 1 {
            let last = panels.len() - n_in;
            panels.iter_mut().skip(last).for_each(|row| *row = [0.0; 2 * WIDTH]);
        }
        let at = At { layout, skipped: self.skipped, first, n_groups, n_in };
        match self.groups {
            Groups::F32(groups) => decode(groups, at, panels, |g| g),
            Groups::F16(groups) => decode(groups, at, panels, |g| g.map(widened)),
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
fn decode<S: Copy>(
    groups: &[S],
    At { layout: Layout { stride_in, stride_out }, skipped, first, n_groups, n_in }: At,
    panels: &mut [[f32; 2 * WIDTH]],
    value: impl Fn(S) -> [f32; WIDTH],
) {
    for g in 0..n_groups {
        let (half, panel) = (g % 2 * WIDTH, panels.iter_mut().skip(g / 2 * n_in).take(n_in));
        let from = ((first + g) * stride_out).wrapping_sub(skipped);
        let column = groups.get(from..).unwrap_or_default().iter().step_by(stride_in);
        for (out, &group) in panel.zip(column) {
            if let Some(out) = out.get_mut(half..half + WIDTH) {
                out.copy_from_slice(&value(group));
            }
        }
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
            assert_eq!(f64::from(widened(bits)), sign * size, "{bits:#x}");
        }
    }
}
