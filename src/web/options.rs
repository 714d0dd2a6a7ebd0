//! JavaScript values ─▶ Rust types, with errors that say what was expected.

use js_sys::{Array, ArrayBuffer, Function, JsString, Object, Reflect, Uint32Array};
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

use crate::device::Cancel;
use crate::error::{Error, Result};
use crate::lens;
use crate::session::{Edit, Session};

use super::edits;

/// A `bad-option` for a JavaScript value.
pub(super) fn bad(name: &str, expected: &str, got: &JsValue) -> Error {
    Error::option(name, expected, shown(got))
}

/// A short form of a value for an error.
fn shown(value: &JsValue) -> String {
    if let Some(text) = value.as_string() {
        return format!("\"{}\"", text.chars().take(40).collect::<String>());
    }
    if let Some(number) = value.as_f64() {
        return number.to_string();
    }
    if let Some(truth) = value.as_bool() {
        return truth.to_string();
    }
    match () {
        () if value.is_undefined() => "undefined".into(),
        () if value.is_null() => "null".into(),
        () if value.is_function() => "a function".into(),
        () if Array::is_array(value) => "an array".into(),
        () => "an object".into(),
    }
}

/// A getter over an options object whose keys are all known.
///
/// Errors: `bad-option`.
pub(super) fn options<'a>(
    value: &'a JsValue,
    known: &[&str],
) -> Result<impl Fn(&str) -> JsValue + use<'a>> {
    if !is_absent(value) {
        check_keys("options", value, known)?;
    }
    Ok(move |name: &str| Reflect::get(value, &name.into()).unwrap_or_default())
}

/// Errors: `bad-option` for what is no object, and for keys that are not known.
pub(super) fn check_keys(name: &str, value: &JsValue, known: &[&str]) -> Result<()> {
    let Some(object) = value.dyn_ref::<Object>().filter(|_| !value.is_function()) else {
        return Err(bad(name, "an object", value));
    };
    for key in Object::keys(object).iter().filter_map(|k| k.as_string()) {
        if !known.contains(&key.as_str()) {
            let expected = format!("keys {}", known.join(", "));
            return Err(Error::option(name, expected, format!("\"{key}\"")));
        }
    }
    Ok(())
}

/// Whether an option is left out: null counts as undefined.
pub(super) fn is_absent(value: &JsValue) -> bool {
    value.is_undefined() || value.is_null()
}

/// The value of an option that may be left out.
pub(super) fn optional<V>(
    value: &JsValue,
    parse: impl FnOnce(&JsValue) -> Result<V>,
) -> Result<Option<V>> {
    if is_absent(value) { Ok(None) } else { parse(value).map(Some) }
}

/// Errors: `bad-option`.
pub(super) fn string(name: &str, value: &JsValue) -> Result<Option<String>> {
    optional(value, |v| v.as_string().ok_or_else(|| bad(name, "a string", v)))
}

/// Options of `Loupe.open`.
pub(super) struct OpenOptions {
    /// What to compute on.
    pub device: DeviceChoice,
}

/// What to compute on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DeviceChoice {
    /// A GPU, or the CPU where there is none or only one in software.
    Auto,
    /// A GPU, in software too.
    Gpu,
    /// The CPU.
    Cpu,
}

impl OpenOptions {
    /// Errors: `bad-option`.
    pub(super) fn parse(value: &JsValue) -> Result<OpenOptions> {
        let get = options(value, &["device"])?;
        let given = get("device");
        let device = match string("device", &given)?.as_deref() {
            None | Some("auto") => DeviceChoice::Auto,
            Some("gpu") => DeviceChoice::Gpu,
            Some("cpu") => DeviceChoice::Cpu,
            Some(_) => return Err(bad("device", "\"auto\", \"gpu\" or \"cpu\"", &given)),
        };
        Ok(OpenOptions { device })
    }
}

/// Errors: `bad-option`.
fn strings(name: &str, value: &JsValue) -> Result<Vec<String>> {
    let wrong = |got: &JsValue| bad(name, "an array of strings", got);
    let list = value.dyn_ref::<Array>().ok_or_else(|| wrong(value))?;
    list.iter().map(|v| v.as_string().ok_or_else(|| wrong(&v))).collect()
}

/// Errors: `bad-option`.
pub(super) fn function(name: &str, value: &JsValue) -> Result<Option<Function>> {
    optional(value, |v| v.clone().dyn_into().map_err(|_| bad(name, "a function", v)))
}

/// Errors: `bad-option`.
pub(super) fn signal(value: &JsValue) -> Result<Option<AbortSignal>> {
    optional(value, |v| v.clone().dyn_into().map_err(|_| bad("signal", "an AbortSignal", v)))
}

/// A length in bytes, which may be more than a `usize` holds.
///
/// Errors: `bad-option`.
pub(super) fn optional_bytes(name: &str, value: &JsValue) -> Result<Option<f64>> {
    let is_length = |n: &f64| *n >= 1.0 && n.fract() == 0.0 && *n <= 9e15;
    let length = |v: &JsValue| v.as_f64().filter(is_length);
    optional(value, |v| length(v).ok_or_else(|| bad(name, "a whole number of bytes from 1", v)))
}

/// A whole number from 0 on.
///
/// Errors: `bad-option`.
pub(super) fn index(name: &str, value: &JsValue) -> Result<usize> {
    let whole = value.as_f64().and_then(whole_number);
    whole.map(|n| n as usize).ok_or_else(|| bad(name, "a whole number from 0", value))
}

/// The same, or `otherwise` if the option is left out.
///
/// Errors: `bad-option`.
pub(super) fn index_or(name: &str, value: &JsValue, otherwise: usize) -> Result<usize> {
    optional(value, |v| index(name, v)).map(|n| n.unwrap_or(otherwise))
}

/// The same, or none if the option is left out.
///
/// Errors: `bad-option`.
pub(super) fn optional_index(name: &str, value: &JsValue) -> Result<Option<usize>> {
    optional(value, |v| index(name, v))
}

/// A number as a whole one of 32 bits, if it is one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "compared afterwards")]
fn whole_number(value: f64) -> Option<u32> {
    let whole = value as u32;
    (f64::from(whole) == value).then_some(whole)
}

/// A token id.
///
/// Errors: `bad-option`.
pub(super) fn id(value: f64) -> Result<u32> {
    whole_number(value).ok_or_else(|| Error::option("id", "a whole number from 0", value))
}

/// A list of token ids: an array of numbers or a Uint32Array.
///
/// Errors: `bad-option`.
pub(super) fn ids(name: &str, value: &JsValue) -> Result<Vec<u32>> {
    if let Some(ids) = value.dyn_ref::<Uint32Array>() {
        return Ok(ids.to_vec());
    }
    let wrong = |got: &JsValue| bad(name, "a Uint32Array or an array of ids", got);
    let list = value.dyn_ref::<Array>().ok_or_else(|| wrong(value))?;
    list.iter().map(|v| v.as_f64().and_then(whole_number).ok_or_else(|| wrong(&v))).collect()
}

/// Lists of ids, no more than one call takes.
///
/// Errors: `bad-option`.
pub(super) fn lists(name: &str, value: &JsValue) -> Result<Vec<Vec<u32>>> {
    let wrong = || bad(name, "an array of arrays of ids", value);
    let lists = value.dyn_ref::<Array>().ok_or_else(wrong)?;
    // Before anything is copied: one long list may be in it many times.
    lens::check_lists(name, lists.length() as usize)?;
    lists.iter().map(|list| ids(name, &list)).collect()
}

/// A list of finite numbers: an array or a typed one.
///
/// Errors: `bad-option`.
pub(super) fn numbers(name: &str, value: &JsValue) -> Result<Vec<f64>> {
    let wrong = |got: &JsValue| bad(name, "an array of finite numbers", got);
    if !Array::is_array(value) && !ArrayBuffer::is_view(value) {
        return Err(wrong(value));
    }
    let number = |v: JsValue| v.as_f64().filter(|v| v.is_finite()).ok_or_else(|| wrong(&v));
    Array::from(value).iter().map(number).collect()
}

/// The same, or none if the option is left out.
///
/// Errors: `bad-option`.
pub(super) fn optional_numbers(name: &str, value: &JsValue) -> Result<Option<Vec<f64>>> {
    optional(value, |v| numbers(name, v))
}

/// A string without lone surrogates.
///
/// Errors: `bad-option`, `bad-text`.
pub(super) fn text(value: &JsValue) -> Result<String> {
    let Some(text) = value.dyn_ref::<JsString>() else {
        return Err(bad("text", "a string", value));
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
            false => ids("textOrIds", value).map(Input::Ids),
        }
    }
}

/// How to read.
pub(super) struct ReadOptions {
    pub(super) lens: lens::Options,
    pub(super) edits: Vec<Edit>,
    /// Whether the rows are compared with what the model says of each token alone.
    pub(super) has_alone: bool,
    /// Whether the next reading starts from the one before this.
    pub(super) is_aside: bool,
    pub(super) cancel: Cancel,
    pub(super) on_block: Option<Function>,
}

impl ReadOptions {
    /// Errors: `bad-option`.
    pub(super) fn parse(value: &JsValue, session: &Session) -> Result<ReadOptions> {
        let known = [
            "subblocks",
            "contributions",
            "norm",
            "decoder",
            "top_k",
            "track",
            "edits",
            "lens",
            "references",
            "aside",
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
        let decoder = optional(&get("decoder"), |v| strings("decoder", v))?;
        lens.decoder = decoder.unwrap_or_default();
        lens.top_k = index_or("top_k", &get("top_k"), lens.top_k)?;
        lens.track = optional(&get("track"), |v| ids("track", v))?.unwrap_or_default();
        lens.lens = optional(&get("lens"), |v| super::lens::for_reading(v, session))?;
        let references = optional(&get("references"), |v| strings("references", v))?;
        let references = references.unwrap_or_default();
        if let Some(other) = references.iter().find(|name| *name != "alone") {
            return Err(bad("references", "\"alone\", or none", &other.into()));
        }
        Ok(ReadOptions {
            has_alone: !references.is_empty(),
            lens,
            edits: optional(&get("edits"), |v| edits::parse(v, session))?.unwrap_or_default(),
            is_aside: get("aside").is_truthy(),
            cancel: cancel_by(signal(&get("signal"))?),
            on_block: function("onBlock", &get("onBlock"))?,
        })
    }
}

/// Which cells of two readings to compare.
pub(super) struct CompareOptions {
    /// Pairs of positions; none if the option is left out.
    pub(super) columns: Option<Vec<(usize, usize)>>,
    /// Lists of tokens, of which each has one for every column.
    pub(super) targets: Vec<Vec<u32>>,
    pub(super) cancel: Cancel,
}

impl CompareOptions {
    /// Errors: `bad-option`.
    pub(super) fn parse(value: &JsValue) -> Result<CompareOptions> {
        let get = options(value, &["columns", "targets", "signal"])?;
        let wrong = |got: &JsValue| bad("columns", "an array of pairs of positions", got);
        let pair = |value: JsValue| {
            let pair = value.dyn_ref::<Array>().filter(|pair| pair.length() == 2);
            let pair = pair.ok_or_else(|| wrong(&value))?;
            Ok((index("columns", &pair.get(0))?, index("columns", &pair.get(1))?))
        };
        let pairs = |value: &JsValue| {
            let list = value.dyn_ref::<Array>().ok_or_else(|| wrong(value))?;
            list.iter().map(pair).collect::<Result<Vec<_>>>()
        };
        let columns = optional(&get("columns"), pairs)?;
        let targets =
            optional(&get("targets"), |value| lists("targets", value))?.unwrap_or_default();
        Ok(CompareOptions { columns, targets, cancel: cancel_by(signal(&get("signal"))?) })
    }
}

/// Options of `loupe.check` and `loupe.fold`.
pub(super) struct CancelOptions {
    /// Stops the work.
    pub cancel: Cancel,
}

impl CancelOptions {
    /// Errors: `bad-option`.
    pub(super) fn parse(value: &JsValue) -> Result<CancelOptions> {
        let get = options(value, &["signal"])?;
        Ok(CancelOptions { cancel: cancel_by(signal(&get("signal"))?) })
    }
}

/// Stops the work once the signal is aborted.
pub(super) fn cancel_by(signal: Option<AbortSignal>) -> Cancel {
    signal.map_or_else(Cancel::default, |signal| Cancel::new(move || signal.aborted()))
}
