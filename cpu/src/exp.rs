//! e^x, to 2 units in the last place.

use wide::{CmpGt, CmpLt, f32x4, i32x4};

use crate::WIDTH;

/// Below it e^x is at most 2.5e-38, and 0 here.
const LEAST: f32 = -86.6;
/// Above it e^x is infinite.
const MOST: f32 = 88.722_83;
/// ln 2 in two parts: the first has few digits, so that its multiples are exact.
const LN_2_HIGH: f32 = 0.693_359_4;
const LN_2_LOW: f32 = -2.121_944_4e-4;
/// 1.5 · 2^23: a small number that is added to it is rounded to an integer, which its last bits are.
const ROUND: f32 = 12_582_912.0;

/// e^x. Source: Cody and Waite 1980 for the reduction; the polynomial is the minimax one of Cephes' expf.
#[inline(always)]
pub(crate) fn exp(x: f32x4) -> f32x4 {
    let held = x.fast_max(f32x4::splat(LEAST)).fast_min(f32x4::splat(MOST));
    let rounded = held * f32x4::splat(std::f32::consts::LOG2_E) + f32x4::splat(ROUND);
    let n = rounded - f32x4::splat(ROUND);
    let r = (held - n * f32x4::splat(LN_2_HIGH)) - n * f32x4::splat(LN_2_LOW);
    let mut p = f32x4::splat(1.987_569_1e-4);
    for c in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + f32x4::splat(c);
    }
    let value = (p * r * r + r) + f32x4::ONE;
    // 2^(n − 1): n may be 128, which no exponent holds. What ROUND adds to the bits is shifted out.
    let bits: i32x4 = bytemuck::cast(rounded);
    let power: f32x4 = bytemuck::cast((bits + i32x4::splat(126)) << 23);
    let scaled = value * power * f32x4::splat(2.0);
    let infinite = x.cmp_gt(f32x4::splat(MOST)).blend(f32x4::splat(f32::INFINITY), scaled);
    let whole = x.cmp_lt(f32x4::splat(LEAST)).blend(f32x4::ZERO, infinite);
    // What the bounds make of NaN differs between instruction sets.
    x.is_nan().blend(x, whole)
}

/// e^x of one number, with the bits of the others.
#[inline(always)]
pub(crate) fn exp_one(x: f32) -> f32 {
    exp(f32x4::splat(x)).to_array()[0]
}

/// Replaces every number by e^x.
#[inline(never)]
pub fn exp_all(values: &mut [f32]) {
    let (fours, rest) = values.as_chunks_mut::<WIDTH>();
    for four in fours {
        *four = exp(f32x4::from(*four)).to_array();
    }
    for value in rest {
        *value = exp_one(*value);
    }
}

#[cfg(test)]
mod tests {
    use super::exp_all;

    #[test]
    fn is_within_two_units_in_the_last_place() {
        let mut worst = 0.0f64;
        // Every 997th of all floats from the smallest result to the largest one, of both signs.
        for bits in (0..88.72f32.to_bits()).step_by(997) {
            for sign in [0, 1 << 31] {
                let x = f32::from_bits(bits | sign);
                if x < super::LEAST {
                    continue;
                }
                let mut got = [x];
                exp_all(&mut got);
                let exact = f64::from(x).exp();
                let nearest = exact as f32;
                let unit = f64::from(f32::from_bits(nearest.to_bits() + 1) - nearest);
                worst = worst.max((f64::from(got[0]) - exact).abs() / unit);
            }
        }
        assert!(worst < 2.0, "{worst} units");
    }

    #[test]
    fn ends_and_lanes() {
        let mut values = [0.0, -0.0, 1.0, -1e9, 1e9, 88.7, -86.5];
        exp_all(&mut values);
        assert_eq!(values[..2], [1.0, 1.0]);
        assert_eq!(values[3..5], [0.0, f32::INFINITY]);
        assert!(values[5].is_finite() && values[6] > 0.0);
        let mut not_numbers = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0];
        exp_all(&mut not_numbers);
        assert!(not_numbers[0].is_nan());
        assert_eq!(not_numbers[1..], [f32::INFINITY, 0.0, 1.0]);
        // A number has the same bits in every lane and beside any other.
        for i in 0..4 {
            let mut four = [3.3; 4];
            four[i] = -0.7;
            let mut one = [-0.7];
            exp_all(&mut four);
            exp_all(&mut one);
            assert_eq!(four[i].to_bits(), one[0].to_bits());
        }
    }
}
