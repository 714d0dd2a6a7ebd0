//! Compares the atlas with numpy in float64 (tests/golden/atlas.py): natively, in Chromium and in Firefox.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::support::atlas::{Watch, open, open_part, quiet};
use crate::support::golden::{Golden, TALES_CONFIG, TALES_WEIGHTS};
use futures_util::future::join;
use loupe::atlas::{
    self, Boxed, By, CallQueue, ComponentsOptions, Eigen, TokenRow, ZeroLayerOptions,
};
use loupe::device::Cancel;
use loupe::kernels::Precision;
use loupe::lens::Norm;
use loupe::session::Session;
use safetensors::{Dtype, SafeTensors};

device_tests! {
    atlas_of_the_bundled_model atlas_of_a_prime_vocabulary bad_requests_and_cancelling
    long_work_lets_queued_calls_run
    the_eigenproblem_is_solved_once_for_two_calls
    answers_are_bounded_in_memory
}

struct Numbers(SafeTensors<'static>);

impl Numbers {
    fn of(bytes: &'static [u8]) -> Numbers {
        Numbers(SafeTensors::deserialize(bytes).expect("a golden file"))
    }

    fn get(&self, name: &str) -> Vec<f64> {
        let view = self.0.tensor(name).unwrap_or_else(|_| panic!("no {name}"));
        let words = view.data().chunks_exact(4).map(|b| b.try_into().expect("4 bytes"));
        match view.dtype() {
            Dtype::F32 => words.map(|b| f32::from_le_bytes(b).into()).collect(),
            Dtype::I32 => words.map(|b| i32::from_le_bytes(b).into()).collect(),
            other => panic!("{name} is {other:?}"),
        }
    }

    /// Asserts that every number is within `tolerance` of numpy's.
    fn check(&self, name: &str, got: &[f32], tolerance: f64) {
        let exact = self.get(name);
        assert_eq!(got.len(), exact.len(), "{name}");
        for (i, (&g, &e)) in got.iter().zip(&exact).enumerate() {
            let off = (f64::from(g) - e).abs();
            assert!(off <= tolerance, "{name} [{i}]: {g}, expected {e} ± {tolerance:e}");
        }
    }
}

async fn check(session: &Session, numbers: &Numbers) {
    let loaded = session.loaded().expect("a model");
    let reported = RefCell::new(Vec::new());
    let on_progress = |done| reported.borrow_mut().push(done);
    let watch = Watch { on_progress: &on_progress, ..quiet() };
    let atlas = watch.over(session, &loaded);
    let model = &loaded.model;

    let found = atlas::channels(&atlas).await.expect("channels");
    for (name, got) in [
        ("wte_mean", &found.wte_mean),
        ("wte_std", &found.wte_std),
        ("wpe_mean", &found.wpe_mean),
        ("wpe_std", &found.wpe_std),
    ] {
        numbers.check(name, got, 1e-6);
    }
    numbers.check("norms", &atlas::norms(&atlas).await.expect("norms"), 1e-5);
    let channel = numbers.get("of_channel")[0] as usize;
    numbers.check("channel", &atlas::channel(&atlas, channel).await.expect("a channel"), 0.0);

    let spectrum = atlas::spectrum(&atlas, 4).await.expect("a spectrum");
    let largest = numbers.get("singular_values")[0];
    numbers.check("singular_values", &spectrum.singular_values, 1e-4 * largest);
    numbers.check("directions", &spectrum.directions, 2e-3);
    numbers.check("tokens", &spectrum.tokens, 2e-3 * largest);
    numbers.check("cosine_with_mean", &spectrum.cosine_with_mean, 1e-3);

    // The eigenproblem is solved once: the second call only streams the embedding.
    let before = session.device().counters().dispatches;
    assert_eq!(atlas::spectrum(&atlas, 4).await.expect("the same"), spectrum);
    assert_eq!(session.device().counters().dispatches, before);

    let counts = numbers.get("counts");
    let four = atlas::correlations(&atlas, channel, None).await.expect("correlations");
    let found = atlas::correlations(&atlas, channel, Some(&counts)).await.expect("correlations");
    assert_eq!(found.names, [&*format!("channel {channel}"), "norm", "svd 0", "token id", "count"]);
    assert_eq!(four.names, found.names[..4]);
    for (some, all) in [(&four.pearson, &found.pearson), (&four.spearman, &found.spearman)] {
        let corner = all.chunks(5).take(4).flat_map(|row| &row[..4]);
        assert!(some.iter().eq(corner));
    }
    let narrow = |values: &[f64]| values.iter().map(|&v| v as f32).collect::<Vec<_>>();
    numbers.check("pearson", &narrow(&found.pearson), 1e-3);
    numbers.check("spearman", &narrow(&found.spearman), 2e-3);

    let token = numbers.get("token")[0] as u32;
    for (by, name) in [(By::Dot, "dots"), (By::Cosine, "cosines")] {
        let exact = numbers.get(name);
        let found = atlas::neighbours(&atlas, token, 20, by).await.expect("neighbours");
        assert_eq!(found.ids.len(), 20);
        let mut order: Vec<usize> = (0..exact.len()).collect();
        order.sort_by(|&a, &b| exact[b].total_cmp(&exact[a]));
        for (i, (&id, &value)) in found.ids.iter().zip(&found.values).enumerate() {
            assert!((f64::from(value) - exact[id as usize]).abs() < 1e-4, "{name} of {id}");
            assert!((exact[id as usize] - exact[order[i]]).abs() < 1e-4, "{name}: {i} is not {id}");
        }
    }

    let options = ComponentsOptions { n: 5, iterations: 20 };
    let found = atlas::components(&atlas, &options).await.expect("components");
    numbers.check("parts/explained", &found.explained, 1e-5);
    numbers.check("parts/directions", &found.directions, 2e-4);
    numbers.check("parts/tokens", &found.tokens, 1e-3);
    assert!(found.tokens.iter().all(|&loading| loading >= 0.0));
    assert!(found.explained.is_sorted());

    reported.borrow_mut().clear();
    for (name, norm, position) in [
        ("none", Norm::None, None),
        ("affine", Norm::Affine, None),
        ("placed", Norm::Affine, Some(5)),
    ] {
        let row = TokenRow { norm, position };
        let exact = numbers.get(&format!("{name}/row"));
        let found = atlas::next_tokens(&atlas, token, 20, row).await.expect("next tokens");
        let mut order: Vec<usize> = (0..exact.len()).collect();
        order.sort_by(|&a, &b| exact[b].total_cmp(&exact[a]));
        for (i, (&id, &value)) in found.ids.iter().zip(&found.values).enumerate() {
            assert!((f64::from(value) - exact[id as usize]).abs() < 1e-4, "{name} of {id}");
            assert!((exact[id as usize] - exact[order[i]]).abs() < 1e-4, "{name}: {i} is not {id}");
        }
        let options = ZeroLayerOptions { row, step: 1 };
        let found = atlas::zero_layer(&atlas, options).await.expect("a zero-layer model");
        numbers.check(&format!("{name}/logit"), &found.logit, 2e-3);
        numbers.check(&format!("{name}/self"), &found.self_logit, 2e-3);
        let (best, lead) =
            (numbers.get(&format!("{name}/argmax")), numbers.get(&format!("{name}/lead")));
        let clear = lead.iter().filter(|&&lead| lead > 1e-4).count();
        assert!(clear * 10 > lead.len() * 9, "{name}: only {clear} of {} are clear", lead.len());
        for (id, &argmax) in found.argmax.iter().enumerate().filter(|&(id, _)| lead[id] > 1e-4) {
            assert_eq!(f64::from(argmax), best[id], "{name}: {id}");
        }
        let sample = ZeroLayerOptions { step: 7, ..options };
        let some = atlas::zero_layer(&atlas, sample).await.expect("a sample");
        let every: Vec<u32> = found.argmax.iter().step_by(7).copied().collect();
        assert_eq!(some.argmax, every);
    }
    let reported = reported.take();
    assert_eq!(reported.last(), Some(&1.0));
    assert!(reported.iter().all(|done| (0.0..=1.0).contains(done)));

    let gains = atlas::gains(&atlas).await.expect("gains");
    assert_eq!(gains.len(), 2 * model.config.n_layer + 1);
    assert_eq!((&*gains[1].name, &*gains[gains.len() - 1].name), ("h.0.ln_2", "ln_f"));
}

fn floats(file: &SafeTensors<'_>, name: &str) -> Vec<f32> {
    let tensor = file.tensor(name).expect("a tensor of the file");
    let words = tensor.data().chunks_exact(4).map(|b| b.try_into().expect("4 bytes"));
    words.map(f32::from_le_bytes).collect()
}

async fn atlas_of_the_bundled_model() {
    let session = open(TALES_CONFIG, TALES_WEIGHTS, Precision::F16).await;
    check(&session, &Numbers::of(include_bytes!("../golden/atlas/tales.safetensors"))).await;
    // The memory of the expensive calls is released.
    let loaded = session.loaded().expect("a model");
    assert_eq!(session.device().allocated_bytes() - loaded.model.weight_bytes, 3 * 16);
}

async fn atlas_of_a_prime_vocabulary() {
    let golden = Golden::massive();
    let session = open(golden.config, golden.weights, Precision::F32).await;
    check(&session, &Numbers::of(include_bytes!("../golden/atlas/massive.safetensors"))).await;
    let loaded = session.loaded().expect("a model");
    let file = SafeTensors::deserialize(golden.weights).expect("a golden file");
    let watch = quiet();
    let atlas = watch.over(&session, &loaded);
    let wte = floats(&file, "transformer.wte.weight");
    let ids = [7, 0, 30, 7];
    let rows: Vec<f32> = ids
        .iter()
        .flat_map(|&id| wte.chunks(loaded.model.config.n_embd).nth(id as usize))
        .flatten()
        .copied()
        .collect();
    assert_eq!(atlas::rows_of(&atlas, &ids).await.expect("rows"), rows);
    assert_eq!(
        atlas::positions(&atlas).await.expect("positions"),
        floats(&file, "transformer.wpe.weight")
    );
    for gain in atlas::gains(&atlas).await.expect("gains") {
        for (part, got) in [("weight", &gain.weight), ("bias", &gain.bias)] {
            let tensor =
                file.tensor(&format!("transformer.{}.{part}", gain.name)).expect("a tensor");
            let bytes: Vec<u8> = got.iter().flat_map(|v| v.to_le_bytes()).collect();
            assert_eq!(tensor.data(), bytes, "{} {part}", gain.name);
        }
    }
}

async fn bad_requests_and_cancelling() {
    let session = open(TALES_CONFIG, TALES_WEIGHTS, Precision::F16).await;
    let loaded = session.loaded().expect("a model");
    let (watch, device) = (quiet(), session.device());
    let atlas = watch.over(&session, &loaded);
    let row = |position| TokenRow { norm: Norm::None, position };
    let zero = |position, step| ZeroLayerOptions { row: row(position), step };
    assert_eq!(atlas::channel(&atlas, 192).await.map_err(|e| e.code()), Err("bad-option"));
    for (channel, counts) in [(192, None), (1, Some(&[1.0, 2.0][..]))] {
        let none = atlas::correlations(&atlas, channel, counts).await;
        assert_eq!(none.map_err(|e| e.code()), Err("bad-option"));
    }
    let none = atlas::rows_of(&atlas, &[0, 4096]).await;
    assert_eq!(none.map_err(|e| e.code()), Err("bad-token"));
    let none = atlas::rows_of(&atlas, &[1; 4097]).await;
    assert_eq!(none.map_err(|e| e.code()), Err("bad-option"));
    assert_eq!(atlas::rows_of(&atlas, &[]).await, Ok(Vec::new()));
    let none = atlas::next_tokens(&atlas, 4096, 5, row(None)).await;
    assert_eq!(none.map_err(|e| e.code()), Err("bad-token"));
    let none = atlas::next_tokens(&atlas, 1, 5, row(Some(256))).await;
    assert_eq!(none.map_err(|e| e.code()), Err("bad-option"));
    for n in [0, 193] {
        assert_eq!(atlas::spectrum(&atlas, n).await.map_err(|e| e.code()), Err("bad-option"));
    }
    for (n, iterations) in [(0, 1), (193, 1), (2, 0), (2, 1001)] {
        let none = atlas::components(&atlas, &ComponentsOptions { n, iterations }).await;
        assert_eq!(none.map_err(|e| e.code()), Err("bad-option"));
    }
    for options in [zero(Some(256), 1), zero(None, 0)] {
        let none = atlas::zero_layer(&atlas, options).await;
        assert_eq!(none.map_err(|e| e.code()), Err("bad-option"));
    }
    let none = atlas::neighbours(&atlas, 4096, 5, By::Dot).await;
    assert_eq!(none.map_err(|e| e.code()), Err("bad-token"));
    let none = atlas::neighbours(&atlas, 1, 0, By::Dot).await;
    assert_eq!(none.map_err(|e| e.code()), Err("bad-option"));

    let before = device.allocated_bytes();
    let watch = Watch { cancel: Cancel::new(|| true), ..quiet() };
    let atlas = watch.over(&session, &loaded);
    assert_eq!(atlas::norms(&atlas).await.map_err(|e| e.code()), Err("aborted"));
    assert_eq!(atlas::spectrum(&atlas, 2).await.map_err(|e| e.code()), Err("aborted"));
    let none = atlas::zero_layer(&atlas, zero(None, 1)).await;
    assert_eq!(none.map_err(|e| e.code()), Err("aborted"));
    // Between two iterations.
    let n_asked = Rc::new(Cell::new(0));
    let asked = n_asked.clone();
    let watch = Watch {
        cancel: Cancel::new(move || {
            asked.set(asked.get() + 1);
            asked.get() > 40
        }),
        ..quiet()
    };
    let options = ComponentsOptions { n: 3, iterations: 1000 };
    let none = atlas::components(&watch.over(&session, &loaded), &options).await;
    assert_eq!(none.map_err(|e| e.code()), Err("aborted"));
    assert_eq!(device.allocated_bytes(), before);
}

/// Counts how often the work lets queued calls run.
struct Counting {
    n: Cell<usize>,
}

impl CallQueue for Counting {
    fn pause<'a>(&'a self, until: Boxed<'a>) -> Boxed<'a> {
        self.n.set(self.n.get() + 1);
        until
    }
}

async fn long_work_lets_queued_calls_run() {
    let session = open(TALES_CONFIG, TALES_WEIGHTS, Precision::F16).await;
    let loaded = session.loaded().expect("a model");
    let before = session.device().allocated_bytes();
    let queue = Counting { n: Cell::new(0) };
    let watch = Watch { queue: &queue, ..quiet() };
    let row = TokenRow { norm: Norm::None, position: None };
    let sample = ZeroLayerOptions { row, step: 4 };
    atlas::zero_layer(&watch.over(&session, &loaded), sample).await.expect("a zero-layer model");
    // 1,024 tokens are processed in batches of 256.
    assert_eq!(queue.n.replace(0), 4);

    // The call is cancelled between two sweeps of the eigenproblem: after the Gram matrix, before the end.
    let (reported, queue) = (RefCell::new(Vec::new()), Rc::new(Counting { n: Cell::new(0) }));
    let on_progress = |done| reported.borrow_mut().push(done);
    let seen = queue.clone();
    let shards = loaded.model.wte().expect("embeddings").len();
    let cancel = Cancel::new(move || seen.n.get() > shards);
    let watch = Watch { cancel, on_progress: &on_progress, queue: &*queue };
    let none = atlas::spectrum(&watch.over(&session, &loaded), 2).await;
    assert_eq!(none.map_err(|e| e.code()), Err("aborted"));
    assert_eq!(queue.n.get(), shards + 1);
    let reported = reported.take();
    assert!(
        reported.is_sorted() && reported[shards] > 0.4 && reported[shards] <= 0.8,
        "{reported:?}"
    );
    assert_eq!(session.device().allocated_bytes(), before);
    let found = atlas::spectrum(&quiet().over(&session, &loaded), 2).await.expect("a spectrum");
    assert_eq!(found.singular_values.len(), 192);
}

/// Lets other futures of the same task run.
struct Yielding;

impl CallQueue for Yielding {
    fn pause<'a>(&'a self, until: Boxed<'a>) -> Boxed<'a> {
        let mut is_first = true;
        Box::pin(async move {
            std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                let ready = !std::mem::take(&mut is_first);
                if ready { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
            })
            .await;
            until.await;
        })
    }
}

/// Two calls need the same eigenproblem: one solves it, the other waits for it and reports its progress.
async fn the_eigenproblem_is_solved_once_for_two_calls() {
    let session = open(TALES_CONFIG, TALES_WEIGHTS, Precision::F16).await;
    let loaded = session.loaded().expect("a model");
    let device = session.device();
    let before = device.counters().dispatches;
    let reported = RefCell::new(Vec::new());
    let on_progress = |done| reported.borrow_mut().push(done);
    let first = Watch { queue: &Yielding, ..quiet() };
    let second = Watch { on_progress: &on_progress, ..quiet() };
    let (first, second) = (first.over(&session, &loaded), second.over(&session, &loaded));
    let (a, b) = join(atlas::spectrum(&first, 2), atlas::spectrum(&second, 1)).await;
    let (a, b) = (a.expect("a spectrum"), b.expect("a spectrum"));
    assert_eq!(a.singular_values, b.singular_values);
    let shards = loaded.model.wte().expect("embeddings").len() as u64;
    assert_eq!(device.counters().dispatches - before, shards, "one Gram matrix");
    let reported = reported.take();
    // The second call reports each step of the first one once, and its own projections.
    assert!(
        reported.is_sorted() && reported.iter().any(|&done| (0.1..0.8).contains(&done)),
        "{reported:?}"
    );

    // The first call solves the problem and is cancelled; the second, which waits for it, then solves it itself.
    let session = open(TALES_CONFIG, TALES_WEIGHTS, Precision::F16).await;
    let loaded = session.loaded().expect("a model");
    let asked = Rc::new(Cell::new(0));
    let counter = asked.clone();
    let cancel = Cancel::new(move || {
        counter.set(counter.get() + 1);
        counter.get() > 3
    });
    let (first, second) = (Watch { cancel, queue: &Yielding, ..quiet() }, quiet());
    let (first, second) = (first.over(&session, &loaded), second.over(&session, &loaded));
    let (a, b) = join(atlas::spectrum(&first, 2), atlas::spectrum(&second, 2)).await;
    assert_eq!(a.map_err(|e| e.code()), Err("aborted"));
    assert_eq!(b.expect("a spectrum").singular_values.len(), 192);
}

/// 17 directions over a million tokens need 70 MB of projections: the call fails before anything is computed.
async fn answers_are_bounded_in_memory() {
    let (v, c) = (1usize << 20, 20);
    let end = 2 * v * c;
    let header =
        format!(r#"{{"wte.weight":{{"dtype":"F16","shape":[{v},{c}],"data_offsets":[0,{end}]}}}}"#);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.resize(file.len() + end, 0);
    let session = open_part(&file, Precision::F16).await;
    let loaded = session.loaded().expect("a model");
    let watch = quiet();
    let atlas = watch.over(&session, &loaded);
    let before = session.device().counters();
    let error = atlas::spectrum(&atlas, 17).await.expect_err("too many directions");
    assert_eq!(error.to_string(), "n: expected 1 to 16 directions, got 17.");
    assert_eq!(session.device().counters(), before);
}

/// The cases are random symmetric matrices, and matrices that are difficult for an eigensolver.
#[cfg_attr(not(target_arch = "wasm32"), test)]
#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
fn sweeps_solve_the_eigenproblem() {
    let mut seed = 1u64;
    let mut random = || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) as f64 / (1u64 << 31) as f64 - 0.5
    };
    let mut cases: Vec<(usize, Vec<f64>)> = Vec::new();
    for c in [1, 2, 3, 17, 64] {
        let mut a = vec![0.0; c * c];
        for i in 0..c {
            for j in 0..=i {
                a[i * c + j] = random();
                a[j * c + i] = a[i * c + j];
            }
        }
        cases.push((c, a));
        cases.push((c, vec![0.0; c * c]));
        cases.push((c, vec![3.0; c * c])); // rank one
        cases.push((c, (0..c * c).map(|i| f64::from(i % (c + 1) == 0)).collect()));
        // The eigenvalues span thirty orders of magnitude.
        cases.push((
            c,
            (0..c * c)
                .map(|i| if i % (c + 1) == 0 { 10f64.powi((i / c) as i32 % 31 - 15) } else { 0.0 })
                .collect(),
        ));
    }
    for (c, a) in &cases {
        let c = *c;
        let mut eigen = Eigen::new(a, c);
        let mut last = 0.0;
        while !eigen.is_done() {
            eigen.sweep();
            assert!((last..=1.0).contains(&eigen.done()));
            last = eigen.done();
        }
        assert_eq!(eigen.done(), 1.0);
        let (values, vectors) = eigen.finish();
        let scale = a.iter().fold(0f64, |m, v| m.max(v.abs()));
        assert!(values.is_sorted_by(|x, y| x >= y));
        for (i, (value, v)) in values.iter().zip(vectors.chunks(c)).enumerate() {
            for (row, x) in a.chunks(c).zip(v) {
                let along: f64 = row.iter().zip(v).map(|(p, q)| p * q).sum();
                assert!((along - value * x).abs() <= 1e-12 * scale * c as f64, "{c}: {i}");
            }
            for (j, w) in vectors.chunks(c).enumerate() {
                let dot: f64 = v.iter().zip(w).map(|(p, q)| p * q).sum();
                assert!((dot - f64::from(i == j)).abs() < 1e-12 * c as f64, "{c}: {i} · {j}");
            }
        }
    }
    // A matrix of NaN terminates as well.
    let mut eigen = Eigen::new(&[f64::NAN; 25], 5);
    for _ in 0..200 {
        eigen.sweep();
    }
    assert!(eigen.is_done());
}
