//! Twin of lens_fold: the sums of one piece of the vocabulary.
//!
//! Everything is centred at the largest logit m, which is never added back: uncentred sums lose a digit.

use super::Real;

/// Centre M and mass S of the final or the input row, with which a row is compared.
#[derive(Debug, Clone, Copy)]
pub struct Weight<R> {
    /// M, its largest logit.
    pub m: R,
    /// S = Σ e^(z−M).
    pub s: R,
}

/// Some columns of one row: its logits and, in the same columns, the references' logits.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// Token ids of the columns.
    pub ids: &'a [u32],
    /// Logits of the row at those ids.
    pub logits: &'a [f32],
    /// Logits of the final and the input row at those ids.
    pub references: [&'a [f32]; 2],
}

/// Sums over a piece of the vocabulary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sums<R> {
    /// Largest logit.
    pub m: R,
    /// Σ e^(z−m).
    pub s: R,
    /// Σ e^(z−m)·(z−m).
    pub u: R,
    /// Id of the largest logit; the lowest of equals.
    pub best: u32,
    /// Σ e^(z−m)·(z_R−M_R) for R = final, input.
    pub a: [R; 2],
    /// Σ p_R·(z−m).
    pub b: [R; 2],
    /// Σ p_R: 1 once every column is in.
    pub p: [R; 2],
    /// Logits that are not finite. The other sums mean nothing if there are any.
    pub bad: u32,
}

impl<R: Real> Sums<R> {
    /// The sums of no column: (m = −1e30, all else 0).
    pub fn empty() -> Sums<R> {
        let none = [R::zero(); 2];
        let (s, u) = (R::zero(), R::zero());
        Sums { m: R::constant(-1e30), s, u, best: 0, a: none, b: none, p: none, bad: 0 }
    }

    /// The sums of one piece.
    pub fn of(columns: Columns<'_>, weights: Option<[Weight<R>; 2]>) -> Sums<R> {
        let mut sums = Sums::empty();
        for (&id, &logit) in columns.ids.iter().zip(columns.logits) {
            let z = R::of(logit);
            if !logit.is_finite() || logit.abs() >= 1e30 {
                sums.bad += 1;
            } else if z > sums.m || (z == sums.m && id < sums.best) {
                (sums.m, sums.best) = (z, id);
            }
        }
        for (i, &z) in columns.logits.iter().enumerate() {
            let w = R::of(z) - sums.m;
            let e = w.exp();
            sums.s += e;
            sums.u += e * w;
            for (r, weight) in weights.iter().flatten().enumerate() {
                let centred = R::of(columns.references[r][i]) - weight.m;
                let p = centred.exp() / weight.s;
                sums.a[r] += e * centred;
                sums.b[r] += p * w;
                sums.p[r] += p;
            }
        }
        sums
    }
}

/// 1 + the number of tokens above `target`; equal logits are ordered by id. Its own logit is
/// an argument, because a kernel of its own computes it.
pub fn rank(logits: &[f32], target: u32, target_logit: f32) -> usize {
    let above = |(v, &z): (u32, &f32)| {
        v != target && (z > target_logit || (z == target_logit && v < target))
    };
    1 + (0u32..).zip(logits).filter(|&p| above(p)).count()
}
