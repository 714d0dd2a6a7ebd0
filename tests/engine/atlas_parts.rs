//! Tests the atlas with partial models, valid and invalid: natively, in Chromium and in Firefox.

use crate::support::atlas::{load, open, open_part, partial_request, quiet};
use crate::support::golden::{Golden, TALES_CONFIG, TALES_WEIGHTS, halves, part};
use loupe::atlas::{self, By, TokenRow, ZeroLayerOptions};
use loupe::kernels::Precision;
use loupe::lens::{Norm, Options};
use loupe::session::LoadRequest;
use serde_json::json;

device_tests! {
    partial_models one_token_agrees_with_all_tokens invalid_partial_models
    embeddings_beyond_single_precision
}

async fn partial_models() {
    let whole = open(TALES_CONFIG, TALES_WEIGHTS, Precision::F16).await;
    let whole_loaded = whole.loaded().expect("a model");
    let watch = quiet();
    let of_whole = watch.over(&whole, &whole_loaded);
    let (channels, gains) = (atlas::channels(&of_whole).await, atlas::gains(&of_whole).await);
    let (channels, gains) = (channels.expect("channels"), gains.expect("gains"));
    let zero = |norm| ZeroLayerOptions { row: TokenRow { norm, position: None }, step: 64 };

    // A whole file without its config has everything that the atlas shows.
    let session = open_part(TALES_WEIGHTS, Precision::F16).await;
    let loaded = session.loaded().expect("a partial model");
    let atlas = watch.over(&session, &loaded);
    assert_eq!(atlas::channels(&atlas).await.as_ref(), Ok(&channels));
    assert_eq!(atlas::gains(&atlas).await.as_ref(), Ok(&gains));
    let found = atlas::zero_layer(&atlas, zero(Norm::Affine)).await;
    assert_eq!(found, atlas::zero_layer(&of_whole, zero(Norm::Affine)).await);
    assert!(loaded.model.weight_bytes < whole_loaded.model.weight_bytes);
    assert_eq!(session.device().allocated_bytes() - loaded.model.weight_bytes, 3 * 16);
    let none = session.read(&[1, 2], &Options::default(), &watch.cancel, |_, _, _| Ok(())).await;
    assert_eq!(none.err().map(|e| e.code()), Some("missing-tensor"));

    // This file has positions and LayerNorms only.
    let file =
        part(TALES_WEIGHTS, |_, name| !name.contains("wte") && !name.ends_with("h.2.ln_1.bias"));
    let session = open_part(&file, Precision::F16).await;
    let loaded = session.loaded().expect("a partial model");
    let atlas = watch.over(&session, &loaded);
    let found = atlas::channels(&atlas).await.expect("channels");
    assert_eq!((found.wpe_mean, found.wpe_std), (channels.wpe_mean, channels.wpe_std));
    assert_eq!((found.wte_mean.len(), found.wte_std.len()), (0, 0));
    let found = atlas::gains(&atlas).await.expect("gains");
    for (found, exact) in found.iter().zip(&gains) {
        assert_eq!((&found.name, &found.weight), (&exact.name, &exact.weight));
        let is_there = found.name != "h.2.ln_1";
        assert_eq!(found.bias, if is_there { &exact.bias[..] } else { &[] }, "{}", found.name);
    }
    assert_eq!(found.len(), gains.len());
    for result in [
        atlas::norms(&atlas).await.map(|_| ()),
        atlas::channel(&atlas, 3).await.map(|_| ()),
        atlas::spectrum(&atlas, 2).await.map(|_| ()),
        atlas::rows_of(&atlas, &[0]).await.map(|_| ()),
        atlas::zero_layer(&atlas, zero(Norm::None)).await.map(|_| ()),
        atlas::neighbours(&atlas, 0, 1, By::Dot).await.map(|_| ()),
    ] {
        assert_eq!(result.map_err(|e| e.code()), Err("missing-tensor"));
    }

    // This file has the embedding only: no positions, and no norm before the unembedding.
    let session =
        open_part(&part(TALES_WEIGHTS, |_, name| name.contains("wte")), Precision::F16).await;
    let loaded = session.loaded().expect("a partial model");
    let atlas = watch.over(&session, &loaded);
    let found = atlas::zero_layer(&atlas, zero(Norm::None)).await;
    assert_eq!(found, atlas::zero_layer(&of_whole, zero(Norm::None)).await);
    let none = atlas::zero_layer(&atlas, zero(Norm::Affine)).await;
    assert_eq!(none.map_err(|e| e.code()), Err("missing-tensor"));
    let placed = TokenRow { norm: Norm::None, position: Some(1) };
    let none = atlas::next_tokens(&atlas, 1, 1, placed).await;
    assert_eq!(none.map_err(|e| e.code()), Err("missing-tensor"));
    assert_eq!(atlas::positions(&atlas).await.map_err(|e| e.code()), Err("missing-tensor"));
    assert_eq!(atlas::gains(&atlas).await, Ok(Vec::new()));
}

/// The logits of one token agree with the zero-layer model over all tokens, and those of a partial model with those
/// of the whole one: with other tensor names, scaled embeddings, a bias on the logits, and an untied unembedding.
async fn one_token_agrees_with_all_tokens() {
    let untied = Golden::untied();
    for (golden, config) in [
        (Golden::ctrl(), None),
        (Golden::massive(), None),
        (Golden::neo(), None),
        (Golden::untied(), Some(untied.config)),
    ] {
        let whole = open(golden.config, golden.weights, Precision::F32).await;
        let session = crate::support::session().await;
        let request = LoadRequest { config, ..partial_request(Precision::F32) };
        let session = load(session, &request, golden.weights).await;
        let all = whole.loaded().expect("a model");
        let some = session.loaded().expect("a partial model");
        let watch = quiet();
        let (of_whole, of_part) = (watch.over(&whole, &all), watch.over(&session, &some));
        assert_eq!(atlas::gains(&of_part).await, atlas::gains(&of_whole).await);
        for norm in [Norm::None, Norm::Plain, Norm::Affine] {
            let row = TokenRow { norm, position: None };
            let options = ZeroLayerOptions { row, step: 1 };
            let found = atlas::zero_layer(&of_whole, options).await.expect("all tokens");
            let name = format!("{} {norm:?}", golden.name);
            assert_eq!(atlas::zero_layer(&of_part, options).await.as_ref(), Ok(&found), "{name}");
            for id in (0..found.argmax.len()).step_by(found.argmax.len() / 5) {
                let one = atlas::next_tokens(&of_whole, id as u32, 2, row).await.expect("one");
                let close = |a: f32, b: f32| (a - b).abs() < 1e-4 * (1.0 + b.abs());
                assert!(close(found.logit[id], one.values[0]), "{name}: {id}");
                if !close(one.values[0], one.values[1]) {
                    assert_eq!(found.argmax[id], one.ids[0], "{name}: {id}");
                }
                let part = atlas::next_tokens(&of_part, id as u32, 2, row).await;
                assert_eq!(part, Ok(one), "{name}: {id}");
            }
        }
    }
    // Without its unembedding, an untied model has no zero-layer model; wte is not used instead.
    let file = part(untied.weights, |_, name| name != "lm_head.weight");
    let session = crate::support::session().await;
    let request = LoadRequest { config: Some(untied.config), ..partial_request(Precision::F32) };
    let session = load(session, &request, &file).await;
    let (loaded, watch) = (session.loaded().expect("a partial model"), quiet());
    let row = TokenRow { norm: Norm::None, position: None };
    let none = atlas::next_tokens(&watch.over(&session, &loaded), 1, 2, row).await;
    assert_eq!(none.map_err(|e| e.code()), Err("missing-tensor"));
}

/// A file of tensors that are all zeros.
fn zeros(tensors: &[(&str, &str, &[u64])]) -> Vec<u8> {
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, dtype, shape) in tensors {
        let size = if *dtype == "I64" { 8 } else { 4 };
        let start = end;
        end += size * shape.iter().product::<u64>();
        let entry = json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] });
        header.insert((*name).into(), entry);
    }
    let header = serde_json::to_vec(&header).expect("JSON");
    [&(header.len() as u64).to_le_bytes()[..], &header[..], &vec![0; end as usize][..]].concat()
}

async fn invalid_partial_models() {
    let session = open_part(TALES_WEIGHTS, Precision::F16).await;
    let before = session.device().allocated_bytes();
    let attempt = async |config: Option<&str>, files: &[&[u8]]| {
        let request = LoadRequest { config, ..partial_request(Precision::F16) };
        let mut loading = session.load(&request).await?;
        for (i, file) in files.iter().enumerate() {
            loading.loader.begin_file(i, None);
            session.push(&mut loading, file).await?;
            loading.loader.end_file()?;
        }
        session.install(loading).await.map(|_| ())
    };
    let code = |result: loupe::error::Result<()>| result.map_err(|e| e.code());
    let none = part(TALES_WEIGHTS, |_, name| name.contains("attn"));
    assert_eq!(code(attempt(None, &[&none]).await), Err("missing-tensor"));
    let wpe = part(TALES_WEIGHTS, |_, name| name.contains("wpe"));
    assert_eq!(code(attempt(None, &[&wpe, &wpe]).await), Err("bad-header"));
    assert_eq!(code(attempt(None, &[&wpe[..wpe.len() - 1]]).await), Err("truncated"));
    let other = part(Golden::massive().weights, |_, name| name.contains("ln_f"));
    assert_eq!(code(attempt(None, &[&wpe, &other]).await), Err("bad-header"));
    assert_eq!(code(attempt(Some(Golden::massive().config), &[&wpe]).await), Err("bad-shape"));
    let deep = zeros(&[("h.8.ln_1.weight", "F32", &[192])]);
    assert_eq!(code(attempt(Some(TALES_CONFIG), &[&deep]).await), Err("bad-header"));
    let bad_header: &[&[(&str, &str, &[u64])]] = &[
        &[("wte.weight", "F32", &[5, 0])],
        &[("wte.weight", "F32", &[0, 5])],
        &[("ln_f.weight", "F32", &[0])],
        &[("ln_f.weight", "F32", &[])],
        &[("wte.weight", "F32", &[2, 2, 2])],
        &[("wpe.weight", "F32", &[7])],
        &[("wpe.weight", "F32", &[70_000, 1])],
        &[("wte.weight", "F32", &[3, 4]), ("w.weight", "F32", &[3, 4])],
        &[("ln_f.bias", "F32", &[4]), ("layernorm.bias", "F32", &[4])],
        &[("wte.weight", "F32", &[3, 4]), ("wpe.weight", "F32", &[3, 5])],
    ];
    for tensors in bad_header {
        assert_eq!(code(attempt(None, &[&zeros(tensors)]).await), Err("bad-header"), "{tensors:?}");
    }
    let whole = zeros(&[("wte.weight", "I64", &[3, 4])]);
    assert_eq!(code(attempt(None, &[&whole]).await), Err("bad-dtype"));
    // The 40,000 × 40,000 matrix alone would exceed the size limit of a binding, and of a tensor on the CPU.
    let wide = zeros(&[("wte.weight", "F32", &[1, 40_000])]);
    assert_eq!(code(attempt(None, &[&wide]).await), Err("unsupported-model"));
    // A name without a valid block number is not that of a LayerNorm.
    let strange = ["h.1024.ln_1.weight", "h.00.ln_1.weight", "h.+1.ln_1.weight", "h.ln_1.weight"];
    for name in strange {
        let file = zeros(&[(name, "F32", &[4])]);
        assert_eq!(code(attempt(None, &[&file]).await), Err("missing-tensor"), "{name}");
    }
    assert_eq!(session.device().allocated_bytes(), before, "a failed load releases its memory");

    // A partial model loads from two files, and a whole model then replaces it.
    let [a, b] = halves(TALES_WEIGHTS);
    assert_eq!(code(attempt(None, &[&a, &b]).await), Ok(()));
    let loaded = session.loaded().expect("a partial model");
    let watch = quiet();
    let found = atlas::channels(&watch.over(&session, &loaded)).await.expect("channels");
    assert_eq!((found.wte_mean.len(), found.wpe_mean.len()), (192, 192));
    drop(loaded);
    let session = load(session, &LoadRequest::new(TALES_CONFIG, None), TALES_WEIGHTS).await;
    let read = session.read(&[1, 2], &Options::default(), &watch.cancel, |_, _, _| Ok(())).await;
    assert!(read.is_ok());
}

/// Embeddings whose products overflow single precision are reported as an error, not shown as zeros.
async fn embeddings_beyond_single_precision() {
    let mut file = zeros(&[("wte.weight", "F32", &[3, 4])]);
    let end = file.len();
    file[end - 4..].copy_from_slice(&1e30f32.to_le_bytes());
    let session = open_part(&file, Precision::F32).await;
    let (loaded, watch) = (session.loaded().expect("a partial model"), quiet());
    let atlas = watch.over(&session, &loaded);
    for _ in 0..2 {
        let none = atlas::spectrum(&atlas, 1).await;
        assert_eq!(none.map_err(|e| e.code()), Err("unsupported-model"));
    }
    let none = atlas::correlations(&atlas, 0, None).await;
    assert_eq!(none.map_err(|e| e.code()), Err("unsupported-model"));
    let nan = [f64::NAN, 0.0, 0.0];
    let none = atlas::correlations(&atlas, 0, Some(&nan)).await;
    assert_eq!(none.map_err(|e| e.code()), Err("bad-option"));
}
