//! A sweep as JavaScript asks for it.

use js_sys::{Array, Float32Array, Reflect};
use wasm_bindgen::prelude::*;

use crate::error::Result;
use crate::session::{Session, Sweep, SweepRequest, Swept};

use super::atlas::{Watch, watched};
use super::edits::reading;
use super::options::{bad, check_keys, id, optional_index, string};
use super::results::{object, set};

/// Errors: `bad-option`.
pub(super) fn parse(value: &JsValue, session: &Session) -> Result<(SweepRequest, Watch)> {
    let (get, watch) = watched(value, &["clean", "corrupt", "what", "direction", "metric"])?;
    let name = string("what", &get("what"))?.unwrap_or_default();
    let what = Swept::ALL.into_iter().find(|what| what.name() == name);
    let kinds = "\"stream\", \"attn_out\", \"mlp_out\" or \"heads\"";
    let metric = get("metric");
    check_keys("metric", &metric, &["plus", "minus", "position"])?;
    let of_metric = |name: &str| Reflect::get(&metric, &name.into()).unwrap_or_default();
    let token = |name: &str| {
        let value = of_metric(name);
        let number = value.as_f64().ok_or_else(|| bad(&format!("metric.{name}"), "an id", &value));
        id(number?).map_err(|_| bad(&format!("metric.{name}"), "an id", &value))
    };
    let request = SweepRequest {
        clean: reading("clean", &get("clean"), session)?,
        corrupt: reading("corrupt", &get("corrupt"), session)?,
        what: what.ok_or_else(|| bad("what", kinds, &get("what")))?,
        denoises: match string("direction", &get("direction"))?.as_deref() {
            None | Some("denoise") => true,
            Some("noise") => false,
            Some(_) => return Err(bad("direction", "\"denoise\" or \"noise\"", &get("direction"))),
        },
        plus: token("plus")?,
        minus: token("minus")?,
        position: optional_index("metric.position", &of_metric("position"))?,
    };
    Ok((request, watch))
}

/// `{ values, rows, columns, clean, corrupt }`.
pub(super) fn result(sweep: &Sweep) -> JsValue {
    let out = object();
    set(&out, "values", Float32Array::from(&sweep.values[..]));
    set(&out, "rows", sweep.rows.iter().map(JsValue::from).collect::<Array>());
    set(&out, "columns", sweep.columns);
    set(&out, "clean", sweep.clean);
    set(&out, "corrupt", sweep.corrupt);
    out.into()
}
