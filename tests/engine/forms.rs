//! The forms of kernels: every one gives the same bits, on shapes around every edge, and the choice among them changes no
//! reading. Natively, in Chromium and in Firefox.

#[cfg(not(target_arch = "wasm32"))]
use std::{cell::Cell, rc::Rc};

use crate::support::golden::Golden;
use crate::support::{Lab, Noise, halved};
use loupe::config::Activation;
use loupe::device::Cancel;
use loupe::kernels::{Attention, Forms, LayerNorm, Matmul, Precision, Rows, Tile, Unit, pad4};
use loupe::lens::{Depth, Options};
use loupe::session::{LoadRequest, Session, Tuning};

gpu_tests! {
    every_tile_has_the_bits_of_the_others every_part_of_a_product_in_every_tile
    three_products_in_every_tile
    layer_norm_has_the_same_bits_in_both_forms attention_has_the_same_bits_in_both_forms
    readings_in_every_form
}

// What a session does with them depends on no compiler, and takes minutes where it compiles every form anew.
#[cfg(not(target_arch = "wasm32"))]
gpu_tests! {
    fewer_dispatches_of_a_long_text forms_are_measured_once_and_kept
    wrong_and_refused_forms_are_not_chosen a_lost_device_or_a_cancel_ends_the_measurement
}

const BOTH: [Precision; 2] = [Precision::F16, Precision::F32];

/// x W + bias, with GELU and a residual, in every tile. Shapes: x \[rows, K\], W \[K, N\].
async fn in_every_tile(lab: &Lab, precision: Precision, [n_rows, n_in, n_out]: [usize; 3]) {
    let mut noise = Noise::new((n_rows * 31 + n_in * 7 + n_out) as u64);
    let x = lab.rows(&noise.values(n_rows * n_in), n_in);
    let weights = noise.values(n_in * n_out);
    let weights = if precision == Precision::F16 { halved(&weights) } else { weights };
    let bias = lab.rows(&noise.values(n_out), n_out);
    let residual = lab.rows(&noise.values(n_rows * n_out), n_out);
    for outputs in [false, true] {
        let matrix = lab.matrix(&weights, n_in, precision, outputs);
        let mut found: Vec<Vec<u32>> = Vec::new();
        for tile in Tile::ALL {
            lab.kernels
                .choose_forms(&lab.device, Forms::all(tile, Unit::Invocation))
                .await
                .expect("a tile");
            let y = lab.device.tensor("y", (4 * n_rows * pad4(n_out)) as u64);
            let mut rec = lab.device.record("a test", &lab.cancel);
            let op = Matmul {
                bias: Some(&bias),
                activation: Some(Activation::Gelu),
                residual: Some(Rows::new(&residual, 0, n_out)),
                ..Matmul::new(Rows::new(&x, 0, n_in), &matrix, n_rows, Rows::new(&y, 0, n_out))
            };
            lab.kernels.matmul(&mut rec, &op).expect("matmul");
            let got = lab.read_done(&mut rec, &y, n_rows, n_out).await;
            assert!(got.iter().all(|v| v.is_finite()) && got.iter().any(|&v| v != 0.0));
            found.push(got.iter().map(|v| v.to_bits()).collect());
        }
        for (tile, bits) in Tile::ALL.iter().zip(&found) {
            let what = format!("{precision:?} {n_rows} × {n_in} × {n_out} {tile:?} {outputs}");
            assert!(*bits == found[0], "{what}");
        }
    }
}

async fn every_tile_has_the_bits_of_the_others() {
    for precision in BOTH {
        let lab = Lab::open(precision).await;
        for n_rows in [1, 31, 33, 64, 65, 129] {
            in_every_tile(&lab, precision, [n_rows, 21, 69]).await;
        }
        for n_in in [1, 5, 16, 17, 33] {
            in_every_tile(&lab, precision, [5, n_in, 7]).await;
        }
        for n_out in [1, 63, 65, 128, 129, 257] {
            in_every_tile(&lab, precision, [9, 18, n_out]).await;
        }
    }
}

/// Some columns of W are computed into some columns of y, and some rows of x into other rows of y; nothing else is
/// written.
async fn every_part_of_a_product_in_every_tile() {
    let lab = Lab::open(Precision::F32).await;
    let (n_in, n_out) = (7, 150);
    let mut noise = Noise::new(5);
    let x = lab.rows(&noise.values(50 * n_in), n_in);
    let matrix = lab.matrix(&noise.values(n_in * n_out), n_in, Precision::F32, true);
    let mut found: Vec<Vec<f32>> = Vec::new();
    for tile in Tile::ALL {
        lab.kernels
            .choose_forms(&lab.device, Forms::all(tile, Unit::Invocation))
            .await
            .expect("a tile");
        let y = lab.device.tensor("y", 4 * 60 * 160);
        let mut rec = lab.device.record("a test", &lab.cancel);
        let (x, rows) = (Rows::new(&x, 9, n_in), Rows::new(&y, 13, 160));
        let op = Matmul { columns4: 3..37, y_column4: 2, ..Matmul::new(x, &matrix, 41, rows) };
        lab.kernels.matmul(&mut rec, &op).expect("matmul");
        found.push(lab.read_done(&mut rec, &y, 60, 160).await);
    }
    for (i, value) in found[0].iter().enumerate() {
        let (row, column) = (i / 160, i % 160);
        let is_written = (13..54).contains(&row) && (8..144).contains(&column);
        assert_eq!(*value != 0.0, is_written, "y[{row}, {column}]");
    }
    for (tile, values) in Tile::ALL.iter().zip(&found) {
        assert!(values == &found[0], "{tile:?}");
    }
}

async fn three_products_in_every_tile() {
    for precision in BOTH {
        let lab = Lab::open(precision).await;
        for (n_rows, n_in, n_out) in [(1, 7, 19), (9, 20, 64), (70, 12, 45)] {
            let mut noise = Noise::new(n_out as u64);
            let x = lab.rows(&noise.values(n_rows * n_in), n_in);
            let parts = [0, 0, 0].map(|_| noise.values(n_in * n_out));
            let matrix = lab.parts(&parts, n_in, precision, false);
            let mut found: Vec<[Vec<f32>; 3]> = Vec::new();
            for tile in Tile::ALL {
                let forms = Forms::all(tile, Unit::Invocation);
                lab.kernels.choose_forms(&lab.device, forms).await.expect("a tile");
                let bytes = (4 * (n_rows + 1) * pad4(n_out)) as u64;
                let y = [0, 1, 2].map(|_| lab.device.tensor("y", bytes));
                let mut rec = lab.device.record("a test", &lab.cancel);
                let others = Some([&y[1], &y[2]].map(|tensor| Rows::new(tensor, 1, n_out)));
                let (x, first) = (Rows::new(&x, 0, n_in), Rows::new(&y[0], 0, n_out));
                let op = Matmul { others, ..Matmul::new(x, &matrix, n_rows, first) };
                lab.kernels.matmul(&mut rec, &op).expect("matmul");
                rec.finish().await.expect("the device");
                let mut rows = Vec::new();
                for tensor in &y {
                    rows.push(lab.read_rows(tensor, n_rows + 1, n_out).await);
                }
                found.push(rows.try_into().expect("three outputs"));
            }
            for (tile, rows) in Tile::ALL.iter().zip(&found) {
                assert!(rows == &found[0], "{precision:?} {n_rows} × {n_in} × {n_out} {tile:?}");
                assert!(rows.iter().flatten().any(|&v| v != 0.0));
            }
        }
    }
}

async fn layer_norm_has_the_same_bits_in_both_forms() {
    let lab = Lab::open(Precision::F32).await;
    // Fewer channels than lanes, one group of them more than a round, and rows that are scaled.
    for (n_rows, c, scale) in
        [(1, 1, 1.0), (3, 5, 1.0), (7, 127, 3.0), (33, 132, 1.0), (5, 768, 1e16), (2, 1601, 1e30)]
    {
        let mut noise = Noise::new(c as u64);
        let values: Vec<f32> = noise.values(n_rows * c).iter().map(|v| scale * (v + 0.1)).collect();
        let x = lab.rows(&values, c);
        let (gain, bias) = (lab.rows(&noise.values(c), c), lab.rows(&noise.values(c), c));
        let mut found: Vec<Vec<u32>> = Vec::new();
        for unit in [Unit::Invocation, Unit::Workgroup] {
            let forms = Forms::all(Tile::Register, unit);
            lab.kernels.choose_forms(&lab.device, forms).await.expect("a form");
            let y = lab.device.tensor("y", (4 * (n_rows + 2) * pad4(c)) as u64);
            let mut rec = lab.device.record("a test", &lab.cancel);
            let op = LayerNorm {
                x: Rows::new(&x, 0, c),
                others: &[],
                affine: Some((&gain, &bias)),
                epsilon: Some(1e-5),
                n_embd: c,
                n_rows,
                y: Rows::new(&y, 1, c),
            };
            lab.kernels.layer_norm(&mut rec, &op).expect("layer_norm");
            let got = lab.read_done(&mut rec, &y, n_rows + 2, c).await;
            let is_outside = |row: &[f32]| row.iter().all(|&v| v == 0.0);
            assert!(is_outside(&got[..c]) && is_outside(&got[(n_rows + 1) * c..]));
            assert!(got.iter().all(|v| v.is_finite()) && got.iter().any(|&v| v != 0.0));
            found.push(got.iter().map(|v| v.to_bits()).collect());
        }
        assert!(found[0] == found[1], "{n_rows} × {c} × {scale}");
    }
}

async fn attention_has_the_same_bits_in_both_forms() {
    let lab = Lab::open(Precision::F32).await;
    // One query and many, fewer keys than a tile and more, and heads up to the widest and beyond.
    let shapes = [(1, 1, 1), (5, 7, 17), (2, 31, 16), (3, 33, 35), (2, 64, 67), (1, 95, 20)];
    for (n_head, head_dim, t) in shapes.into_iter().chain([(2, 96, 33), (1, 128, 40), (1, 130, 19)])
    {
        let c = n_head * head_dim;
        let mut noise = Noise::new((c + t) as u64);
        let [q, k, v] = [0, 0, 0].map(|_| noise.values(t * c));
        let (k, v) = (lab.rows(&k, c), lab.rows(&v, c));
        let windows = [None, Some(1), Some(5), Some(t + 3)];
        for (first_position, window) in [0, t / 2].into_iter().flat_map(|p| windows.map(|w| (p, w)))
        {
            let n_rows = t - first_position;
            let q = lab.rows(&q[first_position * c..], c);
            let mut found: Vec<Vec<u32>> = Vec::new();
            for unit in [Unit::Invocation, Unit::Workgroup] {
                let forms = Forms::all(Tile::Register, unit);
                lab.kernels.choose_forms(&lab.device, forms).await.expect("a form");
                let y = lab.device.tensor("y", (4 * (n_rows + 1) * pad4(c)) as u64);
                let mut rec = lab.device.record("a test", &lab.cancel);
                let (q, k, v, scale, y) = (&q, &k, &v, 3.0, &y);
                let op = Attention {
                    q,
                    k,
                    v,
                    first_position,
                    n_rows,
                    n_runs: 1,
                    n_head,
                    head_dim,
                    scale,
                    window,
                    y,
                };
                lab.kernels.attention(&mut rec, &op).expect("attention");
                let got = lab.read_done(&mut rec, y, n_rows + 1, c).await;
                assert!(got[n_rows * c..].iter().all(|&v| v == 0.0), "only the rows are written");
                assert!(got.iter().all(|v| v.is_finite()) && got.iter().any(|&v| v != 0.0));
                found.push(got.iter().map(|v| v.to_bits()).collect());
            }
            let what = format!("H={n_head} D={head_dim} T={t} from {first_position} {window:?}");
            assert!(found[0] == found[1], "{what}");
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
async fn loaded(golden: &Golden, tuning: Tuning) -> Session {
    let session = crate::support::session().await;
    load_into(&session, golden, tuning).await;
    session
}

async fn load_into(session: &Session, golden: &Golden, tuning: Tuning) {
    session.set_tuning(tuning);
    let mut loading =
        session.load(&LoadRequest::new(golden.config, None)).await.expect("a model that loads");
    session.push(&mut loading, golden.weights).await.expect("a valid file");
    session.install(loading).await.expect("a whole model");
}

/// The bits of all statistics of a reading.
async fn bits(session: &Session, golden: &Golden) -> Vec<u32> {
    let options = Options { depth: Depth::Halves, track: vec![0, 5], ..Options::default() };
    let (ids, never) = (golden.ids(), Cancel::default());
    let lensed = session.read(&ids, &options, &never, |_, _, _| Ok(())).await.expect("a reading");
    let reading = &lensed.reading;
    let ids = reading.top_ids.iter().copied();
    reading.stats.iter().flatten().map(|v| v.to_bits()).chain(ids).collect()
}

async fn readings_in_every_form() {
    let [tales, ..] = Golden::tales();
    let session = crate::support::session().await;
    // Two blocks of positions; a vocabulary of several chunks and more rows than one group; local attention.
    for (golden, tiles) in [
        (Golden::massive(), &Tile::ALL[..]),
        (Golden::tall(), &[Tile::Rows64]),
        (Golden::neo(), &[Tile::Rows32]),
        (tales, &[Tile::Rows128]),
    ] {
        load_into(&session, &golden, Tuning::Given(Forms::PLAIN)).await;
        let expected = bits(&session, &golden).await;
        for &tile in tiles {
            let tuning = Tuning::Given(Forms::all(tile, Unit::Workgroup));
            load_into(&session, &golden, tuning).await;
            assert_eq!(session.tuning(), tuning, "the device takes these forms");
            assert!(bits(&session, &golden).await == expected, "{} {tile:?}", golden.name);
        }
    }
}

/// Where workgroups share what they read, the forward pass has blocks of 256 positions, and the lens of 64.
#[cfg(not(target_arch = "wasm32"))]
async fn fewer_dispatches_of_a_long_text() {
    let [golden, ..] = Golden::tales();
    let ids: Vec<u32> = (0..130).map(|i| (i * 37 + 11) % 4096).collect();
    let mut found = Vec::new();
    for forms in [Forms::PLAIN, Forms::all(Tile::Register, Unit::Workgroup)] {
        let session = loaded(&golden, Tuning::Given(forms)).await;
        let before = session.device().counters().dispatches;
        let options = Options::default();
        let mut blocks = Vec::new();
        let read = session
            .read(&ids, &options, &Cancel::default(), |start, end, reading| {
                // What is passed on is there.
                assert!(reading.stats[0][start..end].iter().all(|&v| v != 0.0));
                blocks.push((start, end));
                Ok(())
            })
            .await;
        assert_eq!(blocks, [(0, 44), (44, 88), (88, 130)]);
        let bits: Vec<u32> =
            read.expect("a reading").reading.stats.iter().flatten().map(|v| v.to_bits()).collect();
        found.push((session.device().counters().dispatches - before, bits));
    }
    // A reading that is cancelled while a block is read back ends, and the next one is right.
    let forms = Forms::all(Tile::Register, Unit::Workgroup);
    let session = loaded(&golden, Tuning::Given(forms)).await;
    let is_cancelled = Rc::new(Cell::new(false));
    let cancel = Cancel::new({
        let is_cancelled = is_cancelled.clone();
        move || is_cancelled.get()
    });
    let stop = |_, _, _: &loupe::reading::Reading| {
        is_cancelled.set(true);
        Ok(())
    };
    let before = session.device().allocated_bytes();
    let code = session.read(&ids, &Options::default(), &cancel, stop).await.map(|_| ());
    assert_eq!(code.map_err(|e| e.code()), Err("aborted"));
    assert_eq!(session.device().allocated_bytes(), before, "nothing is kept of it");
    let never = Cancel::default();
    let again = session.read(&ids, &Options::default(), &never, |_, _, _| Ok(())).await;
    let bits =
        again.expect("a reading").reading.stats.iter().flatten().map(|v| v.to_bits()).collect();
    found.push((found[1].0, bits));
    assert!(found[2].1 == found[0].1);
    let [(plain, of_plain), (shared, of_shared), _] = &found[..] else { panic!("two readings") };
    // Two blocks fewer of an embedding and of eight blocks with seven dispatches.
    assert_eq!(plain - shared, 2 * (1 + 8 * 7));
    assert!(of_plain == of_shared);
}

#[cfg(not(target_arch = "wasm32"))]
async fn forms_are_measured_once_and_kept() {
    let [golden, ..] = Golden::tales();
    let session = loaded(&golden, Tuning::Off).await;
    let before = session.device().allocated_bytes();
    let expected = bits(&session, &golden).await;
    assert_eq!(session.tuning(), Tuning::Off);
    drop(session);

    let session = loaded(&golden, Tuning::Measured).await;
    assert_eq!(session.device().allocated_bytes(), before, "the measurement keeps no memory");
    let Tuning::Given(forms) = session.tuning() else { panic!("nothing was chosen") };
    assert_eq!(session.loaded().expect("a model").model.kernels.forms(), forms);
    assert!(session.device().counters().dispatches > 0, "the forms were measured");
    crate::support::say(&format!("forms: {forms}"));
    assert!(bits(&session, &golden).await == expected);

    // Another model uses the same choice without another measurement.
    let before = session.device().counters().dispatches;
    let mut loading = session.load(&LoadRequest::new(golden.config, None)).await.expect("a load");
    session.push(&mut loading, golden.weights).await.expect("bytes");
    session.install(loading).await.expect("a model");
    assert_eq!(session.device().counters().dispatches, before);
    assert_eq!(session.tuning(), Tuning::Given(forms));
}

/// A form that computes in another way on some adapter, or that its compiler refuses, is not used there.
#[cfg(not(target_arch = "wasm32"))]
async fn wrong_and_refused_forms_are_not_chosen() {
    let [golden, ..] = Golden::tales();
    let expected = bits(&loaded(&golden, Tuning::Off).await, &golden).await;
    for (name, from, to) in [
        // Nothing is changed.
        ("copy", "", ""),
        ("matmul", "let row = min(first_row + i", "let row = min(first_row + 1u + i"),
        ("matmul", "let n_k4 =", "let n_k4 = no_such_name +"),
        ("layer_norm", "sum += parts[i];", "sum += 1.01 * parts[i];"),
        ("attention", "let n = min(n_keys, end - j0);", "let n = no_such_name;"),
    ] {
        let device = crate::support::device().await;
        device.alter(name, from, to);
        let session = Session::new(device);
        session.set_tuning(Tuning::Measured);
        let request = LoadRequest::new(golden.config, None);
        let mut loading = session.load(&request).await.expect("a load");
        session.push(&mut loading, golden.weights).await.expect("bytes");
        session.install(loading).await.expect("a model, whatever its forms");
        let Tuning::Given(forms) = session.tuning() else { panic!("nothing was chosen") };
        let usable = session.usable_forms(&Cancel::default()).await.expect("forms");
        let units = [Unit::Invocation, Unit::Workgroup].map(|u| Forms::all(Tile::Register, u));
        let tiles = [Tile::Register, Tile::Rows64, Tile::Rows128, Tile::Rows8, Tile::Rows32];
        let tiles = tiles.map(|tile| Forms::all(tile, Unit::Invocation));
        let (n_units, n_tiles) = match name {
            "copy" => (2, 5),
            "matmul" => (2, 1),
            _ => (1, 5),
        };
        let right = [&units[..n_units], &tiles[..n_tiles]].concat();
        assert!(usable == right, "{from} became {to}: {usable:?}");
        assert!(n_tiles == 5 || [forms.few, forms.some, forms.many] == [Tile::Register; 3]);
        assert!(n_units == 2 || forms.rows == Unit::Invocation);
        assert!(bits(&session, &golden).await == expected, "{from} became {to}");
    }
}

#[cfg(not(target_arch = "wasm32"))]
async fn a_lost_device_or_a_cancel_ends_the_measurement() {
    let [golden, ..] = Golden::tales();
    // In the middle of the measurement, which asks before each run whether it is cancelled.
    for (is_lost, expected) in [(true, "device-lost"), (false, "aborted")] {
        let session = Rc::new(crate::support::session().await);
        session.set_tuning(Tuning::Measured);
        let request = LoadRequest::new(golden.config, None);
        let mut loading = session.load(&request).await.expect("a load");
        let (n_asked, weak) = (Rc::new(Cell::new(0)), Rc::downgrade(&session));
        let asked = n_asked.clone();
        loading.stop_by(&Cancel::new(move || {
            asked.set(asked.get() + 1);
            if is_lost && asked.get() == 4 {
                weak.upgrade().expect("a session").device().destroy();
            }
            !is_lost && asked.get() == 4
        }));
        session.push(&mut loading, golden.weights).await.expect("bytes");
        let code = session.install(loading).await.map(|_| ()).map_err(|e| e.code());
        assert_eq!(code, Err(expected));
        assert!(n_asked.get() >= 4, "it was measured");
        assert_eq!(session.tuning(), Tuning::Measured);
        assert!(session.loaded().is_err(), "the model is not in use");
    }
}
