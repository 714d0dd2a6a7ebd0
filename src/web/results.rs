//! Rust types ─▶ JavaScript values.

use js_sys::{Array, Float32Array, Object, Reflect, Uint8Array, Uint32Array};
use serde::Serialize;
use wasm_bindgen::prelude::*;

use crate::error::Error;
use crate::lens::{Comparison, Scores, SetScores};
use crate::model::{CopyOutcome, Requirements};
use crate::reading::Reading;
use crate::session::{Attribution, Checked, Loaded, Promoted, TOLERANCE};
use crate::tokenizer::Token;

/// An empty object.
pub(super) fn object() -> Object {
    Object::new()
}

/// Sets a property of an object that was just made, which cannot fail.
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

/// The message of a value that was thrown.
pub(super) fn message_of(value: &JsValue) -> String {
    let message = Reflect::get(value, &"message".into()).ok().and_then(|m| m.as_string());
    message.unwrap_or_else(|| format!("{value:?}"))
}

/// `[{ tap, position }]`.
pub(super) fn not_finite(reading: &Reading) -> Array {
    let cell = |cell: &crate::reading::NotFinite| {
        let out = object();
        let tap = reading.taps.get(cell.tap).map_or("", String::as_str);
        set(&out, "tap", tap);
        set(&out, "position", cell.position);
        out
    };
    reading.not_finite.iter().map(cell).collect()
}

/// `{ kl, kl_reverse, js, targets: [{ a, b }] }`.
pub(super) fn comparison(comparison: &Comparison) -> JsValue {
    let out = object();
    set(&out, "kl", Float32Array::from(&comparison.kl[..]));
    set(&out, "kl_reverse", Float32Array::from(&comparison.kl_reverse[..]));
    set(&out, "js", Float32Array::from(&comparison.js[..]));
    let both = |[a, b]: &[Scores; 2]| {
        let both = object();
        set(&both, "a", scores(a));
        set(&both, "b", scores(b));
        both
    };
    set(&out, "targets", comparison.targets.iter().map(both).collect::<Array>());
    out.into()
}

/// `{ components: [{ name, value }], sum, shown }`.
pub(super) fn attribution(found: &Attribution) -> JsValue {
    let component = |(name, value): &(String, f32)| {
        let out = object();
        set(&out, "name", name.as_str());
        set(&out, "value", *value);
        out
    };
    let out = object();
    set(&out, "components", found.components.iter().map(component).collect::<Array>());
    set(&out, "sum", found.sum);
    set(&out, "shown", found.shown);
    out.into()
}

/// `{ prob, rank }`.
pub(super) fn set_scores(scores: &SetScores) -> JsValue {
    let out = object();
    set(&out, "prob", Float32Array::from(&scores.prob[..]));
    set(&out, "rank", Float32Array::from(&scores.rank[..]));
    out.into()
}

/// `{ promoted, suppressed }`, each `{ ids, values }`.
pub(super) fn promoted(found: &Promoted) -> JsValue {
    let list = |tokens: &[(u32, f32)]| {
        let (ids, values): (Vec<u32>, Vec<f32>) = tokens.iter().copied().unzip();
        let out = object();
        set(&out, "ids", Uint32Array::from(&ids[..]));
        set(&out, "values", Float32Array::from(&values[..]));
        out
    };
    let out = object();
    set(&out, "promoted", list(&found.promoted));
    set(&out, "suppressed", list(&found.suppressed));
    out.into()
}

/// `{ logit, logprob, rank }`.
fn scores(scores: &Scores) -> Object {
    let out = object();
    set(&out, "logit", Float32Array::from(&scores.logit[..]));
    set(&out, "logprob", Float32Array::from(&scores.logprob[..]));
    set(&out, "rank", Float32Array::from(&scores.rank[..]));
    out
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
    let is_known = model.partial().is_none_or(|partial| partial.has_config);
    let size = |n: usize| (n > 0).then_some(n);
    let facts = ModelFacts {
        family: is_known.then(|| config.family.name()),
        n_layer: config.n_layer,
        n_head: size(config.n_head),
        n_embd: config.n_embd,
        n_ctx: size(config.n_ctx),
        vocab_size: size(config.vocab_size),
        parameters: is_known.then(|| config.parameters() as f64),
        partial: model.partial().is_some(),
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
struct CopyFacts<'a> {
    kept: Option<KeptFacts<'a>>,
    keep_error: Option<StoreErrorFacts<'a>>,
}

#[derive(Serialize)]
struct KeptFacts<'a> {
    bytes: f64,
    sha256: &'a str,
}

#[derive(Serialize)]
struct StoreErrorFacts<'a> {
    name: &'a str,
    message: &'a str,
}

/// The result of `load`.
pub(super) fn copy(outcome: &CopyOutcome) -> JsValue {
    let error = outcome.error.as_ref();
    plain(&CopyFacts {
        kept: outcome.kept.as_ref().map(|k| KeptFacts { bytes: k.bytes as f64, sha256: &k.sha256 }),
        keep_error: error.map(|e| StoreErrorFacts { name: &e.name, message: &e.message }),
    })
}

#[derive(Serialize)]
struct PlanFacts<'a> {
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

/// The result of `plan`.
pub(super) fn plan(requirements: &Requirements) -> JsValue {
    let config = &requirements.config;
    plain(&PlanFacts {
        family: config.family.name(),
        n_layer: config.n_layer,
        n_head: config.n_head,
        n_embd: config.n_embd,
        n_ctx: config.n_ctx,
        vocab_size: config.vocab_size,
        parameters: config.parameters() as f64,
        file_bytes: requirements.file_bytes as f64,
        kept_bytes: requirements.stored_bytes as f64,
        gpu_bytes: requirements.stored_bytes as f64,
        fits: match (&requirements.problem, requirements.is_tried) {
            (Some(_), _) => Some(false),
            (None, true) => Some(true),
            (None, false) => None,
        },
        problem: requirements.problem.as_ref().map(ToString::to_string),
    })
}

#[derive(Serialize)]
struct CheckFacts {
    passed: bool,
    largest: f64,
    kernels: Vec<FindingFacts>,
}

#[derive(Serialize)]
struct FindingFacts {
    kernel: &'static str,
    dispatches: usize,
    numbers: usize,
    difference: f64,
    is_wrong: bool,
    gpu_ms: f64,
    cpu_ms: f64,
}

/// What `loupe.check` resolves to.
pub(super) fn checked(checked: &Checked) -> JsValue {
    let kernels = checked.findings.iter().map(|finding| FindingFacts {
        kernel: finding.kernel,
        dispatches: finding.dispatches,
        numbers: finding.numbers,
        difference: finding.difference,
        is_wrong: finding.difference > TOLERANCE,
        gpu_ms: 1e3 * finding.gpu_seconds,
        cpu_ms: 1e3 * finding.cpu_seconds,
    });
    plain(&CheckFacts {
        passed: checked.has_passed(),
        largest: checked.largest(),
        kernels: kernels.collect(),
    })
}

/// A plain object, in which an absent value is null rather than undefined.
fn plain(facts: &impl Serialize) -> JsValue {
    let serializer = serde_wasm_bindgen::Serializer::new().serialize_missing_as_null(true);
    facts.serialize(&serializer).unwrap_or_default()
}
