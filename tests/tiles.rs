//! The tiles of matrix products: every one gives the same bits, on shapes around every edge, and the choice among them
//! changes no reading. Natively, in Chromium and in Firefox.
#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers are small")]

mod support;

use loupe::config::Activation;
use loupe::device::Cancel;
use loupe::kernels::{Matmul, Precision, Rows, Tile, Tiles, pad4};
use loupe::lens::{Depth, Options};
use loupe::session::{LoadRequest, Session, Tuning};
use support::golden::Golden;
use support::{Lab, Noise, halved};

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

gpu_tests! {
    every_tile_has_the_bits_of_the_others every_part_of_a_product_in_every_tile
    readings_in_every_tile tiles_are_measured_once_and_kept a_lost_device_ends_the_measurement
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
            lab.kernels.choose_tiles(&lab.device, Tiles::all(tile)).await.expect("a tile");
            let y = lab.device.tensor("y", (4 * n_rows * pad4(n_out)) as u64);
            let mut rec = lab.device.record("a test", &lab.cancel);
            let op = Matmul {
                bias: Some(&bias),
                activation: Some(Activation::Gelu),
                residual: Some(Rows::new(&residual, 0, n_out)),
                ..Matmul::new(Rows::new(&x, 0, n_in), &matrix, n_rows, Rows::new(&y, 0, n_out))
            };
            lab.kernels.matmul(&mut rec, &op).expect("matmul");
            rec.finish().await.expect("the device");
            let got = lab.read_rows(&y, n_rows, n_out).await;
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
        for n_rows in [1, 3, 31, 32, 33, 63, 64, 65, 127, 128, 129] {
            in_every_tile(&lab, precision, [n_rows, 21, 69]).await;
        }
        for n_in in [1, 4, 5, 15, 16, 17, 31, 32, 33] {
            in_every_tile(&lab, precision, [5, n_in, 7]).await;
        }
        for n_out in [1, 4, 63, 64, 65, 127, 128, 129, 257] {
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
        lab.kernels.choose_tiles(&lab.device, Tiles::all(tile)).await.expect("a tile");
        let y = lab.device.tensor("y", 4 * 60 * 160);
        let mut rec = lab.device.record("a test", &lab.cancel);
        let (x, rows) = (Rows::new(&x, 9, n_in), Rows::new(&y, 13, 160));
        let op = Matmul { columns4: 3..37, y_column4: 2, ..Matmul::new(x, &matrix, 41, rows) };
        lab.kernels.matmul(&mut rec, &op).expect("matmul");
        rec.finish().await.expect("the device");
        found.push(lab.read_rows(&y, 60, 160).await);
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

async fn loaded(golden: &Golden, tuning: Tuning) -> Session {
    let session = support::session().await;
    session.set_tuning(tuning);
    let mut loading =
        session.load(&LoadRequest::new(golden.config, None)).await.expect("a model that loads");
    session.push(&mut loading, golden.weights).await.expect("a valid file");
    session.install(loading).await.expect("a whole model");
    session
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

async fn readings_in_every_tile() {
    let [tales, ..] = Golden::tales();
    // Two blocks of positions; a vocabulary of several chunks and more rows than one group; an untied head.
    for golden in [Golden::massive(), Golden::tall(), Golden::untied(), tales] {
        let expected = bits(&loaded(&golden, Tuning::Off).await, &golden).await;
        for tile in Tile::ALL {
            let session = loaded(&golden, Tuning::Given(Tiles::all(tile))).await;
            assert!(bits(&session, &golden).await == expected, "{} {tile:?}", golden.name);
        }
    }
}

async fn tiles_are_measured_once_and_kept() {
    let [golden, ..] = Golden::tales();
    let session = loaded(&golden, Tuning::Off).await;
    let before = session.device().allocated_bytes();
    let expected = bits(&session, &golden).await;
    assert_eq!(session.tuning(), Tuning::Off);
    drop(session);

    let session = loaded(&golden, Tuning::Measured).await;
    assert_eq!(session.device().allocated_bytes(), before, "the measurement keeps no memory");
    let Tuning::Given(tiles) = session.tuning() else { panic!("nothing was chosen") };
    assert_eq!(session.loaded().expect("a model").model.kernels.tiles(), tiles);
    assert!(session.device().counters().dispatches > 0, "the tiles were measured");
    support::say(&format!("tiles: {tiles}"));
    assert!(bits(&session, &golden).await == expected);

    // Another model uses the same choice without another measurement.
    let before = session.device().counters().dispatches;
    let mut loading = session.load(&LoadRequest::new(golden.config, None)).await.expect("a load");
    session.push(&mut loading, golden.weights).await.expect("bytes");
    session.install(loading).await.expect("a model");
    assert_eq!(session.device().counters().dispatches, before);
    assert_eq!(session.tuning(), Tuning::Given(tiles));
}

async fn a_lost_device_ends_the_measurement() {
    let [golden, ..] = Golden::tales();
    let session = support::session().await;
    session.set_tuning(Tuning::Measured);
    let mut loading = session.load(&LoadRequest::new(golden.config, None)).await.expect("a load");
    session.push(&mut loading, golden.weights).await.expect("bytes");
    session.device().destroy();
    let code = session.install(loading).await.map(|_| ()).map_err(|e| e.code());
    assert_eq!(code, Err("device-lost"));
    assert_eq!(session.tuning(), Tuning::Measured);
}
