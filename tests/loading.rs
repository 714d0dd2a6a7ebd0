//! load() and plan() in a real browser: the origin's own files, room on the device, readings meanwhile.
#![cfg(target_arch = "wasm32")]

mod support;

use js_sys::{Array, Function, Promise, Uint8Array};
use loupe::web::{Loupe, Reading};
use support::golden::{TALES_CONFIG, TALES_WEIGHTS};
use support::script::{code, error_code, get, load, options, script, tales};
use wasm_bindgen::convert::TryFromJsValue;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use wasm_bindgen_test::*;

wasm_bindgen_test_configure!(run_in_dedicated_worker);

async fn wait(promise: JsValue) -> JsValue {
    JsFuture::from(Promise::resolve(&promise)).await.expect("a promise that is kept")
}

/// A file of the origin-private file system, opened for the engine.
async fn open_file(name: &str) -> JsValue {
    let open = "navigator.storage.getDirectory().then((d) => d.getFileHandle(it, { create: true }))
        .then((f) => f.createSyncAccessHandle())";
    wait(script(open, &name.into())).await
}

/// What such a file holds, once it is closed.
async fn file(name: &str) -> JsValue {
    let read = "navigator.storage.getDirectory().then((d) => d.getFileHandle(it))
        .then((f) => f.getFile())";
    wait(script(read, &name.into())).await
}

/// A source over `bytes` that notes in `opened` where it is opened, and stops for good at `cut`.
fn source(bytes: &[u8], cut: usize) -> JsValue {
    let make = "{
        opened: [], sha256: it.sha256, bytes: it.bytes,
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
async fn a_model_is_kept_in_the_origins_own_files_and_gone_on_with() {
    let loupe = tales().await;
    let expected = top_ids(&loupe).await;
    let name = "loading-test.safetensors";
    let handle = open_file(name).await;
    script("it.truncate(0)", &handle);

    let cut = source(TALES_WEIGHTS, 6_000_000);
    let failed = load(&loupe, &[("weights", cut), ("keep", handle.clone())]).await;
    let error = failed.expect_err("a dead line");
    assert_eq!(error_code(&error), "network");
    assert!(get(&error, "message").as_string().is_some_and(|m| m.contains("went dead")));
    assert_eq!(top_ids(&loupe).await, expected, "the model in use stays");

    let rest = source(TALES_WEIGHTS, usize::MAX);
    let seen = Array::new();
    let push = script("(e) => it.push(e.received)", &seen);
    let more = [("weights", rest.clone()), ("keep", handle.clone()), ("onProgress", push)];
    let keeping = load(&loupe, &more).await.expect("it goes on");
    let opened: Array = get(&rest, "opened").unchecked_into();
    assert_eq!(opened.get(0).as_f64(), Some(0.0), "for the header");
    let from = opened.get(1).as_f64().expect("a second opening");
    assert!((4_000_000.0..=6_000_000.0).contains(&from), "gone on with at {from}");
    // Progress counts what was there already, while it is taken up and after.
    let seen: Vec<f64> = seen.iter().filter_map(|n| n.as_f64()).collect();
    assert!(seen.windows(2).all(|pair| pair[0] <= pair[1]), "{seen:?}");
    assert!(seen[0] > 0.0 && seen.contains(&from), "{from} in {seen:?}");
    assert_eq!(seen.last(), Some(&(TALES_WEIGHTS.len() as f64)));
    let left = get(&get(&rest, "last"), "byteLength");
    assert_eq!(left.as_f64(), Some(0.0), "the memory of a piece is given back at once");
    let kept = get(&keeping, "kept");
    assert_eq!(get(&kept, "bytes"), script("it.getSize()", &handle));
    assert!(get(&keeping, "keep_error").is_null());
    script("it.close()", &handle);

    let file = file(name).await;
    let fresh = Loupe::open().await.expect("a WebGPU adapter");
    let again = load(&fresh, &[("weights", script("it.stream()", &file))]).await;
    assert!(get(&again.expect("the copy loads"), "kept").is_null());
    assert_eq!(top_ids(&fresh).await, expected);
}

#[wasm_bindgen_test]
async fn a_store_that_refuses_is_said_and_the_model_loads() {
    let store = "{
        read: () => 0, getSize: () => 0, truncate() {}, flush() {},
        write() { throw new DOMException('no more room', 'QuotaExceededError'); },
    }";
    let loupe = tales().await;
    let expected = top_ids(&loupe).await;
    let keep = script(store, &JsValue::UNDEFINED);
    let keeping = load(&loupe, &[("keep", keep)]).await.expect("it loads");
    assert!(get(&keeping, "kept").is_null());
    let error = get(&keeping, "keep_error");
    assert_eq!(get(&error, "name").as_string().as_deref(), Some("QuotaExceededError"));
    assert_eq!(get(&error, "message").as_string().as_deref(), Some("no more room"));
    assert_eq!(top_ids(&loupe).await, expected);
}

#[wasm_bindgen_test]
async fn sources_are_checked_and_their_own_errors_passed_on() {
    let loupe = Loupe::open().await.expect("a WebGPU adapter");
    let wrong = [
        ("weights", script("({ url: 'x' })", &JsValue::UNDEFINED)),
        ("weights", script("({ open() {}, sha256: 'short' })", &JsValue::UNDEFINED)),
        ("weights", script("({ open: () => 'no stream' })", &JsValue::UNDEFINED)),
        ("keep", script("({ write() {} })", &JsValue::UNDEFINED)),
    ];
    for (name, value) in wrong {
        let error = load(&loupe, &[(name, value)]).await.expect_err("refused");
        assert_eq!(error_code(&error), "bad-option");
    }
    // A damaged byte is noticed by the digest, whatever it does to the numbers.
    let corrupt = source(TALES_WEIGHTS, usize::MAX);
    script("it.sha256 = '0'.repeat(64)", &corrupt);
    let error = load(&loupe, &[("weights", corrupt)]).await.expect_err("refused");
    assert_eq!(error_code(&error), "corrupt");
    // A source that knows better what went wrong is believed.
    let gone = "{ open() { throw Object.assign(new Error('The hub does not have it.'),
        { name: 'LoupeError', code: 'not-found' }); } }";
    let gone = script(gone, &JsValue::UNDEFINED);
    let error = load(&loupe, &[("weights", gone)]).await.expect_err("refused");
    assert_eq!(error_code(&error), "not-found");
}

#[wasm_bindgen_test]
async fn readings_go_on_beside_a_load() {
    let loupe = tales().await;
    let expected = top_ids(&loupe).await;
    // Half of the file, then nothing until the test says so.
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
    assert_eq!(code(second).await, "bad-option", "what is wrong at once is said at once");
    assert_eq!(top_ids(&loupe).await, expected);
    assert_eq!(get(&loupe.model(), "precision").as_string().as_deref(), Some("f16"));
    get(&control, "go").unchecked_into::<Function>().call0(&control).expect("the rest comes");
    JsFuture::from(first).await.expect("it loads");
    assert_eq!(get(&loupe.model(), "precision").as_string().as_deref(), Some("f32"));
}

/// Makes the device of this worker run out of memory beyond so many bytes, as a real one does:
/// the error lands in the scope around the allocation.
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
async fn what_does_not_fit_is_said_before_and_the_old_model_makes_way_if_it_may() {
    let room = script(SMALL_DEVICE, &JsValue::UNDEFINED);
    let used = || get(&room, "used").as_f64().expect("a count");
    let loupe = tales().await;
    let expected = top_ids(&loupe).await;
    let plan = |trial: bool| {
        let all = [("config", TALES_CONFIG.into()), ("trial", trial.into())];
        wait(loupe.plan(options(&all)).into())
    };
    let untried = plan(false).await;
    assert!(get(&untried, "fits").is_null());
    let gpu_bytes = get(&untried, "gpu_bytes").as_f64().expect("a count");
    assert_eq!(Some(gpu_bytes), get(&loupe.model(), "gpu_bytes").as_f64(), "as it turned out");
    let before = used();
    let tried = plan(true).await;
    assert_eq!(get(&tried, "fits"), JsValue::TRUE);
    assert_eq!(used(), before, "what was tried is given back");

    // Room for the model in use and half of another.
    script("it.bytes = it.used + 4e6", &room);
    let tried = plan(true).await;
    assert_eq!(get(&tried, "fits"), JsValue::FALSE);
    assert!(get(&tried, "problem").as_string().is_some_and(|p| p.contains("no room")));
    let refused = load(&loupe, &[]).await.expect_err("no room for both");
    assert_eq!(error_code(&refused), "out-of-memory");
    assert!(used() <= before, "an allocation that fails half-way gives back what it took");
    assert_eq!(top_ids(&loupe).await, expected, "the old model is still there");

    load(&loupe, &[("release", true.into())]).await.expect("the old model made way");
    assert_eq!(top_ids(&loupe).await, expected);

    // Room for none: the old one has made way for nothing, and the loupe says that it is empty.
    script("it.bytes = 1e6", &room);
    let refused = load(&loupe, &[("release", true.into())]).await.expect_err("no room at all");
    assert_eq!(error_code(&refused), "out-of-memory");
    assert!(loupe.model().is_undefined());
    assert_eq!(code(loupe.read("Once".into(), JsValue::UNDEFINED)).await, "not-found");
    script("it.bytes = Infinity", &room);
    load(&loupe, &[]).await.expect("room again");
    assert_eq!(top_ids(&loupe).await, expected);
}
