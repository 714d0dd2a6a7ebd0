//! The loops that see every weight: conversion, interleaving and sums of rows.
//!
//! The rest of the engine is compiled for size, because most of it runs once a text. Cargo sets an optimisation level
//! per package, so these loops are a package of their own, compiled for speed. No function is inlined into its
//! callers, where it would be compiled for size again.
#![deny(missing_docs)]

use half::{bf16, f16};

/// Appends little-endian f32 numbers.
#[inline(never)]
pub fn from_f32(bytes: &[u8], out: &mut Vec<f32>) {
    out.extend(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)));
}

/// Appends little-endian f16 numbers as f32.
#[inline(never)]
pub fn from_f16(bytes: &[u8], out: &mut Vec<f32>) {
    out.extend(bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()));
}

/// Appends little-endian bf16 numbers as f32.
#[inline(never)]
pub fn from_bf16(bytes: &[u8], out: &mut Vec<f32>) {
    out.extend(bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()));
}

/// The first value that is NaN or infinite.
#[inline(never)]
pub fn first_not_finite(values: &[f32]) -> Option<f32> {
    const EXPONENT: u32 = 0x7f80_0000;
    // Without an early exit the compiler uses SIMD.
    let is_bad = values.iter().fold(false, |bad, v| bad | (v.to_bits() & EXPONENT == EXPONENT));
    if is_bad { values.iter().copied().find(|v| !v.is_finite()) } else { None }
}

/// Appends values rounded to little-endian f16 numbers, to nearest, ties to even.
///
/// Errors: the first value that becomes infinite.
#[inline(never)]
pub fn to_f16(values: &[f32], out: &mut Vec<u8>) -> Result<(), f32> {
    let start = out.len();
    out.extend(values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()));
    let halves = out.get(start..).unwrap_or_default().as_chunks().0;
    let is_infinite = |b: &[u8; 2]| f16::from_le_bytes(*b).is_infinite();
    if halves.iter().fold(false, |any, b| any | is_infinite(b)) {
        let first = halves.iter().zip(values).find(|(b, _)| is_infinite(b));
        return first.map_or(Ok(()), |(_, &value)| Err(value));
    }
    Ok(())
}

/// Appends four rows of f32 numbers as groups of four, one from each row.
#[inline(never)]
pub fn interleave_f32(rows: &[u8], out: &mut Vec<u8>) {
    interleave::<4>(rows, out);
}

/// Appends four rows of f16 numbers as groups of four, one from each row.
#[inline(never)]
pub fn interleave_f16(rows: &[u8], out: &mut Vec<u8>) {
    interleave::<2>(rows, out);
}

// Not public: a generic function is compiled in the package that calls it.
#[inline(always)]
fn interleave<const S: usize>(rows: &[u8], out: &mut Vec<u8>) {
    let quarter = rows.len() / 4;
    let row =
        |i: usize| rows.get(i * quarter..(i + 1) * quarter).unwrap_or_default().as_chunks::<S>().0;
    out.reserve(rows.len());
    for (((a, b), c), d) in row(0).iter().zip(row(1)).zip(row(2)).zip(row(3)) {
        for value in [a, b, c, d] {
            out.extend_from_slice(value);
        }
    }
}

/// Appends the rows that the first `n` groups of f32 numbers were interleaved from.
#[inline(never)]
pub fn deinterleave_f32(four: &[u8], n: usize, rows: &mut Vec<f32>) {
    deinterleave(four, n, f32::from_le_bytes, rows);
}

/// Appends the rows that the first `n` groups of f16 numbers were interleaved from.
#[inline(never)]
pub fn deinterleave_f16(four: &[u8], n: usize, rows: &mut Vec<f32>) {
    deinterleave(four, n, |b| f16::from_le_bytes(b).to_f32(), rows);
}

#[inline(always)]
fn deinterleave<const S: usize>(
    four: &[u8],
    n: usize,
    value: impl Fn([u8; S]) -> f32,
    rows: &mut Vec<f32>,
) {
    let groups = four.as_chunks::<S>().0.as_chunks::<4>().0;
    rows.extend(groups.iter().take(n).map(|&[a, _, _, _]| value(a)));
    rows.extend(groups.iter().take(n).map(|&[_, b, _, _]| value(b)));
    rows.extend(groups.iter().take(n).map(|&[_, _, c, _]| value(c)));
    rows.extend(groups.iter().take(n).map(|&[_, _, _, d]| value(d)));
}

/// Adds the differences of a row from `origin`, and their squares, to sums per channel.
#[inline(never)]
pub fn add_row(row: &[f32], origin: &[f64], first: &mut [f64], second: &mut [f64]) {
    for (((&v, &origin), first), second) in row.iter().zip(origin).zip(first).zip(second) {
        let d = f64::from(v) - origin;
        *first += d;
        *second += d * d;
    }
}

/// The dot product of two rows, summed in f64.
#[inline(never)]
pub fn dot(a: &[f32], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| f64::from(a) * b).sum()
}
