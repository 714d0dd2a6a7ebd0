//! Weights as a device stores them: groups of four neighbouring output columns.

use crate::WIDTH;

/// The groups of a matrix in storage precision.
#[derive(Clone, Copy)]
pub enum Stored<'a> {
    /// Single precision.
    F32(&'a [[f32; 4]]),
    /// Half precision, as bits. No weight is NaN or infinite.
    F16(&'a [[u16; 4]]),
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
        match self {
            Stored::F32(groups) => groups.get(at).copied().unwrap_or_default(),
            Stored::F16(groups) => groups.get(at).copied().unwrap_or_default().map(widened),
        }
    }

    /// One column in groups of four inputs: a row of an embedding.
    #[inline(never)]
    pub fn column(&self, layout: Layout, column: usize, n_in4: usize) -> Vec<[f32; WIDTH]> {
        let base = column / WIDTH * layout.stride_out;
        let value = |k: usize| self.group(base + k * layout.stride_in)[column % WIDTH];
        (0..n_in4).map(|k4| std::array::from_fn(|i| value(WIDTH * k4 + i))).collect()
    }

    /// Writes the panel of some groups of columns: for every input, the columns of all of them side by side.
    ///
    /// Shapes: panel \[n_in, n_groups, 4\].
    #[inline(never)]
    pub(crate) fn decode(
        &self,
        layout: Layout,
        first: usize,
        n_groups: usize,
        n_in: usize,
        panel: &mut Vec<[f32; WIDTH]>,
    ) {
        match self {
            Stored::F32(groups) => decode(groups, layout, first, n_groups, n_in, panel, |g| g),
            Stored::F16(groups) => {
                decode(groups, layout, first, n_groups, n_in, panel, |g| g.map(widened));
            }
        }
    }
}

#[inline(always)]
fn decode<S: Copy + Default>(
    groups: &[S],
    Layout { stride_in, stride_out }: Layout,
    first: usize,
    n_groups: usize,
    n_in: usize,
    panel: &mut Vec<[f32; WIDTH]>,
    value: impl Fn(S) -> [f32; WIDTH],
) {
    panel.clear();
    panel.resize(n_in * n_groups, [0.0; WIDTH]);
    if stride_out == 1 {
        // The groups of one input lie side by side.
        for (k, out) in panel.chunks_exact_mut(n_groups).enumerate() {
            let from = k * stride_in + first;
            let row = groups.get(from..from + n_groups).unwrap_or_default();
            for (out, &group) in out.iter_mut().zip(row) {
                *out = value(group);
            }
        }
        return;
    }
    for g in 0..n_groups {
        let from = (first + g) * stride_out;
        let column = groups.get(from..).unwrap_or_default().iter().step_by(stride_in);
        for (out, &group) in panel.iter_mut().skip(g).step_by(n_groups).zip(column) {
            *out = value(group);
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
