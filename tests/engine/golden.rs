//! Compares the whole model and the whole lens with Hugging Face transformers in float64 (tests/golden/make.py):
//! natively, in Chromium and in Firefox.

use std::rc::Rc;

use crate::support::golden::{Golden, compare_ranks, compare_values};
use crate::support::say;
use loupe::device::Cancel;
use loupe::kernels::Precision;
use loupe::lens::{Depth, Line, Norm, Options, Pairs};
use loupe::reading::{NO_TOKEN, Reading, Statistic};
use loupe::session::{Lensed, Session};

device_tests! {
    massive_activation_prefix_masks_two_blocks untied_head_short_mlp_bf16 one_token_one_block_f16
    several_chunks a_long_text_has_the_bits_of_its_prefix
    half_blocks_and_borrowed_halves gpt_neo_with_local_blocks ctrl_with_sinusoids_and_biases
    comparisons_of_two_readings what_cannot_be_compared
    tales_on_three_texts shards_of_one_and_seven_rows trace_agrees_with_the_reading
    editing_a_token_changes_nothing_to_its_left
    an_edit_is_read_from_its_position_on_with_the_same_bits
}

const NORMS: [(&str, Norm); 3] =
    [("affine", Norm::Affine), ("plain", Norm::Plain), ("none", Norm::None)];

fn precision(name: &str) -> Precision {
    if name == "f16" { Precision::F16 } else { Precision::F32 }
}

async fn load(golden: &Golden, precision: Precision, shard_bytes: usize) -> Session {
    let session = crate::support::session().await;
    say(&format!("adapter: {:?}", session.device().adapter_info()));
    crate::support::load(&session, golden, precision, shard_bytes).await;
    session
}

async fn read(session: &Session, ids: &[u32], norm: Norm, golden: &Golden) -> Rc<Lensed> {
    let options = Options { norm, top_k: golden.k(), track: golden.track(), ..Options::default() };
    session.read(ids, &options, &Cancel::default(), |_, _, _| Ok(())).await.expect("a reading")
}

/// Compares every statistic, norm and precision of a case.
async fn check(golden: &Golden) {
    let session = crate::support::session().await;
    for name in golden.precisions() {
        crate::support::load(&session, golden, precision(&name), 64 << 20).await;
        for (norm_name, norm) in NORMS {
            let lensed = read(&session, &golden.ids(), norm, golden).await;
            compare(golden, &format!("{name}/{norm_name}"), &lensed.reading);
            assert_eq!(lensed.reading.final_is_model, norm == Norm::Affine);
        }
    }
}

/// Compares every combination of rows, decoder and norm in a case of families.py.
async fn check_views(golden: &Golden) {
    let session = crate::support::session().await;
    for name in golden.precisions() {
        // Whole, and in several shards.
        for shard_bytes in [64 << 20, 1_500] {
            crate::support::load(&session, golden, precision(&name), shard_bytes).await;
            let of_precision = |key: &String| key.starts_with(&format!("{name}/"));
            for key in golden.views().into_iter().filter(of_precision) {
                check_view(golden, &session, &key).await;
            }
        }
    }
}

/// The options that a key names: precision/rows/decoder/norm.
fn options_of(key: &str) -> Options {
    let [_, rows, decoder, norm] = key.split('/').collect::<Vec<_>>()[..] else { panic!("{key}") };
    Options {
        norm: Norm::from_name(norm).expect("a norm"),
        depth: match rows {
            "blocks" => Depth::Blocks,
            "halves" => Depth::Halves,
            _ => Depth::Contributions,
        },
        decoder: decoder.split('+').filter(|part| *part != "none").map(String::from).collect(),
        ..Options::default()
    }
}

async fn check_view(golden: &Golden, session: &Session, key: &str) {
    let [_, rows, decoder, norm] = key.split('/').collect::<Vec<_>>()[..] else { panic!("{key}") };
    let options = Options { top_k: golden.k(), track: golden.track(), ..options_of(key) };
    let cancel = Cancel::default();
    let read = session.read(&golden.ids(), &options, &cancel, |_, _, _| Ok(())).await;
    let lensed = read.expect("a reading");
    let reading = &lensed.reading;
    assert_eq!(reading.taps, golden.rows(&format!("{rows}/{decoder}")), "{} {key}", golden.name);
    compare(golden, key, reading);
    // Half of the last block is not all that is missing after the block before it.
    let is_half = rows == "blocks" && decoder.matches('.').count() > 1 && !decoder.contains('+');
    assert_eq!(reading.final_is_model, norm == "affine" && !is_half, "{} {key}", golden.name);

    // A trace along a row or along a position has the bits of the reading itself.
    let (id, t) = (golden.track()[0], reading.n_tokens());
    let tracked = &reading.tracked[0];
    let last = reading.taps.len() - 1;
    let row = session.trace(&lensed, &[id], Line::Tap(last), &cancel).await.expect("a trace");
    assert_eq!(row[0].logit, tracked.logit[last * t..], "{} {key}", golden.name);
    let column = session.trace(&lensed, &[id], Line::Position(t - 1), &cancel).await;
    for (tap, logit) in column.expect("a trace")[0].logit.iter().enumerate() {
        assert_eq!(*logit, tracked.logit[tap * t + t - 1], "{} {key} {tap}", golden.name);
    }
}

async fn half_blocks_and_borrowed_halves() {
    check_views(&Golden::gpt2_halves()).await;
}

async fn gpt_neo_with_local_blocks() {
    check_views(&Golden::neo()).await;
}

async fn ctrl_with_sinusoids_and_biases() {
    check_views(&Golden::ctrl()).await;
}

fn compare(golden: &Golden, key: &str, reading: &Reading) {
    let mut worst = (0.0, String::new());
    for statistic in Statistic::ALL {
        let name = statistic.name();
        let got = reading.stat(statistic);
        if name.starts_with("rank") {
            let bounds = ["low", "high"].map(|b| golden.values(&format!("{key}/{b}/{name}")));
            compare_ranks(&format!("{} {key} {name}", golden.name), got, &bounds);
            continue;
        }
        let least = if name.starts_with("logit") { 2e-3 } else { 1e-4 };
        let tolerance = f64::max(least, 5.0 * golden.off(key, name));
        let exact = golden.values(&format!("{key}/{name}"));
        let error =
            compare_values(&format!("{} {key} {name}", golden.name), got, &exact, tolerance);
        if error / tolerance > worst.0 {
            worst = (error / tolerance, format!("{name}, error {error:.1e} of {tolerance:.1e}"));
        }
    }
    for track in &reading.tracked {
        let of = |what: &str| format!("track/{}/{what}", track.id);
        for (what, got, least) in [("logit", &track.logit, 2e-3), ("logprob", &track.logprob, 1e-4)]
        {
            let tolerance = f64::max(least, 5.0 * golden.off(key, &of(what)));
            let exact = golden.values(&format!("{key}/{}", of(what)));
            compare_values(&format!("{} {key} {}", golden.name, of(what)), got, &exact, tolerance);
        }
        let bounds = ["low", "high"].map(|b| golden.values(&format!("{key}/{b}/{}", of("rank"))));
        compare_ranks(&format!("{} {key} {}", golden.name, of("rank")), &track.rank, &bounds);
    }
    compare_top(golden, key, reading);
    say(&format!("{} {key}: closest to its tolerance is {}", golden.name, worst.1));
}

fn compare_top(golden: &Golden, key: &str, reading: &Reading) {
    let k = golden.k();
    let tolerance = f64::max(2e-3, 5.0 * golden.off(key, "top_logits"));
    let ids = golden.values(&format!("{key}/top_ids"));
    let logits = golden.values(&format!("{key}/top_logits"));
    for cell in 0..reading.taps.len() * reading.n_tokens() {
        let exact = &logits[cell * (k + 1)..][..k + 1];
        for i in 0..k {
            let got = reading.top_logits[cell * k + i];
            let error = f64::from(got - exact[i]).abs();
            assert!(error <= tolerance, "{} {key} cell {cell} top {i}: {got}", golden.name);
            let gap = |j: usize| f64::from(exact[j] - exact[j + 1]);
            let is_clear = gap(i) > 2.0 * tolerance && (i == 0 || gap(i - 1) > 2.0 * tolerance);
            if is_clear {
                let id = reading.top_ids[cell * k + i];
                assert_eq!(
                    id as f32,
                    ids[cell * k + i],
                    "{} {key} cell {cell} top {i}",
                    golden.name
                );
            }
        }
    }
}

async fn massive_activation_prefix_masks_two_blocks() {
    check(&Golden::massive()).await;
}

async fn untied_head_short_mlp_bf16() {
    check(&Golden::untied()).await;
}

async fn one_token_one_block_f16() {
    check(&Golden::bare()).await;
}

async fn several_chunks() {
    check(&Golden::tall()).await;
}

/// A text of four blocks of positions is compared with its first 20 tokens; and with more tokens than one chunk of the
/// vocabulary has, a text whose rows are folded chunk by chunk with its first two tokens and with a typed one, whose rows
/// are few and are folded at once.
async fn a_long_text_has_the_bits_of_its_prefix() {
    let [golden, ..] = Golden::tales();
    let ids: Vec<u32> = (0..256u32).map(|i| i * 37 % 4096).collect();
    let fresh = async |ids: &[u32]| {
        let session = load(&golden, Precision::F16, 64 << 20).await;
        read(&session, ids, Norm::Affine, &golden).await
    };
    let (long, short) = (fresh(&ids).await, fresh(&ids[..20]).await);
    assert_eq!(bits(&long.reading, 20), bits(&short.reading, 20));

    let golden = Golden::tall();
    let ids: Vec<u32> = (0..66).map(|i| i * 1237 % 8209).collect();
    let session = load(&golden, Precision::F32, 64 << 20).await;
    let long = read(&session, &ids, Norm::Affine, &golden).await;
    for n in [2, 65] {
        let fresh = load(&golden, Precision::F32, 64 << 20).await;
        let short = read(&fresh, &ids[..n], Norm::Affine, &golden).await;
        assert_eq!(bits(&long.reading, n), bits(&short.reading, n));
        let typed = read(&fresh, &ids[..n + 1], Norm::Affine, &golden).await;
        assert_eq!(bits(&long.reading, n + 1), bits(&typed.reading, n + 1));
    }
}

async fn tales_on_three_texts() {
    for golden in Golden::tales() {
        let session = load(&golden, Precision::F16, 64 << 20).await;
        let loaded = session.loaded().expect("a model");
        let text = golden.text().expect("a text");
        assert_eq!(loaded.vocabulary.encode(text).expect("ids"), golden.ids(), "{text}");
        let tokens =
            golden.ids().into_iter().map(|id| loaded.vocabulary.token(id).expect("a token"));
        let bytes: Vec<u8> = tokens.flat_map(|t| t.bytes).collect();
        assert_eq!(bytes, text.as_bytes());
        drop(session);
        check(&golden).await;
    }
}

/// The embedding split into shards of 1 and 7 rows gives the same reading.
async fn shards_of_one_and_seven_rows() {
    let (golden, session) = (Golden::untied(), crate::support::session().await);
    for rows in [1, 7] {
        crate::support::load(&session, &golden, Precision::F32, rows * 36 * 4).await;
        let lensed = read(&session, &golden.ids(), Norm::Affine, &golden).await;
        compare(&golden, "f32/affine", &lensed.reading);
    }
}

async fn trace_agrees_with_the_reading() {
    let golden = Golden::massive();
    let session = load(&golden, Precision::F32, 64 << 20).await;
    let lensed = read(&session, &golden.ids(), Norm::Plain, &golden).await;
    let (n, t) = (lensed.reading.taps.len(), lensed.reading.n_tokens());
    let lines = [Line::Position(0), Line::Position(t - 1), Line::Tap(0), Line::Tap(n - 1)];
    for line in lines {
        let tracks = session
            .trace(&lensed, &golden.track(), line, &Cancel::default())
            .await
            .expect("a trace");
        for (track, whole) in tracks.iter().zip(&lensed.reading.tracked) {
            let cells: Vec<usize> = match line {
                Line::Position(p) => (0..n).map(|tap| tap * t + p).collect(),
                Line::Tap(tap) => (0..t).map(|p| tap * t + p).collect(),
            };
            assert_eq!(track.id, whole.id);
            for (i, cell) in cells.into_iter().enumerate() {
                assert_eq!(track.logit[i].to_bits(), whole.logit[cell].to_bits());
                assert_eq!(track.rank[i], whole.rank[cell]);
                assert!((track.logprob[i] - whole.logprob[cell]).abs() < 1e-5);
            }
        }
    }
    for bad in [Line::Position(t), Line::Tap(n)] {
        let error = session.trace(&lensed, &[1], bad, &Cancel::default()).await;
        assert_eq!(error.err().map(|e| e.code()), Some("bad-option"));
    }
}

/// Two readings compared by transformers in float64 (tests/golden/compare.py), with the embedding whole and in shards.
async fn comparisons_of_two_readings() {
    let cancel = Cancel::default();
    let session = crate::support::session().await;
    for golden in Golden::comparisons() {
        for name in golden.precisions() {
            for shard_bytes in [64 << 20, 40_000] {
                crate::support::load(&session, &golden, precision(&name), shard_bytes).await;
                let of_precision = |key: &String| key.starts_with(&format!("{name}/"));
                for key in golden.views().into_iter().filter(of_precision) {
                    let read = async |ids: &[u32]| {
                        let options = Options { track: vec![3, 7], ..options_of(&key) };
                        let read = session.read(ids, &options, &cancel, |_, _, _| Ok(())).await;
                        read.expect("a reading")
                    };
                    let (a, b) = (read(&golden.ids()).await, read(&golden.other_ids()).await);
                    let columns = golden.columns();
                    let of = |columns: &[(usize, usize)]| Pairs {
                        columns: columns.to_vec(),
                        targets: vec![],
                    };
                    let pairs = of(&columns);
                    let got = session.compare(&a, &b, &pairs, &cancel).await.expect("divergences");
                    for (stat, got) in
                        [("kl", &got.kl), ("kl_reverse", &got.kl_reverse), ("js", &got.js)]
                    {
                        let what = format!("{} {key} {stat}", golden.name);
                        let tolerance = f64::max(1e-4, 5.0 * golden.off(&key, stat));
                        let exact = golden.values(&format!("{key}/{stat}"));
                        let error = compare_values(&what, got, &exact, tolerance);
                        say(&format!("{what}: error {error:.1e} of {tolerance:.1e}"));
                    }
                    // A reading is at 0 from itself, and the other way round KL is the reverse.
                    let own = of(&columns[..1]);
                    let own = session.compare(&a, &a, &own, &cancel).await.expect("0");
                    assert!(own.kl.iter().chain(&own.kl_reverse).chain(&own.js).all(|&v| v == 0.0));
                    let turned: Vec<_> = columns.iter().map(|&(i, j)| (j, i)).collect();
                    let turned = session.compare(&b, &a, &of(&turned), &cancel).await;
                    let turned = turned.expect("divergences");
                    assert_eq!(turned.kl, got.kl_reverse);
                    assert_eq!(turned.js, got.js);
                    compare_targets(&session, &a, &b, &pairs).await;
                }
            }
        }
    }
}

/// Targets have the logits and ranks that the readings themselves have, which other tests compare with transformers;
/// the divergences do not depend on them.
async fn compare_targets(session: &Session, a: &Lensed, b: &Lensed, pairs: &Pairs) {
    let cancel = Cancel::default();
    // One list alternates between two tokens, and each third column of the other has none.
    let list = |of: &dyn Fn(usize) -> u32| (0..pairs.columns.len()).map(of).collect::<Vec<_>>();
    let targets = vec![list(&|c| [3, 7][c % 2]), list(&|c| if c % 3 == 0 { NO_TOKEN } else { 7 })];
    let plain = session.compare(a, b, pairs, &cancel).await.expect("divergences");
    let pairs = Pairs { targets, ..pairs.clone() };
    let got = session.compare(a, b, &pairs, &cancel).await.expect("targets");
    assert_eq!((&got.kl, &got.kl_reverse, &got.js), (&plain.kl, &plain.kl_reverse, &plain.js));
    for (list, both) in pairs.targets.iter().zip(&got.targets) {
        for (side, (scores, reading)) in both.iter().zip([&a.reading, &b.reading]).enumerate() {
            for tap in 0..reading.taps.len() {
                for (column, (&id, &(i, j))) in list.iter().zip(&pairs.columns).enumerate() {
                    let at = tap * pairs.columns.len() + column;
                    if id == NO_TOKEN {
                        assert!(scores.logit[at].is_nan() && scores.logprob[at].is_nan());
                        assert_eq!(scores.rank[at], 0.0);
                        continue;
                    }
                    let cell = tap * reading.n_tokens() + [i, j][side];
                    let track = reading.tracked.iter().find(|t| t.id == id).expect("a track");
                    assert_eq!(scores.logit[at].to_bits(), track.logit[cell].to_bits());
                    assert_eq!(scores.rank[at], track.rank[cell]);
                    assert!((scores.logprob[at] - track.logprob[cell]).abs() < 1e-5);
                }
            }
        }
    }
}

async fn what_cannot_be_compared() {
    let golden = Golden::untied();
    let session = load(&golden, Precision::F32, 64 << 20).await;
    let cancel = Cancel::default();
    let read_with = async |options: Options| {
        session.read(&[1, 2, 3], &options, &cancel, |_, _, _| Ok(())).await.expect("a reading")
    };
    let reading = read_with(Options::default()).await;
    let error = async |b: &Lensed, columns: &[(usize, usize)]| {
        let pairs = Pairs { columns: columns.to_vec(), targets: vec![] };
        let result = session.compare(&reading, b, &pairs, &cancel).await;
        result.err().map(|e| (e.code(), e.to_string()))
    };
    let is_option = |found: Option<(&str, String)>, text: &str| {
        let (code, message) = found.expect("an error");
        assert_eq!(code, "bad-option");
        assert!(message.contains(text), "{message}");
    };
    is_option(
        error(&reading, &[(0, 0), (2, 3)]).await,
        "positions 0 to 2 of a and 0 to 2 of b, got [2, 3]",
    );
    let plain = read_with(Options { norm: Norm::Plain, ..Options::default() }).await;
    is_option(error(&plain, &[(0, 0)]).await, "the norm of a");
    let halves = read_with(Options { depth: Depth::Halves, ..Options::default() }).await;
    is_option(error(&halves, &[(0, 0)]).await, "the rows of a");
    let extended = read_with(Options { decoder: vec!["h.1".into()], ..Options::default() }).await;
    is_option(error(&extended, &[(0, 0)]).await, "the decoder of a");
    let none = session.compare(&reading, &reading, &Pairs::default(), &cancel).await;
    let none = none.expect("nothing");
    assert!(none.kl.is_empty() && none.js.is_empty());
    for (targets, code) in [
        (vec![vec![1, 2]], "bad-option"),
        (vec![vec![1]; 65], "bad-option"),
        (vec![vec![97]], "bad-token"),
    ] {
        let pairs = Pairs { columns: vec![(0, 0)], targets };
        let result = session.compare(&reading, &reading, &pairs, &cancel).await;
        assert_eq!(result.map_err(|e| e.code()), Err(code));
    }
    let many = vec![(0, 0); 15 << 20];
    assert_eq!(error(&reading, &many).await.map(|e| e.0), Some("out-of-memory"));
    drop(many);

    // A reading of another session, and one whose model has been replaced.
    let other = load(&golden, Precision::F32, 64 << 20).await;
    let foreign = read(&other, &[1, 2], Norm::Affine, &golden).await;
    is_option(error(&foreign, &[(0, 0)]).await, "a reading of the model in use");
    drop(other);
    assert_eq!(error(&foreign, &[(0, 0)]).await.map(|e| e.0), Some("not-found"));
}

/// The bits of every value of a reading at its first `end` positions.
fn bits(reading: &Reading, end: usize) -> Vec<Vec<u32>> {
    let cut = reading.slice(0, end);
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let mut all: Vec<Vec<u32>> = Statistic::ALL
        .into_iter()
        // The true next token of the last position may differ.
        .filter(|s| !matches!(s, Statistic::LogprobNext | Statistic::RankNext))
        .map(|s| bits(cut.stat(s)))
        .collect();
    for next in [Statistic::LogprobNext, Statistic::RankNext] {
        all.push(bits(reading.slice(0, end.saturating_sub(1)).stat(next)));
    }
    for track in &cut.tracked {
        all.extend([bits(&track.logit), bits(&track.logprob), bits(&track.rank)]);
    }
    all.extend([cut.top_ids.clone(), bits(&cut.top_logits)]);
    all
}

/// The pass is causal, bit for bit, and the same prefix gives the same bits whatever follows it. Every text is read in
/// a new session, so that nothing is reused.
async fn editing_a_token_changes_nothing_to_its_left() {
    let golden = Golden::massive();
    let fresh = async |ids: &[u32]| {
        let session = load(&golden, Precision::F16, 64 << 20).await;
        read(&session, ids, Norm::Affine, &golden).await
    };
    let ids = golden.ids();
    let edit = 66;
    let mut edited = ids.clone();
    edited[edit] = (edited[edit] + 1) % 101;
    let whole = fresh(&ids).await;
    let other = fresh(&edited).await;
    let short = fresh(&ids[..edit + 1]).await;
    assert_eq!(bits(&whole.reading, edit), bits(&other.reading, edit));
    assert_eq!(bits(&whole.reading, edit), bits(&short.reading, edit));
    assert_ne!(
        bits(&whole.reading, edit + 1),
        bits(&other.reading, edit + 1),
        "the edit itself must change the reading"
    );
}

/// The values reused from the last reading are those that a new session computes, bit for bit.
async fn an_edit_is_read_from_its_position_on_with_the_same_bits() {
    let golden = Golden::massive();
    let ids = golden.ids();
    let edit = |at: usize| {
        let mut edited = ids.clone();
        edited[at] = (edited[at] + 1) % 101;
        edited
    };
    let session = load(&golden, Precision::F16, 64 << 20).await;
    // The texts have tokens appended, an edit in either block or a truncation, are the same, or are unrelated.
    let texts = [
        ids[..40].to_vec(),
        ids[..41].to_vec(),
        ids.clone(),
        edit(65),
        edit(3),
        ids[..20].to_vec(),
    ];
    let again = [ids[..20].to_vec(), vec![1], vec![1, 2], ids.clone()];
    for (i, text) in texts.iter().chain(&again).enumerate() {
        // With another norm the residual stream is reused, but no column.
        let norm = if i % 3 == 2 { Norm::Plain } else { Norm::Affine };
        let reused = read(&session, text, norm, &golden).await;
        let fresh = load(&golden, Precision::F16, 64 << 20).await;
        let fresh = read(&fresh, text, norm, &golden).await;
        assert_eq!(bits(&reused.reading, text.len()), bits(&fresh.reading, text.len()));
        let next = reused.reading.stat(Statistic::LogprobNext);
        assert!(next[text.len() - 1].is_nan());
        let line = Line::Tap(2);
        let traced = session.trace(&reused, &[5], line, &Cancel::default()).await;
        assert_eq!(traced.map(|t| t[0].logit.len()), Ok(text.len()));
    }
}

/// What the page's check compares with is what transformers said.
#[cfg(not(target_arch = "wasm32"))]
#[test]
fn the_stored_reading_of_tales_is_the_golden_one() {
    let [golden, ..] = Golden::tales();
    let stored: serde_json::Value =
        serde_json::from_str(include_str!("../../www/public/models/tales/reading.json"))
            .expect("JSON");
    assert_eq!(stored["ids"], serde_json::json!(golden.ids()));
    let statistics = stored["statistics"].as_object().expect("statistics");
    assert_eq!(statistics.len(), 7);
    for (name, values) in statistics {
        let expected = golden.values(&format!("f16/affine/{name}"));
        let values = values.as_array().expect("numbers");
        assert_eq!(values.len(), expected.len(), "{name}");
        for (value, expected) in values.iter().zip(expected) {
            let is_same = match value.as_f64() {
                Some(value) => (value - f64::from(expected)).abs() <= 1e-6,
                None => expected.is_nan(),
            };
            assert!(is_same, "{name}: {value} and {expected}");
        }
    }
}
