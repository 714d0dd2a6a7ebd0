//! Readings that several engines share: what crosses between them as JavaScript values.

use std::pin::Pin;
use std::rc::Rc;

use js_sys::{Array, Float32Array, Function, JsString, Object, Promise, Reflect, Uint32Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::error::{Error, Result};
use crate::lens::{Folded, Helper, Helpers, Norm, Share};

use super::options::{bad, options};
use super::results::{object, set};

const OF_SHARE: [&str; 6] = ["rows", "n_taps", "n", "targets", "top_k", "norm"];

/// A function that takes a share and returns a promise of what is read back.
struct Called(Function);

impl Helper for Called {
    fn fold(&self, share: Share) -> Pin<Box<dyn Future<Output = Result<Folded>>>> {
        let answer = self.0.call1(&JsValue::UNDEFINED, &share_object(&share));
        // Listened to from now on: a reading that is cancelled no longer waits, and nobody else handles a rejection.
        let answer = answer.map(|answer| JsFuture::from(Promise::resolve(&answer)));
        Box::pin(async move {
            let gone = |_| Error::NotFound("a helper did not answer".into());
            folded(&answer.map_err(gone)?.await.map_err(gone)?)
        })
    }
}

/// Errors: `bad-option`.
pub(super) fn helpers(value: &JsValue) -> Result<Helpers> {
    let wrong = |got: &JsValue| bad("helpers", "an array of functions", got);
    let list = value.dyn_ref::<Array>().ok_or_else(|| wrong(value))?;
    let helper = |value: JsValue| -> Result<Rc<dyn Helper>> {
        Ok(Rc::new(Called(value.dyn_into().map_err(|value| wrong(&value))?)))
    };
    list.iter().map(helper).collect()
}

fn share_object(share: &Share) -> JsValue {
    let out = object();
    set(&out, "rows", Float32Array::from(&share.rows[..]));
    set(&out, "n_taps", share.n_taps);
    set(&out, "n", share.n);
    set(&out, "targets", Uint32Array::from(&share.targets[..]));
    set(&out, "top_k", share.top_k);
    set(&out, "norm", share.norm.name());
    out.into()
}

/// Errors: `bad-option`.
pub(super) fn share(value: &JsValue) -> Result<Share> {
    let get = options(value, &OF_SHARE)?;
    let number = |name: &str| {
        let value = get(name);
        let n = value.as_f64().filter(|n| n.fract() == 0.0 && (0.0..1e9).contains(n));
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number below 1e9"
        )]
        n.map(|n| n as usize).ok_or_else(|| bad(name, "a whole number", &value))
    };
    let rows = get("rows");
    let rows: &Float32Array = rows.dyn_ref().ok_or_else(|| bad("rows", "a Float32Array", &rows))?;
    let targets = get("targets");
    let targets: &Uint32Array =
        targets.dyn_ref().ok_or_else(|| bad("targets", "a Uint32Array", &targets))?;
    let norm = get("norm").as_string().unwrap_or_default();
    Ok(Share {
        rows: rows.to_vec(),
        n_taps: number("n_taps")?,
        n: number("n")?,
        targets: targets.to_vec(),
        top_k: number("top_k")?,
        norm: Norm::from_name(&norm)?,
    })
}

/// What `loupe.fold` resolves to.
pub(super) fn folded_object(folded: &Folded) -> JsValue {
    let out = object();
    set(&out, "merged", Float32Array::from(&folded.merged[..]));
    set(&out, "target_logits", Float32Array::from(&folded.target_logits[..]));
    set(&out, "top", Float32Array::from(&folded.top[..]));
    out.into()
}

/// Errors: `not-found` for anything else.
fn folded(value: &JsValue) -> Result<Folded> {
    let numbers = |name: &str| {
        let array = Reflect::get(value, &JsString::from(name)).ok();
        let array = array.and_then(|array| array.dyn_into::<Float32Array>().ok());
        array.map(|array| array.to_vec()).ok_or_else(|| Error::NotFound("a helper's answer".into()))
    };
    if !value.is_instance_of::<Object>() {
        return Err(Error::NotFound("a helper's answer".into()));
    }
    Ok(Folded {
        merged: numbers("merged")?,
        target_logits: numbers("target_logits")?,
        top: numbers("top")?,
    })
}
