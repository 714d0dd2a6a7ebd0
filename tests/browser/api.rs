//! Tests the JavaScript API in a real browser: values, error codes, the order of calls, and free() at any time.

use crate::support::golden::{TALES_CONFIG, TALES_TOKENIZER, TALES_WEIGHTS, halves, part};
use crate::support::script::{code, engine, error_code, get, load, options, script, stream, tales};
use js_sys::{Array, Float32Array, Function, Promise};
use loupe::web::Reading;
use wasm_bindgen::convert::TryFromJsValue;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::*;

async fn reading(promise: Promise) -> Reading {
    let value = JsFuture::from(promise).await.expect("a reading");
    Reading::try_from_js_value(value).expect("a Reading")
}

#[wasm_bindgen_test]
async fn a_text_is_read() {
    let loupe = engine().await;
    assert!(loupe.model().is_undefined());
    assert_eq!(code(loupe.read("Once".into(), JsValue::UNDEFINED)).await, "not-found");
    let seen = Array::new();
    let push = script("(e) => it.push(e)", &seen);
    load(&loupe, &[("onProgress", push)]).await.expect("Tales loads");
    let last = get(&seen, &(seen.length() - 1).to_string());
    assert_eq!(get(&last, "received").as_f64(), Some(TALES_WEIGHTS.len() as f64));
    assert_eq!(get(&last, "total").as_f64(), Some(TALES_WEIGHTS.len() as f64));
    assert_eq!(get(&loupe.model(), "n_layer").as_f64(), Some(8.0));
    // The file has a header of 8 + 8,504 bytes and two bytes per parameter.
    let parameters = (TALES_WEIGHTS.len() - 8512) / 2;
    assert_eq!(get(&loupe.model(), "parameters").as_f64(), Some(parameters as f64));
    assert!(get(&get(&loupe.adapter(), "limits"), "maxBufferSize").as_f64() >= Some(268_435_456.0));

    let text = "Once upon a time";
    let blocks = Array::new();
    let push = script("(e) => it.push([e.start, e.end, e.reading.n_tokens])", &blocks);
    let reading = reading(loupe.read(text.into(), options(&[("onBlock", push)]))).await;
    let ids = loupe.encode(text.into()).expect("ids");
    assert_eq!(reading.n_tokens(), ids.len());
    assert_eq!(reading.taps().length(), 9);
    let (n, t) = (9, ids.len());
    assert_eq!(reading.stat("kl_final").map(|s| s.length() as usize), Ok(n * t));
    assert_eq!(reading.top_ids().len(), n * t * 10);
    // The final row is its own reference.
    let stat = |name: &str| reading.stat(name).map(|s| s.to_vec()).expect("a statistic");
    for b in 0..t {
        let cell = (n - 1) * t + b;
        assert!(stat("kl_final")[cell].abs() < 1e-5);
        assert_eq!(stat("rank_final")[cell], 1.0);
        assert_eq!(stat("logit_final")[cell], reading.top_logits()[cell * 10]);
    }
    assert!(stat("logprob_next")[t - 1].is_nan());
    assert_eq!(stat("rank_next")[t - 1], 0.0);
    assert_eq!(error_code(&reading.stat("kl").expect_err("no such name")), "bad-option");
    let shown: Vec<_> = reading.tokens().iter().map(|t| get(&t, "shown").as_string()).collect();
    assert_eq!(shown.concat_shown(), "Once␣upon␣a␣time");
    assert_eq!(blocks.length(), 1);
}

trait ConcatShown {
    fn concat_shown(&self) -> String;
}

impl ConcatShown for Vec<Option<String>> {
    fn concat_shown(&self) -> String {
        self.iter().flatten().map(String::as_str).collect()
    }
}

#[wasm_bindgen_test]
async fn bad_input_gets_its_code_and_the_loupe_stays_usable() {
    let loupe = tales().await;
    let none = || JsValue::UNDEFINED;
    let read = |input: JsValue, options: JsValue| loupe.read(input, options);
    assert_eq!(code(read("".into(), none())).await, "empty");
    assert_eq!(code(read(script("'an emoji cut: \\ud83e'", &none()), none())).await, "bad-text");
    let encode = loupe.encode(script("'\\udd8a'", &none()));
    assert_eq!(error_code(&encode.expect_err("half a surrogate pair")), "bad-text");
    assert_eq!(code(read("a b c ".repeat(200).into(), none())).await, "too-long");
    let error = JsFuture::from(read("a b c ".repeat(200).into(), none())).await.expect_err("long");
    assert_eq!(get(&error, "n_ctx").as_f64(), Some(256.0));
    assert!(get(&error, "n_tokens").as_f64() > Some(256.0));
    assert_eq!(code(read(script("[1, 4096]", &none()), none())).await, "bad-token");
    assert_eq!(code(read(script("[1.5]", &none()), none())).await, "bad-option");
    assert_eq!(code(read(script("[-1]", &none()), none())).await, "bad-option");
    assert_eq!(code(read(script("({})", &none()), none())).await, "bad-option");
    for bad in [
        "({topk: 3})",
        "({norm: 'final'})",
        "({top_k: 0})",
        "({top_k: 2.5})",
        "({top_k: 21})",
        "({contributions: true, decoder: ['h.7']})",
        "({decoder: 'h.7'})",
        "({decoder: [7]})",
        "({decoder: ['h.8']})",
        "({signal: 1})",
        "({onBlock: 1})",
        "(() => {})",
        "({track: 'a'})",
        "({track: [1, 'a']})",
        "({norm: 1})",
        "({top_k: null, track: [-1]})",
        "3",
    ] {
        let options = script(bad, &none());
        assert_eq!(code(read("Once".into(), options)).await, "bad-option", "{bad}");
    }
    assert_eq!(error_code(&loupe.token(4096.0).expect_err("no such id")), "bad-token");
    assert_eq!(error_code(&loupe.token(0.5).expect_err("not an id")), "bad-option");
    assert_eq!(code(read(script("new Uint32Array([1, 2])", &none()), none())).await, "fine");
}

#[wasm_bindgen_test]
async fn failed_loads_keep_the_model_in_use() {
    let loupe = tales().await;
    let cut = stream(&TALES_WEIGHTS[..1_000_000]);
    let result = load(&loupe, &[("weights", cut)]).await;
    assert_eq!(error_code(&result.expect_err("a truncated file")), "truncated");
    let broken = script(
        "new ReadableStream({ pull(c) { c.error(new TypeError('connection reset')); } })",
        &JsValue::UNDEFINED,
    );
    let error = load(&loupe, &[("weights", broken)]).await.expect_err("a broken download");
    assert_eq!(error_code(&error), "network");
    assert!(get(&error, "message").as_string().is_some_and(|m| m.contains("connection reset")));
    // A stream can be read once; a second load with it fails and does not hang.
    let used = stream(&TALES_WEIGHTS[..1000]);
    let error = load(&loupe, &[("weights", used.clone())]).await.expect_err("a truncated file");
    assert_eq!(error_code(&error), "truncated");
    let error = load(&loupe, &[("weights", used)]).await.expect_err("a used stream");
    assert!(["truncated", "bad-option"].contains(&error_code(&error).as_str()));
    let locked = stream(TALES_WEIGHTS);
    script("it.getReader()", &locked);
    let error = load(&loupe, &[("weights", locked)]).await.expect_err("a locked stream");
    assert_eq!(error_code(&error), "bad-option");
    let same = stream(TALES_WEIGHTS);
    let twice = Array::of2(&same, &same);
    let error = load(&loupe, &[("weights", twice.into())]).await.expect_err("one stream twice");
    assert!(["truncated", "bad-option"].contains(&error_code(&error).as_str()));
    // A server stops sending: the abort does not wait for it, and the download is cancelled.
    let stalled = script(
        "{ stream: new ReadableStream({ cancel() { globalThis.letGo = true; } }), \
           controller: new AbortController() }",
        &JsValue::UNDEFINED,
    );
    let controller = get(&stalled, "controller");
    script("setTimeout(() => it.abort(), 100)", &controller);
    let error = load(
        &loupe,
        &[("weights", get(&stalled, "stream")), ("signal", get(&controller, "signal"))],
    )
    .await
    .expect_err("a stalled download");
    assert_eq!(error_code(&error), "aborted");
    assert!(script("globalThis.letGo === true", &JsValue::UNDEFINED).is_truthy());
    let aborted = script("AbortSignal.abort()", &JsValue::UNDEFINED);
    let error = load(&loupe, &[("signal", aborted)]).await.expect_err("an aborted load");
    assert_eq!(error_code(&error), "aborted");
    for (name, value, expected) in [
        ("config", JsValue::from("{}"), "bad-config"),
        ("tokenizer", "{}".into(), "bad-tokenizer"),
        ("precision", "f8".into(), "bad-option"),
        ("weights", 3.into(), "bad-option"),
        ("wieghts", 3.into(), "bad-option"),
    ] {
        let error = load(&loupe, &[(name, value)]).await.expect_err(name);
        assert_eq!(error_code(&error), expected, "{name}");
    }
    assert_eq!(code(loupe.read("Once".into(), JsValue::UNDEFINED)).await, "fine");
}

#[wasm_bindgen_test]
async fn a_list_of_shards_loads_as_one_model() {
    let loupe = engine().await;
    let shards: Array = halves(TALES_WEIGHTS).iter().map(|half| stream(half)).collect();
    load(&loupe, &[("weights", shards.into())]).await.expect("two shards");
    assert_eq!(code(loupe.read("Once".into(), JsValue::UNDEFINED)).await, "fine");
    let twice = Array::of2(&stream(TALES_WEIGHTS), &stream(TALES_WEIGHTS));
    let error = load(&loupe, &[("weights", twice.into())]).await.expect_err("the same file twice");
    assert_eq!(error_code(&error), "bad-header");
}

/// Calls run in the order in which they were made: later ones wait, and an aborted one ends with `aborted`.
#[wasm_bindgen_test]
async fn reads_run_in_order_and_can_be_cancelled() {
    let loupe = tales().await;
    let order = Array::new();
    let controller = script("new AbortController()", &JsValue::UNDEFINED);
    let signal = get(&controller, "signal");
    let first = loupe.read("Once upon a time".into(), options(&[("signal", signal)]));
    let plan = loupe.plan(options(&[("config", TALES_CONFIG.into()), ("trial", JsValue::TRUE)]));
    let second = loupe.read(script("[1, 2, 3]", &JsValue::UNDEFINED), JsValue::UNDEFINED);
    let third = loupe.read(script("[1, 2, 3, 4]", &JsValue::UNDEFINED), JsValue::UNDEFINED);
    script("it.abort()", &controller);
    let note = script("(name) => (r) => it.push(name + ':' + (r.code ?? r.n_tokens))", &order);
    let all = Array::new();
    for (name, promise) in
        [("first", &first), ("plan", &plan), ("second", &second), ("third", &third)]
    {
        let note = Function::from(note.clone()).call1(&JsValue::UNDEFINED, &name.into());
        let both = Array::of2(promise, &note.expect("a function"));
        all.push(&script("it[0].then(it[1], it[1])", &both));
    }
    JsFuture::from(Promise::all(&all)).await.expect("all settle");
    let order: Vec<String> = order.iter().filter_map(|v| v.as_string()).collect();
    assert_eq!(order, ["first:aborted", "plan:undefined", "second:3", "third:4"]);
}

#[wasm_bindgen_test]
async fn free_during_a_read_is_safe_and_a_reading_outlives_its_loupe() {
    let loupe = tales().await;
    let options = options(&[("track", script("[5, 11]", &JsValue::UNDEFINED))]);
    let promise = loupe.read("Once upon a time".into(), options);
    let reading = reading(promise).await;
    let tracked = reading.tracked(11.0).expect("a tracked token");
    assert_eq!(error_code(&reading.tracked(12.0).expect_err("not tracked")), "bad-option");
    let t = reading.n_tokens();
    let line = self::options(&[("position", 2.into())]);
    let traced = reading.trace(script("[5, 11]", &JsValue::UNDEFINED), line);
    let traced = Array::from(&JsFuture::from(traced).await.expect("a trace"));
    let values = |of: &JsValue, name: &str| Float32Array::from(get(of, name)).to_vec();
    for tap in 0..9 {
        let whole = values(&tracked, "logit")[tap * t + 2];
        assert_eq!(values(&traced.get(1), "logit")[tap], whole);
        assert_eq!(values(&traced.get(1), "rank")[tap], values(&tracked, "rank")[tap * t + 2]);
    }
    let neither = reading.trace(script("[5]", &JsValue::UNDEFINED), JsValue::UNDEFINED);
    assert_eq!(code(neither).await, "bad-option");

    // A read that runs when free() is called is finished. A reading outlives its loupe, the weights do not.
    let last = loupe.read("Once".into(), JsValue::UNDEFINED);
    let atlas = loupe.atlas().expect("an atlas");
    drop(loupe); // as free() does
    let last = self::reading(last).await;
    assert!(last.n_tokens() > 0);
    let line = || self::options(&[("position", 0.into())]);
    assert_eq!(code(last.trace(script("[5]", &JsValue::UNDEFINED), line())).await, "not-found");
    assert_eq!(code(reading.trace(script("[5]", &JsValue::UNDEFINED), line())).await, "not-found");
    assert_eq!(code(atlas.norms(JsValue::UNDEFINED)).await, "not-found");
    assert_eq!(reading.tracked(11.0).map(|t| get(&t, "id").as_f64()), Ok(Some(11.0)));
}

/// Calls that are made while another one ends run in the order in which they were made.
#[wasm_bindgen_test]
async fn a_call_made_in_a_callback_does_not_overtake_a_waiting_one() {
    let loupe = tales().await;
    let order = Array::new();
    let context = options(&[("order", order.clone().into())]);
    let note = script("(name, promise) => promise.then(() => it.order.push(name))", &context);
    js_sys::Reflect::set(&context, &"note".into(), &note).expect("a plain object");
    let first = loupe.read("Once upon a time".into(), JsValue::UNDEFINED);
    let second = loupe.read(script("[1, 2, 3]", &JsValue::UNDEFINED), JsValue::UNDEFINED);
    // The third call is made when the first one settles.
    let third = Array::new();
    let read = Closure::once_into_js(move || {
        loupe.read(script("[1, 2, 3, 4]", &JsValue::UNDEFINED), JsValue::UNDEFINED)
    });
    let both = options(&[
        ("first", first.into()),
        ("second", second.into()),
        ("third", third.clone().into()),
        ("note", note),
        ("read", read),
    ]);
    let all = script(
        "Promise.all([
            it.note('first', it.first.then(() => { it.third.push(it.note('third', it.read())); })),
            it.note('second', it.second),
        ]).then(() => it.third[0])",
        &both,
    );
    JsFuture::from(Promise::from(all)).await.expect("all settle");
    let order: Vec<String> = order.iter().filter_map(|v| v.as_string()).collect();
    assert_eq!(order, ["first", "second", "third"]);
}

#[wasm_bindgen_test]
async fn a_hostile_tokenizer_is_rejected_and_the_next_load_works() {
    let loupe = engine().await;
    let hostile = r#"{"model":{"type":"BPE","vocab":{"ab":0,"cd":1},"merges":[["ab","cd"]]}}"#;
    let error = load(&loupe, &[("tokenizer", hostile.into())]).await.expect_err("it is rejected");
    assert_eq!(error_code(&error), "bad-tokenizer");
    let files = options(&[
        ("vocab", r#"{"ab":0,"cd":1}"#.into()),
        ("merges", "#version: 0.2\nab cd\n".into()),
    ]);
    let error = load(&loupe, &[("tokenizer", files)]).await.expect_err("it is rejected");
    assert_eq!(error_code(&error), "bad-tokenizer");
    load(&loupe, &[]).await.expect("Tales loads");
    assert_eq!(code(loupe.read("Once".into(), JsValue::UNDEFINED)).await, "fine");
}

/// An error that the caller's own callback throws reaches the caller.
#[wasm_bindgen_test]
async fn an_error_thrown_by_a_callback_is_reported() {
    let loupe = tales().await;
    let thrower = script("() => { throw new RangeError('mine'); }", &JsValue::UNDEFINED);
    let result = JsFuture::from(loupe.read("Once".into(), options(&[("onBlock", thrower)]))).await;
    let error = result.expect_err("the thrown error");
    assert_eq!(get(&error, "message").as_string().as_deref(), Some("mine"));
    assert_eq!(code(loupe.read("Once".into(), JsValue::UNDEFINED)).await, "fine");
}

#[wasm_bindgen_test]
async fn two_readings_are_compared() {
    let loupe = tales().await;
    let read = async |text: &str| reading(loupe.read(text.into(), JsValue::UNDEFINED)).await;
    let (a, b) = (read("The boy said").await, read("The girl said yes").await);
    let (n, shared) = (a.taps().length() as usize, a.n_tokens().min(b.n_tokens()));
    let numbers = |found: &JsValue, name: &str| Float32Array::from(get(found, name)).to_vec();
    let pairs = |of: &str| options(&[("columns", script(of, &JsValue::UNDEFINED))]);
    let found = JsFuture::from(loupe.compare(&a, &b, JsValue::UNDEFINED)).await.expect("numbers");
    let js = numbers(&found, "js");
    assert_eq!(js.len(), n * shared);
    assert!(numbers(&found, "kl").iter().all(|&v| v >= 0.0), "no divergence is negative");
    assert!(js.iter().all(|&v| v < 0.694), "at most ln 2");
    assert!(js[0] == 0.0 && js[1] > 0.0, "the texts differ from the second token on");
    let found = JsFuture::from(loupe.compare(&a, &b, pairs("[[1, 1]]"))).await;
    assert_eq!(numbers(&found.expect("numbers"), "js")[0], js[1]);
    for wrong in ["[[0]]", "[[0, 1.5]]", "[[0, -1]]", "3", "[0]", "[[0, 1, 2]]", "[[999, 0]]"] {
        assert_eq!(code(loupe.compare(&a, &b, pairs(wrong))).await, "bad-option", "{wrong}");
    }
    let both = script("({ columns: [[1, 1]], targets: [[5], [4294967295]] })", &JsValue::UNDEFINED);
    let found = JsFuture::from(loupe.compare(&a, &b, both)).await.expect("numbers");
    let targets = Array::from(&get(&found, "targets"));
    assert_eq!(targets.length(), 2);
    assert!(numbers(&get(&targets.get(0), "b"), "logprob").iter().all(|&v| v < 0.0));
    assert_eq!(numbers(&get(&targets.get(1), "a"), "rank"), vec![0.0; n]);
    for wrong in ["3", "[3]", "[[1.5]]", "[[1, 2]]"] {
        let options = format!("({{ columns: [[1, 1]], targets: {wrong} }})");
        let options = script(&options, &JsValue::UNDEFINED);
        assert_eq!(code(loupe.compare(&a, &b, options)).await, "bad-option", "{wrong}");
    }
    let unknown = options(&[("column", JsValue::NULL)]);
    assert_eq!(code(loupe.compare(&a, &b, unknown)).await, "bad-option");
    let aborted = options(&[("signal", script("AbortSignal.abort()", &JsValue::UNDEFINED))]);
    assert_eq!(code(loupe.compare(&a, &b, aborted)).await, "aborted");
}

#[wasm_bindgen_test]
async fn sub_blocks_contributions_and_a_borrowed_block() {
    let loupe = tales().await;
    let taps = async |how: &str| {
        let options = script(how, &JsValue::UNDEFINED);
        let reading = reading(loupe.read("Once upon a time".into(), options)).await;
        let taps: Vec<String> = reading.taps().iter().filter_map(|t| t.as_string()).collect();
        let trace = reading
            .trace(script("[11]", &JsValue::UNDEFINED), script("({tap: 1})", &JsValue::UNDEFINED));
        let traced = JsFuture::from(trace).await.expect("a trace");
        let n = get(&get(&get(&traced, "0"), "logit"), "length").as_f64();
        assert_eq!(n, Some(reading.n_tokens() as f64));
        (taps, reading.final_is_model())
    };
    let (halves, is_model) = taps("({subblocks: true})").await;
    assert_eq!(halves.len(), 17);
    assert_eq!(halves[..4], ["input", "h.0.attn", "h.0", "h.1.attn"]);
    assert!(is_model);
    let (parts, _) = taps("({contributions: true})").await;
    assert_eq!(parts.len(), 18);
    assert_eq!(parts[..3], ["input", "h.0.attn_out", "h.0.mlp_out"]);
    assert_eq!(parts[17], "h.7");
    let (borrowed, is_model) = taps("({subblocks: true, decoder: ['h.7.mlp']})").await;
    assert_eq!(borrowed.last().map(String::as_str), Some("h.7.attn"));
    assert!(is_model);
    let (half, is_model) = taps("({decoder: ['h.7.mlp']})").await;
    assert_eq!(half.last().map(String::as_str), Some("h.6"));
    assert!(!is_model, "block 7's attention is in neither the rows nor the decoder");
}

#[wasm_bindgen_test]
async fn the_atlas_returns_arrays_and_codes() {
    let fresh = engine().await;
    assert_eq!(error_code(&fresh.atlas().err().expect("no model yet")), "not-found");
    let loupe = tales().await;
    let atlas = loupe.atlas().expect("an atlas");
    let none = || JsValue::UNDEFINED;
    let length = |of: &JsValue, name: &str| get(&get(of, name), "length").as_f64();
    let seen = Array::new();
    let push = script("({ onProgress: (e) => it.push(e.done) })", &seen);
    let found = JsFuture::from(atlas.channels(push)).await.expect("channels");
    for name in ["wte_mean", "wte_std", "wpe_mean", "wpe_std"] {
        assert_eq!(length(&found, name), Some(192.0), "{name}");
    }
    assert_eq!(seen.get(seen.length() - 1).as_f64(), Some(1.0));
    let gains = JsFuture::from(atlas.gains(none())).await.expect("gains");
    assert_eq!(get(&gains, "length").as_f64(), Some(17.0));
    assert_eq!(get(&get(&gains, "16"), "name").as_string().as_deref(), Some("ln_f"));
    let found = JsFuture::from(atlas.spectrum(2.0.into(), none())).await.expect("a spectrum");
    assert_eq!(length(&found, "singular_values"), Some(192.0));
    assert_eq!(length(&found, "tokens"), Some(2.0 * 4096.0));
    let how = script("({ iterations: 4 })", &none());
    let found = JsFuture::from(atlas.components(3.into(), how)).await.expect("components");
    assert_eq!(length(&found, "directions"), Some(3.0 * 192.0));
    assert_eq!(length(&found, "tokens"), Some(3.0 * 4096.0));
    assert_eq!(length(&found, "explained"), Some(4.0));
    let how = script("({ channel: 3 })", &none());
    let found = JsFuture::from(atlas.correlations(how)).await.expect("correlations");
    assert_eq!(get(&get(&found, "pearson"), "0").as_f64(), Some(1.0));
    let how = script("({ step: 64, norm: 'affine', position: 0 })", &none());
    let found = JsFuture::from(atlas.zero_layer(how)).await.expect("a zero-layer model");
    assert_eq!(length(&found, "argmax"), Some(64.0));
    let how = script("({ k: 3, by: 'dot' })", &none());
    let found = JsFuture::from(atlas.neighbours(300.0, how)).await.expect("neighbours");
    assert_eq!(length(&found, "ids"), Some(3.0));

    let counts = script(
        "({ channel: 3, counts: new Float64Array(4096).map((_, i) => Math.log1p(i % 7)) })",
        &none(),
    );
    let found = JsFuture::from(atlas.correlations(counts)).await.expect("correlations");
    assert_eq!(length(&found, "spearman"), Some(25.0));
    assert_eq!(get(&get(&found, "names"), "4").as_string().as_deref(), Some("count"));
    let how = script("({ k: 3, norm: 'affine', position: 0 })", &none());
    let found = JsFuture::from(atlas.next_tokens(300.0, how)).await.expect("next tokens");
    assert_eq!(length(&found, "values"), Some(3.0));
    let rows = JsFuture::from(atlas.rows(script("[3, 1]", &none()), none())).await.expect("rows");
    assert_eq!(get(&rows, "length").as_f64(), Some(2.0 * 192.0));
    let wpe = JsFuture::from(atlas.positions(none())).await.expect("positions");
    assert_eq!(get(&wpe, "length").as_f64(), Some(256.0 * 192.0));

    assert_eq!(code(atlas.channel(192.0.into(), none())).await, "bad-option");
    assert_eq!(code(atlas.rows("a".into(), none())).await, "bad-option");
    for bad in [
        "({ channel: 3, counts: [1] })",
        "({ channel: 3, counts: 4096 })",
        "({ channel: 3, counts: Array(4096).fill(NaN) })",
        "({ channel: 3, counts: new DataView(new ArrayBuffer(4096)) })",
        "({ channel: -1 })",
    ] {
        assert_eq!(code(atlas.correlations(script(bad, &none()))).await, "bad-option", "{bad}");
    }
    for bad in ["({ position: 256 })", "({ norm: 'no' })", "({ k: 0 })"] {
        assert_eq!(code(atlas.next_tokens(1.0, script(bad, &none()))).await, "bad-option", "{bad}");
    }
    assert_eq!(code(atlas.channel("a".into(), none())).await, "bad-option");
    assert_eq!(code(atlas.spectrum(0.5.into(), none())).await, "bad-option");
    for bad in ["({ iterations: 0 })", "({ iterations: 1.5 })", "({ steps: 3 })"] {
        let how = script(bad, &none());
        assert_eq!(code(atlas.components(2.into(), how)).await, "bad-option", "{bad}");
    }
    assert_eq!(code(atlas.components(JsValue::NULL, none())).await, "bad-option");
    assert_eq!(code(atlas.neighbours(4096.0, none())).await, "bad-token");
    for bad in ["({ by: 'taste' })", "({ k: -1 })", "({ j: 1 })"] {
        assert_eq!(code(atlas.neighbours(1.0, script(bad, &none()))).await, "bad-option", "{bad}");
    }
    let aborted = script("({ signal: AbortSignal.abort() })", &none());
    assert_eq!(code(atlas.norms(aborted)).await, "aborted");
    // A reading requested meanwhile waits in the queue.
    let (atlas_call, read) = (atlas.norms(none()), loupe.read("Once".into(), none()));
    reading(read).await;
    let norms = JsFuture::from(atlas_call).await.expect("norms");
    assert_eq!(get(&norms, "length").as_f64(), Some(4096.0));
}

#[wasm_bindgen_test]
async fn a_reading_runs_between_the_steps_of_the_atlas() {
    let loupe = tales().await;
    let atlas = loupe.atlas().expect("an atlas");
    let order = Array::new();
    let how = script("({ onProgress: (e) => it.push(e.done) })", &order);
    let (all, read) = (atlas.zero_layer(how), loupe.read("Once".into(), JsValue::UNDEFINED));
    reading(read).await;
    let then = order.length();
    JsFuture::from(all).await.expect("a zero-layer model");
    assert!(then < order.length(), "the reading finished after {then} of {} steps", order.length());

    // A call can also be cancelled between two steps.
    let how = script(
        "(() => { const c = new AbortController(); return { signal: c.signal, onProgress: () => c.abort() }; })()",
        &JsValue::UNDEFINED,
    );
    assert_eq!(code(atlas.spectrum(2.0.into(), how)).await, "aborted");
}

/// Both allocate memory on the device, in separate error scopes that must not be mixed up.
#[wasm_bindgen_test]
async fn a_partial_model_loads_while_the_atlas_runs() {
    let loupe = tales().await;
    for _ in 0..4 {
        let atlas = loupe.atlas().expect("an atlas");
        let all = Array::new();
        for _ in 0..3 {
            all.push(&atlas.norms(JsValue::UNDEFINED));
            let source = ("weights", stream(TALES_WEIGHTS));
            all.push(&loupe.load(options(&[source, ("partial", true.into())])));
        }
        let done = JsFuture::from(Promise::all(&all)).await.expect("all calls succeed");
        assert_eq!(get(&get(&done, "4"), "length").as_f64(), Some(4096.0));
    }
}

#[wasm_bindgen_test]
async fn concurrent_calls_get_the_same_numbers() {
    let loupe = tales().await;
    let atlas = loupe.atlas().expect("an atlas");
    let how = || script("({ channel: 3 })", &JsValue::UNDEFINED);
    let first = JsFuture::from(atlas.correlations(how())).await.expect("correlations");
    let other = tales().await;
    let atlas = other.atlas().expect("an atlas");
    let all = Array::of3(
        &atlas.correlations(how()),
        &atlas.spectrum(2.0.into(), JsValue::UNDEFINED),
        &atlas.correlations(how()),
    );
    let done = JsFuture::from(Promise::all(&all)).await.expect("all calls succeed");
    for i in ["0", "2"] {
        let text = |of: &JsValue| js_sys::JSON::stringify(of).expect("JSON").as_string();
        assert_eq!(text(&get(&done, i)), text(&first), "the same numbers, {i}");
    }
}

#[wasm_bindgen_test]
async fn a_partial_model_needs_no_config() {
    let loupe = tales().await;
    let file = part(TALES_WEIGHTS, |_, name| name.contains("wpe") || name.contains(".ln_2."));
    let load = |extra: &[(&str, JsValue)]| {
        let mut all = vec![("weights", stream(&file)), ("partial", true.into())];
        all.extend(extra.iter().cloned());
        loupe.load(options(&all))
    };
    let keep = script("({})", &JsValue::UNDEFINED);
    assert_eq!(code(load(&[("keep", keep)])).await, "bad-option");
    assert_eq!(code(load(&[("partial", false.into())])).await, "bad-config");
    assert_eq!(code(load(&[("config", "{".into())])).await, "bad-config");
    assert_eq!(get(&loupe.model(), "partial").as_bool(), Some(false));

    JsFuture::from(load(&[])).await.expect("it loads");
    assert_eq!(code(loupe.read("Once".into(), JsValue::UNDEFINED)).await, "missing-tensor");
    JsFuture::from(load(&[("tokenizer", TALES_TOKENIZER.into())])).await.expect("it loads");
    let facts = loupe.model();
    for (name, is) in [("partial", true), ("has_wte", false), ("has_wpe", true)] {
        assert_eq!(get(&facts, name).as_bool(), Some(is), "{name}");
    }
    for (name, is) in [("n_layer", 8.0), ("n_embd", 192.0), ("n_ctx", 256.0), ("n_norms", 8.0)] {
        assert_eq!(get(&facts, name).as_f64(), Some(is), "{name}");
    }
    for name in ["family", "vocab_size", "n_head", "parameters"] {
        assert!(get(&facts, name).is_null(), "{name}");
    }
    let none = || JsValue::UNDEFINED;
    assert_eq!(code(loupe.read("Once".into(), none())).await, "missing-tensor");
    assert!(!loupe.encode("Once".into()).expect("a tokenizer").is_empty());
    let atlas = loupe.atlas().expect("an atlas");
    assert_eq!(code(atlas.norms(none())).await, "missing-tensor");
    let gains = JsFuture::from(atlas.gains(none())).await.expect("gains");
    assert_eq!(get(&get(&gains, "7"), "name").as_string().as_deref(), Some("h.7.ln_2"));
}

/// Edits are plain objects that name other readings; what a run was made of is plain data again.
#[wasm_bindgen_test]
async fn runs_are_edited() {
    let loupe = tales().await;
    let js = |promise: Promise| async { JsFuture::from(promise).await.expect("a reading") };
    let a = js(loupe.read("The king was".into(), JsValue::UNDEFINED)).await;
    let b = js(loupe.read("The queen was".into(), JsValue::UNDEFINED)).await;
    let both = Array::of2(&a, &b);
    assert_eq!(get(&a, "edits").unchecked_into::<Array>().length(), 0);
    assert_ne!(get(&a, "key"), get(&b, "key"));
    let last = |reading: &JsValue| {
        let logits: Float32Array = get(reading, "top_logits").unchecked_into();
        logits.to_vec()[logits.length() as usize - 10..].to_vec()
    };
    // Everything that the first block reads comes from b, so it is b.
    let edits = script("({ edits: [{ at: 'input', from: { reading: it[1] } }] })", &both);
    let as_b = js(loupe.read("The king was".into(), edits)).await;
    assert_eq!(last(&as_b), last(&b));
    assert_ne!(last(&as_b), last(&a));
    let all = "({ edits: [
        { at: 'h.3.attn_out', head: 2, to: 'zero' },
        { at: 'h.4.mlp_out', positions: [1], to: { mean: it[1] } },
        { at: 'h.2', positions: [1, 2], add: new Float32Array(192).fill(0.5), scale: -2 },
        { at: 'h.6', positions: [2], from: { reading: it[0], at: 'h.5', positions: [1] } },
        { weights: 'h.1.ln_2', channel: 5, scale: 0 },
        { weights: 'wpe', smooth: 1.5 },
    ] })";
    let edited = js(loupe.read("The king was".into(), script(all, &both))).await;
    assert_ne!(last(&edited), last(&a));
    let described = script("JSON.stringify(it.edits.map(({ add, ...rest }) => rest))", &edited);
    let ids =
        |text: &str| format!("{:?}", loupe.encode(text.into()).expect("ids")).replace(' ', "");
    let expected = [
        r#"[{"at":"h.3.attn_out","head":2,"to":"zero"},"#.to_string(),
        format!(
            r#"{{"at":"h.4.mlp_out","positions":[1],"to":{{"mean":{{"ids":{}}}}}}},"#,
            ids("The queen was")
        ),
        r#"{"at":"h.2","positions":[1,2],"scale":-2},"#.to_string(),
        format!(
            r#"{{"at":"h.6","positions":[2],"from":{{"ids":{},"at":"h.5","positions":[1]}}}},"#,
            ids("The king was")
        ),
        r#"{"weights":"h.1.ln_2","channel":5,"scale":0},"#.to_string(),
        r#"{"weights":"wpe","smooth":1.5}]"#.to_string(),
    ];
    assert_eq!(described.as_string(), Some(expected.concat()));
    for wrong in [
        "[{}]",
        "[3]",
        "3",
        "[{ at: 'h.1' }]",
        "[{ at: 'h.1', from: {} }]",
        "[{ at: 'h.1', from: { reading: { key: 0 } } }]",
        "[{ at: 'h.1', from: { reading: it[0], head: 1 } }]",
        "[{ at: 'h.1.mlp_out', to: 'one' }]",
        "[{ at: 'h.1.mlp_out', to: {} }]",
        "[{ at: 'h.1', to: 'zero' }]",
        "[{ at: 'h.1.mlp_out', to: 'zero', scale: 2 }]",
        "[{ at: 'h.1', add: [1, 2] }]",
        "[{ at: 'h.1', add: new Float32Array(192), from: { reading: it[0] } }]",
        "[{ at: 'h.1', add: new Float32Array(192).fill(NaN) }]",
        "[{ at: 'h.1', add: new Float32Array(192), positions: [3] }]",
        "[{ at: 'h.1', add: new Float32Array(192), positions: 1 }]",
        "[{ at: 'h.8', add: new Float32Array(192) }]",
        "[{ weights: 'ln_f', channel: 192, scale: 1 }]",
        "[{ weights: 'ln_f', channel: 1 }]",
        "[{ weights: 'ln_f', channel: 1, scale: 1, smooth: 1 }]",
        "[{ weights: 'wte', channel: 1, scale: 1 }]",
        "[{ weights: 'wpe', channel: 1, scale: 1, at: 'h.1' }]",
    ] {
        let options = script(&format!("({{ edits: {wrong} }})"), &both);
        assert_eq!(code(loupe.read("The king was".into(), options)).await, "bad-option", "{wrong}");
    }
    let again = js(loupe.read("The king was".into(), JsValue::UNDEFINED)).await;
    assert_eq!(last(&again), last(&a));

    let question = |of: &str, options: &str| {
        let call = format!("it[0].{of}({options})");
        js_sys::Promise::from(script(&call, &both))
    };
    let cell = "{ tap: 'h.5', position: 2, tokens: [300, 301] }";
    let found = js(question("attribute", cell)).await;
    let number = |of: &JsValue, name: &str| get(of, name).as_f64().expect("a number");
    assert!((number(&found, "sum") - number(&found, "shown")).abs() < 1e-4);
    let names = script("it.components.map(({ name }) => name).join()", &found).as_string();
    let names = names.expect("names");
    assert!(names.starts_with("wte,wpe,h.0.attn.0,"), "{names}");
    assert!(names.ends_with("h.5.attn.5,h.5.attn.bias,h.5.mlp,ln_f.bias"), "{names}");
    let of_head = "{ block: 3, head: 1, tap: 'h.5', position: 2, tokens: [300, 301] }";
    let sources: Float32Array = js(question("sources", of_head)).await.unchecked_into();
    let head = script("it.components.find(({ name }) => name === 'h.3.attn.1').value", &found);
    let sum: f32 = sources.to_vec().iter().sum();
    assert!((f64::from(sum) - head.as_f64().expect("a number")).abs() < 1e-4);
    let weights = js(question("attention", "{ block: 3, head: 1, position: 2 }")).await;
    let weights: Float32Array = weights.unchecked_into();
    assert!((weights.to_vec().iter().sum::<f32>() - 1.0).abs() < 1e-5);
    for (of, wrong) in [
        ("attribute", "{ tap: 5, position: 2, tokens: [300] }"),
        ("attribute", "{ tap: 'h.8', position: 2, tokens: [300] }"),
        ("attribute", "{ tap: 'h.5', position: 3, tokens: [300] }"),
        ("attribute", "{ tap: 'h.5', position: 2, tokens: [] }"),
        ("attribute", "{ tap: 'h.5', tokens: [300] }"),
        ("attribute", "{ tap: 'h.5', position: 2, tokens: [300], head: 1 }"),
        ("attention", "{ block: 8, head: 1, position: 2 }"),
        ("attention", "{ block: 3, head: 6, position: 2 }"),
        ("sources", "{ block: 6, head: 1, tap: 'h.5', position: 2, tokens: [300] }"),
        ("attention", "undefined"),
    ] {
        assert_eq!(code(question(of, wrong)).await, "bad-option", "{of} {wrong}");
    }

    let progress = Array::of3(&a, &b, &Array::new());
    let options =
        "({ clean: it[0], corrupt: it[1], what: 'heads', metric: { plus: 300, minus: 301 },
        onProgress: ({ done }) => it[2].push(done) })";
    let sweep = js(loupe.sweep(script(options, &progress))).await;
    assert_eq!(get(&sweep, "columns").as_f64(), Some(6.0));
    let values: Float32Array = get(&sweep, "values").unchecked_into();
    assert_eq!(values.length(), 48);
    assert!(values.to_vec().iter().all(|v| v.is_finite()));
    let rows: Array = get(&sweep, "rows").unchecked_into();
    assert_eq!(rows.get(7).as_string().as_deref(), Some("h.7.attn_out"));
    let done: Array = progress.get(2).unchecked_into();
    assert_eq!(done.pop().as_f64(), Some(1.0));
    for wrong in [
        "{}",
        "{ clean: it[0], corrupt: it[1], what: 'tokens', metric: { plus: 1, minus: 2 } }",
        "{ clean: it[0], corrupt: it[1], what: 'heads' }",
        "{ clean: it[0], corrupt: it[1], what: 'heads', metric: { plus: 1 } }",
        "{ clean: it[0], corrupt: it[1], what: 'heads', metric: { plus: 1, minus: 1 } }",
        "{ clean: it[0], corrupt: it[1], what: 'heads', metric: { plus: 1, minus: 2, position: 3 } }",
        "{ clean: it[0], corrupt: 1, what: 'heads', metric: { plus: 1, minus: 2 } }",
        "{ clean: it[0], corrupt: it[1], what: 'heads', direction: 'up', metric: { plus: 1, minus: 2 } }",
    ] {
        let result = code(loupe.sweep(script(&format!("({wrong})"), &both))).await;
        assert_eq!(result, "bad-option", "{wrong}");
    }
}
