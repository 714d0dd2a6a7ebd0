//! JavaScript values to Rust types and back, with errors that say what was expected.

use js_sys::{
    Array, ArrayBuffer, Function, JsString, Object, Promise, Reflect, Uint8Array, Uint32Array,
};
use serde::Serialize;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::AbortSignal;

use crate::error::{Error, Result};
use crate::gpu::Cancel;
use crate::lens;
use crate::model::{Keeping, Needs};
use crate::session::Loaded;
use crate::tokenizer::Token;

use super::cancel_by;

/// An empty object.
pub(super) fn object() -> Object {
    Object::new()
}

/// Sets a property of an object of our own, which cannot fail.
pub(super) fn set(object: &Object, name: &str, value: impl Into<JsValue>) {
    let _ = Reflect::set(object, &name.into(), &value.into());
}

/// A `LoupeError`: an Error with a stable `code`, and for `too-long` the two numbers.
pub(super) fn js_error(error: &Error) -> JsValue {
    let out: Object = js_sys::Error::new(&error.to_string()).unchecked_into();
    set(&out, "name", "LoupeError");
    set(&out, "code", error.code());
    if let Error::TooLong { n_tokens, n_ctx } = error {
        set(&out, "n_tokens", *n_tokens as f64);
        set(&out, "n_ctx", *n_ctx as f64);
    }
    out.into()
}

/// What a broken stream said.
pub(super) fn network_error(value: JsValue) -> Error {
    Error::Network(message_of(&value))
}

/// The message of whatever was thrown.
pub(super) fn message_of(value: &JsValue) -> String {
    let message = Reflect::get(value, &"message".into()).ok().and_then(|m| m.as_string());
    message.unwrap_or_else(|| format!("{value:?}"))
}

/// A getter over an options object whose keys are all known.
///
/// Errors: `bad-option`.
pub(super) fn options<'a>(
    value: &'a JsValue,
    known: &[&str],
) -> Result<impl Fn(&str) -> JsValue + use<'a>> {
    if !is_absent(value) {
        let Some(object) = value.dyn_ref::<Object>() else {
            return Err(Error::BadOption("list is no object".into()));
        };
        for key in Object::keys(object).iter().filter_map(|k| k.as_string()) {
            if !known.contains(&key.as_str()) {
                return Err(Error::BadOption(format!(
                    "\"{key}\" does not exist; there are {}",
                    known.join(", ")
                )));
            }
        }
    }
    Ok(move |name: &str| Reflect::get(value, &name.into()).unwrap_or_default())
}

/// Errors: `bad-option`.
pub(super) fn string(name: &str, value: &JsValue) -> Result<Option<String>> {
    match is_absent(value) {
        true => Ok(None),
        false => {
            let wrong = || Error::BadOption(format!("{name} is no string"));
            value.as_string().map(Some).ok_or_else(wrong)
        }
    }
}

/// Errors: `bad-option`.
fn strings(name: &str, value: &JsValue) -> Result<Vec<String>> {
    let wrong = || Error::BadOption(format!("{name} is no array of strings"));
    let list = value.dyn_ref::<Array>().ok_or_else(wrong)?;
    list.iter().map(|v| v.as_string().ok_or_else(wrong)).collect()
}

/// Errors: `bad-option`.
pub(super) fn function(name: &str, value: &JsValue) -> Result<Option<Function>> {
    match is_absent(value) {
        true => Ok(None),
        false => {
            let wrong = |_| Error::BadOption(format!("{name} is no function"));
            value.clone().dyn_into().map(Some).map_err(wrong)
        }
    }
}

/// Errors: `bad-option`.
pub(super) fn signal(value: &JsValue) -> Result<Option<AbortSignal>> {
    match is_absent(value) {
        true => Ok(None),
        false => {
            let wrong = |_| Error::BadOption("signal is no AbortSignal".into());
            value.clone().dyn_into().map(Some).map_err(wrong)
        }
    }
}

/// Errors: `bad-option`.
pub(super) fn number(name: &str, value: &JsValue) -> Result<Option<f64>> {
    match is_absent(value) {
        true => Ok(None),
        false => {
            let wrong = || Error::BadOption(format!("{name} is no number"));
            value.as_f64().map(Some).ok_or_else(wrong)
        }
    }
}

/// A whole number from 0 on.
///
/// Errors: `bad-option`.
pub(super) fn index(name: &str, value: &JsValue) -> Result<usize> {
    match value.as_f64() {
        Some(n) if n >= 0.0 && n.fract() == 0.0 => Ok(n as usize),
        _ => Err(Error::BadOption(format!("{name} is {value:?}, expected a whole number"))),
    }
}

/// The same, or `otherwise` if there is none.
///
/// Errors: `bad-option`.
pub(super) fn index_or(name: &str, value: &JsValue, otherwise: usize) -> Result<usize> {
    if is_absent(value) { Ok(otherwise) } else { index(name, value) }
}

/// Null is as good as nothing.
pub(super) fn is_absent(value: &JsValue) -> bool {
    value.is_undefined() || value.is_null()
}

/// Waits for `promise`, or less long if the signal is aborted meanwhile.
///
/// Every wait has a listener of its own, which goes when the wait is over: one promise for all of
/// them would hold on to whatever each of them brought.
///
/// Errors: `aborted`; the inner one is what `promise` was rejected with.
pub(super) async fn unless_aborted(
    signal: Option<&AbortSignal>,
    promise: &Promise,
) -> Result<std::result::Result<JsValue, JsValue>> {
    let Some(signal) = signal else { return Ok(JsFuture::from(promise.clone()).await) };
    if signal.aborted() {
        return Err(Error::Aborted);
    }
    let mut listener = None;
    let aborted = Promise::new(&mut |resolve, _| {
        let _ = signal.add_event_listener_with_callback("abort", &resolve);
        listener = Some(resolve);
    });
    let first = JsFuture::from(Promise::race(&Array::of2(promise, &aborted))).await;
    if let Some(listener) = listener {
        let _ = signal.remove_event_listener_with_callback("abort", &listener);
    }
    if signal.aborted() { Err(Error::Aborted) } else { Ok(first) }
}

/// A token id.
///
/// Errors: `bad-option` for what is no whole number of 32 bits.
pub(super) fn id(value: f64) -> Result<u32> {
    let id = value as u32;
    if f64::from(id) != value {
        return Err(Error::BadOption(format!("ids hold {value}, expected whole numbers from 0")));
    }
    Ok(id)
}

/// A list of token ids: an array of numbers or a Uint32Array.
///
/// Errors: `bad-option`.
pub(super) fn ids(name: &str, value: &JsValue) -> Result<Vec<u32>> {
    if let Some(ids) = value.dyn_ref::<Uint32Array>() {
        return Ok(ids.to_vec());
    }
    let wrong = || Error::BadOption(format!("{name} is neither a Uint32Array nor an array of ids"));
    let list = value.dyn_ref::<Array>().ok_or_else(wrong)?;
    list.iter().map(|v| id(v.as_f64().ok_or_else(wrong)?)).collect()
}

/// A list of finite numbers: an array or a typed one.
///
/// Errors: `bad-option`.
pub(super) fn numbers(name: &str, value: &JsValue) -> Result<Vec<f64>> {
    let wrong = || Error::BadOption(format!("{name} is no array of finite numbers"));
    if !Array::is_array(value) && !ArrayBuffer::is_view(value) {
        return Err(wrong());
    }
    let number = |v: JsValue| v.as_f64().filter(|v| v.is_finite()).ok_or_else(wrong);
    Array::from(value).iter().map(number).collect()
}

/// A string with whole surrogate pairs.
///
/// Errors: `bad-option`, `bad-text`.
pub(super) fn text(value: &JsValue) -> Result<String> {
    let Some(text) = value.dyn_ref::<JsString>() else {
        return Err(Error::BadOption("text is no string".into()));
    };
    if !text.is_valid_utf16() {
        return Err(Error::BadText);
    }
    Ok(text.into())
}

/// What to read.
pub(super) enum Input {
    Text(String),
    Ids(Vec<u32>),
}

impl Input {
    /// Errors: `bad-text`, `bad-option`.
    pub(super) fn parse(value: &JsValue) -> Result<Input> {
        match value.is_string() {
            true => text(value).map(Input::Text),
            false => ids("the first argument", value).map(Input::Ids),
        }
    }
}

/// How to read.
pub(super) struct ReadOptions {
    pub(super) lens: lens::Options,
    pub(super) cancel: Cancel,
    pub(super) on_block: Option<Function>,
}

impl ReadOptions {
    /// Errors: `bad-option`.
    pub(super) fn parse(value: &JsValue) -> Result<ReadOptions> {
        let known = [
            "subblocks",
            "contributions",
            "norm",
            "decoder",
            "top_k",
            "track",
            "signal",
            "onBlock",
        ];
        let get = options(value, &known)?;
        let mut lens = lens::Options::default();
        if let Some(name) = string("norm", &get("norm"))? {
            lens.norm = lens::Norm::from_name(&name)?;
        }
        lens.depth = match (get("subblocks").is_truthy(), get("contributions").is_truthy()) {
            (false, false) => lens::Depth::Blocks,
            (true, false) => lens::Depth::Halves,
            (_, true) => lens::Depth::Contributions,
        };
        let decoder = get("decoder");
        if !is_absent(&decoder) {
            lens.decoder = strings("decoder", &decoder)?;
        }
        lens.top_k = index_or("top_k", &get("top_k"), lens.top_k)?;
        let track = get("track");
        if !is_absent(&track) {
            lens.track = ids("track", &track)?;
        }
        Ok(ReadOptions {
            lens,
            cancel: cancel_by(signal(&get("signal"))?),
            on_block: function("onBlock", &get("onBlock"))?,
        })
    }
}

/// `{ id, text, bytes, shown }`.
pub(super) fn token(token: &Token) -> JsValue {
    let out = object();
    set(&out, "id", token.id);
    set(&out, "text", token.text.as_str());
    set(&out, "bytes", Uint8Array::from(&token.bytes[..]));
    set(&out, "shown", token.shown.as_str());
    out.into()
}

#[derive(Serialize)]
struct ModelFacts<'a> {
    family: Option<&'a str>,
    n_layer: usize,
    n_head: Option<usize>,
    n_embd: usize,
    n_ctx: Option<usize>,
    vocab_size: Option<usize>,
    parameters: Option<f64>,
    partial: bool,
    has_wte: bool,
    has_wpe: bool,
    n_norms: usize,
    precision: &'a str,
    gpu_bytes: f64,
    extra_tensors: &'a [String],
}

/// `loupe.model`.
pub(super) fn model(loaded: &Loaded) -> JsValue {
    let (model, config) = (&loaded.model, &loaded.model.config);
    let is_known = model.part.as_ref().is_none_or(|part| part.has_config);
    let size = |n: usize| (n > 0).then_some(n);
    let facts = ModelFacts {
        family: is_known.then(|| config.family.name()),
        n_layer: config.n_layer,
        n_head: size(config.n_head),
        n_embd: config.n_embd,
        n_ctx: size(config.n_ctx),
        vocab_size: size(config.vocab_size),
        parameters: is_known.then(|| config.parameters() as f64),
        partial: model.part.is_some(),
        has_wte: model.wte().is_ok(),
        has_wpe: model.wpe().is_ok(),
        n_norms: model.norms().len(),
        precision: model.precision.name(),
        gpu_bytes: model.weight_bytes as f64,
        extra_tensors: &model.extra_tensors,
    };
    plain(&facts)
}

#[derive(Serialize)]
struct KeepingFacts<'a> {
    kept: Option<KeptFacts<'a>>,
    keep_error: Option<RefusalFacts<'a>>,
}

#[derive(Serialize)]
struct KeptFacts<'a> {
    bytes: f64,
    sha256: &'a str,
}

#[derive(Serialize)]
struct RefusalFacts<'a> {
    name: &'a str,
    message: &'a str,
}

/// What `load` resolves to.
pub(super) fn keeping(keeping: &Keeping) -> JsValue {
    let kept = keeping.kept.as_ref();
    let refusal = keeping.refusal.as_ref();
    plain(&KeepingFacts {
        kept: kept.map(|k| KeptFacts { bytes: k.bytes as f64, sha256: &k.sha256 }),
        keep_error: refusal.map(|r| RefusalFacts { name: &r.name, message: &r.message }),
    })
}

#[derive(Serialize)]
struct NeedsFacts<'a> {
    family: &'a str,
    n_layer: usize,
    n_head: usize,
    n_embd: usize,
    n_ctx: usize,
    vocab_size: usize,
    parameters: f64,
    file_bytes: f64,
    kept_bytes: f64,
    gpu_bytes: f64,
    fits: Option<bool>,
    problem: Option<String>,
}

/// What `plan` resolves to.
pub(super) fn needs(needs: &Needs) -> JsValue {
    let config = &needs.config;
    plain(&NeedsFacts {
        family: config.family.name(),
        n_layer: config.n_layer,
        n_head: config.n_head,
        n_embd: config.n_embd,
        n_ctx: config.n_ctx,
        vocab_size: config.vocab_size,
        parameters: config.parameters() as f64,
        file_bytes: needs.file_bytes as f64,
        kept_bytes: needs.stored_bytes as f64,
        gpu_bytes: needs.stored_bytes as f64,
        fits: match (&needs.refusal, needs.is_tried) {
            (Some(_), _) => Some(false),
            (None, true) => Some(true),
            (None, false) => None,
        },
        problem: needs.refusal.as_ref().map(ToString::to_string),
    })
}

/// A plain object in which nothing is null rather than undefined.
fn plain(facts: &impl Serialize) -> JsValue {
    let serializer = serde_wasm_bindgen::Serializer::new().serialize_missing_as_null(true);
    facts.serialize(&serializer).unwrap_or_default()
}
