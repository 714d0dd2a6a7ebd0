//! Twin of slope, by the definition.

use super::Real;

/// The derivative of KL(p ‖ q) by the logits of q: q − p.
pub fn slope<R: Real>(p_logits: &[f32], q_logits: &[f32]) -> Vec<R> {
    let [p, q] = [p_logits, q_logits].map(|logits| {
        let largest = logits.iter().map(|&z| R::of(z)).reduce(R::max).unwrap_or(R::zero());
        let powers: Vec<R> = logits.iter().map(|&z| (R::of(z) - largest).exp()).collect();
        let mass: R = powers.iter().copied().sum();
        powers.into_iter().map(|power| power / mass).collect::<Vec<R>>()
    });
    p.into_iter().zip(q).map(|(p, q)| q - p).collect()
}
