//! Tests the merge law: any tiling, shard split and order of the vocabulary gives the same sums.

use loupe::reference::{Columns, Real, Sums, Weight};
use proptest::prelude::*;

/// Three rows over one vocabulary: the row itself, the final row, the input row.
fn rows() -> impl Strategy<Value = Vec<[f32; 3]>> {
    let logit = prop_oneof![4 => -30f32..30.0, 1 => Just(2.5f32), 1 => -2000f32..0.0];
    prop::collection::vec(prop::array::uniform3(logit), 1..150)
}

fn sums<R: Real>(rows: &[[f32; 3]], ids: &[u32], weights: Option<[Weight<R>; 2]>) -> Sums<R> {
    let pick = |row: usize| ids.iter().map(|&i| rows[i as usize][row]).collect::<Vec<f32>>();
    let (own, last, first) = (pick(0), pick(1), pick(2));
    let columns = Columns { ids, logits: &own, references: [&last, &first] };
    Sums::of(columns, weights)
}

/// Centre and mass of the two references over the whole vocabulary.
fn weights<R: Real>(rows: &[[f32; 3]]) -> [Weight<R>; 2] {
    [1, 2].map(|row| {
        let swapped: Vec<[f32; 3]> = rows.iter().map(|r| [r[row], 0.0, 0.0]).collect();
        let all: Vec<u32> = (0..rows.len() as u32).collect();
        let sums = sums::<R>(&swapped, &all, None);
        Weight { m: sums.m, s: sums.s }
    })
}

/// Splits the shuffled ids into tiles and merges them one after the other.
fn tiled<R: Real>(rows: &[[f32; 3]], order: &[u32], sizes: &[usize]) -> Sums<R> {
    let weights = weights::<R>(rows);
    let mut merged = Sums::empty();
    let (mut rest, mut sizes) = (order, sizes.iter().cycle());
    while !rest.is_empty() {
        let n = sizes.next().map_or(1, |&n| n.min(rest.len()));
        let (tile, after) = rest.split_at(n);
        merged = merged.merge(sums(rows, tile, Some(weights)));
        rest = after;
        // A tile without columns (size 0) must change nothing; one column follows, so that the loop ends.
        if n == 0 {
            let (tile, after) = rest.split_at(1);
            merged = sums(rows, tile, Some(weights)).merge(merged);
            rest = after;
        }
    }
    merged
}

fn close<R: Real>(a: &Sums<R>, b: &Sums<R>, tolerance: f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(a.m, b.m);
    prop_assert_eq!(a.best, b.best);
    let pairs = [
        (a.s, b.s),
        (a.u, b.u),
        (a.a[0], b.a[0]),
        (a.a[1], b.a[1]),
        (a.b[0], b.b[0]),
        (a.b[1], b.b[1]),
        (a.p[0], b.p[0]),
        (a.p[1], b.p[1]),
    ];
    for (i, (x, y)) in pairs.into_iter().enumerate() {
        let (x, y) = (x.wide(), y.wide());
        let scale = 1.0 + x.abs().max(y.abs());
        prop_assert!((x - y).abs() <= tolerance * scale, "sum {i}: {x} and {y}");
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_tiling_and_order_agree(
        rows in rows(),
        seed in any::<u64>(),
        sizes in prop::collection::vec(0usize..40, 1..6),
    ) {
        let mut order: Vec<u32> = (0..rows.len() as u32).collect();
        let whole64 = sums::<f64>(&rows, &order, Some(weights(&rows)));
        let whole32 = sums::<f32>(&rows, &order, Some(weights(&rows)));
        // This is a Fisher-Yates shuffle with a small generator: the order shrinks with the seed.
        let mut state = seed | 1;
        for i in (1..order.len()).rev() {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            order.swap(i, (state >> 33) as usize % (i + 1));
        }
        close(&tiled::<f64>(&rows, &order, &sizes), &whole64, 1e-12)?;
        close(&tiled::<f32>(&rows, &order, &sizes), &whole32, 1e-5)?;
        for shard in [1, 7, rows.len()] {
            close(&tiled::<f64>(&rows, &order, &[shard]), &whole64, 1e-12)?;
        }
    }

    #[test]
    fn merge_is_commutative_associative_and_has_an_identity(rows in rows(), cut in any::<(u8, u8)>()) {
        let all: Vec<u32> = (0..rows.len() as u32).collect();
        let (mut i, mut j) = (cut.0 as usize % (all.len() + 1), cut.1 as usize % (all.len() + 1));
        if i > j { std::mem::swap(&mut i, &mut j); }
        let weights = Some(weights::<f64>(&rows));
        let [a, b, c] = [&all[..i], &all[i..j], &all[j..]].map(|ids| sums(&rows, ids, weights));
        let empty = Sums::empty();
        close(&a.merge(empty), &a, 0.0)?;
        close(&empty.merge(a), &a, 0.0)?;
        if i < j { close(&a.merge(b), &b.merge(a), 1e-12)?; }
        close(&a.merge(b).merge(c), &a.merge(b.merge(c)), 1e-12)?;
    }

    /// The statistics in nats agree with their definitions.
    #[test]
    fn statistics_agree_with_their_definitions(rows in rows()) {
        let all: Vec<u32> = (0..rows.len() as u32).collect();
        let row = sums::<f64>(&rows, &all, Some(weights(&rows))).moments();
        let logp: Vec<Vec<f64>> = (0..3).map(|r| {
            let z: Vec<f64> = rows.iter().map(|row| f64::from(row[r])).collect();
            let most = z.iter().copied().fold(f64::MIN, f64::max);
            let lse = most + z.iter().map(|v| (v - most).exp()).sum::<f64>().ln();
            z.iter().map(|v| v - lse).collect()
        }).collect();
        let kl = |a: &[f64], b: &[f64]| -> f64 {
            a.iter().zip(b).filter(|(x, _)| x.exp() > 0.0).map(|(x, y)| x.exp() * (x - y)).sum()
        };
        for r in [0, 1] {
            let swapped: Vec<[f32; 3]> = rows.iter().map(|row| [row[r + 1], 0.0, 0.0]).collect();
            let reference = sums::<f64>(&swapped, &all, None).moments();
            let near = |x: f64, y: f64| (x - y).abs() <= 1e-9 * (1.0 + y.abs());
            let (from, to) = (row.kl_from(r, &reference), row.kl_to(r, &reference));
            prop_assert!(near(from, kl(&logp[r + 1], &logp[0])), "{} {}", from, kl(&logp[r + 1], &logp[0]));
            prop_assert!(near(to, kl(&logp[0], &logp[r + 1])), "{} {}", to, kl(&logp[0], &logp[r + 1]));
        }
        let entropy = -logp[0].iter().map(|x| x.exp() * x).filter(|v| !v.is_nan()).sum::<f64>();
        prop_assert!((row.entropy() - entropy).abs() <= 1e-9 * (1.0 + entropy));
    }
}
