//! A reading as JavaScript sees it.

use std::collections::BTreeSet;
use std::rc::Rc;

use js_sys::{Array, Float32Array, Promise};
use wasm_bindgen::prelude::*;

use crate::error::{Error, Result};
use crate::gpu::Cancel;
use crate::lens::Line;
use crate::reading::{self, Statistic, Track};
use crate::session::{Lensed, Loaded, Session};
use crate::tokenizer::Token;

use super::convert::{self, js_error, object, set};
use super::{cancel_by, promise};

/// What a reading came from: a whole one keeps its residual stream, a block does not.
enum Source {
    Whole(Rc<Session>, Rc<Lensed>),
    Block(Rc<Loaded>, Box<reading::Reading>),
}

/// The lens over a text, or over a block of its positions.
#[wasm_bindgen(skip_typescript)]
pub struct Reading {
    source: Source,
}

impl Reading {
    pub(super) fn whole(session: Rc<Session>, lensed: Rc<Lensed>) -> Reading {
        Reading { source: Source::Whole(session, lensed) }
    }

    pub(super) fn block(loaded: Rc<Loaded>, reading: reading::Reading) -> Reading {
        Reading { source: Source::Block(loaded, Box::new(reading)) }
    }

    fn plain(&self) -> &reading::Reading {
        match &self.source {
            Source::Whole(_, lensed) => &lensed.reading,
            Source::Block(_, reading) => reading,
        }
    }

    fn token(&self, id: u32) -> Result<Token> {
        match &self.source {
            Source::Whole(_, lensed) => lensed.token(id),
            Source::Block(loaded, _) => loaded.token(id),
        }
    }
}

#[wasm_bindgen]
impl Reading {
    /// The tokens read.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn tokens(&self) -> Array {
        self.plain().tokens.iter().map(convert::token).collect()
    }

    /// Names of the rows, `input` first.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn taps(&self) -> Array {
        self.plain().taps.iter().map(JsValue::from).collect()
    }

    /// T.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn n_tokens(&self) -> usize {
        self.plain().n_tokens()
    }

    /// K.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn top_k(&self) -> usize {
        self.plain().top_k
    }

    /// Whether the last row is the model's own output.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn final_is_model(&self) -> bool {
        self.plain().final_is_model
    }

    /// One statistic, tap-major. Errors: `bad-option`.
    #[wasm_bindgen(skip_typescript)]
    pub fn stat(&self, name: &str) -> std::result::Result<Float32Array, JsValue> {
        let statistic = Statistic::from_name(name).ok_or_else(|| {
            let names: Vec<_> = Statistic::ALL.iter().map(|s| s.name()).collect();
            Error::BadOption(format!("\"{name}\" is no statistic; there are {}", names.join(", ")))
        });
        statistic.map(|s| self.plain().stat(s).into()).map_err(|e| js_error(&e))
    }

    /// Ids of the K most likely tokens of each cell.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn top_ids(&self) -> Vec<u32> {
        self.plain().top_ids.clone()
    }

    /// Their logits.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn top_logits(&self) -> Vec<f32> {
        self.plain().top_logits.clone()
    }

    /// The distinct tokens of `top_ids`, by rising id.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn top_tokens(&self) -> std::result::Result<Array, JsValue> {
        let ids: BTreeSet<u32> = self.plain().top_ids.iter().copied().collect();
        let token = |id| self.token(id).map(|t| convert::token(&t)).map_err(|e| js_error(&e));
        ids.into_iter().map(token).collect()
    }

    /// A token that was tracked. Errors: `bad-option` for one that was not.
    #[wasm_bindgen(skip_typescript)]
    pub fn tracked(&self, id: f64) -> std::result::Result<JsValue, JsValue> {
        let found = self.plain().tracked.iter().find(|t| f64::from(t.id) == id);
        let missing = || {
            let wish = format!("track does not list {id}; ask for it in read(), or use trace()");
            js_error(&Error::BadOption(wish))
        };
        found.map(track).ok_or_else(missing)
    }

    /// Any tokens along a line of cells, from the kept residual stream.
    #[wasm_bindgen(skip_typescript)]
    pub fn trace(&self, ids: JsValue, options: JsValue) -> Promise {
        let whole = match &self.source {
            Source::Whole(session, lensed) => Some((session.clone(), lensed.clone())),
            Source::Block(..) => None,
        };
        let parsed = trace_options(&ids, &options);
        promise(async move {
            let (session, lensed) = whole.ok_or_else(|| {
                Error::BadOption("trace needs a whole reading, this is a block of one".into())
            })?;
            let (ids, line, cancel) = parsed?;
            let _turn = session.turn().await;
            let tracks = session.trace(&lensed, &ids, line, &cancel).await?;
            Ok(tracks.iter().map(track).collect::<Array>().into())
        })
    }
}

/// Errors: `bad-option`.
fn trace_options(ids: &JsValue, options: &JsValue) -> Result<(Vec<u32>, Line, Cancel)> {
    let get = convert::options(options, &["position", "tap", "signal"])?;
    let line = line(get("position").as_f64(), get("tap").as_f64())?;
    Ok((convert::ids("ids", ids)?, line, cancel_by(convert::signal(&get("signal"))?)))
}

/// Errors: `bad-option` unless exactly one is given, and whole.
fn line(position: Option<f64>, tap: Option<f64>) -> Result<Line> {
    let whole = |v: f64| v >= 0.0 && v.fract() == 0.0;
    match (position, tap) {
        (Some(p), None) if whole(p) => Ok(Line::Position(p as usize)),
        (None, Some(t)) if whole(t) => Ok(Line::Tap(t as usize)),
        _ => Err(Error::BadOption("list needs either position or tap, a whole number".into())),
    }
}

/// `{ id, logit, logprob, rank }`.
fn track(track: &Track) -> JsValue {
    let out = object();
    set(&out, "id", track.id);
    set(&out, "logit", Float32Array::from(&track.logit[..]));
    set(&out, "logprob", Float32Array::from(&track.logprob[..]));
    set(&out, "rank", Float32Array::from(&track.rank[..]));
    out.into()
}
