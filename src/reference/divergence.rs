//! Twin of divergence, by the definitions.

use super::Real;

/// KL(p ‖ q), KL(q ‖ p) and the Jensen–Shannon divergence of the distributions of two rows of logits. Units: nats.
pub fn divergence<R: Real>(p_logits: &[f32], q_logits: &[f32]) -> [R; 3] {
    let (p, q) = (log_softmax::<R>(p_logits), log_softmax::<R>(q_logits));
    let half = R::constant(0.5);
    let mut sums = [R::zero(); 3];
    for (&log_p, &log_q) in p.iter().zip(&q) {
        let (p, q) = (log_p.exp(), log_q.exp());
        let mean = half * (p + q);
        sums[0] += p * (log_p - log_q);
        sums[1] += q * (log_q - log_p);
        if mean > R::zero() {
            sums[2] += half * (p * (log_p - mean.ln()) + q * (log_q - mean.ln()));
        }
    }
    sums
}

fn log_softmax<R: Real>(logits: &[f32]) -> Vec<R> {
    let z = || logits.iter().map(|&z| R::of(z));
    let largest = z().reduce(R::max).unwrap_or(R::zero());
    let mass: R = z().map(|z| (z - largest).exp()).sum();
    z().map(|z| z - largest - mass.ln()).collect()
}
