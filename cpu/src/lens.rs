//! The running statistics of the lens over a chunk of logits; see shaders/lens_fold.wgsl for the sums.
//!
//! Lane i of 64 has the columns i, i + 64, …; four neighbouring lanes are one vector.

use wide::{CmpGt, f32x4};

use crate::WIDTH;
use crate::exp::exp;

/// Lanes of a row.
const LANES: usize = 64;
/// Magnitude from which a logit is not counted as finite.
const HUGE: f32 = 1e30;

/// The final and the input row in the same columns.
#[derive(Clone, Copy)]
pub struct References<'a> {
    /// Their logits, the final row's first.
    pub logits: [&'a [f32]; 2],
    /// Their largest logits, M.
    pub centre: [f32; 2],
    /// Their probabilities: see [`probabilities`].
    pub p: [&'a [f32]; 2],
}

/// The sums of one lane, as they stand in a state.
#[derive(Clone, Copy)]
pub struct Fold {
    /// Largest logit.
    pub m: f32,
    /// Σ e^(z−m).
    pub mass: f32,
    /// Σ e^(z−m) (z−m).
    pub moment: f32,
    /// Id of the largest logit.
    pub best: f32,
    /// Σ e^(z−m) (z_R−M_R).
    pub a: [f32; 2],
    /// Σ p_R (z−m).
    pub b: [f32; 2],
    /// Σ p_R.
    pub p: [f32; 2],
    /// Logits that are not finite.
    pub bad: f32,
}

impl Fold {
    /// The sums of no column.
    pub const EMPTY: Fold = Fold {
        m: -HUGE,
        mass: 0.0,
        moment: 0.0,
        best: 0.0,
        a: [0.0; 2],
        b: [0.0; 2],
        p: [0.0; 2],
        bad: 0.0,
    };
}

/// Sums of four lanes.
struct Four {
    m: f32x4,
    mass: f32x4,
    moment: f32x4,
    best: f32x4,
    a: [f32x4; 2],
    b: [f32x4; 2],
    p: [f32x4; 2],
    bad: f32x4,
}

/// Folds the logits of a row into its lanes. `first_id` is the token of the first column.
#[inline(never)]
pub fn fold(logits: &[f32], first_id: u32, references: Option<References<'_>>, lanes: &mut [Fold]) {
    let (whole, rest) = logits.as_chunks::<LANES>();
    // What stands behind the chunk's columns is not looked at.
    let references = references.map(|r| References {
        logits: r.logits.map(|row| cut(row, logits.len())),
        p: r.p.map(|row| cut(row, logits.len())),
        ..r
    });
    for (group, lanes) in lanes.chunks_exact_mut(WIDTH).enumerate().take(LANES / WIDTH) {
        let at = group * WIDTH;
        // What is left of the row for these four lanes.
        let tail = rest.len().saturating_sub(at).min(WIDTH);
        let mut four = gather(lanes);
        let four_of = |row: &[f32; LANES]| -> f32x4 {
            f32x4::from(
                row.get(at..).and_then(|r| r.first_chunk::<WIDTH>()).copied().unwrap_or_default(),
            )
        };

        let (mut top, mut best, mut bad) = (four.m, four.best, four.bad);
        let lane_ids = f32x4::from([0.0, 1.0, 2.0, 3.0]);
        let mut look = |z: f32x4, id: f32x4, is_there: f32x4| {
            // False for NaN, which is then counted.
            let is_finite = f32x4::splat(HUGE).cmp_gt(z.abs());
            bad += is_finite.blend(f32x4::ZERO, is_there);
            let is_larger = z.cmp_gt(top) & is_finite & is_there.cmp_gt(f32x4::ZERO);
            top = is_larger.blend(z, top);
            best = is_larger.blend(id, best);
        };
        for (i, row) in whole.iter().enumerate() {
            let first = first_id as usize + i * LANES + at;
            look(four_of(row), f32x4::splat(first as f32) + lane_ids, f32x4::ONE);
        }
        // 1 for the lanes that have a column in the last, incomplete round.
        let is_there =
            f32x4::from(std::array::from_fn::<f32, 4, _>(|i| if i < tail { 1.0 } else { 0.0 }));
        if tail > 0 {
            let z = padded(rest.get(at..).unwrap_or_default(), 0.0);
            let first = first_id as usize + whole.len() * LANES + at;
            look(z, f32x4::splat(first as f32) + lane_ids, is_there);
        }
        four.best = best;
        four.bad = bad;
        four.raise(top);

        for (i, row) in whole.iter().enumerate() {
            four.add(four_of(row), references.map(|r| r.at(i * LANES + at)), f32x4::ONE);
        }
        if tail > 0 {
            let first = whole.len() * LANES + at;
            let z = padded(rest.get(at..).unwrap_or_default(), 0.0);
            // A lane beyond the end is at its own largest logit, and counts nothing.
            let z = is_there.cmp_gt(f32x4::ZERO).blend(z, four.m);
            four.add(z, references.map(|r| r.at(first)), is_there);
        }
        four.scatter(lanes);
    }
}

/// Up to four numbers, and another one in place of those that are missing.
#[inline(always)]
fn padded(values: &[f32], otherwise: f32) -> f32x4 {
    f32x4::from(std::array::from_fn::<f32, 4, _>(|i| values.get(i).copied().unwrap_or(otherwise)))
}

/// Four columns of the references.
#[derive(Clone, Copy)]
struct Columns {
    /// z_R − M_R.
    centred: [f32x4; 2],
    p: [f32x4; 2],
}

impl References<'_> {
    #[inline(always)]
    fn at(&self, column: usize) -> Columns {
        let four_of = |row: &[f32], otherwise: f32| {
            let row = row.get(column..).unwrap_or_default();
            match row.first_chunk::<WIDTH>() {
                Some(&four) => f32x4::from(four),
                None => padded(row, otherwise),
            }
        };
        let centred =
            [0, 1].map(|r| four_of(self.logits[r], self.centre[r]) - f32x4::splat(self.centre[r]));
        Columns { centred, p: self.p.map(|row| four_of(row, 0.0)) }
    }
}

/// Writes e^(z−M) / Σ e^(z−M) of every logit of a reference, with which all rows at its position are folded.
#[inline(never)]
pub fn probabilities(logits: &[f32], centre: f32, mass: f32, p: &mut [f32]) {
    let of = |z: f32x4| exp(z - f32x4::splat(centre)) / f32x4::splat(mass);
    let ((z, z_rest), (p, p_rest)) = (logits.as_chunks::<WIDTH>(), p.as_chunks_mut::<WIDTH>());
    for (z, p) in z.iter().zip(p) {
        *p = of(f32x4::from(*z)).to_array();
    }
    for (p, value) in p_rest.iter_mut().zip(of(padded(z_rest, centre)).to_array()) {
        *p = value;
    }
}

impl Four {
    /// Moves the centre to a larger logit.
    #[inline(always)]
    fn raise(&mut self, top: f32x4) {
        // Elsewhere sums that have overflowed stay as they are: 0 · ∞ would be NaN.
        let is_higher = top.cmp_gt(self.m);
        let d = self.m - top;
        let e = exp(d);
        self.moment = is_higher.blend(e * (self.moment + d * self.mass), self.moment);
        self.mass = is_higher.blend(self.mass * e, self.mass);
        for r in [0, 1] {
            self.a[r] = is_higher.blend(self.a[r] * e, self.a[r]);
            self.b[r] = is_higher.blend(self.b[r] + d * self.p[r], self.b[r]);
        }
        self.m = top;
    }

    #[inline(always)]
    fn add(&mut self, z: f32x4, columns: Option<Columns>, is_there: f32x4) {
        let w = z - self.m;
        let e = exp(w) * is_there;
        self.mass += e;
        self.moment += e * w;
        let Some(Columns { centred, p }) = columns else { return };
        for r in [0, 1] {
            self.a[r] += e * centred[r];
            self.b[r] += p[r] * w;
            self.p[r] += p[r];
        }
    }

    fn scatter(self, lanes: &mut [Fold]) {
        for (i, lane) in lanes.iter_mut().enumerate().take(WIDTH) {
            let of = |v: f32x4| v.to_array()[i];
            *lane = Fold {
                m: of(self.m),
                mass: of(self.mass),
                moment: of(self.moment),
                best: of(self.best),
                a: self.a.map(of),
                b: self.b.map(of),
                p: self.p.map(of),
                bad: of(self.bad),
            };
        }
    }
}

#[inline(always)]
fn gather(lanes: &[Fold]) -> Four {
    let lanes: [Fold; WIDTH] =
        std::array::from_fn(|i| lanes.get(i).copied().unwrap_or(Fold::EMPTY));
    macro_rules! of {
        ($($field:tt)+) => { f32x4::from(lanes.map(|lane| lane.$($field)+)) };
    }
    Four {
        m: of!(m),
        mass: of!(mass),
        moment: of!(moment),
        best: of!(best),
        a: [0, 1].map(|r| of!(a[r])),
        b: [0, 1].map(|r| of!(b[r])),
        p: [0, 1].map(|r| of!(p[r])),
        bad: of!(bad),
    }
}

fn cut(row: &[f32], n: usize) -> &[f32] {
    row.get(..n).unwrap_or(row)
}

/// Adds, lane by lane, how many logits stand above a target: those that are larger, and equal ones of a lower id.
#[inline(never)]
pub fn count_above(
    logits: &[f32],
    first_id: u32,
    target: u32,
    z_target: f32,
    above: &mut [f32; LANES],
) {
    for (row, first) in logits.chunks(LANES).zip((first_id..).step_by(LANES)) {
        for ((above, &z), id) in above.iter_mut().zip(row).zip(first..) {
            let is_above = id != target && (z > z_target || (z == z_target && id < target));
            *above += if is_above { 1.0 } else { 0.0 };
        }
    }
}
