//! Compares other lenses than the logit lens with the packages that made them, fits with numpy's least squares, what tokens say
//! alone and the means over a corpus with transformers, all in float64 (tests/golden/lenses.py, corpus.py).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use loupe::device::{Backend, Cancel};
use loupe::error::Error;
use loupe::kernels::Precision;
use loupe::lens::{Depth, Intake, Kind, Line, Norm, Options, Pairs};
use loupe::reading::{NO_TOKEN, Statistic};
use loupe::session::{
    Corpus, CorpusOptions, CorpusRow, Edit, FitRequest, How, Lensed, Mean, OpenLens, Place,
    Session, Target,
};
use serde_json::Value;

use crate::support::golden::{Golden, compare_ranks, compare_values};
use crate::support::say;

device_tests! {
    lenses_from_files_agree_with_their_packages lenses_of_other_models_are_refused
    fits_agree_with_least_squares a_refined_lens_comes_near_the_least_divergence an_exported_lens_opens_again
    tokens_alone_agree_with_transformers a_corpus_agrees_with_transformers
    a_corpus_belongs_to_its_model_and_options a_corpus_is_read_with_edits
    maps_that_change_nothing_keep_the_numbers
}

/// A session with the model of a case.
async fn session(golden: &Golden, precision: Precision) -> Session {
    let session = crate::support::session().await;
    crate::support::load(&session, golden, precision, 1 << 27).await;
    session
}

async fn open(
    session: &Session,
    file: &[u8],
    kind: Option<Kind>,
    config: Option<&str>,
) -> Result<OpenLens, Error> {
    let mut intake = Intake::new(kind, None, config)?;
    for piece in file.chunks(1001) {
        session.push_lens(&mut intake, piece).await?;
    }
    session.finish_lens(intake)
}

async fn read(session: &Session, ids: &[u32], options: &Options) -> Rc<Lensed> {
    session.read(ids, options, &Cancel::default(), |_, _, _| Ok(())).await.expect("a reading")
}

/// Options with a lens.
fn under(lens: &OpenLens, norm: Norm) -> Options {
    Options { norm, lens: Some(lens.maps.clone()), ..Options::default() }
}

async fn lenses_from_files_agree_with_their_packages() {
    for (golden, files) in Golden::lenses() {
        let session = session(&golden, Precision::F32).await;
        let ids = golden.ids();
        let tuned = open(&session, files.tuned, Some(Kind::Tuned), Some(files.config)).await;
        let jacobian = open(&session, files.jacobian, None, None).await;
        for (name, lens) in [("tuned", tuned), ("jacobian", jacobian)] {
            let lens = lens.expect("a lens of this model");
            assert_eq!(lens.card.kind, name);
            let n_layer = session.loaded().expect("a model").model.config.n_layer;
            let (first, n) =
                if name == "tuned" { ("input", n_layer) } else { ("h.0", n_layer - 1) };
            assert_eq!((lens.card.taps[0].as_str(), lens.card.taps.len()), (first, n));
            let under_norm = async |norm| read(&session, &ids, &under(&lens, norm)).await;
            let lensed = under_norm(Norm::Affine).await;
            for (key, statistic) in [
                ("entropy", Statistic::Entropy),
                ("kl_final", Statistic::KlFinal),
                ("kl_input", Statistic::KlInput),
                ("logprob_next", Statistic::LogprobNext),
            ] {
                let key = format!("{name}/{key}");
                let exact = golden.values(&key);
                let worst = compare_values(&key, lensed.reading.stat(statistic), &exact, 1e-4);
                say(&format!("{} {key}: {worst:.2e}", golden.name));
            }
            let bounds = ["low", "high"].map(|b| golden.values(&format!("{name}/{b}/rank_final")));
            compare_ranks("rank_final", lensed.reading.stat(Statistic::RankFinal), &bounds);
            assert!(lensed.reading.final_is_model, "the last row has no map");
            // Later questions see the same maps.
            let last = ids.len() - 1;
            let top = lensed.reading.top_ids[0];
            let line = Line::Position(last);
            let traced = session.trace(&lensed, &[top], line, &Cancel::default()).await;
            let n = lensed.reading.taps.len();
            for (tap, &rank) in traced.expect("a trace")[0].rank.iter().enumerate().take(n) {
                let k = lensed.reading.top_k;
                let ids = &lensed.reading.top_ids[(tap * ids.len() + last) * k..][..k];
                let listed = ids.iter().position(|&id| id == top).map(|at| 1.0 + at as f32);
                assert!(listed.is_none_or(|listed| listed == rank), "{name} {tap}: {rank}");
            }
            for (norm, at) in [(Norm::Plain, "plain"), (Norm::None, "none")] {
                let lensed = under_norm(norm).await;
                let key = format!("{name}/{at}/entropy");
                let entropy = lensed.reading.stat(Statistic::Entropy);
                compare_values(&key, entropy, &golden.values(&key), 1e-4);
            }
        }
    }
}

async fn lenses_of_other_models_are_refused() {
    let [(golden, files), (other, _), _] = Golden::lenses();
    let on = session(&golden, Precision::F32).await;
    macro_rules! bad {
        ($name:literal) => {
            include_bytes!(concat!("../golden/lenses/bad_", $name, ".pt")).as_slice()
        };
    }
    for (file, code, why) in [
        (bad!("sum"), "unsupported-model", "checkpoint of a fit"),
        (bad!("width"), "bad-option", "d_model"),
        (bad!("layers"), "bad-option", "h.0 to h.2"),
        (bad!("unembed"), "unsupported-model", "old version"),
        (bad!("missing"), "unsupported-model", "no bias"),
        (bad!("nan"), "corrupt", "NaN"),
        (golden.weights, "unsupported-model", "tuned lens"),
        (&files.tuned[..files.tuned.len() / 2], "truncated", ""),
    ] {
        let error = open(&on, file, None, None).await.err().expect("an error");
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(why), "{error}: expected {why}");
    }
    // The kind that was asked for, and what config.json says of it.
    let wrong = open(&on, files.tuned, Some(Kind::Jacobian), None).await.err();
    assert_eq!(wrong.map(|e| e.code()), Some("bad-option"));
    for (from, to) in [("linear_tuned_lens", "mlp"), ("\"d_model\": ", "\"d_model\": 1")] {
        let config = files.config.replace(from, to);
        assert_ne!(config, files.config, "{from}");
        let wrong = open(&on, files.tuned, None, Some(&config)).await.err();
        assert_eq!(wrong.map(|e| e.code()), Some("bad-config"), "{from}");
    }
    // Opened without a model, it is refused at the first reading.
    let lens = open(&crate::support::session().await, files.tuned, None, None).await;
    let lens = lens.expect("a lens of some model");
    let [.., (ctrl, _)] = Golden::lenses();
    let on_ctrl = session(&ctrl, Precision::F32).await;
    let read = on_ctrl
        .read(&[1, 2], &under(&lens, Norm::Affine), &Cancel::default(), |_, _, _| Ok(()))
        .await;
    assert_eq!(read.err().map(|e| e.code()), Some("bad-option"));
    drop(other);
    // With contributions or borrowed halves there is no stream to map.
    let options = under(&open(&on, files.tuned, None, None).await.expect("a lens"), Norm::Affine);
    for options in [
        Options { depth: Depth::Contributions, ..options.clone() },
        Options { decoder: vec!["h.2".into()], ..options },
    ] {
        let read = on.read(&[1, 2], &options, &Cancel::default(), |_, _, _| Ok(())).await;
        assert_eq!(read.err().map(|e| e.code()), Some("bad-option"));
    }
}

async fn maps_that_change_nothing_keep_the_numbers() {
    let [(golden, files), ..] = Golden::lenses();
    let session = session(&golden, Precision::F16).await;
    let lens = open(&session, files.tuned, None, None).await.expect("a lens");
    let ids = golden.ids();
    let plain = read(&session, &ids, &Options::default()).await;
    let tuned = read(&session, &ids, &under(&lens, Norm::Affine)).await;
    let again = read(&session, &ids, &Options::default()).await;
    // A lens is an option like others: nothing of it stays in what is copied from an earlier reading.
    let bits = |of: &Lensed| {
        let all = Statistic::ALL.into_iter().flat_map(|s| of.reading.stat(s).to_vec());
        all.map(f32::to_bits).collect::<Vec<_>>()
    };
    assert_eq!(bits(&plain), bits(&again));
    let (n, t) = (plain.reading.taps.len(), ids.len());
    let last = (n - 1) * t..n * t;
    let entropy = |of: &Lensed| of.reading.stat(Statistic::Entropy).to_vec();
    assert_eq!(entropy(&plain)[last.clone()], entropy(&tuned)[last.clone()]);
    assert_ne!(entropy(&plain)[..t], entropy(&tuned)[..t]);
    // The difference of two lenses over the same text is a comparison of two readings.
    let columns = plain.shared_positions(&tuned);
    let pairs = Pairs { columns, targets: Vec::new() };
    let found = session.compare(&plain, &tuned, &pairs, &Cancel::default()).await;
    let found = found.expect("a comparison");
    assert!(found.kl[last].iter().all(|&kl| kl == 0.0));
    assert!(found.kl[..t].iter().all(|&kl| kl > 0.0));
    for (cell, &top) in found.top[1].iter().enumerate() {
        assert_eq!(top, tuned.reading.top_ids[cell * tuned.reading.top_k]);
    }
}

fn fit_request(golden: &Golden, target: Target, ridges: &[f64]) -> FitRequest {
    let (texts, ridges) = (golden.texts(), ridges.to_vec());
    FitRequest { texts, target, ridges, held_out: 0.2, refine: 0 }
}

async fn fit(session: &Session, request: &FitRequest) -> OpenLens {
    session.fit(request, &(), &Cancel::default(), &|_| ()).await.expect("a fit")
}

fn distance(got: &[f32], exact: &[f32]) -> f64 {
    assert_eq!(got.len(), exact.len());
    let square = |v: f64| v * v;
    let sum: f64 = got.iter().zip(exact).map(|(g, e)| square(f64::from(g - e))).sum();
    let size: f64 = exact.iter().map(|&e| square(e.into())).sum();
    (sum / size).sqrt()
}

async fn fits_agree_with_least_squares() {
    // In a browser the small model is enough: *Tales* takes minutes there.
    let n_models = if cfg!(target_arch = "wasm32") { 1 } else { 2 };
    for golden in Golden::fits().into_iter().take(n_models) {
        let session = session(&golden, Precision::F32).await;
        let device = session.device();
        for target in [Target::Final, Target::Input] {
            // All of them where that does not take minutes.
            let is_fast = cfg!(not(target_arch = "wasm32")) && device.backend() == Backend::Cpu;
            let ridges: &[f64] = if is_fast { &[1e-4, 1e-3, 1e-2] } else { &[1e-3] };
            for &ridge in ridges {
                let lens = fit(&session, &fit_request(&golden, target, &[ridge])).await;
                let name = target.name();
                let mut worst: f64 = 0.0;
                for tap in &lens.card.taps {
                    let key = if ridge == 1e-4 { "0.0001".into() } else { ridge.to_string() };
                    let exact = &golden.info(name)[tap][&key];
                    let got = &lens.card.held_out[tap];
                    for (what, exact) in exact.as_object().expect("scores") {
                        let off = (number(&got[what]) - number(exact)).abs();
                        assert!(off <= 1e-3, "{} {name} {tap} {what}: {got}, {exact}", golden.name);
                    }
                    let at = format!("fit/{name}/{tap}/{key}");
                    if !golden.has(&format!("{at}/weight")) {
                        continue;
                    }
                    let (weight, bias) =
                        lens.map(device, tap).await.expect("a map").expect("a map");
                    for (got, part) in [(weight, "weight"), (bias, "bias")] {
                        let key = format!("{at}/{part}");
                        let off = distance(&got, &golden.values(&key));
                        // The same equations from f32 activations, solved in f64 by numpy, are off by as much.
                        let bound = f64::max(1e-6, 10.0 * relative(&golden, &key));
                        assert!(off <= bound, "{} {key}: {off:e}, bound {bound:e}", golden.name);
                        worst = worst.max(off);
                    }
                }
                say(&format!("{} {name} {ridge}: maps off by {worst:.1e}", golden.name));
            }
        }
        // Of several ridges the best on held-out tokens is taken, row by row.
        let lens = fit(&session, &fit_request(&golden, Target::Final, &[1e-4, 1e-3, 1e-2])).await;
        for (tap, held_out) in &lens.card.held_out {
            let by_ridge = golden.info("final")[tap].as_object().expect("ridges");
            let best =
                by_ridge.values().map(|one| number(&one["kl"])).fold(f64::INFINITY, f64::min);
            let kl = number(&held_out["kl"]);
            assert!((kl - best).abs() <= 1e-3, "{tap}: {kl}, {best}");
        }
        recover(&golden, &session).await;
        // A fit reads as what it was judged by: the last row has no map, and the others come near it.
        let ids = &golden.texts()[0];
        let fitted = read(&session, ids, &under(&lens, Norm::Affine)).await;
        let plain = read(&session, ids, &Options::default()).await;
        let mean = |of: &Lensed| {
            let kl = of.reading.stat(Statistic::KlFinal)[1..ids.len()].iter();
            kl.map(|&kl| f64::from(kl)).sum::<f64>()
        };
        assert!(mean(&fitted) < mean(&plain), "{} < {}", mean(&fitted), mean(&plain));
    }
}

/// The error of numpy's solution from float32 activations, relative to the array.
fn relative(golden: &Golden, key: &str) -> f64 {
    let values = golden.values(key);
    let size = values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt();
    golden.off_of(key) * (values.len() as f64).sqrt() / size
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

/// Which tokens a probe reconstructs of the first text.
async fn recover(golden: &Golden, session: &Session) {
    let probe = fit(session, &fit_request(golden, Target::Input, &[1e-3])).await;
    let ids = &golden.texts()[0];
    let read = read(session, ids, &Options::default()).await;
    let found = session.recover(&read, &probe, &Cancel::default()).await.expect("tokens");
    let n_cells = read.reading.taps.len() * ids.len();
    assert_eq!((found.ids.len(), found.rank.len()), (n_cells, n_cells));
    for (cell, (&id, &rank)) in found.ids.iter().zip(&found.rank).enumerate() {
        assert_eq!(id == ids[cell % ids.len()], rank == 1.0, "{cell}");
    }
    if golden.has("recover/ids") {
        let bounds = ["low", "high"].map(|b| golden.values(&format!("recover/{b}/rank")));
        compare_ranks("recover/rank", &found.rank, &bounds);
        let (exact, margin) = (golden.values("recover/ids"), golden.values("recover/margin"));
        for (cell, &id) in found.ids.iter().enumerate() {
            assert!(margin[cell] < 1e-3 || id as f32 == exact[cell], "{cell}: {id}");
        }
    }
    // A lens is no probe, and a row without a map holds nothing.
    let lens = fit(session, &fit_request(golden, Target::Final, &[1e-3])).await;
    let wrong = session.recover(&read, &lens, &Cancel::default()).await.err();
    assert_eq!(wrong.map(|e| e.code()), Some("bad-option"));
    let options = Options { depth: Depth::Halves, ..Options::default() };
    let halves = session.read(ids, &options, &Cancel::default(), |_, _, _| Ok(())).await;
    let halves = halves.expect("a reading");
    let found = session.recover(&halves, &probe, &Cancel::default()).await.expect("tokens");
    let t = ids.len();
    assert!(found.ids[t..2 * t].iter().all(|&id| id == NO_TOKEN), "h.0.attn has no map");
}

/// Refined on all positions, the maps come near the least divergence that torch finds; with some held out, they are no worse
/// there than what they started from.
async fn a_refined_lens_comes_near_the_least_divergence() {
    let exact: Value =
        serde_json::from_str(include_str!("../golden/lenses/refined.json")).expect("JSON");
    let [golden, _] = Golden::fits();
    let session = session(&golden, Precision::F32).await;
    // In Firefox a readback takes a tenth of a second.
    let is_slow = cfg!(target_arch = "wasm32");
    let (n_passes, most_left) = if is_slow { (6, 0.8) } else { (120, 0.02) };
    let request = fit_request(&golden, Target::Final, &[1e-3]);
    let refine = |refine: usize, held_out: f64| FitRequest { refine, held_out, ..request.clone() };
    let lens = fit(&session, &refine(n_passes, 0.0)).await;
    assert_eq!(lens.card.refined, n_passes);
    let mut sums = vec![0.0; lens.card.taps.len()];
    let mut n = 0;
    for ids in &request.texts {
        let read = read(&session, ids, &under(&lens, Norm::Affine)).await;
        let kl = read.reading.stat(Statistic::KlFinal);
        n += ids.len() - 1;
        for (sum, row) in sums.iter_mut().zip(kl.chunks(ids.len())) {
            *sum += row[1..].iter().map(|&kl| f64::from(kl)).sum::<f64>();
        }
    }
    for (tap, sum) in lens.card.taps.iter().zip(sums) {
        let [start, least] = ["start", "least"].map(|what| number(&exact[tap][what]));
        let left = (sum / n as f64 - least) / (start - least);
        say(&format!("{tap}: {left:.4} of the way is left"));
        assert!((-1e-3..most_left).contains(&left), "{tap}: {left}");
    }
    drop(lens);
    let before = session.device().allocated_bytes();
    let plain = fit(&session, &refine(0, 0.2)).await;
    let reported = RefCell::new(Vec::new());
    let on_progress = |done| reported.borrow_mut().push(done);
    let refined =
        session.fit(&refine(3, 0.2), &(), &Cancel::default(), &on_progress).await.expect("a fit");
    let reported = reported.take();
    assert!(reported.is_sorted() && reported.len() > 20, "{reported:?}");
    assert!((reported[reported.len() - 1] - 1.0).abs() < 1e-9, "{reported:?}");
    for tap in &plain.card.taps {
        let [plain, refined] =
            [&plain, &refined].map(|lens| number(&lens.card.held_out[tap]["kl"]));
        assert!(refined <= plain, "{tap}: {refined} {plain}");
    }
    drop((plain, refined));
    assert_eq!(session.device().allocated_bytes(), before);
    let bad = async |request: FitRequest| {
        let none = session.fit(&request, &(), &Cancel::default(), &|_| ()).await;
        none.err().map(|error| error.code())
    };
    assert_eq!(bad(refine(201, 0.0)).await, Some("bad-option"));
    // Between two passes.
    let n_asked = Rc::new(Cell::new(0));
    let asked = n_asked.clone();
    let cancel = Cancel::new(move || {
        asked.set(asked.get() + 1);
        asked.get() > 100
    });
    let none = session.fit(&refine(200, 0.0), &(), &cancel, &|_| ()).await;
    assert_eq!(none.err().map(|error| error.code()), Some("aborted"));
    assert_eq!(session.device().allocated_bytes(), before);
    let of_input = FitRequest { target: Target::Input, ..refine(1, 0.0) };
    assert_eq!(bad(of_input).await, Some("bad-option"));
}

async fn an_exported_lens_opens_again() {
    let [golden, _] = Golden::fits();
    let session = session(&golden, Precision::F32).await;
    let device = session.device();
    let [(of_file, files), ..] = Golden::lenses();
    assert_eq!(of_file.name, golden.name);
    for lens in [
        fit(&session, &fit_request(&golden, Target::Final, &[1e-3])).await,
        fit(&session, &fit_request(&golden, Target::Input, &[1e-3])).await,
        open(&session, files.tuned, None, Some(files.config)).await.expect("a lens"),
        open(&session, files.jacobian, None, None).await.expect("a lens"),
    ] {
        let bytes = lens.export(device).await.expect("a file");
        let again = open(&session, &bytes, Some(Kind::Affine), None).await.expect("the same lens");
        assert_eq!(again.card.taps, lens.card.taps);
        assert_eq!(again.card.kind, lens.card.kind);
        let scores = |lens: &OpenLens| -> Vec<f32> {
            let all = lens.card.held_out.values().filter_map(Value::as_object);
            all.flat_map(|one| one.values().map(|score| number(score) as f32)).collect()
        };
        assert_eq!(scores(&again), scores(&lens));
        assert_eq!(again.is_probe(), lens.is_probe());
        assert_eq!(again.maps.gives_stream(), lens.maps.gives_stream());
        assert_eq!(again.card.bytes, Some(bytes.len() as u64));
        for tap in &lens.card.taps {
            let maps = [&lens, &again].map(|lens| lens.map(device, tap));
            let [a, b] = maps;
            assert_eq!(a.await.expect("a map"), b.await.expect("a map"), "{tap}");
        }
        assert_eq!(lens.map(device, "h.9").await.expect("no map"), None);
        // One of a model with more blocks says so.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let n_layer = session.loaded().expect("a model").model.config.n_layer;
        let (from, to) =
            (format!("\\\"n_layer\\\":{n_layer}"), format!("\\\"n_layer\\\":{}", n_layer + 1));
        if text.contains(&from) {
            let at =
                bytes.windows(from.len()).position(|w| w == from.as_bytes()).expect("a number");
            let mut deeper = bytes.clone();
            deeper[at..at + from.len()].copy_from_slice(to.as_bytes());
            let wrong = open(&session, &deeper, None, None).await.err();
            assert_eq!(wrong.map(|e| e.code()), Some("bad-option"));
        } else {
            assert_eq!(lens.card.kind, "jacobian", "only that does not say it");
        }
        // A row that is written in another way is no row.
        let mut odd = bytes.clone();
        let at = bytes.windows(10).position(|w| w == b"lens.h.1.w");
        if let Some(at) = at {
            odd[at..at + 10].copy_from_slice(b"lens.h.+.w");
            let wrong = open(&session, &odd, None, None).await.err();
            assert_eq!(wrong.map(|e| e.code()), Some("unsupported-model"));
        }
        // The crate reads it as well.
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
        assert_eq!(file.len(), 2 * lens.card.taps.len());
    }
    let cancel = Cancel::new(|| true);
    let request = fit_request(&golden, Target::Final, &[1e-3]);
    let cancelled = session.fit(&request, &(), &cancel, &|_| ()).await.err();
    assert_eq!(cancelled.map(|e| e.code()), Some("aborted"));
    let wrong = async |request: FitRequest| {
        let fit = session.fit(&request, &(), &Cancel::default(), &|_| ()).await;
        fit.err().map(|e| e.code())
    };
    let bad = Some("bad-option");
    assert_eq!(wrong(FitRequest { texts: vec![vec![1], vec![2]], ..request.clone() }).await, bad);
    assert_eq!(wrong(FitRequest { ridges: vec![], ..request.clone() }).await, bad);
    assert_eq!(wrong(FitRequest { ridges: vec![-1.0], ..request.clone() }).await, bad);
    assert_eq!(wrong(FitRequest { held_out: 1.0, ..request.clone() }).await, bad);
    let too_large = FitRequest { texts: vec![vec![1, 1 << 20]], ..request };
    assert_eq!(wrong(too_large).await, Some("bad-token"));
}

async fn tokens_alone_agree_with_transformers() {
    for (golden, _) in Golden::lenses() {
        let session = session(&golden, Precision::F32).await;
        let ids = golden.ids();
        let read = read(&session, &ids, &Options::default()).await;
        let alone = session.alone(&read, None, &Cancel::default()).await.expect("a reference");
        compare_values("alone/kl", &alone.kl, &golden.values("alone/kl"), 1e-4);
        compare_values(
            "alone/kl_reverse",
            &alone.kl_reverse,
            &golden.values("alone/kl_reverse"),
            1e-4,
        );
        let top: Vec<f32> = alone.top.iter().map(|&id| id as f32).collect();
        assert_eq!(top, golden.values("alone/top"), "{}", golden.name);
        // Another token's guess, and what cannot be.
        let control: Vec<u32> = ids.iter().rev().copied().collect();
        let other = session.alone(&read, Some(&control), &Cancel::default()).await;
        assert_ne!(other.expect("a control").kl, alone.kl);
        let wrong = session.alone(&read, Some(&ids[1..]), &Cancel::default()).await.err();
        assert_eq!(wrong.map(|e| e.code()), Some("bad-option"));
    }
}

/// The means of a corpus under edits are those of its windows, read one by one.
async fn a_corpus_is_read_with_edits() {
    let [golden, _] = Golden::fits();
    let session = session(&golden, Precision::F32).await;
    let config = session.loaded().expect("a model").model.config.clone();
    let place = |at: &str, head| Place { at: at.into(), head, positions: None };
    let edits = [
        Edit::Ablate { place: place("h.1.mlp_out", None), mean: None },
        Edit::Ablate { place: place("h.0.attn_out", Some(0)), mean: None },
        Edit::Weights { of: "ln_f".into(), channel: Some(2), how: How::Scale(0.5) },
    ];
    let how =
        CorpusOptions { window: 16, stride: 16, options: Options::default(), classes: vec![] };
    let texts = golden.texts();
    let cancel = Cancel::default();
    let mut corpus = Corpus::new(how, config.n_ctx, config.vocab_size).expect("a corpus");
    let (mut sum, mut n, mut plain) = (0.0, 0.0, 0.0);
    for text in texts.iter().take(2) {
        corpus.begin(text.clone());
        while session.read_window(&mut corpus, &edits, &cancel).await.expect("a window") {}
        for ids in text.chunks(16).filter(|ids| ids.len() > 1) {
            for (edits, sum) in [(&edits[..], &mut sum), (&[], &mut plain)] {
                let options = Options::default();
                let read = session.read_edited(ids, &options, edits, &cancel, |_, _, _| Ok(()));
                let read = read.await.expect("a reading");
                let losses = read.reading.stat(Statistic::LogprobNext).chunks(ids.len()).last();
                let losses = losses.expect("the last row")[..ids.len() - 1].iter();
                *sum -= losses.map(|&v| f64::from(v)).sum::<f64>();
            }
            n += (ids.len() - 1) as f64;
        }
    }
    let rows = corpus.rows().remove(0);
    let last = rows.last().expect("rows");
    assert_eq!(last.n, n);
    assert!((last.loss.mean - sum / n).abs() < 1e-9, "{} {}", last.loss.mean, sum / n);
    assert!((sum - plain).abs() / n > 1e-4, "the edits change nothing");
}

async fn a_corpus_belongs_to_its_model_and_options() {
    let [(golden, _), (other, _), _] = Golden::lenses();
    let session = session(&golden, Precision::F32).await;
    let config = session.loaded().expect("a model").model.config.clone();
    let ids: Vec<u32> = golden.ids().into_iter().cycle().take(60).collect();
    let how = |depth| {
        let options = Options { depth, ..Options::default() };
        CorpusOptions { window: 8, stride: 8, options, classes: vec![] }
    };
    let corpus =
        |depth| Corpus::new(how(depth), config.n_ctx, config.vocab_size).expect("a corpus");
    let next = async |corpus: &mut Corpus| {
        let read = session.read_window(corpus, &[], &Cancel::default()).await;
        read.map_err(|e| e.code())
    };
    let mut first = corpus(Depth::Blocks);
    first.begin(ids.clone());
    assert_eq!(next(&mut first).await, Ok(true));
    assert_eq!(next(&mut first).await, Ok(true));
    let state = first.state();

    // What was saved of other rows, of another window, or by nobody.
    let mut halves = corpus(Depth::Halves);
    halves.resume(&state, ids.clone()).expect("the rows are not known yet");
    assert_eq!(next(&mut halves).await, Err("bad-option"));
    let mut wide = how(Depth::Blocks);
    wide.window = 9;
    let mut wide = Corpus::new(wide, config.n_ctx, config.vocab_size).expect("a corpus");
    let (numbers, rows) = state.split_once(" | ").expect("numbers and rows");
    let with = |at: usize, number: f64| {
        let mut all: Vec<String> = numbers.split(' ').map(str::to_string).collect();
        all[at] = format!("{:x}", number.to_bits());
        format!("{} | {rows}", all.join(" "))
    };
    assert!(wide.resume(&state, ids.clone()).is_err());
    let mut again = corpus(Depth::Blocks);
    for bad in [
        String::new(),
        "1 2 3".into(),
        format!("{numbers} |"),
        format!("{numbers} 0 | {rows}"),
        with(5, 4_294_967_295.0),
        with(6, 1e15),
        with(3, f64::NAN),
        with(2, -1.0),
    ] {
        let error = again.resume(&bad, ids.clone()).map_err(|e| e.code());
        assert_eq!(error, Err("bad-option"), "{bad}");
    }
    again.resume(&state, ids.clone()).expect("its own");
    assert_eq!(next(&mut again).await, Ok(true));

    // Another model in the middle.
    crate::support::load(&session, &other, Precision::F32, 1 << 27).await;
    assert_eq!(next(&mut again).await, Err("not-found"));
    assert_eq!(next(&mut first).await, Err("not-found"));
}

async fn a_corpus_agrees_with_transformers() {
    let golden = Golden::corpus();
    let session = session(&golden, Precision::F32).await;
    let config = session.loaded().expect("a model").model.config.clone();
    let settings: Vec<(usize, usize)> =
        serde_json::from_value(golden.info("settings").clone()).expect("settings");
    let skipped = usize::from(cfg!(target_arch = "wasm32"));
    let settings = settings.into_iter().skip(skipped);
    let mut cases: Vec<_> = settings.map(|setting| ("short_", setting)).collect();
    // All 5,000 tokens where that does not take minutes.
    if cfg!(not(target_arch = "wasm32")) && session.device().backend() == Backend::Cpu {
        cases.push(("", (96, 96)));
    }
    for (which, (window, stride)) in cases {
        // Two classes, which together are all tokens.
        let classes = (0..config.vocab_size).map(|id| u8::from(id % 3 == 0)).collect();
        let how = CorpusOptions { window, stride, options: Options::default(), classes };
        let mut corpus =
            Corpus::new(how.clone(), config.n_ctx, config.vocab_size).expect("a corpus");
        let mut state = String::new();
        let mut texts = golden.texts();
        texts.drain(..if which.is_empty() { 0 } else { 2 });
        let middle = texts.len() - 2;
        for (i, text) in texts.iter().enumerate() {
            corpus.begin(text.clone());
            let mut n = 0;
            while session.read_window(&mut corpus, &[], &Cancel::default()).await.expect("a window")
            {
                n += 1;
                if (i, n) == (middle, 3) {
                    state = corpus.state();
                }
            }
        }
        let key = format!("{which}{window}_{stride}");
        let counts = &golden.info("counts")[&key];
        assert_eq!(corpus.n_windows() as f64, number(&counts["clusters"]), "{key}");
        let groups = corpus.rows();
        let rows = &groups[0];
        let measure = |of: fn(&CorpusRow) -> Mean| -> Vec<[f64; 3]> {
            rows.iter().map(of).map(|Mean { mean, low, high }| [mean, low, high]).collect()
        };
        assert!(rows.iter().all(|row| row.n == number(&counts["n"])));
        for (name, got, tolerance) in [
            ("loss", measure(|row| row.loss), 1e-4),
            ("kl", measure(|row| row.kl), 1e-4),
            ("entropy", measure(|row| row.entropy), 1e-4),
            // One position in 4,918 may have another top-1.
            ("agreement", measure(|row| row.agreement), 1e-3),
            ("settled", measure(|row| row.settled), 1e-3),
        ] {
            for (end, of) in ["", "_low", "_high"].into_iter().zip(0..) {
                let name = format!("{key}/{name}{end}");
                let got: Vec<f32> = got.iter().map(|ends| ends[of] as f32).collect();
                let worst = compare_values(&name, &got, &golden.values(&name), tolerance);
                say(&format!("{name}: {worst:.1e}"));
            }
        }
        for (all, parts) in rows.iter().zip(groups[1].iter().zip(&groups[2])) {
            assert_eq!(all.n, parts.0.n + parts.1.n);
            let sum = parts.0.n * parts.0.loss.mean + parts.1.n * parts.1.loss.mean;
            assert!((sum / all.n - all.loss.mean).abs() < 1e-12);
        }
        // The state of an interrupted corpus leads to the same sums.
        assert_eq!(Corpus::text_of(&state), Ok(middle as u64));
        let again = Corpus::new(how.clone(), config.n_ctx, config.vocab_size);
        let mut again = again.expect("a corpus");
        again.resume(&state, texts[middle].clone()).expect("a state");
        let mut next = texts[middle + 1..].iter();
        loop {
            while session.read_window(&mut again, &[], &Cancel::default()).await.expect("a window")
            {
            }
            let Some(text) = next.next() else { break };
            again.begin(text.clone());
        }
        let is_same = |a: &[CorpusRow], b: &[CorpusRow]| {
            for (a, b) in a.iter().zip(b) {
                assert_eq!(a.n, b.n);
                let pairs = [(a.loss, b.loss), (a.kl, b.kl), (a.settled, b.settled)];
                for (a, b) in pairs {
                    assert!((a.mean - b.mean).abs() <= 1e-12 * a.mean.abs(), "{a:?} {b:?}");
                    assert!((a.high - b.high).abs() <= 1e-9, "{a:?} {b:?}");
                }
            }
        };
        is_same(rows, &again.rows()[0]);
        // So do the texts in another order.
        if which.is_empty() || cfg!(target_arch = "wasm32") {
            continue;
        }
        let mut other = Corpus::new(how, config.n_ctx, config.vocab_size).expect("a corpus");
        for text in texts.iter().rev() {
            other.begin(text.clone());
            while session.read_window(&mut other, &[], &Cancel::default()).await.expect("a window")
            {
            }
        }
        is_same(rows, &other.rows()[0]);
    }
    let how = CorpusOptions { window: 1, stride: 1, options: Options::default(), classes: vec![] };
    assert!(Corpus::new(how.clone(), 8, 10).is_err());
    assert!(Corpus::new(CorpusOptions { window: 8, stride: 9, ..how.clone() }, 8, 10).is_err());
    let classes = vec![0; 9];
    assert!(Corpus::new(CorpusOptions { window: 8, stride: 8, classes, ..how }, 8, 10).is_err());
}
