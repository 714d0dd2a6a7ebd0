//! Questions to a reading and to the weights: sets of tokens over the whole vocabulary, what reads and writes a channel
//! (tests/golden/sets.py), and other activations in the memory (tests/golden/memory.py), compared with transformers in
//! float64; natively, in Chromium and in Firefox.

use std::cell::Cell;

use crate::support::golden::{Golden, compare_values};
use loupe::atlas;
use loupe::device::Cancel;
use loupe::kernels::Precision;
use loupe::lens::{Depth, Options};
use loupe::reading::Statistic;
use loupe::session::{MemoryRequest, Session};
use serde_json::Value;

device_tests! {
    sets_agree_with_transformers a_partition_of_the_vocabulary_sums_to_one circuits_agree_with_transformers
    sets_that_do_not_exist memory_agrees_with_transformers memories_that_do_not_exist
}

fn sets_of(golden: &Golden) -> Vec<(String, Vec<u32>)> {
    let sets = golden.info("sets").as_object().expect("sets");
    let ids = |value: &Value| serde_json::from_value(value.clone()).expect("ids");
    sets.iter().map(|(name, set)| (name.clone(), ids(set))).collect()
}

fn halves() -> Options {
    Options { depth: Depth::Halves, ..Options::default() }
}

async fn sets_agree_with_transformers() {
    let (session, cancel) = (crate::support::session().await, Cancel::default());
    for golden in Golden::sets() {
        // Shards of a few rows, so that a word of the bits is in two of them.
        for shard_bytes in [64 << 20, 1_000] {
            crate::support::load(&session, &golden, Precision::F32, shard_bytes).await;
            let read = session.read(&golden.ids(), &halves(), &cancel, |_, _, _| Ok(())).await;
            let lensed = read.expect("a reading");
            let names: Vec<Value> =
                lensed.reading.taps.iter().map(|tap| tap.clone().into()).collect();
            assert_eq!(Value::from(names), *golden.info("rows"));
            let before = session.device().allocated_bytes();
            let (names, sets): (Vec<_>, Vec<_>) = sets_of(&golden).into_iter().unzip();
            let done = Cell::new(0.0);
            let found = session.sets(&lensed, &sets, &cancel, |at| done.set(at)).await;
            let found = found.expect("sets");
            assert!((done.get() - 1.0).abs() < 1e-12, "all is done");
            for (name, scores) in names.iter().zip(&found) {
                let key = format!("set/{name}/prob");
                let tolerance = f64::max(1e-5, 5.0 * golden.off_of(&key));
                let what = format!("{} {key}", golden.name);
                compare_values(&what, &scores.prob, &golden.values(&key), tolerance);
                let rank = |bound: &str| golden.values(&format!("set/{name}/{bound}"));
                let bounds = rank("rank_low").into_iter().zip(rank("rank_high"));
                for (i, (got, (low, high))) in scores.rank.iter().zip(bounds).enumerate() {
                    assert!(low <= *got && *got <= high, "{} {name} {i}: {got}", golden.name);
                }
            }
            assert_eq!(session.device().allocated_bytes(), before, "nothing is kept");
        }
    }
}

/// Also of a reading whose unembedding is edited, and in f16.
async fn a_partition_of_the_vocabulary_sums_to_one() {
    let (session, cancel) = (crate::support::session().await, Cancel::default());
    for golden in [Golden::massive(), Golden::untied()] {
        crate::support::load(&session, &golden, Precision::F16, 1_000).await;
        let edits = [loupe::session::Edit::Weights {
            of: "unembed".into(),
            channel: Some(1),
            how: loupe::session::How::Scale(-1.0),
        }];
        let (ids, options) = (golden.ids(), halves());
        let read = session.read_edited(&ids, &options, &edits, &cancel, |_, _, _| Ok(()));
        let lensed = read.await.expect("a reading");
        let v = session.loaded().expect("a model").model.config.vocab_size as u32;
        let parts: Vec<Vec<u32>> = (0..5)
            .map(|part| (0..v).filter(|id| (id * id + 3 * id) % 5 == part).collect())
            .collect();
        let parts: Vec<Vec<u32>> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let found = session.sets(&lensed, &parts, &cancel, |_| ()).await.expect("sets");
        for cell in 0..found[0].prob.len() {
            let sum: f64 = found.iter().map(|scores| f64::from(scores.prob[cell])).sum();
            assert!((sum - 1.0).abs() < 1e-6, "{} cell {cell}: {sum}", golden.name);
            let best = found.iter().map(|scores| scores.rank[cell]).fold(f32::INFINITY, f32::min);
            assert!((best - 1.0).abs() < f32::EPSILON, "one part has the top-1");
        }
    }
}

async fn circuits_agree_with_transformers() {
    let (session, cancel) = (crate::support::session().await, Cancel::default());
    for golden in Golden::sets() {
        crate::support::load(&session, &golden, Precision::F32, 64 << 20).await;
        let found = circuits(&session, &cancel).await.expect("circuits");
        let width = session.loaded().expect("a model").model.config.n_embd;
        let n_layer = golden.info("n_layer").as_u64().expect("a number") as usize;
        let n_head = golden.info("n_head").as_u64().expect("a number") as usize;
        let rows: Vec<&[f32]> = found.strengths.chunks(width).collect();
        assert_eq!(rows.len(), n_layer * (4 * n_head + 2));
        for (row, strengths) in rows.into_iter().enumerate() {
            let name = &found.names[row % found.names.len()];
            let key = format!("circuits/{}/{}", row / found.names.len(), name.replace('.', "/"));
            let what = format!("{} {key}", golden.name);
            compare_values(&what, strengths, &golden.values(&key), 1e-5);
        }
    }
}

async fn circuits(session: &Session, cancel: &Cancel) -> loupe::error::Result<atlas::Circuits> {
    let loaded = session.loaded()?;
    let (queue, memo, ignore) = ((), atlas::Memo::default(), |_: f64| ());
    let of = atlas::Atlas {
        device: session.device(),
        model: &loaded.model,
        cancel,
        on_progress: &ignore,
        queue: &queue,
        memo: &memo,
    };
    atlas::circuits(&of).await
}

/// In a browser fewer: each block is read back once.
const ALPHAS: &[(&str, f32)] = if cfg!(target_arch = "wasm32") {
    &[("0.5", 0.5)]
} else {
    &[("0", 0.0), ("0.5", 0.5), ("1", 1.0)]
};

async fn memory_agrees_with_transformers() {
    let (session, cancel) = (crate::support::session().await, Cancel::default());
    for golden in Golden::memory() {
        crate::support::load(&session, &golden, Precision::F32, 64 << 20).await;
        let read =
            session.read(&golden.ids(), &Options::default(), &cancel, |_, _, _| Ok(())).await;
        let lensed = read.expect("a reading");
        let control: Vec<u32> =
            serde_json::from_value(golden.info("control").clone()).expect("tokens");
        let n_layer = golden.info("n_layer").as_u64().expect("a number") as usize;
        let before = session.device().allocated_bytes();
        for first in 0..n_layer {
            for &(name, alpha) in ALPHAS {
                for (kind, tokens) in [("true", None), ("control", Some(control.clone()))] {
                    if kind == "control" && name == "0" {
                        continue;
                    }
                    let key = format!("{kind}/{first}/{name}");
                    let request = MemoryRequest { first, alpha, tokens };
                    let found = session.memory(&lensed, &request, &cancel).await;
                    let what = format!("{} {key}", golden.name);
                    let tolerance = f64::max(1e-4, 5.0 * golden.off_of(&key));
                    compare_values(&what, &found.expect("a run"), &golden.values(&key), tolerance);
                }
            }
        }
        assert_eq!(session.device().allocated_bytes(), before, "nothing is kept");
    }
}

/// Also two blocks of positions, where nothing is changed: the model's own.
async fn memories_that_do_not_exist() {
    let (session, cancel) = (crate::support::session().await, Cancel::default());
    let golden = Golden::massive();
    crate::support::load(&session, &golden, Precision::F16, 1_000).await;
    let read = |ids: Vec<u32>| {
        let (session, cancel) = (&session, &cancel);
        async move {
            let options = Options::default();
            session.read(&ids, &options, cancel, |_, _, _| Ok(())).await.expect("a reading")
        }
    };
    let lensed = read(golden.ids()).await;
    let request = |first, alpha, tokens| MemoryRequest { first, alpha, tokens };
    let own = session.memory(&lensed, &request(0, 0.0, None), &cancel).await.expect("a run");
    let t = golden.ids().len();
    assert!(t > 64 && own.len() == t - 1, "{t} tokens");
    let row = lensed.reading.stat(Statistic::LogprobNext);
    let last = &row[row.len() - t..row.len() - 1];
    for (position, (own, expected)) in own.iter().zip(last).enumerate() {
        assert!((own - expected).abs() < 1e-4, "position {position}: {own}, expected {expected}");
    }
    for (what, request, code) in [
        ("block 99", request(99, 0.5, None), "bad-option"),
        ("no alpha", request(0, f32::NAN, None), "bad-option"),
        ("one token", request(0, 0.5, Some(vec![1])), "bad-option"),
        ("token 999999", request(0, 0.5, Some(vec![999_999; t - 1])), "bad-token"),
    ] {
        let found = session.memory(&lensed, &request, &cancel).await;
        assert_eq!(found.map_err(|e| e.code()), Err(code), "{what}");
    }
    let edits = [loupe::session::Edit::Weights {
        of: "ln_f".into(),
        channel: Some(3),
        how: loupe::session::How::Scale(0.0),
    }];
    let (ids, options) = (golden.ids(), Options::default());
    let edited = session.read_edited(&ids, &options, &edits, &cancel, |_, _, _| Ok(())).await;
    let edited = edited.expect("a reading");
    let found = session.memory(&edited, &request(0, 0.0, None), &cancel).await;
    assert_eq!(found.map_err(|e| e.code()), Err("bad-option"), "an edited one");
    let short = read(golden.ids()[..1].to_vec()).await;
    let found = session.memory(&short, &request(0, 0.5, None), &cancel).await;
    assert_eq!(found.map_err(|e| e.code()), Err("bad-option"), "one token");
}

async fn sets_that_do_not_exist() {
    let (session, cancel) = (crate::support::session().await, Cancel::default());
    let [golden, ..] = Golden::sets();
    crate::support::load(&session, &golden, Precision::F32, 64 << 20).await;
    let read = session.read(&golden.ids(), &Options::default(), &cancel, |_, _, _| Ok(())).await;
    let lensed = read.expect("a reading");
    for (what, sets, code) in [
        ("no set", vec![], "bad-option"),
        ("too many", vec![vec![1]; 17], "bad-option"),
        ("an empty one", vec![vec![1], vec![]], "bad-option"),
        ("token 53", vec![vec![1, 53]], "bad-token"),
        ("token 64, behind the last word", vec![vec![64]], "bad-token"),
    ] {
        let found = session.sets(&lensed, &sets, &cancel, |_| ()).await;
        assert_eq!(found.map(|_| ()).map_err(|e| e.code()), Err(code), "{what}");
    }
    let cancelled = Cancel::new(|| true);
    let found = session.sets(&lensed, &[vec![1]], &cancelled, |_| ()).await;
    assert_eq!(found.map(|_| ()).map_err(|e| e.code()), Err("aborted"));
}
