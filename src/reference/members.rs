//! Twin of members, by the definitions.

use super::Real;

/// The summed probability of a set of tokens under a row of logits, and the rank of the member that comes first among all
/// tokens; a tie goes to the lower id.
pub fn members<R: Real>(logits: &[f32], is_member: impl Fn(usize) -> bool) -> (R, usize) {
    let z = || logits.iter().map(|&z| R::of(z));
    let largest = z().reduce(R::max).unwrap_or(R::zero());
    let p = |z: R| (z - largest).exp();
    let mass: R = z().map(p).sum();
    let of_set: R = z().enumerate().filter(|&(id, _)| is_member(id)).map(|(_, z)| p(z)).sum();
    let rank = |id: usize| {
        let before = |(other, &z): (usize, &f32)| z > logits[id] || (z == logits[id] && other < id);
        1 + logits.iter().enumerate().filter(|&other| before(other)).count()
    };
    let ranks = (0..logits.len()).filter(|&id| is_member(id)).map(rank);
    (of_set / mass, ranks.min().unwrap_or(0))
}
