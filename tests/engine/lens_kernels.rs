//! Compares the kernels of the lens with their CPU twins: natively, in Chromium and in Firefox.

use crate::support::{Lab, Noise};
use loupe::device::Tensor;
use loupe::kernels::{
    CHUNK, Chunk, Divergence, Forms, LANES, LensFold, LensMerge, Lists, MEMBER_SLOTS, Members,
    N_SLOTS, Precision, References, Rows, Slope, Targets, pad4,
};
use loupe::reference::{self, Columns, Sums, Weight};

device_tests! { lens_fold_and_merge chunks_that_are_folded_at_once_and_apart top_k divergence slope divergences_of_rows_that_are_close
sums_of_members }

/// Logits with ties, one huge value and a long tail. Shapes: \[rows, v\].
fn logits(noise: &mut Noise, rows: usize, v: usize) -> Vec<f32> {
    let mut out: Vec<f32> =
        noise.values(rows * v).iter().map(|x| (x * 40.0).round() / 4.0).collect();
    for row in out.chunks_mut(v) {
        row[v / 3] = 25.0;
    }
    out
}

/// Folds `n_rows` rows in chunks of `step` columns and merges them.
#[expect(clippy::too_many_arguments, reason = "the operands of two kernels")]
async fn fold_and_merge(
    lab: &Lab,
    logits: &Tensor,
    n_rows: usize,
    v: usize,
    step: usize,
    references: Option<(&Tensor, &Tensor)>,
    targets: Option<Targets<'_>>,
    period: usize,
    y: &Tensor,
    best: Option<(&Tensor, usize, usize)>,
) {
    let n_targets = targets.map_or(0, |targets| targets.n);
    let state = lab.device.tensor("state", (4 * n_rows * LANES * (N_SLOTS + n_targets)) as u64);
    let mut rec = lab.device.record("a test", &lab.cancel);
    for first_id in (0..v).step_by(step) {
        let chunk = Chunk {
            logits,
            stride: v,
            column: first_id,
            n_rows,
            n_columns: step.min(v - first_id),
            first_id,
            is_first: first_id == 0,
        };
        let references = references.map(|(logits, states)| References {
            logits,
            stride: v,
            column: first_id,
            states,
        });
        let (first_row, state, lists) = (0, &state, None);
        let op = LensFold { chunk, references, targets, first_row, period, state, lists };
        lab.kernels.lens_fold(&mut rec, &op).expect("lens_fold");
    }
    let op = LensMerge { state: &state, n_targets, n_rows, y, best, top: None };
    lab.kernels.lens_merge(&mut rec, &op).expect("lens_merge");
    rec.finish().await.expect("the device");
}

async fn lens_fold_and_merge() {
    let lab = Lab::open(Precision::F32).await;
    // V is below, at or above LANES, prime, or needs several columns per lane.
    for (v, step) in [(5, 5), (63, 20), (64, 64), (65, 7), (131, 131), (1009, 300)] {
        // A reading with all its tracked tokens has 67 targets.
        let (period, n_rows, n_targets) = (3, 9, if v == 131 { 67 } else { 4 });
        let mut noise = Noise::new(v as u64);
        let rows = logits(&mut noise, n_rows, v);
        // The references are the first and the last rows of the block, as in a reading.
        let finals = &rows[6 * v..];
        let refs = [finals, &rows[..3 * v]].concat();
        let refs_tensor = lab.device.upload("references", &refs);
        let states = lab.device.tensor("states", (4 * 2 * period * N_SLOTS) as u64);
        let mut ids: Vec<u32> = (0..period * n_targets).map(|_| noise.below(v) as u32).collect();
        let targets = lab.device.upload("targets", &ids);
        let best = Some((&targets, period, n_targets));
        fold_and_merge(&lab, &refs_tensor, 2 * period, v, step, None, None, period, &states, best)
            .await;
        for b in 0..period {
            ids[b * n_targets] = reference::top_k(&finals[b * v..][..v], 1)[0].0;
        }
        let id = |row: usize, j: usize| ids[row % period * n_targets + j];
        let target_logits: Vec<f32> = (0..n_rows * n_targets)
            .map(|i| rows[i / n_targets * v + id(i / n_targets, i % n_targets) as usize])
            .collect();
        let target_logits = lab.device.upload("target logits", &target_logits);
        let width = N_SLOTS + n_targets;
        let y = lab.device.tensor("y", (4 * n_rows * width) as u64);
        let row_tensor = lab.device.upload("rows", &rows);
        fold_and_merge(
            &lab,
            &row_tensor,
            n_rows,
            v,
            step,
            Some((&refs_tensor, &states)),
            Some(Targets { ids: &targets, logits: &target_logits, n: n_targets }),
            period,
            &y,
            None,
        )
        .await;
        let got = lab.device.read(&[(&y, (4 * n_rows * width) as u64)]).await.expect("a readback");
        let got = &got[0];
        for row in 0..n_rows {
            let position = row % period;
            let z = &rows[row * v..][..v];
            let reference = [&refs[position * v..][..v], &refs[(period + position) * v..][..v]];
            let slots = &got[row * width..][..width];
            let exact = sums::<f64>(z, reference);
            let plain = sums::<f32>(z, reference);
            assert_eq!(slots[3] as u32, reference::top_k(z, 1)[0].0, "arg-max, V={v} row {row}");
            let pick = |m: &[f64; 9], i: usize| m[i];
            let slot_order = [0, 1, 2, 4, 5, 6, 7, 8, 9];
            let values: Vec<f32> = slot_order.iter().map(|&i| slots[i]).collect();
            for i in 0..9 {
                let off = (pick(&plain, i) - pick(&exact, i)).abs();
                let error = (f64::from(values[i]) - pick(&exact, i)).abs();
                let tolerance = off + 1e-5 * (1.0 + pick(&exact, i).abs());
                assert!(error <= tolerance, "V={v} row {row} sum {i}: {} {}", values[i], exact[i]);
            }
            for j in 0..n_targets {
                let target = id(row, j);
                let rank = reference::rank(z, target, z[target as usize]);
                assert_eq!(slots[N_SLOTS + j] as usize + 1, rank, "V={v} row {row} target {j}");
            }
        }
    }
}

/// Rows that are folded in one dispatch have the bits of rows that are folded chunk by chunk, and so have the lists.
async fn chunks_that_are_folded_at_once_and_apart() {
    let lab = Lab::open(Precision::F32).await;
    let (v, n_rows, n, k) = (2 * CHUNK + 901, 3, 67, 20);
    let mut noise = Noise::new(31);
    let rows = logits(&mut noise, n_rows, v);
    let logits = lab.device.upload("logits", &rows);
    let states = lab.device.upload("references", &vec![1f32; 2 * n_rows * N_SLOTS]);
    let both = lab.device.upload("reference logits", &[&rows[..], &rows[..]].concat());
    let ids: Vec<u32> = (0..n_rows * n).map(|_| noise.below(v) as u32).collect();
    let own: Vec<f32> = (0..n_rows * n).map(|i| rows[i / n * v + ids[i] as usize]).collect();
    let (ids, own) = (lab.device.upload("targets", &ids), lab.device.upload("own", &own));
    let mut found: Vec<Vec<Vec<u32>>> = Vec::new();
    for step in [v, CHUNK] {
        let state = lab.device.tensor("state", (4 * n_rows * LANES * (N_SLOTS + n)) as u64);
        let lists = lab.device.tensor("lists", (8 * n_rows * LANES * k) as u64);
        let mut rec = lab.device.record("a test", &lab.cancel);
        for column in (0..v).step_by(step) {
            let chunk = Chunk {
                logits: &logits,
                stride: v,
                column,
                n_rows,
                n_columns: step.min(v - column),
                first_id: column,
                is_first: column == 0,
            };
            let op = LensFold {
                chunk,
                references: Some(References { logits: &both, stride: v, column, states: &states }),
                targets: Some(Targets { ids: &ids, logits: &own, n }),
                first_row: 0,
                period: n_rows,
                state: &state,
                lists: Some(Lists { pairs: &lists, k }),
            };
            lab.kernels.lens_fold(&mut rec, &op).expect("lens_fold");
        }
        let read = [(&state, state.bytes()), (&lists, lists.bytes())];
        let read = rec.read(&read).await.expect("a readback");
        found.push(read.iter().map(|t| t.iter().map(|v| v.to_bits()).collect()).collect());
    }
    assert!(found[0] == found[1]);
}

/// The twin's sums of one row, in the order of the slots.
fn sums<R: reference::Real>(z: &[f32], references: [&[f32]; 2]) -> [f64; 9] {
    let ids: Vec<u32> = (0..z.len() as u32).collect();
    let own = |logits: &[f32]| {
        let columns = Columns { ids: &ids, logits, references: [&[], &[]] };
        let sums = Sums::<R>::of(columns, None);
        Weight { m: sums.m, s: sums.s }
    };
    let columns = Columns { ids: &ids, logits: z, references };
    let m = Sums::<R>::of(columns, Some(references.map(own)));
    [m.m, m.s, m.u, m.a[0], m.a[1], m.b[0], m.b[1], m.p[0], m.p[1]].map(R::wide)
}

/// With lists in registers and in memory, which are empty, full, and around half of the longest.
async fn top_k() {
    let lab = Lab::open(Precision::F32).await;
    for forms in [Forms::SWIFTSHADER, Forms::PLAIN] {
        lab.kernels.choose_forms(&lab.device, forms).await.expect("forms");
        lists_hold_the_largest(&lab).await;
    }
}

async fn lists_hold_the_largest(lab: &Lab) {
    for (v, k, step) in [
        (1, 1, 1),
        (5, 5, 5),
        (63, 1, 64),
        (65, 20, 7),
        (1009, 20, 300),
        (257, 3, 257),
        (1009, 10, 1009),
        (1400, 9, 1400),
        (1400, 11, 300),
        (2000, 20, 500),
    ] {
        let n_rows = 3;
        let mut noise = Noise::new((v + k) as u64);
        let mut rows = logits(&mut noise, n_rows, v);
        rows[..v].fill(1.5); // a row of ties only
        let logits = lab.device.upload("logits", &rows);
        let lists = lab.device.tensor("lists", (8 * n_rows * LANES * k) as u64);
        let state = lab.device.tensor("state", (4 * n_rows * LANES * N_SLOTS) as u64);
        let y = lab.device.tensor("y", (8 * n_rows * k) as u64);
        let mut rec = lab.device.record("a test", &lab.cancel);
        for first_id in (0..v).step_by(step) {
            let chunk = Chunk {
                logits: &logits,
                stride: v,
                column: first_id,
                n_rows,
                n_columns: step.min(v - first_id),
                first_id,
                is_first: first_id == 0,
            };
            let op = LensFold {
                chunk,
                references: None,
                targets: None,
                first_row: 0,
                period: n_rows,
                state: &state,
                lists: Some(Lists { pairs: &lists, k }),
            };
            lab.kernels.lens_fold(&mut rec, &op).expect("lens_fold");
        }
        let merged = lab.device.tensor("merged", (4 * n_rows * N_SLOTS) as u64);
        let top = Some((Lists { pairs: &lists, k }, &y));
        let op = LensMerge { state: &state, n_targets: 0, n_rows, y: &merged, best: None, top };
        lab.kernels.lens_merge(&mut rec, &op).expect("lens_merge");
        rec.finish().await.expect("the device");
        let got = lab.device.read(&[(&y, (8 * n_rows * k) as u64)]).await.expect("a readback");
        for (row, list) in got[0].chunks(2 * k).enumerate() {
            let list: Vec<(u32, f32)> = list.chunks(2).map(|p| (p[1] as u32, p[0])).collect();
            let exact = reference::top_k(&rows[row * v..][..v], k);
            assert_eq!(list, exact, "V={v} K={k} row {row}");
        }
    }
}

/// Odd vocabularies in chunks that end within a word of the bits, sets of one, some, none of a chunk and all tokens, and
/// equal logits.
async fn sums_of_members() {
    let lab = Lab::open(Precision::F32).await;
    for (v, step) in [(1, 1), (5, 5), (63, 20), (64, 64), (65, 40), (131, 131), (1009, 300)] {
        let n_rows = 3;
        let mut noise = Noise::new(v as u64 + 11);
        let mut rows = logits(&mut noise, n_rows, v);
        // Ties for the best place, inside and outside of the sets.
        for id in [0, v / 2, v - 1] {
            rows[v + id] = 9.0;
        }
        let sets: [&dyn Fn(usize) -> bool; 4] =
            [&|id| id == v - 1, &|id| id % 3 == 1 || v == 1, &|id| id >= v / 2, &|_| true];
        for (which, is_member) in sets.iter().enumerate() {
            let mut bits = vec![0_u32; v.div_ceil(32)];
            (0..v).filter(|&id| is_member(id)).for_each(|id| bits[id / 32] |= 1 << (id % 32));
            let bits = lab.device.upload("bits", &bits);
            let all = lab.device.upload("logits", &rows);
            let y = lab.device.tensor("y", (4 * n_rows * LANES * MEMBER_SLOTS) as u64);
            let mut rec = lab.device.record("a test", &lab.cancel);
            for counts in [false, true] {
                for column in (0..v).step_by(step) {
                    let op = Members {
                        logits: &all,
                        stride: v,
                        column,
                        n_columns: step.min(v - column),
                        first_id: column,
                        n_rows,
                        members: &bits,
                        counts,
                        is_first: column == 0,
                        y: &y,
                    };
                    lab.kernels.members(&mut rec, &op).expect("members");
                }
            }
            let got = lab.read_done(&mut rec, &y, n_rows, LANES * MEMBER_SLOTS).await;
            for (row, lanes) in got.chunks(LANES * MEMBER_SLOTS).enumerate() {
                let lanes = || lanes.chunks(MEMBER_SLOTS);
                let mass = |slot: usize| -> f64 {
                    let of = |lane: &[f32]| f64::from(lane[slot + 1]) * f64::from(lane[slot]).exp();
                    lanes().map(of).sum()
                };
                let rank = 1.0 + lanes().map(|lane| lane[5]).sum::<f32>();
                let row_of = &rows[row * v..][..v];
                let (exact, exact_rank) = reference::members::<f64>(row_of, is_member);
                let (plain, _) = reference::members::<f32>(row_of, is_member);
                let prob = mass(0) / (mass(0) + mass(2));
                let tolerance = (f64::from(plain) - exact).abs() + 2e-6 * exact;
                let what = format!("V={v} set {which} row {row}");
                assert!((prob - exact).abs() <= tolerance, "{what}: {prob} {exact}");
                assert_eq!(rank, exact_rank as f32, "{what}");
            }
        }
    }
}

/// The divergences of pairs of rows by the kernel, in chunks of `step` columns. Shapes: p, q \[rows, v\] → \[rows, 3\].
async fn diverge(lab: &Lab, p: &[f32], q: &[f32], v: usize, step: usize) -> Vec<[f64; 3]> {
    let n_rows = p.len() / v;
    let logits = lab.device.upload("logits", &[p, q].concat());
    let states = lab.device.tensor("states", (4 * 2 * n_rows * N_SLOTS) as u64);
    fold_and_merge(lab, &logits, 2 * n_rows, v, step, None, None, 2 * n_rows, &states, None).await;
    let y = lab.device.tensor("y", (4 * n_rows * LANES * 3) as u64);
    let mut rec = lab.device.record("a test", &lab.cancel);
    for column in (0..v).step_by(step) {
        let op = Divergence {
            logits: &logits,
            stride: v,
            column,
            n_columns: step.min(v - column),
            n_rows,
            states: &states,
            n_targets: 0,
            is_first: column == 0,
            y: &y,
        };
        lab.kernels.divergence(&mut rec, &op).expect("divergence");
    }
    rec.finish().await.expect("the device");
    let got = lab.device.read(&[(&y, (4 * n_rows * LANES * 3) as u64)]).await.expect("a readback");
    let total = |lanes: &[f32], i: usize| lanes.chunks(3).map(|lane| f64::from(lane[i])).sum();
    got[0].chunks(LANES * 3).map(|lanes| [0, 1, 2].map(|i| total(lanes, i))).collect()
}

async fn divergence() {
    let lab = Lab::open(Precision::F32).await;
    for (v, step) in [(1, 1), (5, 5), (63, 20), (64, 64), (65, 7), (131, 131), (1009, 300)] {
        let n_rows = 3;
        let mut noise = Noise::new(v as u64 + 7);
        let (p, q) = (logits(&mut noise, n_rows, v), logits(&mut noise, n_rows, v));
        for (row, got) in diverge(&lab, &p, &q, v, step).await.into_iter().enumerate() {
            let row_of = |all: &[f32]| all[row * v..][..v].to_vec();
            let exact = reference::divergence::<f64>(&row_of(&p), &row_of(&q));
            let plain = reference::divergence::<f32>(&row_of(&p), &row_of(&q));
            for i in 0..3 {
                let off = (f64::from(plain[i]) - exact[i]).abs();
                let error = (got[i] - exact[i]).abs();
                let tolerance = off + 1e-5 * (1e-3 + exact[i]);
                assert!(error <= tolerance, "V={v} row {row} sum {i}: {} {}", got[i], exact[i]);
            }
        }
    }
}

/// Transposed, over a chunk in the middle; what is beyond the rows is 0.
async fn slope() {
    let lab = Lab::open(Precision::F32).await;
    for (v, first, n_columns, n_rows) in
        [(1, 0, 1, 1), (5, 0, 5, 3), (64, 8, 56, 4), (131, 32, 99, 7), (1009, 600, 301, 13)]
    {
        let mut noise = Noise::new(v as u64 + 3);
        let (p, q) = (logits(&mut noise, n_rows, v), logits(&mut noise, n_rows, v));
        let both = [&p[..], &q].concat();
        let states: Vec<f32> = both
            .chunks(v)
            .flat_map(|row| {
                let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let mass: f64 = row.iter().map(|&z| f64::from(z - largest).exp()).sum();
                let mut state = [0.0; N_SLOTS];
                [state[0], state[1]] = [largest, mass as f32];
                state
            })
            .collect();
        let wide = 4 * n_rows.div_ceil(4) + 4;
        let y = lab.device.upload("y", &vec![7.0f32; n_columns * wide]);
        let mut rec = lab.device.record("a test", &lab.cancel);
        let op = Slope {
            logits: &lab.rows(&both, v),
            stride: pad4(v),
            column: first,
            n_columns,
            n_rows,
            states: &lab.device.upload("states", &states),
            y: Rows::new(&y, 0, wide),
        };
        lab.kernels.slope(&mut rec, &op).expect("slope");
        let got = lab.read_done(&mut rec, &y, n_columns, wide).await;
        for row in 0..wide {
            if row >= n_rows {
                assert!((0..n_columns).all(|c| got[c * wide + row] == 0.0), "beyond the rows");
                continue;
            }
            let of = |all: &[f32]| all[row * v..][..v].to_vec();
            let exact = reference::slope::<f64>(&of(&p), &of(&q));
            for (c, exact) in exact[first..first + n_columns].iter().enumerate() {
                let off = (f64::from(got[c * wide + row]) - exact).abs();
                assert!(off < 1e-6, "V={v} row {row} token {c}: {off}");
            }
        }
    }
}

/// Rows that differ little keep their digits, where the definition would lose them; equal rows are at 0; rows that
/// exclude each other are at ln 2.
async fn divergences_of_rows_that_are_close() {
    let lab = Lab::open(Precision::F32).await;
    let v = 257;
    let p = logits(&mut Noise::new(1), 1, v);
    assert_eq!(diverge(&lab, &p, &p, v, v).await, [[0.0; 3]]);
    for size in [1e-1, 1e-2, 1e-3] {
        let moved = Noise::new(2).values(v);
        let q: Vec<f32> = p.iter().zip(moved).map(|(z, d)| z + size * d).collect();
        let exact = reference::divergence::<f64>(&p, &q);
        for (got, exact) in diverge(&lab, &p, &q, v, 100).await[0].iter().zip(exact) {
            assert!((got - exact).abs() <= 3e-3 * exact, "{size}: {got} {exact}");
        }
    }
    let one = |at: usize| (0..v).map(|i| if i == at { 80.0 } else { -80.0 }).collect::<Vec<f32>>();
    let [kl, kl_reverse, js] = diverge(&lab, &one(3), &one(4), v, v).await[0];
    assert!((kl - 160.0).abs() < 1e-3 && (kl_reverse - 160.0).abs() < 1e-3, "{kl} {kl_reverse}");
    assert!((js - std::f64::consts::LN_2).abs() < 1e-6, "{js}");
}
