//! Edited runs: compared with transformers in float64 (tests/golden/edits.py), with the bits of runs that are not edited where
//! nothing may change, and counted; natively, in Chromium and in Firefox.

use std::cell::RefCell;
use std::rc::Rc;

use crate::support::golden::{Golden, compare_ranks, compare_values};
use loupe::device::Cancel;
use loupe::kernels::Precision;
use loupe::lens::{Depth, Line, Norm, Options, Pairs};
use loupe::reading::Statistic;
use loupe::session::{Edit, How, Lensed, Place, Session, Source};
use serde_json::Value;

device_tests! {
    edited_gpt2_agrees_with_transformers edited_neo_agrees_with_transformers
    edited_ctrl_agrees_with_transformers an_edit_costs_what_it_changes
    an_edited_reading_is_traced_and_compared edits_that_do_not_exist
    a_reading_that_is_freed_while_it_is_copied
}

// Hundreds of readings, which take minutes in a browser; what they judge is the bookkeeping, not a kernel.
#[cfg(not(target_arch = "wasm32"))]
device_tests! {
    edits_keep_the_bits_of_what_they_cannot_change factors_on_a_channel_multiply
    long_texts_in_every_kind_of_rows_have_the_bits_of_a_new_session
    descriptions_do_not_grow_without_bound
}

async fn load(session: &Session, golden: &Golden) {
    crate::support::load(session, golden, Precision::F32, 64 << 20).await;
}

async fn read(
    session: &Session,
    ids: &[u32],
    options: &Options,
    edits: &[Edit],
) -> Result<Rc<Lensed>, loupe::error::Error> {
    session.read_edited(ids, options, edits, &Cancel::default(), |_, _, _| Ok(())).await
}

fn usize_of(value: &Value) -> usize {
    value.as_u64().expect("a whole number") as usize
}

fn f32_of(value: &Value) -> f32 {
    value.as_f64().expect("a number") as f32
}

fn list(value: &Value) -> Option<Vec<usize>> {
    Some(value.as_array()?.iter().map(usize_of).collect())
}

/// An edit as the golden files have it; `readings` are the other runs by name.
fn edit(value: &Value, readings: &dyn Fn(&str) -> Rc<Lensed>) -> Edit {
    if let Some(of) = value["weights"].as_str() {
        let how = match value.get("smooth") {
            Some(sigma) => How::Smooth(f32_of(sigma)),
            None => How::Scale(f32_of(&value["scale"])),
        };
        let channel = value.get("channel").map(usize_of);
        return Edit::Weights { of: of.into(), channel, how };
    }
    let place = Place {
        at: value["at"].as_str().expect("a place").into(),
        head: value.get("head").map(usize_of),
        positions: list(&value["positions"]),
    };
    if let Some(from) = value.get("from") {
        let reading = readings(from["reading"].as_str().expect("a reading"));
        let at = from["at"].as_str().map(String::from);
        let from = Source { reading, at, positions: list(&from["positions"]) };
        return Edit::Patch { place, from };
    }
    if let Some(vector) = value["add"].as_array() {
        let vector = vector.iter().map(f32_of).collect();
        let scale = value.get("scale").map_or(1.0, f32_of);
        return Edit::Steer { place, vector, scale };
    }
    let mean = value["to"]["mean"].as_str().map(readings);
    Edit::Ablate { place, mean }
}

fn edits(list: &Value, readings: &dyn Fn(&str) -> Rc<Lensed>) -> Vec<Edit> {
    let list = list.as_array().map_or(&[][..], Vec::as_slice);
    list.iter().map(|value| edit(value, readings)).collect()
}

/// The runs of both texts.
async fn both(session: &Session, golden: &Golden, depth: Depth) -> [Rc<Lensed>; 2] {
    let options = Options { depth, ..Options::default() };
    let a = read(session, &golden.ids(), &options, &[]).await.expect("a reading");
    let b = read(session, &golden.other_ids(), &options, &[]).await.expect("a reading");
    [a, b]
}

/// The other runs of a case: of text A, of text B, and of text B with the edits of the case.
async fn with_edited(
    session: &Session,
    golden: &Golden,
    case: &Value,
    [a, b]: &[Rc<Lensed>; 2],
) -> [Rc<Lensed>; 3] {
    let of_b = edits(&case["edited_b"], &|_| b.clone());
    let edited = match of_b.is_empty() {
        true => b.clone(),
        false => {
            let read = read(session, &golden.other_ids(), &Options::default(), &of_b).await;
            read.expect("a reading")
        }
    };
    [a.clone(), b.clone(), edited]
}

#[cfg(not(target_arch = "wasm32"))]
async fn others(session: &Session, golden: &Golden, case: &Value, depth: Depth) -> [Rc<Lensed>; 3] {
    let both = both(session, golden, depth).await;
    with_edited(session, golden, case, &both).await
}

fn by_name(others: &[Rc<Lensed>; 3]) -> impl Fn(&str) -> Rc<Lensed> {
    let [a, b, edited] = others.clone();
    move |name| match name {
        "a" => a.clone(),
        "b" => b.clone(),
        "edited_b" => edited.clone(),
        other => panic!("a reading {other}"),
    }
}

fn options_of(golden: &Golden, case: &Value) -> Options {
    Options {
        depth: if case["depth"] == "halves" { Depth::Halves } else { Depth::Blocks },
        norm: Norm::from_name(case["norm"].as_str().expect("a norm")).expect("a norm"),
        track: golden.track(),
        top_k: golden.k(),
        ..Options::default()
    }
}

async fn agree(golden: &Golden) {
    let session = crate::support::session().await;
    load(&session, golden).await;
    // What is captured may be a row of the other reading or not.
    for depth in [Depth::Blocks, Depth::Halves] {
        let both = both(&session, golden, depth).await;
        for (name, case) in golden.cases() {
            let options = options_of(golden, case);
            let others = with_edited(&session, golden, case, &both).await;
            let edits = edits(&case["edits"], &by_name(&others));
            let read = read(&session, &golden.ids(), &options, &edits).await;
            compare(golden, name, &read.expect("a reading"));
        }
    }
}

fn compare(golden: &Golden, case: &str, lensed: &Lensed) {
    let reading = &lensed.reading;
    assert_eq!(reading.taps, golden.rows(case), "{case}");
    let mut compared = 0;
    for statistic in Statistic::ALL {
        let (name, got) = (statistic.name(), reading.stat(statistic));
        let what = format!("{} {case} {name}", golden.name);
        if !golden.has(&format!("{case}/{name}")) {
            continue;
        }
        compared += 1;
        if name.starts_with("rank") {
            let bounds = ["low", "high"].map(|b| golden.values(&format!("{case}/{b}/{name}")));
            compare_ranks(&what, got, &bounds);
            continue;
        }
        let least = if name.starts_with("logit") { 2e-3 } else { 1e-4 };
        let tolerance = f64::max(least, 5.0 * golden.off(case, name));
        compare_values(&what, got, &golden.values(&format!("{case}/{name}")), tolerance);
    }
    assert!(compared >= 8, "{case}: {compared} statistics");
    let track = &reading.tracked[0];
    let key = format!("track/{}/logit", track.id);
    let tolerance = f64::max(2e-3, 5.0 * golden.off(case, &key));
    let exact = golden.values(&format!("{case}/{key}"));
    compare_values(&format!("{} {case} {key}", golden.name), &track.logit, &exact, tolerance);
}

async fn edited_gpt2_agrees_with_transformers() {
    let [gpt2, ..] = Golden::edits();
    agree(&gpt2).await;
}

async fn edited_neo_agrees_with_transformers() {
    let [_, neo, _] = Golden::edits();
    agree(&neo).await;
}

async fn edited_ctrl_agrees_with_transformers() {
    let [.., ctrl] = Golden::edits();
    agree(&ctrl).await;
}

/// The bits of all statistics of a row and position.
fn cell(lensed: &Lensed, tap: usize, position: usize, with_final: bool) -> Vec<u32> {
    let (reading, n) = (&lensed.reading, lensed.reading.n_tokens());
    let at = tap * n + position;
    let wanted = |s: &&Statistic| with_final || !s.name().contains("final");
    let stats = Statistic::ALL.iter().filter(wanted).map(|&s| reading.stat(s)[at].to_bits());
    let top = &reading.top_logits[at * reading.top_k..][..reading.top_k];
    let tracked = reading.tracked.iter().map(|track| track.logit[at].to_bits());
    stats.chain(top.iter().map(|v| v.to_bits())).chain(tracked).collect()
}

#[cfg(not(target_arch = "wasm32"))]
/// The first row that an edit at this place can change, of a reading with half-blocks.
fn first_row(at: &str) -> usize {
    if at == "input" {
        return 0;
    }
    let rest = at.trim_start_matches("h.");
    let (block, part) = rest.split_once('.').unwrap_or((rest, ""));
    let block: usize = block.parse().expect("a block");
    match part {
        "attn" | "attn_out" => 2 * block + 1,
        _ => 2 * block + 2,
    }
}

#[cfg(not(target_arch = "wasm32"))]
/// Rows above an edit, and positions before it, keep their bits; so does everything after edits that change nothing. What is
/// reused from other readings has the bits of what is computed in a session that has read nothing else.
async fn edits_keep_the_bits_of_what_they_cannot_change() {
    let fresh = crate::support::session().await;
    let session = crate::support::session().await;
    for golden in Golden::edits() {
        load(&session, &golden).await;
        let ids = golden.ids();
        for (name, case) in golden.cases() {
            let options = Options { depth: Depth::Halves, ..options_of(&golden, case) };
            let list = case["edits"].as_array().expect("edits");
            if list.iter().any(|edit| edit.get("weights").is_some()) {
                continue;
            }
            let others = others(&session, &golden, case, Depth::Halves).await;
            let plain = read(&session, &ids, &options, &[]).await.expect("a reading");
            let edits = edits(&case["edits"], &by_name(&others));
            let edited = read(&session, &ids, &options, &edits).await.expect("a reading");
            let row = list.iter().map(|e| first_row(e["at"].as_str().expect("a place"))).min();
            let row = row.expect("an edit");
            let positions = |edit: &Value| list_of_positions(edit, ids.len());
            let position = list.iter().flat_map(positions).min().expect("a position");
            let is_same = name == "identity";
            for tap in 0..edited.reading.taps.len() {
                for p in 0..ids.len() {
                    let with_final = p < position || is_same;
                    if tap < row || with_final {
                        let [was, is] = [&plain, &edited].map(|r| cell(r, tap, p, with_final));
                        assert!(was == is, "{} {name}: row {tap}, position {p}", golden.name);
                    }
                }
            }
            let all = |lensed: &Lensed| -> Vec<u32> {
                let last = lensed.reading.taps.len() - 1;
                (0..ids.len()).flat_map(|p| cell(lensed, last, p, true)).collect()
            };
            assert_eq!(all(&plain) == all(&edited), is_same, "{} {name}", golden.name);
        }
    }
    let [golden, ..] = Golden::edits();
    load(&session, &golden).await;
    for (name, case) in golden.cases() {
        let options = Options { depth: Depth::Halves, ..options_of(&golden, case) };
        let others = others(&session, &golden, case, Depth::Blocks).await;
        let of_this = edits(&case["edits"], &by_name(&others));
        let kept = read(&session, &golden.ids(), &options, &[]).await.expect("a reading");
        let reused = read(&session, &golden.ids(), &options, &of_this).await.expect("a reading");
        drop(kept);
        // Nothing of this text is there before.
        load(&fresh, &golden).await;
        let others = {
            let none = serde_json::json!({});
            let case = if case.get("edited_b").is_some() { case } else { &none };
            self::others(&fresh, &golden, case, Depth::Blocks).await
        };
        let of_this = edits(&case["edits"], &by_name(&others));
        let alone = read(&fresh, &golden.ids(), &options, &of_this).await.expect("a reading");
        for tap in 0..alone.reading.taps.len() {
            for p in 0..alone.reading.n_tokens() {
                let [a, b] = [&reused, &alone].map(|lensed| cell(lensed, tap, p, true));
                assert!(a == b, "{name}: row {tap}, position {p}");
            }
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
fn list_of_positions(edit: &Value, n_tokens: usize) -> impl Iterator<Item = usize> + use<> {
    list(&edit["positions"]).unwrap_or_else(|| (0..n_tokens).collect()).into_iter()
}

/// A head that is removed.
fn without_head(at: &str, head: usize, positions: Option<Vec<usize>>) -> Edit {
    Edit::Ablate { place: Place { at: at.into(), head: Some(head), positions }, mean: None }
}

/// Only the blocks from the first edited one on, at the positions from the first edited one on, are computed anew.
async fn an_edit_costs_what_it_changes() {
    let [golden, ..] = Golden::edits();
    let session = crate::support::session().await;
    load(&session, &golden).await;
    let (ids, options) = (golden.ids(), Options::default());
    let plain = read(&session, &ids, &options, &[]).await.expect("a reading");
    let bytes = session.device().allocated_bytes();
    let cost = async |edits: &[Edit]| {
        let before = session.device().counters().dispatches;
        read(&session, &ids, &options, edits).await.expect("a reading");
        session.device().counters().dispatches - before
    };
    // The decoder alone runs again for another ln_f; gain and bias are two dispatches.
    let how = How::Scale(2.0);
    let weights = |of: &str| Edit::Weights { of: of.into(), channel: Some(3), how };
    let lens = cost(&[weights("ln_f")]).await - 2;
    assert_eq!(cost(&[weights("h.2.ln_2")]).await, 7 + 2 + lens);
    // A zero of a head is one more.
    assert_eq!(cost(&[without_head("h.2.attn_out", 1, None)]).await, 7 + 1 + lens);
    assert_eq!(cost(&[without_head("h.1.attn_out", 1, Some(vec![5]))]).await, 2 * 7 + 1 + lens);
    // Two runs of positions are two.
    let positions = Some(vec![9, 3, 4]);
    assert_eq!(cost(&[without_head("h.0.attn_out", 0, positions)]).await, 1 + 3 * 7 + 2 + lens);
    // Another text: the embedding, and three blocks of seven.
    let unlike: Vec<u32> = ids.iter().map(|id| (id + 1) % 53).collect();
    let before = session.device().counters().dispatches;
    read(&session, &unlike, &options, &[]).await.expect("a reading");
    assert_eq!(session.device().counters().dispatches - before, 1 + 3 * 7 + lens);
    drop(plain);
    read(&session, &ids, &options, &[]).await.expect("a reading");
    assert_eq!(session.device().allocated_bytes(), bytes, "edits keep no memory");
}

/// What is asked of an edited reading later is answered by its own run and weights.
async fn an_edited_reading_is_traced_and_compared() {
    let [golden, ..] = Golden::edits();
    let session = crate::support::session().await;
    load(&session, &golden).await;
    let (ids, cancel) = (golden.ids(), Cancel::default());
    for norm in [Norm::Affine, Norm::Plain, Norm::None] {
        let options = Options { norm, track: vec![7], ..Options::default() };
        let plain = read(&session, &ids, &options, &[]).await.expect("a reading");
        let of =
            |of: &str| Edit::Weights { of: of.into(), channel: Some(2), how: How::Scale(-3.0) };
        let edits = [without_head("h.0.attn_out", 2, None), of("unembed"), of("ln_f")];
        let edited = read(&session, &ids, &options, &edits).await.expect("a reading");
        let t = ids.len();
        for tap in [0, 2, 3] {
            let trace = session.trace(&edited, &[7], Line::Tap(tap), &cancel).await;
            let expected = &edited.reading.tracked[0].logit[tap * t..][..t];
            assert_eq!(trace.expect("a trace")[0].logit, expected);
        }
        assert_ne!(plain.reading.tracked[0].logit, edited.reading.tracked[0].logit);
        let columns = (0..t).map(|p| (p, p)).collect();
        let targets = vec![vec![7; t]];
        let pairs = Pairs { columns, targets };
        let compared =
            session.compare(&plain, &edited, &pairs, &cancel).await.expect("divergences");
        let [of_plain, of_edited] = &compared.targets[0];
        assert_eq!(of_plain.logit, plain.reading.tracked[0].logit);
        assert_eq!(of_edited.logit, edited.reading.tracked[0].logit);
        assert!(compared.kl.iter().all(|&kl| kl > 0.0), "each cell differs by the unembedding");
        // JSON tells one run from another.
        assert_eq!(edited.edits().len(), 3);
        assert_eq!(edited.edits()[0], r#"{"at":"h.0.attn_out","head":2,"to":"zero"}"#);
        assert_eq!(edited.edits()[1], r#"{"weights":"unembed","channel":2,"scale":-3}"#);
    }
}

/// What does not exist is named, and the session goes on.
async fn edits_that_do_not_exist() {
    let [gpt2, _, ctrl] = Golden::edits();
    let session = crate::support::session().await;
    load(&session, &gpt2).await;
    let (ids, options) = (gpt2.ids(), Options::default());
    let plain = read(&session, &ids, &options, &[]).await.expect("a reading");
    let short = read(&session, &ids[..5], &options, &[]).await.expect("a reading");
    let place = |at: &str, head: Option<usize>, positions: Option<Vec<usize>>| Place {
        at: at.into(),
        head,
        positions,
    };
    let patch = |place: Place, reading: &Rc<Lensed>, at: Option<&str>, positions| Edit::Patch {
        place,
        from: Source { reading: reading.clone(), at: at.map(String::from), positions },
    };
    let zero = |place: Place| Edit::Ablate { place, mean: None };
    let add = |vector: Vec<f32>, scale: f32| Edit::Steer {
        place: place("h.1", None, None),
        vector,
        scale,
    };
    let weights =
        |of: &str, channel: Option<usize>, how: How| Edit::Weights { of: of.into(), channel, how };
    let c = 21;
    let no_heads = [zero(place("h.1.attn_out", None, Some(vec![2])))];
    let no_heads = read(&session, &ids, &options, &no_heads).await.expect("a reading");
    let wrong: Vec<(&str, Vec<Edit>)> = vec![
        (
            "a head of nothing",
            vec![patch(place("h.1.attn_out", Some(0), None), &no_heads, None, None)],
        ),
        ("h.3", vec![zero(place("h.3.attn_out", None, None))]),
        ("h.01", vec![zero(place("h.01.attn_out", None, None))]),
        ("h.1.", vec![patch(place("h.1.", None, None), &plain, None, None)]),
        ("h.0.attention", vec![patch(place("h.0.attention", None, None), &plain, None, None)]),
        ("zero of a tap", vec![zero(place("h.1", None, None))]),
        ("head 3", vec![zero(place("h.1.attn_out", Some(3), None))]),
        ("a head of an MLP", vec![zero(place("h.1.mlp_out", Some(0), None))]),
        ("a head of a tap", vec![patch(place("h.1", Some(0), None), &plain, None, None)]),
        (
            "a head from an MLP",
            vec![patch(place("h.1.attn_out", Some(0), None), &plain, Some("h.1.mlp_out"), None)],
        ),
        ("position 24", vec![zero(place("h.1.mlp_out", None, Some(vec![24])))]),
        ("no position", vec![zero(place("h.1.mlp_out", None, Some(vec![])))]),
        ("a position twice", vec![zero(place("h.1.mlp_out", None, Some(vec![2, 2])))]),
        ("a shorter text", vec![patch(place("h.1", None, None), &short, None, None)]),
        (
            "a position it lacks",
            vec![patch(place("h.1", None, Some(vec![4])), &short, None, Some(vec![5]))],
        ),
        (
            "two for one",
            vec![patch(place("h.1", None, Some(vec![4])), &short, None, Some(vec![1, 2]))],
        ),
        ("a short vector", vec![add(vec![1.0; c - 1], 1.0)]),
        ("not finite", vec![add(vec![f32::NAN; c], 1.0)]),
        ("a scale that is not", vec![add(vec![1.0; c], f32::INFINITY)]),
        ("channel 21", vec![weights("ln_f", Some(c), How::Scale(1.0))]),
        ("no channel", vec![weights("ln_f", None, How::Scale(1.0))]),
        ("another norm", vec![weights("h.0.ln_3", Some(0), How::Scale(1.0))]),
        ("a block too far", vec![weights("h.3.ln_1", Some(0), How::Scale(1.0))]),
        ("a smooth norm", vec![weights("ln_f", Some(0), How::Smooth(1.0))]),
        ("no width", vec![weights("wpe", None, How::Smooth(0.0))]),
        ("not finite weights", vec![weights("wpe", None, How::Scale(f32::NAN))]),
        (
            "a part of nothing",
            vec![
                zero(place("h.1.attn_out", None, None)),
                zero(place("h.1.attn_out", Some(0), Some(vec![3]))),
            ],
        ),
    ];
    for (what, edits) in &wrong {
        let result = read(&session, &ids, &options, edits).await.map(|_| ()).map_err(|e| e.code());
        assert_eq!(result, Err("bad-option"), "{what}");
    }
    let borrowed = Options { decoder: vec!["h.2.mlp".into()], ..Options::default() };
    for (at, is_borrowed) in [("h.2.mlp_out", true), ("h.2", true), ("h.2.attn", false)] {
        let edit = patch(place(at, None, Some(vec![3])), &plain, None, Some(vec![4]));
        let result = read(&session, &ids, &borrowed, &[edit]).await.map(|_| ());
        assert_eq!(result.is_err_and(|e| e.code() == "bad-option"), is_borrowed, "{at}");
    }
    // Before the model is replaced, the same text is read as before.
    let again = read(&session, &ids, &options, &[]).await.expect("a reading");
    assert_eq!(cell(&again, 3, 5, true), cell(&plain, 3, 5, true));
    load(&session, &ctrl).await;
    let of_other = [patch(place("h.1", None, Some(vec![1])), &plain, None, None)];
    let result = read(&session, &ctrl.ids(), &options, &of_other).await;
    assert_eq!(result.map(|_| ()).map_err(|e| e.code()), Err("not-found"));
    for how in [How::Scale(0.0), How::Smooth(1.0)] {
        let result = read(&session, &ctrl.ids(), &options, &[weights("wpe", None, how)]).await;
        assert_eq!(result.map(|_| ()).map_err(|e| e.code()), Err("bad-option"), "CTRL has no wpe");
    }
}

#[cfg(not(target_arch = "wasm32"))]
/// Two blocks of positions, weights in f16, a vocabulary in shards, every kind of rows and a borrowed block: what is copied from
/// other readings has the bits of what a new session computes.
async fn long_texts_in_every_kind_of_rows_have_the_bits_of_a_new_session() {
    let (golden, session) = (Golden::gpt2_halves(), crate::support::session().await);
    crate::support::load(&session, &golden, Precision::F16, 800).await;
    let ids = golden.ids();
    assert!(ids.len() > 64, "two blocks of positions");
    let mut shifted = ids.clone();
    shifted.rotate_left(1);
    let halves = Options { depth: Depth::Halves, ..Options::default() };
    let parts = Options { depth: Depth::Contributions, ..Options::default() };
    let borrowed = Options { decoder: vec!["h.2".into()], ..Options::default() };
    let place = |at: &str, positions: Vec<usize>| Place {
        at: at.into(),
        head: None,
        positions: Some(positions),
    };
    let scale = |of: &str| Edit::Weights { of: of.into(), channel: Some(4), how: How::Scale(-2.0) };
    let edits = |other: &Rc<Lensed>| {
        let from = || Source { reading: other.clone(), at: None, positions: None };
        let early = Edit::Patch { place: place("h.0.attn_out", vec![3, 66]), from: from() };
        let late = Edit::Patch { place: place("h.1.mlp_out", vec![65]), from: from() };
        let mean =
            Edit::Ablate { place: place("h.1.attn_out", vec![50]), mean: Some(other.clone()) };
        [
            vec![early.clone()],
            vec![early.clone(), late.clone()],
            vec![early, mean],
            vec![scale("h.2.ln_1"), late],
            vec![scale("ln_f")],
            vec![],
        ]
    };
    for options in [&Options::default(), &halves, &parts, &borrowed] {
        let other = read(&session, &shifted, options, &[]).await.expect("a reading");
        // All of them stay, so that each one starts from another.
        let mut kept = Vec::new();
        for edits in edits(&other) {
            kept.push(read(&session, &ids, options, &edits).await.expect("a reading"));
            // Of a text that goes on differently, and of a part.
            let mut cut = ids[..40].to_vec();
            cut.push(1);
            let cut = read(&session, &cut, options, &[]).await.expect("a reading");
            drop(cut);
        }
        for (k, reused) in kept.iter().enumerate() {
            let fresh = crate::support::session().await;
            crate::support::load(&fresh, &golden, Precision::F16, 800).await;
            let other = read(&fresh, &shifted, options, &[]).await.expect("a reading");
            let of_this = &edits(&other)[k];
            let alone = read(&fresh, &ids, options, of_this).await.expect("a reading");
            for tap in 0..alone.reading.taps.len() {
                for p in 0..ids.len() {
                    let [a, b] = [reused, &alone].map(|lensed| cell(lensed, tap, p, true));
                    assert!(a == b, "{:?} edits {k}: row {tap}, position {p}", options.depth);
                }
            }
        }
    }
}

/// A reading from which another one starts may be freed as soon as that one reports its first positions.
async fn a_reading_that_is_freed_while_it_is_copied() {
    let [golden, ..] = Golden::edits();
    let session = crate::support::session().await;
    load(&session, &golden).await;
    let (ids, options, never) = (golden.ids(), Options::default(), Cancel::default());
    let whole = read(&session, &ids, &options, &[]).await.expect("a reading");
    let held =
        RefCell::new(Some(read(&session, &ids[..9], &options, &[]).await.expect("a reading")));
    read(&session, &golden.other_ids(), &options, &[]).await.expect("a reading");
    let mut edited = ids[..9].to_vec();
    edited.extend(&ids[9..14]);
    drop(whole);
    let on_block = |start, _, _: &loupe::reading::Reading| {
        if start == 0 {
            held.take();
        }
        Ok(())
    };
    let read = session.read(&edited, &options, &never, on_block).await;
    assert!(read.is_ok(), "{:?}", read.map(|_| ()).map_err(|e| e.to_string()));
    assert!(held.take().is_none(), "it was freed");
}

#[cfg(not(target_arch = "wasm32"))]
async fn factors_on_a_channel_multiply() {
    let [golden, ..] = Golden::edits();
    let session = crate::support::session().await;
    load(&session, &golden).await;
    for of in ["unembed", "embed", "ln_f", "h.1.ln_1"] {
        for norm in [Norm::Affine, Norm::Plain, Norm::None] {
            let options = Options { norm, ..Options::default() };
            let edit = |scale: f32| Edit::Weights {
                of: of.into(),
                channel: Some(7),
                how: How::Scale(scale),
            };
            let ids = golden.ids();
            let once = read(&session, &ids, &options, &[edit(8.0)]).await.expect("a reading");
            let twice = [edit(2.0), edit(4.0)];
            let twice = read(&session, &ids, &options, &twice).await.expect("a reading");
            assert_eq!(once.reading.top_logits, twice.reading.top_logits, "{of} {norm:?}");
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
/// Each reading is patched twice from the one before.
async fn descriptions_do_not_grow_without_bound() {
    let [golden, ..] = Golden::edits();
    let session = crate::support::session().await;
    load(&session, &golden).await;
    let (ids, options) = (&golden.ids()[..4], Options::default());
    let mut last = read(&session, ids, &options, &[]).await.expect("a reading");
    for n in 0..40 {
        let patch = |at: &str| Edit::Patch {
            place: Place { at: at.into(), head: None, positions: Some(vec![1]) },
            from: Source { reading: last.clone(), at: None, positions: None },
        };
        match read(&session, ids, &options, &[patch("h.0"), patch("h.1")]).await {
            Ok(next) => last = next,
            Err(error) => {
                assert_eq!(error.code(), "bad-option");
                assert!(n > 10, "{n} readings deep");
                return;
            }
        }
    }
    panic!("40 readings deep");
}
