//! Attribution: compared with numbers from transformers in float64 (tests/golden/attribution.py), and in edited runs with the
//! logits that are shown; natively, in Chromium and in Firefox.

use std::rc::Rc;

use crate::support::golden::{Golden, compare_values};
use loupe::device::Cancel;
use loupe::kernels::Precision;
use loupe::lens::{Depth, Line, Norm, Options};
use loupe::session::{Edit, How, Lensed, Place, Session, Source};
use serde_json::Value;

device_tests! {
    components_agree_with_transformers attention_and_sources_agree_with_transformers
    neurons_agree_with_transformers components_promote_the_tokens_that_they_add_most_to
    directions_and_streams questions_about_edited_runs
    components_of_edited_runs_sum_to_what_is_shown several_shards_and_a_long_text
    cells_that_do_not_exist
}

async fn read(session: &Session, ids: &[u32], options: &Options, edits: &[Edit]) -> Rc<Lensed> {
    let never = Cancel::default();
    let read = session.read_edited(ids, options, edits, &never, |_, _, _| Ok(())).await;
    read.expect("a reading")
}

/// In a browser only the first: each answer of the device takes a tenth of a second in Firefox, and the others differ from it
/// in f64 on the CPU only.
const NORMS: &[(&str, Norm)] = if cfg!(target_arch = "wasm32") {
    &[("affine", Norm::Affine)]
} else {
    &[("affine", Norm::Affine), ("plain", Norm::Plain), ("none", Norm::None)]
};

fn halves(norm: Norm) -> Options {
    Options { depth: Depth::Halves, norm, ..Options::default() }
}

/// A list of the metadata.
fn list<'a>(golden: &'a Golden, name: &str) -> &'a [Value] {
    golden.info(name).as_array().expect("a list")
}

fn number(of: &Value, name: &str) -> usize {
    of[name].as_u64().expect("a number") as usize
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().expect("a text")
}

fn tokens(of: &Value) -> Vec<u32> {
    serde_json::from_value(of["tokens"].clone()).expect("tokens")
}

fn tap_of(lensed: &Lensed, name: &str) -> usize {
    lensed.reading.taps.iter().position(|tap| tap == name).expect("a row")
}

async fn components_agree_with_transformers() {
    let (session, cancel) = (crate::support::session().await, Cancel::default());
    for golden in Golden::attribution() {
        crate::support::load(&session, &golden, Precision::F32, 64 << 20).await;
        for &(name, norm) in NORMS {
            let lensed = read(&session, &golden.ids(), &halves(norm), &[]).await;
            let before = session.device().allocated_bytes();
            let mut compared = 0;
            for cell in list(&golden, "cells").iter().filter(|cell| cell["norm"] == name) {
                let (key, position) = (text(cell, "key"), number(cell, "position"));
                let tap = tap_of(&lensed, text(cell, "tap"));
                let found = session.attribute(&lensed, tap, position, &tokens(cell), &cancel).await;
                let found = found.expect("an attribution");
                let names: Vec<_> = found.components.iter().map(|(name, _)| name.clone()).collect();
                let expected = &golden.info("components")[text(cell, "tap")][name];
                assert_eq!(Value::from(names), *expected, "{} {key}", golden.name);
                let values: Vec<f32> = found.components.iter().map(|(_, value)| *value).collect();
                let tolerance = f64::max(1e-4, 5.0 * golden.off_of(key));
                let what = format!("{} {key}", golden.name);
                compare_values(&what, &values, &golden.values(key), tolerance);
                let shown = golden.info("shown")[key].as_f64().expect("a number");
                assert!((f64::from(found.shown) - shown).abs() < 1e-4, "{what}: {}", found.shown);
                assert!((found.sum - found.shown).abs() < 1e-4, "{what}: {}", found.sum);
                compared += 1;
            }
            assert!(compared >= 20, "{} {name}: {compared} cells", golden.name);
            assert_eq!(session.device().allocated_bytes(), before, "nothing is kept");
        }
    }
}

async fn attention_and_sources_agree_with_transformers() {
    let (session, cancel) = (crate::support::session().await, Cancel::default());
    for golden in Golden::attribution() {
        crate::support::load(&session, &golden, Precision::F32, 64 << 20).await;
        let lensed = read(&session, &golden.ids(), &halves(Norm::Affine), &[]).await;
        for of in list(&golden, "attention") {
            let (block, position) = (number(of, "block"), number(of, "position"));
            let head = (block, Some(number(of, "head")));
            let found = session.attention(&lensed, head, position, None, &cancel).await;
            let found = found.expect("weights");
            let what = format!("{} {}", golden.name, text(of, "key"));
            compare_values(&what, &found, &golden.values(text(of, "key")), 1e-5);
            assert!((found.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{what}");
        }
        for of in list(&golden, "sources") {
            let (block, position) = (number(of, "block"), number(of, "position"));
            let head = (block, Some(number(of, "head")));
            let (tap, tokens) = (tap_of(&lensed, text(of, "tap")), tokens(of));
            let cell = Some((tap, &tokens[..]));
            let found = session.attention(&lensed, head, position, cell, &cancel).await;
            let found = found.expect("sources");
            let what = format!("{} {}", golden.name, text(of, "key"));
            compare_values(&what, &found, &golden.values(text(of, "key")), 1e-4);
            // They sum to the head's component.
            let all = session.attribute(&lensed, tap, position, &tokens, &cancel).await;
            let name = format!("h.{block}.attn.{}", number(of, "head"));
            let all = all.expect("an attribution").components;
            let own = all.iter().find(|(known, _)| *known == name).expect("the head").1;
            assert!((found.iter().sum::<f32>() - own).abs() < 1e-4, "{what}: {own}");
        }
    }
}

async fn neurons_agree_with_transformers() {
    let (session, cancel) = (crate::support::session().await, Cancel::default());
    for golden in Golden::attribution() {
        crate::support::load(&session, &golden, Precision::F32, 64 << 20).await;
        let lensed = read(&session, &golden.ids(), &halves(Norm::Affine), &[]).await;
        let mut compared = 0;
        for of in list(&golden, "neurons") {
            let (block, position) = (number(of, "block"), number(of, "position"));
            let cell_tokens = tokens(of);
            let cell = (tap_of(&lensed, text(of, "tap")), &cell_tokens[..]);
            let found = session.neurons(&lensed, block, cell, position, &cancel).await;
            let what = format!("{} {}", golden.name, text(of, "key"));
            compare_values(&what, &found.expect("units"), &golden.values(text(of, "key")), 1e-4);
            compared += 1;
        }
        assert!(compared > 0, "{}", golden.name);
        let too_deep = session.neurons(&lensed, 1, (3, &[1, 2]), 3, &cancel).await;
        assert_eq!(too_deep.map_err(|e| e.code()), Err("bad-option"), "behind block 1's attention");
    }
}

/// Against what each token is attributed by itself, which is compared with transformers above.
async fn components_promote_the_tokens_that_they_add_most_to() {
    let (session, cancel) = (crate::support::session().await, Cancel::default());
    for golden in Golden::attribution() {
        crate::support::load(&session, &golden, Precision::F32, 64 << 20).await;
        let lensed = read(&session, &golden.ids(), &halves(Norm::Affine), &[]).await;
        let (tap, position, name) = (lensed.reading.taps.len() - 1, 5, "h.1.attn.1");
        let k = 3;
        let found = session.promoted(&lensed, (tap, name), position, k, &cancel).await;
        let found = found.expect("tokens");
        let mut expected = Vec::new();
        let n = if cfg!(target_arch = "wasm32") { 12 } else { 53 };
        for id in 0..n as u32 {
            let all = session.attribute(&lensed, tap, position, &[id], &cancel).await;
            let all = all.expect("an attribution").components;
            let value = all.iter().find(|(known, _)| known == name).expect("the head").1;
            expected.push((id, value));
        }
        for (id, value) in found.promoted.iter().chain(&found.suppressed) {
            let known = expected.iter().find(|(known, _)| known == id);
            assert!(known.is_none_or(|(_, known)| (known - value).abs() < 1e-4), "{id}: {value}");
        }
        // Of the tokens that were asked for one by one, none is missing where it belongs.
        let listed = |list: &[(u32, f32)], sign: f32| {
            assert_eq!(list.len(), k);
            assert!(list.is_sorted_by(|a, b| sign * a.1 >= sign * b.1), "the strongest first");
            let last = sign * list[k - 1].1;
            let missing = expected.iter().filter(|(id, value)| {
                sign * value > last + 1e-4 && !list.iter().any(|(known, _)| known == id)
            });
            assert_eq!(missing.count(), 0, "{}: {list:?}", golden.name);
        };
        listed(&found.promoted, 1.0);
        listed(&found.suppressed, -1.0);
        let none = session.promoted(&lensed, (tap, "h.9.mlp"), position, k, &cancel).await;
        assert_eq!(none.map(|_| ()).map_err(|e| e.code()), Err("bad-option"), "no such component");
        let none = session.promoted(&lensed, (tap, name), position, 0, &cancel).await;
        assert_eq!(none.map(|_| ()).map_err(|e| e.code()), Err("bad-option"), "no tokens");
    }
}

/// The product of the two is the logit difference but for σ and what the bias of ln_f adds.
async fn directions_and_streams() {
    let (session, cancel) = (crate::support::session().await, Cancel::default());
    for golden in Golden::attribution() {
        let precision = Precision::F32;
        crate::support::load(&session, &golden, precision, 64 << 20).await;
        let epsilon = 1e-5;
        let lensed = read(&session, &golden.ids(), &halves(Norm::Affine), &[]).await;
        let tokens = [5, 9];
        let u = session.token_direction(&tokens, &cancel).await.expect("a direction");
        assert!(u.iter().sum::<f32>().abs() < 1e-4, "centred");
        for (tap, position) in [(0, 3), (3, 7), (lensed.reading.taps.len() - 1, 10)] {
            let x = session.stream(&lensed, tap, Some(position)).await.expect("a stream");
            let x: Vec<f64> = x.into_iter().map(f64::from).collect();
            let n = x.len() as f64;
            let mean = x.iter().sum::<f64>() / n;
            let variance = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
            let along = x.iter().zip(&u).map(|(x, &u)| x * f64::from(u)).sum::<f64>();
            let found = session.attribute(&lensed, tap, position, &tokens, &cancel).await;
            let found = found.expect("an attribution");
            let constants = ["ln_f.bias", "unembed.bias"];
            let constant =
                found.components.iter().filter(|(name, _)| constants.contains(&name.as_str()));
            let constant: f64 = constant.map(|(_, value)| f64::from(*value)).sum();
            let expected = along / (variance + epsilon).sqrt() + constant;
            let error = (f64::from(found.shown) - expected).abs();
            assert!(error < 1e-3, "{} {tap} {position}: {error}", golden.name);
        }
        assert_eq!(
            session.stream(&lensed, 0, Some(99)).await.map_err(|e| e.code()),
            Err("bad-option")
        );
        let found = session.token_direction(&[], &cancel).await;
        assert_eq!(found.map_err(|e| e.code()), Err("bad-option"));
    }
}

/// Every kind of edit, at the cell's position and before it: each that replaces or adds something at the position is a
/// component of its own.
async fn components_of_edited_runs_sum_to_what_is_shown() {
    let (session, cancel) = (crate::support::session().await, Cancel::default());
    let [golden, ..] = Golden::attribution();
    crate::support::load(&session, &golden, Precision::F32, 64 << 20).await;
    let other = read(
        &session,
        golden
            .info("other")
            .as_array()
            .map(|ids| ids.iter().map(|id| id.as_u64().expect("an id") as u32).collect::<Vec<_>>())
            .expect("ids")
            .as_slice(),
        &Options::default(),
        &[],
    )
    .await;
    let place =
        |at: &str, head, positions: Option<Vec<usize>>| Place { at: at.into(), head, positions };
    let from = |at: Option<&str>| Source {
        reading: other.clone(),
        at: at.map(Into::into),
        positions: None,
    };
    let vector: Vec<f32> = (0..21).map(|i| (i as f32 * 0.7).sin()).collect();
    let p = 12;
    let edits = [
        Edit::Patch { place: place("input", None, Some(vec![3, p])), from: from(None) },
        Edit::Ablate { place: place("h.0.attn_out", Some(1), None), mean: None },
        Edit::Steer {
            place: place("h.0.attn", None, Some(vec![p])),
            vector: vector.clone(),
            scale: 2.0,
        },
        Edit::Patch {
            place: place("h.1.attn_out", Some(2), Some(vec![p])),
            from: from(Some("h.0.attn_out")),
        },
        Edit::Ablate {
            place: place("h.1.mlp_out", None, Some(vec![5, p])),
            mean: Some(other.clone()),
        },
        Edit::Patch { place: place("h.1", None, Some(vec![7])), from: from(None) },
        Edit::Ablate { place: place("h.2.attn_out", None, None), mean: None },
        Edit::Steer { place: place("h.2.mlp_out", None, Some(vec![p])), vector, scale: -1.0 },
        Edit::Weights { of: "ln_f".into(), channel: Some(4), how: How::Scale(3.0) },
        Edit::Weights { of: "embed".into(), channel: Some(2), how: How::Scale(-1.0) },
        Edit::Weights { of: "wpe".into(), channel: None, how: How::Smooth(2.0) },
    ];
    for &(_, norm) in NORMS {
        let lensed = read(&session, &golden.ids(), &halves(norm), &edits).await;
        for (tap, position) in [(0, p), (1, p), (2, p), (4, p), (6, p), (6, 7), (6, 20), (3, 2)] {
            for tokens in [&[5, 9][..], &[5]] {
                let found = session.attribute(&lensed, tap, position, tokens, &cancel).await;
                let found = found.expect("an attribution");
                let what = format!("{norm:?} row {tap} position {position} {tokens:?}");
                let error = (found.sum - found.shown).abs();
                assert!(error < 2e-4, "{what}: {} but {}", found.sum, found.shown);
                let has = |name: &str| found.components.iter().any(|(known, _)| known == name);
                assert_eq!(has("edit.0"), position == p, "{what}");
                assert_eq!(has("edit.1"), tap > 0, "{what}");
                assert_eq!(has("edit.4"), tap >= 4 && position == p, "{what}");
                assert_eq!(has("edit.5"), tap >= 4 && position == 7, "{what}");
                assert_eq!(has("edit.6"), tap >= 5, "{what}");
                assert!(!has("edit.8") && !has("edit.9") && !has("edit.10"), "{what}: weights");
            }
        }
    }
}

/// Every question of an edited run, with an unembedding that is edited too, under every norm, weights in f16 and a
/// vocabulary in shards of a few rows: parts sum to their component, and the logits are those that the lens shows.
async fn questions_about_edited_runs() {
    let (session, cancel) = (crate::support::session().await, Cancel::default());
    // In a browser one family, for the same reason as above.
    let n = if cfg!(target_arch = "wasm32") { 1 } else { 3 };
    for golden in Golden::attribution().into_iter().take(n) {
        crate::support::load(&session, &golden, Precision::F16, 1_000).await;
        let config = session.loaded().expect("a model").model.config.clone();
        let place = |at: &str, head| Place { at: at.into(), head, positions: None };
        let edits = [
            Edit::Ablate { place: place("h.0.attn_out", Some(1)), mean: None },
            Edit::Steer {
                place: place("h.0.attn", None),
                vector: (0..config.n_embd).map(|i| (i as f32).cos()).collect(),
                scale: 0.5,
            },
            Edit::Ablate { place: place("h.1.mlp_out", None), mean: None },
            Edit::Weights { of: "unembed".into(), channel: Some(3), how: How::Scale(-2.0) },
        ];
        for &(_, norm) in NORMS {
            let lensed = read(&session, &golden.ids(), &halves(norm), &edits).await;
            let (tap, position) = (lensed.reading.taps.len() - 1, 9);
            for tokens in [&[5, 9][..], &[5]] {
                let what = format!("{} {norm:?} {tokens:?}", golden.name);
                let all = session.attribute(&lensed, tap, position, tokens, &cancel).await;
                let all = all.expect("an attribution");
                let logits = session.trace(&lensed, &[5, 9], Line::Position(position), &cancel);
                let logit: Vec<f32> =
                    logits.await.expect("tracks").iter().map(|track| track.logit[tap]).collect();
                if tokens.len() == 2 {
                    assert!((all.shown - (logit[0] - logit[1])).abs() < 1e-4, "{what}");
                } else {
                    // Against the mean over the vocabulary of what the lens shows.
                    let v = config.vocab_size as u32;
                    let mut sum = 0.0;
                    for ids in (0..v).collect::<Vec<_>>().chunks(60) {
                        let tracks = session.trace(&lensed, ids, Line::Position(position), &cancel);
                        let tracks = tracks.await.expect("tracks");
                        sum += tracks.iter().map(|t| f64::from(t.logit[tap])).sum::<f64>();
                    }
                    let expected = f64::from(logit[0]) - sum / f64::from(v);
                    assert!((f64::from(all.shown) - expected).abs() < 1e-3, "{what}: {expected}");
                }
                assert!((all.sum - all.shown).abs() < 2e-4, "{what}: {}", all.sum);
                let own = |name: &str| {
                    let found = all.components.iter().find(|(known, _)| known == name);
                    found.expect("a component").1
                };
                for block in 0..2 {
                    let cell = (tap, tokens);
                    let sources =
                        session.attention(&lensed, (block, None), position, Some(cell), &cancel);
                    let sources = sources.await.expect("sources");
                    for (head, from) in sources.chunks(position + 1).enumerate() {
                        let name = format!("h.{block}.attn.{head}");
                        let error = (from.iter().sum::<f32>() - own(&name)).abs();
                        assert!(error < 2e-4, "{what} {name}: {error}");
                    }
                    let units = session.neurons(&lensed, block, cell, position, &cancel).await;
                    let units: f32 = units.expect("units").iter().sum();
                    let left = own(&format!("h.{block}.mlp")) - units;
                    if norm == Norm::None {
                        // It is what the bias of the output adds, which is the same at every position.
                        let before = position - 1;
                        let at = session.neurons(&lensed, block, cell, before, &cancel).await;
                        let at: f32 = at.expect("units").iter().sum();
                        let all = session.attribute(&lensed, tap, before, tokens, &cancel).await;
                        let name = format!("h.{block}.mlp");
                        let all = all.expect("an attribution").components;
                        let mlp = all.iter().find(|(known, _)| *known == name).expect("the MLP").1;
                        assert!((mlp - at - left).abs() < 1e-3, "{what}: {left}");
                    }
                }
            }
            let of_edit = session.promoted(&lensed, (tap, "edit.2"), position, 3, &cancel).await;
            assert_eq!(of_edit.expect("tokens").promoted.len(), 3);
            let x = session.stream(&lensed, tap, Some(position)).await.expect("a stream");
            let all = session.stream(&lensed, tap, None).await.expect("a stream");
            assert_eq!(all.len(), lensed.reading.n_tokens() * config.n_embd);
            assert_eq!(all[position * config.n_embd..][..config.n_embd], x, "the same row");
            let stopped = Cancel::new(|| true);
            let found = session.promoted(&lensed, (tap, "wte"), position, 3, &stopped).await;
            assert_eq!(found.map(|_| ()).map_err(|e| e.code()), Err("aborted"));
        }
    }
}

/// Two blocks of positions, weights in f16 and a vocabulary in shards of a few rows.
async fn several_shards_and_a_long_text() {
    let (session, cancel) = (crate::support::session().await, Cancel::default());
    for golden in [Golden::massive(), Golden::untied()] {
        crate::support::load(&session, &golden, Precision::F16, 1_000).await;
        let lensed = read(&session, &golden.ids(), &Options::default(), &[]).await;
        let (last, t) = (lensed.reading.taps.len() - 1, lensed.reading.n_tokens());
        for position in [0, t / 2, t - 1] {
            for tokens in [&[3, 50][..], &[50]] {
                let found = session.attribute(&lensed, last, position, tokens, &cancel).await;
                let found = found.expect("an attribution");
                let largest = found.components.iter().map(|(_, v)| v.abs()).fold(1.0, f32::max);
                let error = (found.sum - found.shown).abs();
                assert!(error < 1e-4 * largest, "{} {position}: {error}", golden.name);
            }
        }
    }
}

async fn cells_that_do_not_exist() {
    let (session, cancel) = (crate::support::session().await, Cancel::default());
    let [golden, neo, _] = Golden::attribution();
    crate::support::load(&session, &golden, Precision::F32, 64 << 20).await;
    let options = Options { depth: Depth::Contributions, ..Options::default() };
    let parts = read(&session, &golden.ids(), &options, &[]).await;
    let options = Options { decoder: vec!["h.2".into()], ..Options::default() };
    let borrowed = read(&session, &golden.ids(), &options, &[]).await;
    let plain = read(&session, &golden.ids(), &Options::default(), &[]).await;
    let last = parts.reading.taps.len() - 1;
    assert!(session.attribute(&parts, last, 3, &[1, 2], &cancel).await.is_ok(), "its last row");
    for (what, lensed, tap, position, tokens, code) in [
        ("a contribution", &parts, 1, 3, &[1, 2][..], "bad-option"),
        ("a borrowed block", &borrowed, 1, 3, &[1, 2], "bad-option"),
        ("row 4", &plain, 4, 3, &[1, 2], "bad-option"),
        ("position 24", &plain, 3, 24, &[1, 2], "bad-option"),
        ("no token", &plain, 3, 3, &[], "bad-option"),
        ("three tokens", &plain, 3, 3, &[1, 2, 3], "bad-option"),
        ("token 53", &plain, 3, 3, &[1, 53], "bad-token"),
    ] {
        let found = session.attribute(lensed, tap, position, tokens, &cancel).await;
        assert_eq!(found.map(|_| ()).map_err(|e| e.code()), Err(code), "{what}");
    }
    for (what, head, position, cell) in [
        ("block 3", (3, None), 3, None),
        ("head 3", (0, Some(3)), 3, None),
        ("position 24", (0, Some(0)), 24, None),
        ("a row above the block", (2, Some(0)), 3, Some((2, &[1, 2][..]))),
        ("the input", (0, None), 3, Some((0, &[1, 2]))),
    ] {
        let found = session.attention(&plain, head, position, cell, &cancel).await;
        assert_eq!(found.map(|_| ()).map_err(|e| e.code()), Err("bad-option"), "{what}");
    }
    crate::support::load(&session, &neo, Precision::F32, 64 << 20).await;
    let found = session.attribute(&plain, 3, 3, &[1, 2], &cancel).await;
    assert_eq!(found.map(|_| ()).map_err(|e| e.code()), Err("not-found"), "a model that is gone");
}
