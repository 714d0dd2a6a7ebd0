//! JavaScript values for tests of the JavaScript API, and the calls that most of these tests make.

use js_sys::{Function, Object, Promise, Reflect, Uint8Array};
use loupe::web::Loupe;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::golden::{TALES_CONFIG, TALES_TOKENIZER, TALES_WEIGHTS};

pub fn get(of: &JsValue, name: &str) -> JsValue {
    Reflect::get(of, &name.into()).unwrap_or_default()
}

pub fn options(pairs: &[(&str, JsValue)]) -> JsValue {
    let out = Object::new();
    for (name, value) in pairs {
        Reflect::set(&out, &(*name).into(), value).expect("a plain object");
    }
    out.into()
}

/// Evaluates a JavaScript expression with one argument, `it`.
pub fn script(expression: &str, argument: &JsValue) -> JsValue {
    let function = Function::new_with_args("it", &format!("return ({expression});"));
    function.call1(&JsValue::UNDEFINED, argument).expect("an expression")
}

pub fn stream(bytes: &[u8]) -> JsValue {
    script("new Response(it).body", &Uint8Array::from(bytes))
}

pub async fn load(loupe: &Loupe, extra: &[(&str, JsValue)]) -> Result<JsValue, JsValue> {
    let mut all = vec![
        ("config", TALES_CONFIG.into()),
        ("tokenizer", TALES_TOKENIZER.into()),
        ("weights", stream(TALES_WEIGHTS)),
    ];
    all.extend(extra.iter().cloned());
    JsFuture::from(loupe.load(options(&all))).await
}

/// An engine on a GPU, in software too.
pub async fn engine() -> Loupe {
    let on_gpu = options(&[("device", "gpu".into())]);
    Loupe::open(on_gpu).await.expect("a WebGPU adapter")
}

pub async fn tales() -> Loupe {
    let loupe = engine().await;
    load(&loupe, &[]).await.expect("Tales loads");
    loupe
}

/// The code of the error that a promise was rejected with, which must be a LoupeError with a message.
pub async fn code(promise: Promise) -> String {
    match JsFuture::from(promise).await {
        Ok(_) => "fine".into(),
        Err(e) => error_code(&e),
    }
}

pub fn error_code(error: &JsValue) -> String {
    assert!(error.is_instance_of::<js_sys::Error>(), "{error:?}");
    assert_eq!(get(error, "name").as_string().as_deref(), Some("LoupeError"));
    let message = get(error, "message").as_string().unwrap_or_default();
    assert!(message.len() > 5);
    let code = get(error, "code").as_string().expect("a code");
    if code == "bad-option" {
        has_form(&message);
    }
    code
}

/// Every option's message names the option, what was expected and what was given.
fn has_form(message: &str) {
    let (name, rest) = message.split_once(": expected ").expect("a name and what was expected");
    let (expected, got) = rest.split_once(", got ").expect("what was given");
    assert!(!name.is_empty() && !name.contains(' '), "{message}");
    assert!(!expected.is_empty() && got.len() > 1 && got.ends_with('.'), "{message}");
}
