//! Texts whose keys and values are not kept, because they are too large: they follow from the taps, with the same bits;
//! natively, in Chromium and in Firefox.

use std::rc::Rc;

use crate::support::golden::Golden;
use loupe::device::Cancel;
#[cfg(not(target_arch = "wasm32"))]
use loupe::kernels::{Forms, Tile, Unit};
use loupe::kernels::{Precision, pad4};
use loupe::lens::{Depth, Options};
use loupe::session::{Edit, How, Lensed, Place, Session, SweepRequest, Swept};
#[cfg(not(target_arch = "wasm32"))]
use loupe::session::{LoadRequest, Tuning};

device_tests! {
    changed_texts_have_the_bits_of_whole_ones edits_have_the_same_bits
    questions_have_the_same_answers costs_and_memory
}

// Sizes are the same everywhere, and the weights are those of a real model.
#[cfg(not(target_arch = "wasm32"))]
gpu_tests! { memory_of_the_longest_text_of_gpt2 }

/// The largest keys and values that are kept: none, all.
const NONE: Option<u64> = Some(0);
const ALL: Option<u64> = Some(u64::MAX);

async fn session(golden: &Golden, limit: Option<u64>) -> Session {
    let session = crate::support::session().await;
    crate::support::load(&session, golden, Precision::F32, 64 << 20).await;
    session.limit_cache(limit);
    session
}

async fn read(session: &Session, ids: &[u32], options: &Options, edits: &[Edit]) -> Rc<Lensed> {
    let never = Cancel::default();
    let read = session.read_edited(ids, options, edits, &never, |_, _, _| Ok(())).await;
    read.expect("a reading")
}

fn bits(lensed: Rc<Lensed>) -> Vec<u32> {
    lensed.reading.stats.concat().into_iter().map(f32::to_bits).collect()
}

/// 70 tokens, which are more than one block of positions.
fn text() -> Vec<u32> {
    (0..70).map(|i| (i * i + 3 * i) % 53).collect()
}

fn halves() -> Options {
    Options { depth: Depth::Halves, ..Options::default() }
}

/// Texts that share a start with the one before, each read from what is kept of that, under either limit.
async fn changed_texts_have_the_bits_of_whole_ones() {
    let whole = text();
    let mut other = whole.clone();
    other[40] = 7;
    let texts: [&[u32]; 6] = [&whole[..66], &whole, &other, &other[..50], &other[..20], &whole];
    // In a browser one model: each answer of the device takes a tenth of a second in Firefox.
    let is_browser = cfg!(target_arch = "wasm32");
    let models = [Golden::gpt2_halves(), Golden::neo()];
    let kinds = [halves(), Options::default()];
    for golden in models.into_iter().take(if is_browser { 1 } else { 2 }) {
        for options in kinds.iter().take(if is_browser { 1 } else { 2 }) {
            let fresh = session(&golden, ALL).await;
            let mut expected = Vec::new();
            for ids in texts {
                expected.push(bits(read(&fresh, ids, options, &[]).await));
                // Nothing in common with the next one.
                read(&fresh, &[52], &Options::default(), &[]).await;
            }
            for limits in [[NONE, NONE], [NONE, ALL], [ALL, NONE]] {
                let session = session(&golden, limits[0]).await;
                for (i, (ids, expected)) in texts.iter().zip(&expected).enumerate() {
                    session.limit_cache(limits[i % 2]);
                    let found = bits(read(&session, ids, options, &[]).await);
                    assert!(found == *expected, "{}: text {i} under {limits:?}", golden.name);
                }
            }
        }
    }
}

/// Edits run only the blocks from the edited one on, whose keys and values must be right.
async fn edits_have_the_same_bits() {
    let (golden, ids, options) = (Golden::gpt2_halves(), text(), Options::default());
    let place = |at: &str, positions| Place { at: at.into(), head: None, positions };
    let ablate = |at: &str, positions| Edit::Ablate { place: place(at, positions), mean: None };
    let norm = Edit::Weights { of: "h.1.ln_1".into(), channel: Some(3), how: How::Scale(0.5) };
    let runs = [
        vec![ablate("h.2.mlp_out", Some(vec![67, 69]))],
        vec![ablate("h.1.attn_out", Some(vec![0, 30]))],
        vec![norm.clone()],
        vec![norm, ablate("h.0.mlp_out", None)],
        vec![],
    ];
    let kept = session(&golden, ALL).await;
    let mut expected = Vec::new();
    for edits in &runs {
        expected.push(bits(read(&kept, &ids, &options, edits).await));
        read(&kept, &[52], &options, &[]).await;
    }
    // A text of which everything is copied but keys and values; and one that has none.
    for [first, then] in [[NONE, ALL], [NONE, NONE], [ALL, NONE]] {
        let session = session(&golden, first).await;
        let plain = read(&session, &ids, &options, &[]).await;
        session.limit_cache(then);
        for (edits, expected) in runs.iter().zip(&expected) {
            let found = bits(read(&session, &ids, &options, edits).await);
            assert!(found == *expected, "{} edits, {first:?}, then {then:?}", edits.len());
        }
        drop(plain);
    }
}

/// What is asked of a reading afterwards.
async fn questions_have_the_same_answers() {
    let (golden, ids, never) = (Golden::gpt2_halves(), text(), Cancel::default());
    let (mut answers, mut sweeps) = (Vec::new(), Vec::new());
    for limit in [ALL, NONE] {
        let session = session(&golden, limit).await;
        let place = Place { at: "h.0.attn_out".into(), head: Some(1), positions: Some(vec![5]) };
        let edits = [Edit::Ablate { place, mean: None }];
        for edits in [&[][..], &edits] {
            let lensed = read(&session, &ids, &Options::default(), edits).await;
            let found = session.attribute(&lensed, 3, 69, &[3, 50], &never).await;
            let mut numbers: Vec<f32> =
                found.expect("an attribution").components.into_iter().map(|(_, v)| v).collect();
            let (weights, added) = (
                session.attention(&lensed, (2, None), 66, None, &never).await,
                session.attention(&lensed, (1, Some(1)), 66, Some((3, &[3, 50])), &never).await,
            );
            numbers.extend(weights.expect("weights").into_iter().chain(added.expect("parts")));
            let units = session.neurons(&lensed, 1, (3, &[3, 50]), 69, &never).await;
            numbers.extend(units.expect("units"));
            answers.push(numbers.into_iter().map(f32::to_bits).collect::<Vec<_>>());
        }
        let [clean, corrupt] = [&ids[..20], &text()[1..21]].map(<[u32]>::to_vec);
        let clean = read(&session, &clean, &Options::default(), &[]).await;
        let corrupt = read(&session, &corrupt, &Options::default(), &[]).await;
        let request = SweepRequest {
            clean,
            corrupt,
            what: Swept::Stream,
            denoises: true,
            position: None,
            plus: 3,
            minus: 50,
        };
        let swept = session.sweep(&request, &never, |_| ()).await.expect("a sweep");
        sweeps.push(swept.values.into_iter().map(f32::to_bits).collect::<Vec<_>>());
    }
    assert!(answers[..2] == answers[2..], "attributions");
    assert!(sweeps[0] == sweeps[1], "sweeps");
}

/// One more token computes the keys and values of the others again, two dispatches a block, and nothing else of them.
async fn costs_and_memory() {
    let (golden, ids, options) = (Golden::gpt2_halves(), text(), Options::default());
    let row = 4 * pad4(21) as u64;
    let mut costs = Vec::new();
    for limit in [ALL, NONE] {
        let session = session(&golden, limit).await;
        let weights = session.device().allocated_bytes();
        session.device().reset_peak();
        let first = read(&session, &ids[..60], &options, &[]).await;
        let peak = session.device().peak_bytes() - weights;
        let kept = session.device().allocated_bytes() - weights;
        let before = session.device().counters();
        read(&session, &ids[..61], &options, &[]).await;
        let after = session.device().counters();
        drop(first);
        costs.push((
            peak,
            kept,
            after.dispatches - before.dispatches,
            after.read_bytes - before.read_bytes,
        ));
    }
    let [all, none] = costs[..] else { panic!("two limits") };
    // 4 taps, and 3 blocks of keys and values; the ids.
    assert_eq!([all.1, none.1], [10 * 60 * row + 240, 4 * 60 * row + 240]);
    assert_eq!(all.0 - none.0, 4 * 60 * row, "the pass has those of one block");
    assert_eq!(none.2, all.2 + 3 * 2);
    assert_eq!(none.3, all.3);
}

/// The tensors of a reading of 1,024 tokens of GPT-2 124M, in the forms of a GPU: all of them are allocated before anything is
/// computed, and then the reading is cancelled.
#[cfg(not(target_arch = "wasm32"))]
async fn memory_of_the_longest_text_of_gpt2() {
    let config = serde_json::json!({
        "model_type": "gpt2", "n_layer": 12, "n_embd": 768, "n_head": 12, "vocab_size": 50257, "n_positions": 1024,
    });
    let mut tensors = vec![("wte.weight".to_string(), vec![50257, 768])];
    tensors.push(("wpe.weight".into(), vec![1024, 768]));
    for i in 0..12 {
        for (name, shape) in [
            ("ln_1.weight", vec![768]),
            ("ln_1.bias", vec![768]),
            ("attn.c_attn.weight", vec![768, 2304]),
            ("attn.c_attn.bias", vec![2304]),
            ("attn.c_proj.weight", vec![768, 768]),
            ("attn.c_proj.bias", vec![768]),
            ("ln_2.weight", vec![768]),
            ("ln_2.bias", vec![768]),
            ("mlp.c_fc.weight", vec![768, 3072]),
            ("mlp.c_fc.bias", vec![3072]),
            ("mlp.c_proj.weight", vec![3072, 768]),
            ("mlp.c_proj.bias", vec![768]),
        ] {
            tensors.push((format!("h.{i}.{name}"), shape));
        }
    }
    tensors.extend(["ln_f.weight", "ln_f.bias"].map(|name| (name.into(), vec![768])));
    let (mut header, mut end) = (serde_json::Map::new(), 0);
    for (name, shape) in tensors {
        let start = end;
        end += 2 * shape.iter().product::<usize>();
        let entry =
            serde_json::json!({ "dtype": "F16", "shape": shape, "data_offsets": [start, end] });
        header.insert(name, entry);
    }
    let header = serde_json::Value::from(header).to_string();

    let session = Rc::new(crate::support::session().await);
    let forms = Forms::all(Tile::Rows64, Unit::Workgroup);
    session.set_tuning(Tuning::Given(forms));
    let config = config.to_string();
    let mut loading = session.load(&LoadRequest::new(&config, None)).await.expect("a load");
    session.push(&mut loading, &(header.len() as u64).to_le_bytes()).await.expect("a length");
    session.push(&mut loading, header.as_bytes()).await.expect("a header");
    let zeros = vec![0; 16 << 20];
    for start in (0..end).step_by(zeros.len()) {
        let piece = &zeros[..zeros.len().min(end - start)];
        session.push(&mut loading, piece).await.expect("zeros");
    }
    loading.loader.end_file().expect("all of it");
    session.install(loading).await.expect("a whole model");

    let device = session.device();
    let weights = device.allocated_bytes();
    for (t, limit, is_kept) in [(64, 40_000_000, true), (1024, 100_000_000, false)] {
        device.reset_peak();
        let weak = Rc::downgrade(&session);
        let is_allocated = move || {
            weak.upgrade().is_some_and(|session| session.device().allocated_bytes() > weights)
        };
        let ids: Vec<u32> = (0..t).collect();
        let options = Options::default();
        let cancel = Cancel::new(is_allocated);
        let read = session.read(&ids, &options, &cancel, |_, _, _| Ok(())).await;
        assert_eq!(read.map(|_| ()).map_err(|e| e.code()), Err("aborted"));
        let peak = device.peak_bytes() - weights;
        crate::support::say(&format!("{t} tokens: {peak} bytes above the weights"));
        // Taps, and keys and values of all blocks or of one.
        let row = 4 * 768 * u64::from(t);
        let stream = row * if is_kept { 13 + 24 } else { 13 + 2 };
        assert!(peak > stream && peak < limit, "{t} tokens: {peak}");
    }
}
