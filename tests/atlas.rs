//! The atlas against numpy in float64 (tests/golden/atlas.py): natively, in Chromium and in Firefox.

mod support;

use std::cell::RefCell;

use loupe::atlas::{self, Atlas, By, ZeroLayerOptions};
use loupe::gpu::Cancel;
use loupe::kernels::Precision;
use loupe::lens::Norm;
use loupe::session::{Recipe, Session};
use safetensors::{Dtype, SafeTensors};
use support::golden::{Golden, TALES_CONFIG, TALES_WEIGHTS};

#[cfg(target_arch = "wasm32")]
wasm_bindgen_test::wasm_bindgen_test_configure!(run_in_browser);

gpu_tests! { atlas_of_the_bundled_model atlas_of_a_prime_vocabulary bad_requests_and_cancelling }

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

    /// Every number within `tolerance` of numpy's.
    fn check(&self, name: &str, got: &[f32], tolerance: f64) {
        let exact = self.get(name);
        assert_eq!(got.len(), exact.len(), "{name}");
        for (i, (&g, &e)) in got.iter().zip(&exact).enumerate() {
            let off = (f64::from(g) - e).abs();
            assert!(off <= tolerance, "{name} [{i}]: {g}, expected {e} ± {tolerance:e}");
        }
    }
}

async fn open(config: &str, weights: &[u8], precision: Precision) -> Session {
    let session = Session::open().await.expect("a WebGPU adapter");
    // Shards of some rows each, so that none of them is the whole.
    let recipe = Recipe { precision, shard_bytes: 1 << 20, ..Recipe::new(config, None) };
    let mut loading = session.load(&recipe).await.expect("a load");
    loading.loader.push(session.gpu(), weights).await.expect("a valid file");
    loading.loader.end_file().expect("a whole file");
    session.install(loading).await.expect("a whole model");
    session
}

async fn check(session: &Session, numbers: &Numbers) {
    let loaded = session.loaded().expect("a model");
    let cancel = Cancel::default();
    let told = RefCell::new(Vec::new());
    let on_progress = |done| told.borrow_mut().push(done);
    let (gpu, model) = (session.gpu(), &loaded.model);
    let atlas = Atlas { gpu, model, cancel: &cancel, on_progress: &on_progress };

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

    let found = atlas::correlations(&atlas, channel).await.expect("correlations");
    assert_eq!(found.names[0], format!("channel {channel}"));
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

    told.borrow_mut().clear();
    for (name, norm, position) in [
        ("none", Norm::None, None),
        ("affine", Norm::Affine, None),
        ("placed", Norm::Affine, Some(5)),
    ] {
        let options = ZeroLayerOptions { norm, position, step: 1 };
        let found = atlas::zero_layer(&atlas, options).await.expect("a zero-layer model");
        numbers.check(&format!("{name}/logit"), &found.logit, 2e-3);
        numbers.check(&format!("{name}/self"), &found.self_logit, 2e-3);
        let (best, lead) =
            (numbers.get(&format!("{name}/argmax")), numbers.get(&format!("{name}/lead")));
        let clear = lead.iter().filter(|&&lead| lead > 1e-4).count();
        assert!(clear * 10 > lead.len() * 9, "{name}: {clear} of {} are clear", lead.len());
        for (id, &argmax) in found.argmax.iter().enumerate().filter(|&(id, _)| lead[id] > 1e-4) {
            assert_eq!(f64::from(argmax), best[id], "{name}: {id}");
        }
        let sample = ZeroLayerOptions { step: 7, ..options };
        let some = atlas::zero_layer(&atlas, sample).await.expect("a sample");
        let every: Vec<u32> = found.argmax.iter().step_by(7).copied().collect();
        assert_eq!(some.argmax, every);
    }
    let told = told.take();
    assert_eq!(told.last(), Some(&1.0));
    assert!(told.iter().all(|done| (0.0..=1.0).contains(done)));

    let gains = atlas::gains(&atlas).await.expect("gains");
    assert_eq!(gains.len(), 2 * model.config.n_layer + 1);
    assert_eq!((&*gains[1].name, &*gains[gains.len() - 1].name), ("h.0.ln_2", "ln_f"));
}

async fn atlas_of_the_bundled_model() {
    let session = open(TALES_CONFIG, TALES_WEIGHTS, Precision::F16).await;
    check(&session, &Numbers::of(include_bytes!("golden/atlas/tales.safetensors"))).await;
    // What the heavy parts took is given back.
    let loaded = session.loaded().expect("a model");
    assert_eq!(session.gpu().allocated_bytes() - loaded.model.weight_bytes, 2 * 16);
}

async fn atlas_of_a_prime_vocabulary() {
    let golden = Golden::massive();
    let session = open(golden.config, golden.weights, Precision::F32).await;
    check(&session, &Numbers::of(include_bytes!("golden/atlas/massive.safetensors"))).await;
    let loaded = session.loaded().expect("a model");
    let file = SafeTensors::deserialize(golden.weights).expect("a golden file");
    let (cancel, on_progress) = (Cancel::default(), |_| {});
    let (gpu, model) = (session.gpu(), &loaded.model);
    let atlas = Atlas { gpu, model, cancel: &cancel, on_progress: &on_progress };
    for gain in atlas::gains(&atlas).await.expect("gains") {
        for (part, got) in [("weight", &gain.weight), ("bias", &gain.bias)] {
            let tensor = file.tensor(&format!("transformer.{}.{part}", gain.name)).expect("it");
            let bytes: Vec<u8> = got.iter().flat_map(|v| v.to_le_bytes()).collect();
            assert_eq!(tensor.data(), bytes, "{} {part}", gain.name);
        }
    }
}

async fn bad_requests_and_cancelling() {
    let session = open(TALES_CONFIG, TALES_WEIGHTS, Precision::F16).await;
    let loaded = session.loaded().expect("a model");
    let (cancel, on_progress) = (Cancel::default(), |_| {});
    let (gpu, model) = (session.gpu(), &loaded.model);
    let atlas = Atlas { gpu, model, cancel: &cancel, on_progress: &on_progress };
    let zero = |position, step| ZeroLayerOptions { norm: Norm::None, position, step };
    assert_eq!(atlas::channel(&atlas, 192).await.map_err(|e| e.code()), Err("bad-option"));
    let none = atlas::correlations(&atlas, 192).await;
    assert_eq!(none.map_err(|e| e.code()), Err("bad-option"));
    for n in [0, 193] {
        assert_eq!(atlas::spectrum(&atlas, n).await.map_err(|e| e.code()), Err("bad-option"));
    }
    for options in [zero(Some(256), 1), zero(None, 0)] {
        let none = atlas::zero_layer(&atlas, options).await;
        assert_eq!(none.map_err(|e| e.code()), Err("bad-option"));
    }
    let none = atlas::neighbours(&atlas, 4096, 5, By::Dot).await;
    assert_eq!(none.map_err(|e| e.code()), Err("bad-token"));
    let none = atlas::neighbours(&atlas, 1, 0, By::Dot).await;
    assert_eq!(none.map_err(|e| e.code()), Err("bad-option"));

    let before = gpu.allocated_bytes();
    let stopped = Cancel::when(|| true);
    let atlas = Atlas { gpu, model, cancel: &stopped, on_progress: &on_progress };
    assert_eq!(atlas::norms(&atlas).await.map_err(|e| e.code()), Err("aborted"));
    assert_eq!(atlas::spectrum(&atlas, 2).await.map_err(|e| e.code()), Err("aborted"));
    let none = atlas::zero_layer(&atlas, zero(None, 1)).await;
    assert_eq!(none.map_err(|e| e.code()), Err("aborted"));
    assert_eq!(gpu.allocated_bytes(), before);
}
