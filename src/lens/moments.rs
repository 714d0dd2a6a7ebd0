//! From the merged sums of a row to statistics in nats, in f64 on the CPU.
//!
//! Everything is centred at the largest logit m, which is added back only in the log-sum-exp:
//! uncentred sums lose a digit.

use crate::kernels::N_SLOTS;

/// The merged sums of one row over the vocabulary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Largest logit.
    pub m: f64,
    /// Σ e^(z−m).
    pub s: f64,
    /// Σ e^(z−m)·(z−m).
    pub u: f64,
    /// Id of the largest logit; the lowest of equals.
    pub best: u32,
    /// Σ e^(z−m)·(z_R−M_R) for R = final, input.
    pub a: [f64; 2],
    /// Σ p_R·(z−m).
    pub b: [f64; 2],
    /// Σ p_R, 1 but for rounding.
    pub p: [f64; 2],
    /// Logits that are not finite, or beyond 1e30.
    pub bad: f64,
}

impl Moments {
    /// The sums as the device writes them; the slots are those of shaders/shared/lens.wgsl.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an id in f32")]
    pub fn from_slots(slots: &[f32]) -> Moments {
        let mut all = [0.0; N_SLOTS];
        all.iter_mut().zip(slots).for_each(|(to, &from)| *to = from);
        let [m, s, u, best, a0, a1, b0, b1, p0, p1, bad] = all.map(f64::from);
        Moments { m, s, u, best: best as u32, a: [a0, a1], b: [b0, b1], p: [p0, p1], bad }
    }

    /// Whether every logit is finite, so that the sums mean something.
    pub fn is_finite(&self) -> bool {
        // The largest logit contributes 1 to s, up to the rounding of the device's exp.
        self.bad == 0.0 && self.m > -1e30 && self.s >= 0.5 && self.s.is_finite()
    }

    /// ln Σ e^z. Units: nats.
    pub fn logsumexp(&self) -> f64 {
        self.m + self.s.ln()
    }

    /// Entropy of the row. Units: nats.
    pub fn entropy(&self) -> f64 {
        self.s.ln() - self.u / self.s
    }

    /// Log-probability of a token with this logit. Units: nats.
    pub fn logprob(&self, logit: f64) -> f64 {
        (logit - self.m) - self.s.ln()
    }

    /// KL(reference r ‖ row). Dividing by Σp removes the rounding of the reference's mass. Units: nats.
    pub fn kl_from(&self, r: usize, reference: &Moments) -> f64 {
        self.s.ln() - self.b[r] / self.p[r] - reference.entropy()
    }

    /// KL(row ‖ reference r). Units: nats.
    pub fn kl_to(&self, r: usize, reference: &Moments) -> f64 {
        self.u / self.s - self.s.ln() - self.a[r] / self.s + reference.s.ln()
    }
}
