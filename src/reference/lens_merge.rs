//! Twin of lens_merge: the law by which the sums of two pieces are merged.

use crate::lens::Moments;

use super::{Real, Sums};

impl<R: Real> Sums<R> {
    /// Both pieces together. Commutative and associative; [`Sums::empty`] is its identity.
    pub fn merge(self, other: Sums<R>) -> Sums<R> {
        let (high, low) = match self.m > other.m || (self.m == other.m && self.best <= other.best) {
            true => (self, other),
            false => (other, self),
        };
        let d = low.m - high.m;
        let e = d.exp();
        let pair = |f: &dyn Fn(usize) -> R| [f(0), f(1)];
        Sums {
            m: high.m,
            best: high.best,
            s: high.s + e * low.s,
            u: high.u + e * (low.u + d * low.s),
            a: pair(&|r| high.a[r] + e * low.a[r]),
            b: pair(&|r| high.b[r] + low.b[r] + d * low.p[r]),
            p: pair(&|r| high.p[r] + low.p[r]),
            bad: high.bad + low.bad,
        }
    }
}

impl Sums<f64> {
    /// The form from which the lens computes its statistics.
    pub fn moments(&self) -> Moments {
        let Sums { m, s, u, best, a, b, p, bad } = *self;
        Moments { m, s, u, best, a, b, p, bad: bad.into() }
    }
}
