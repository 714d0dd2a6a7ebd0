//! Tests load() and plan() in a real browser: the origin-private file system, device memory, concurrent readings.

use crate::support::golden::{TALES_CONFIG, TALES_WEIGHTS};
use crate::support::script::{code, engine, error_code, get, load, options, script, stream, tales};
use js_sys::{Array, Function, Promise, Uint8Array};
use loupe::web::{Loupe, Reading};
use wasm_bindgen::convert::TryFromJsValue;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::*;

async fn wait(promise: JsValue) -> JsValue {
    JsFuture::from(Promise::resolve(&promise)).await.expect("a promise that resolves")
}

/// A file of the origin-private file system, opened for the engine.
async fn open_file(name: &str) -> JsValue {
    let open = "navigator.storage.getDirectory().then((d) => d.getFileHandle(it, { create: true }))
        .then((f) => f.createSyncAccessHandle())";
    wait(script(open, &name.into())).await
}

/// Such a file as a `File`, once its handle is closed.
async fn file(name: &str) -> JsValue {
    let read = "navigator.storage.getDirectory().then((d) => d.getFileHandle(it))
        .then((f) => f.getFile())";
    wait(script(read, &name.into())).await
}

/// A source of `bytes` that records in `opened` the offsets at which it is opened, and fails at `cut`.
fn source(bytes: &[u8], cut: usize) -> JsValue {
    let make = "{
        opened: [], sha256: it.sha256, bytes: it.bytes.length,
        open(from) {
            this.opened.push(from);
            let at = from;
            return new ReadableStream({ pull: (c) => {
                if (at >= it.cut) return c.error(new Error('the line went dead'));
                if (at >= it.bytes.length) return c.close();
                this.last = it.bytes.slice(at, Math.min(at += 100_000, it.cut));
                c.enqueue(this.last);
            } });
        },
    }";
    let whole = Uint8Array::from(bytes);
    script(make, &options(&[("bytes", whole.into()), ("cut", (cut as f64).into())]))
}

async fn top_ids(loupe: &Loupe) -> Vec<u32> {
    let read = loupe.read("Once upon a time".into(), JsValue::UNDEFINED);
    let value = JsFuture::from(read).await.expect("a reading");
    Reading::try_from_js_value(value).expect("a Reading").top_ids()
}

#[wasm_bindgen_test]
async fn a_copy_in_the_origin_private_file_system_is_resumed() {
    let loupe = tales().await;
    let expected = top_ids(&loupe).await;
    let name = "loading-test.safetensors";
    let handle = open_file(name).await;
    script("it.truncate(0)", &handle);

    let cut = source(TALES_WEIGHTS, 6_000_000);
    let failed = load(&loupe, &[("weights", cut), ("keep", handle.clone())]).await;
    let error = failed.expect_err("a lost connection");
    assert_eq!(error_code(&error), "network");
    assert!(get(&error, "message").as_string().is_some_and(|m| m.contains("went dead")));
    assert_eq!(top_ids(&loupe).await, expected, "the model in use stays");

    let rest = source(TALES_WEIGHTS, usize::MAX);
    let seen = Array::new();
    let push = script("(e) => it.push(e.received)", &seen);
    let more = [("weights", rest.clone()), ("keep", handle.clone()), ("onProgress", push)];
    let outcome = load(&loupe, &more).await.expect("it resumes");
    let opened: Array = get(&rest, "opened").unchecked_into();
    assert_eq!(
        opened.get(0).as_f64(),
        Some(0.0),
        "the header is read, to compare it with the copy's"
    );
    let from = opened.get(1).as_f64().expect("a second opening");
    assert!((4_000_000.0..=6_000_000.0).contains(&from), "resumed at {from}");
    // Progress includes what the copy has, while it is restored and after.
    let seen: Vec<f64> = seen.iter().filter_map(|n| n.as_f64()).collect();
    assert!(seen.windows(2).all(|pair| pair[0] <= pair[1]), "{seen:?}");
    assert!(seen[0] > 0.0 && seen.contains(&from), "{from} in {seen:?}");
    assert_eq!(seen.last(), Some(&(TALES_WEIGHTS.len() as f64)));
    let left = get(&get(&rest, "last"), "byteLength");
    assert_eq!(left.as_f64(), Some(0.0), "the memory of a piece is released at once");
    let kept = get(&outcome, "kept");
    assert_eq!(get(&kept, "bytes"), script("it.getSize()", &handle));
    assert!(get(&outcome, "keep_error").is_null());
    script("it.close()", &handle);

    let file = file(name).await;
    let fresh = engine().await;
    let again = load(&fresh, &[("weights", script("it.stream()", &file))]).await;
    assert!(get(&again.expect("the copy loads"), "kept").is_null());
    assert_eq!(top_ids(&fresh).await, expected);
}

#[wasm_bindgen_test]
async fn a_store_that_fails_is_reported_and_the_model_loads() {
    let store = "{
        read: () => 0, getSize: () => 0, truncate() {}, flush() {},
        write() { throw new DOMException('no more room', 'QuotaExceededError'); },
    }";
    let loupe = tales().await;
    let expected = top_ids(&loupe).await;
    let keep = script(store, &JsValue::UNDEFINED);
    let outcome = load(&loupe, &[("keep", keep)]).await.expect("it loads");
    assert!(get(&outcome, "kept").is_null());
    let error = get(&outcome, "keep_error");
    assert_eq!(get(&error, "name").as_string().as_deref(), Some("QuotaExceededError"));
    assert_eq!(get(&error, "message").as_string().as_deref(), Some("no more room"));
    assert_eq!(top_ids(&loupe).await, expected);
}

#[wasm_bindgen_test]
async fn sources_are_checked_and_their_own_errors_are_passed_on() {
    let loupe = engine().await;
    let wrong = [
        ("weights", script("({ url: 'x' })", &JsValue::UNDEFINED)),
        ("weights", script("({ open() {}, sha256: 'short' })", &JsValue::UNDEFINED)),
        ("weights", script("({ open: () => 'no stream' })", &JsValue::UNDEFINED)),
        ("keep", script("({ write() {} })", &JsValue::UNDEFINED)),
    ];
    for (name, value) in wrong {
        let error = load(&loupe, &[(name, value)]).await.expect_err("rejected");
        assert_eq!(error_code(&error), "bad-option");
    }
    // The digest detects a damaged byte, whatever its effect on the numbers.
    let corrupt = source(TALES_WEIGHTS, usize::MAX);
    script("it.sha256 = '0'.repeat(64)", &corrupt);
    let error = load(&loupe, &[("weights", corrupt)]).await.expect_err("rejected");
    assert_eq!(error_code(&error), "corrupt");
    // A source's own LoupeError is passed on, because it knows the cause.
    let gone = "{ open() { throw Object.assign(new Error('The hub does not have it.'),
        { name: 'LoupeError', code: 'not-found' }); } }";
    let gone = script(gone, &JsValue::UNDEFINED);
    let error = load(&loupe, &[("weights", gone)]).await.expect_err("rejected");
    assert_eq!(error_code(&error), "not-found");
}

const CTRL_CONFIG: &str = include_str!("../golden/ctrl/config.json");
const CTRL: &[u8] = include_bytes!("../golden/ctrl/model.safetensors");
const CTRL_ZIP: &[u8] = include_bytes!("../golden/torch/ctrl_zip.bin");

/// What the small CTRL predicts.
async fn ctrl_ids(loupe: &Loupe) -> Vec<u32> {
    let ids = script("[3, 1, 4, 1, 5]", &JsValue::UNDEFINED);
    let value = JsFuture::from(loupe.read(ids, JsValue::UNDEFINED)).await.expect("a reading");
    Reading::try_from_js_value(value).expect("a Reading").top_ids()
}

#[wasm_bindgen_test]
async fn a_file_of_pytorch_is_followed_as_a_stream_or_read_by_its_directory_and_resumed() {
    let loupe = engine().await;
    let load_ctrl = async |weights: JsValue, keep: JsValue| {
        let none = ("tokenizer", JsValue::NULL);
        let all = [("config", CTRL_CONFIG.into()), none, ("weights", weights), ("keep", keep)];
        load(&loupe, &all).await
    };
    load_ctrl(stream(CTRL), JsValue::NULL).await.expect("it loads");
    let expected = ctrl_ids(&loupe).await;
    load_ctrl(stream(CTRL_ZIP), JsValue::NULL).await.expect("a stream is followed");
    assert_eq!(ctrl_ids(&loupe).await, expected);

    let opened = |source: &JsValue| -> Vec<f64> {
        let opened: Array = get(source, "opened").unchecked_into();
        opened.iter().filter_map(|at| at.as_f64()).collect()
    };
    let handle = open_file("pytorch-test.safetensors").await;
    script("it.truncate(0)", &handle);
    let cut = source(CTRL_ZIP, 60_000);
    let failed = load_ctrl(cut.clone(), handle.clone()).await.expect_err("a lost connection");
    assert_eq!(error_code(&failed), "network", "the directory lies behind the cut");
    // Without its length the file is followed.
    let cut = source(CTRL_ZIP, 60_000);
    script("delete it.bytes", &cut);
    let failed = load_ctrl(cut.clone(), handle.clone()).await.expect_err("a lost connection");
    assert_eq!((error_code(&failed).as_str(), opened(&cut)), ("network", vec![0.0]));
    let rest = source(CTRL_ZIP, usize::MAX);
    load_ctrl(rest.clone(), handle.clone()).await.expect("it resumes, now by its directory");
    let opened = opened(&rest);
    let tail = CTRL_ZIP.len() as f64 - 65_664.0;
    assert_eq!(opened[..2], [0.0, tail], "the first bytes, then the end of the file");
    assert_eq!(opened.len(), 5, "then the directory, the pickle and the rest: {opened:?}");
    assert!(opened[4] > 30_000.0 && opened[4] <= 60_000.0, "{opened:?}");
    assert_eq!(ctrl_ids(&loupe).await, expected);
    script("it.close()", &handle);
}

#[wasm_bindgen_test]
async fn readings_run_during_a_load() {
    let loupe = tales().await;
    let expected = top_ids(&loupe).await;
    // The stream sends half of the file, and the rest when the test calls `go`.
    let held = "{ open() {
        const whole = it.bytes, half = whole.length / 2;
        return new ReadableStream({
            start: (c) => { c.enqueue(whole.slice(0, half)); it.go = () => { c.enqueue(whole.slice(half)); c.close(); }; },
        });
    } }";
    let control = options(&[("bytes", Uint8Array::from(TALES_WEIGHTS).into())]);
    let all = [
        ("config", TALES_CONFIG.into()),
        ("weights", script(held, &control)),
        ("precision", "f32".into()),
    ];
    let first = loupe.load(options(&all));
    let second = loupe.load(options(&[("config", "{".into()), ("weights", JsValue::NULL)]));
    assert_eq!(code(second).await, "bad-option", "an invalid call fails at once");
    assert_eq!(top_ids(&loupe).await, expected);
    assert_eq!(get(&loupe.model(), "precision").as_string().as_deref(), Some("f16"));
    get(&control, "go").unchecked_into::<Function>().call0(&control).expect("the rest is sent");
    JsFuture::from(first).await.expect("it loads");
    assert_eq!(get(&loupe.model(), "precision").as_string().as_deref(), Some("f32"));
}

/// Makes the device of this worker run out of memory beyond a number of bytes, as a real one does: the error scope
/// around the allocation reports it.
const SMALL_DEVICE: &str = "(() => {
    const { createBuffer, pushErrorScope, popErrorScope } = GPUDevice.prototype;
    const { destroy } = GPUBuffer.prototype;
    const room = { bytes: Infinity, used: 0 };
    const sizes = new Map(), scopes = [];
    GPUDevice.prototype.createBuffer = function (descriptor) {
        const buffer = createBuffer.call(this, descriptor);
        room.used += descriptor.size;
        sizes.set(buffer, descriptor.size);
        if (room.used > room.bytes) {
            const scope = scopes.findLast((s) => s.filter === 'out-of-memory');
            if (scope) scope.failed = true;
        }
        return buffer;
    };
    GPUBuffer.prototype.destroy = function () {
        room.used -= sizes.get(this) ?? 0;
        sizes.delete(this);
        return destroy.call(this);
    };
    GPUDevice.prototype.pushErrorScope = function (filter) {
        scopes.push({ filter, failed: false });
        return pushErrorScope.call(this, filter);
    };
    GPUDevice.prototype.popErrorScope = async function () {
        const { failed } = scopes.pop();
        const error = await popErrorScope.call(this);
        return failed ? new GPUOutOfMemoryError('no room, says the test') : error;
    };
    return room;
})()";

#[wasm_bindgen_test]
async fn plan_reports_what_does_not_fit_and_load_may_release_the_old_model() {
    let memory = script(SMALL_DEVICE, &JsValue::UNDEFINED);
    let used = || get(&memory, "used").as_f64().expect("a count");
    let loupe = tales().await;
    let expected = top_ids(&loupe).await;
    let plan = |trial: bool| {
        let all = [("config", TALES_CONFIG.into()), ("trial", trial.into())];
        wait(loupe.plan(options(&all)).into())
    };
    let untried = plan(false).await;
    assert!(get(&untried, "fits").is_null());
    let gpu_bytes = get(&untried, "gpu_bytes").as_f64().expect("a count");
    assert_eq!(Some(gpu_bytes), get(&loupe.model(), "gpu_bytes").as_f64(), "as planned");
    let before = used();
    let tried = plan(true).await;
    assert_eq!(get(&tried, "fits"), JsValue::TRUE);
    assert_eq!(used(), before, "the memory of the trial is released");

    // There is memory for the model in use and half of another.
    script("it.bytes = it.used + 4e6", &memory);
    let tried = plan(true).await;
    assert_eq!(get(&tried, "fits"), JsValue::FALSE);
    assert!(get(&tried, "problem").as_string().is_some_and(|p| p.contains("Not enough")));
    let refused = load(&loupe, &[]).await.expect_err("too little memory for both");
    assert_eq!(error_code(&refused), "out-of-memory");
    assert!(used() <= before, "an allocation that fails half-way releases its memory");
    assert_eq!(top_ids(&loupe).await, expected, "the old model is still in use");

    load(&loupe, &[("release", true.into())]).await.expect("the old model is released");
    assert_eq!(top_ids(&loupe).await, expected);

    // There is memory for no model: the old one has been released in vain, and the loupe reports no model.
    script("it.bytes = 1e6", &memory);
    let refused = load(&loupe, &[("release", true.into())]).await.expect_err("too little memory");
    assert_eq!(error_code(&refused), "out-of-memory");
    assert!(loupe.model().is_undefined());
    assert_eq!(code(loupe.read("Once".into(), JsValue::UNDEFINED)).await, "not-found");
    script("it.bytes = Infinity", &memory);
    load(&loupe, &[]).await.expect("enough memory again");
    assert_eq!(top_ids(&loupe).await, expected);
}
