//! The law of the lens: how a distribution is summed up in pieces, merged, and read out.
//!
//! Twin of lens_fold and lens_merge, and what turns their result into nats. Everything is centred
//! at the largest logit m, which is never added back: raw sums lose a digit and more.

use super::Real;

/// What a row is compared with: centre M and mass S of the final or the input row.
#[derive(Debug, Clone, Copy)]
pub struct Weight<R> {
    /// M, its largest logit.
    pub m: R,
    /// S = Σ e^(z−M).
    pub s: R,
}

/// Some columns of one row: its logits and, of the same columns, the references' logits.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    /// Token ids of the columns.
    pub ids: &'a [u32],
    /// Logits of the row at those ids.
    pub logits: &'a [f32],
    /// Logits of the final and the input row at those ids.
    pub references: [&'a [f32]; 2],
}

/// Running sums over part of the vocabulary; the merge's identity is (m = −1e30, all else 0).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments<R> {
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
}

impl<R: Real> Moments<R> {
    /// The identity of [`Moments::merge`]: no column yet.
    pub fn empty() -> Moments<R> {
        let none = [R::zero(); 2];
        let (s, u) = (R::zero(), R::zero());
        Moments { m: R::constant(-1e30), s, u, best: 0, a: none, b: none, p: none }
    }

    /// The sums of one piece.
    pub fn of(columns: Columns<'_>, weights: Option<[Weight<R>; 2]>) -> Moments<R> {
        let mut sums = Moments::empty();
        for (&id, &z) in columns.ids.iter().zip(columns.logits) {
            let z = R::of(z);
            if z > sums.m || (z == sums.m && id < sums.best) {
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

    /// Both pieces together. Commutative, associative, [`Moments::empty`] is its identity.
    pub fn merge(self, other: Moments<R>) -> Moments<R> {
        let (high, low) = match self.m > other.m || (self.m == other.m && self.best <= other.best) {
            true => (self, other),
            false => (other, self),
        };
        let d = low.m - high.m;
        let e = d.exp();
        let pair = |f: &dyn Fn(usize) -> R| [f(0), f(1)];
        Moments {
            m: high.m,
            best: high.best,
            s: high.s + e * low.s,
            u: high.u + e * (low.u + d * low.s),
            a: pair(&|r| high.a[r] + e * low.a[r]),
            b: pair(&|r| high.b[r] + low.b[r] + d * low.p[r]),
            p: pair(&|r| high.p[r] + low.p[r]),
        }
    }

    /// ln Σ e^z. Units: nats.
    pub fn logsumexp(&self) -> R {
        self.m + self.s.ln()
    }

    /// Entropy of the row. Units: nats.
    pub fn entropy(&self) -> R {
        self.s.ln() - self.u / self.s
    }

    /// Log-probability of a token with this logit. Units: nats.
    pub fn logprob(&self, logit: R) -> R {
        (logit - self.m) - self.s.ln()
    }

    /// KL(reference r ‖ row); dividing by Σp takes out the rounding of the reference's mass.
    /// Units: nats.
    pub fn kl_from(&self, r: usize, reference: &Moments<R>) -> R {
        self.s.ln() - self.b[r] / self.p[r] - reference.entropy()
    }

    /// KL(row ‖ reference r). Units: nats.
    pub fn kl_to(&self, r: usize, reference: &Moments<R>) -> R {
        self.u / self.s - self.s.ln() - self.a[r] / self.s + reference.s.ln()
    }
}

/// 1 + the number of tokens above `target`; equal logits are ordered by id. Its own logit is
/// given, because a kernel computes it apart.
pub fn rank(logits: &[f32], target: u32, target_logit: f32) -> usize {
    let above = |(v, &z): (u32, &f32)| {
        v != target && (z > target_logit || (z == target_logit && v < target))
    };
    1 + (0u32..).zip(logits).filter(|&p| above(p)).count()
}
