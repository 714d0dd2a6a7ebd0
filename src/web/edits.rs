//! Edits of a run ─▶ Rust types.

use std::rc::Rc;

use js_sys::{Array, Reflect};
use wasm_bindgen::prelude::*;

use crate::error::{Error, Result};
use crate::session::{Edit, How, Lensed, Place, Session, Source};

use super::options::{bad, check_keys, ids, is_absent, numbers, optional, optional_index, string};

/// Edits in order. The readings that they name may be freed once this returns.
///
/// Errors: `bad-option`.
pub(super) fn parse(value: &JsValue, session: &Session) -> Result<Vec<Edit>> {
    let list = value.dyn_ref::<Array>().ok_or_else(|| bad("edits", "an array of edits", value))?;
    let mut most = MAX_POSITIONS;
    if list.length() > MAX_EDITS {
        return Err(Error::option("edits", format!("at most {MAX_EDITS}"), list.length()));
    }
    list.iter().map(|value| edit(&value, session, &mut most)).collect()
}

/// Most edits of a reading.
const MAX_EDITS: u32 = 4096;
/// Most positions that its edits name together: before anything is copied, one long list may be in them many times.
const MAX_POSITIONS: u32 = 1 << 20;
/// Longest vector that is looked at.
const MAX_VECTOR: f64 = 65_536.0;

fn edit(value: &JsValue, session: &Session, most: &mut u32) -> Result<Edit> {
    let get = |name: &str| Reflect::get(value, &name.into()).unwrap_or_default();
    if !is_absent(&get("weights")) {
        check_keys("edits", value, &["weights", "channel", "scale", "smooth"])?;
        let how = match (is_absent(&get("scale")), is_absent(&get("smooth"))) {
            (false, true) => How::Scale(number("edits.scale", &get("scale"))?),
            (true, false) => How::Smooth(number("edits.smooth", &get("smooth"))?),
            (is_neither, _) => {
                let got = if is_neither { "neither" } else { "both" };
                return Err(Error::option("edits", "either scale or smooth", got));
            }
        };
        let channel = optional_index("edits.channel", &get("channel"))?;
        let of = string("edits.weights", &get("weights"))?.unwrap_or_default();
        return Ok(Edit::Weights { of, channel, how });
    }
    check_keys("edits", value, &["at", "head", "positions", "from", "to", "add", "scale"])?;
    let mut positions = |name: &str, value: &JsValue| positions(name, value, most);
    let place = Place {
        at: string("edits.at", &get("at"))?.unwrap_or_default(),
        head: optional_index("edits.head", &get("head"))?,
        positions: optional(&get("positions"), |v| positions("edits.positions", v))?,
    };
    let (from, to, add) = (get("from"), get("to"), get("add"));
    let n_given = [&from, &to, &add].iter().filter(|value| !is_absent(value)).count();
    if n_given != 1 {
        let expected = "one of from, to and add";
        return Err(Error::option("edits", expected, format!("{n_given} of them")));
    }
    if is_absent(&add) && !is_absent(&get("scale")) {
        return Err(Error::option("edits.scale", "none without add", "one"));
    }
    if !is_absent(&from) {
        check_keys("edits.from", &from, &["reading", "at", "positions"])?;
        let get = |name: &str| Reflect::get(&from, &name.into()).unwrap_or_default();
        let from = Source {
            reading: reading("edits.from.reading", &get("reading"), session)?,
            at: string("edits.from.at", &get("at"))?,
            positions: optional(&get("positions"), |v| positions("edits.from.positions", v))?,
        };
        return Ok(Edit::Patch { place, from });
    }
    if is_absent(&add) {
        if to.as_string().as_deref() == Some("zero") {
            return Ok(Edit::Ablate { place, mean: None });
        }
        if to.as_string().is_some() {
            return Err(bad("edits.to", "\"zero\" or { mean: reading }", &to));
        }
        check_keys("edits.to", &to, &["mean"])?;
        let mean = Reflect::get(&to, &"mean".into()).unwrap_or_default();
        return Ok(Edit::Ablate { place, mean: Some(reading("edits.to.mean", &mean, session)?) });
    }
    let length = Reflect::get(&add, &"length".into()).unwrap_or_default().as_f64();
    if length.is_some_and(|length| length > MAX_VECTOR) {
        return Err(bad("edits.add", "n_embd numbers", &add));
    }
    let vector = numbers("edits.add", &add)?.into_iter().map(single).collect();
    let scale = optional(&get("scale"), |v| number("edits.scale", v))?.unwrap_or(1.0);
    Ok(Edit::Steer { place, vector, scale })
}

#[expect(clippy::cast_possible_truncation, reason = "activations are stored in f32")]
fn single(value: f64) -> f32 {
    value as f32
}

fn number(name: &str, value: &JsValue) -> Result<f32> {
    value.as_f64().map(single).ok_or_else(|| bad(name, "a number", value))
}

/// `most` is how many positions there may still be.
fn positions(name: &str, value: &JsValue, most: &mut u32) -> Result<Vec<usize>> {
    let wrong = || bad(name, "an array of positions, not too long", value);
    if !value.is_object() {
        return Err(wrong());
    }
    let length = Reflect::get(value, &"length".into()).unwrap_or_default().as_f64();
    let length = length.filter(|length| *length <= f64::from(*most)).ok_or_else(wrong)?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most `most`")]
    {
        *most -= length as u32;
    }
    Ok(ids(name, value)?.into_iter().map(|position| position as usize).collect())
}

/// A complete reading of this Loupe.
///
/// Errors: `bad-option`.
pub(super) fn reading(name: &str, value: &JsValue, session: &Session) -> Result<Rc<Lensed>> {
    if !value.is_object() {
        return Err(bad(name, "a complete reading of this Loupe", value));
    }
    // The getter of a freed object throws.
    let Ok(key) = Reflect::get(value, &"key".into()) else {
        return Err(Error::option(name, "a reading", "one that has been freed"));
    };
    let found = super::options::index(name, &key).ok().and_then(|key| u32::try_from(key).ok());
    let found = found.and_then(|key| session.reading(key));
    found.ok_or_else(|| bad(name, "a complete reading of this Loupe", value))
}
