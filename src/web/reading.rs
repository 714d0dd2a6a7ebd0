//! A reading as JavaScript sees it.

use std::rc::{Rc, Weak};

use js_sys::{Array, Float32Array, Promise};
use wasm_bindgen::prelude::*;

use crate::device::Cancel;
use crate::error::{Error, Result};
use crate::lens::Line;
use crate::reading::{self, Statistic, Track};
use crate::session::{self, Alone, Lensed, MemoryRequest, Session, Vocabulary};
use crate::tokenizer::Token;

use super::atlas::watched;
use super::options::{self, cancel_by};
use super::promise;
use super::results::{self, js_error, object, set};

/// A complete reading has its residual stream, one passed to `onBlock` does not. Neither keeps the model.
enum Source {
    Whole(Weak<Session>, Rc<Lensed>, Option<Alone>),
    Block(Rc<Vocabulary>, Box<reading::Reading>),
}

/// The lens over a text, or over a block of its positions.
#[wasm_bindgen(skip_typescript)]
pub struct Reading {
    source: Source,
}

impl Reading {
    pub(super) fn whole(
        session: Weak<Session>,
        lensed: Rc<Lensed>,
        alone: Option<Alone>,
    ) -> Reading {
        Reading { source: Source::Whole(session, lensed, alone) }
    }

    pub(super) fn block(vocabulary: Rc<Vocabulary>, reading: reading::Reading) -> Reading {
        Reading { source: Source::Block(vocabulary, Box::new(reading)) }
    }

    fn plain(&self) -> &reading::Reading {
        match &self.source {
            Source::Whole(_, lensed, _) => &lensed.reading,
            Source::Block(_, reading) => reading,
        }
    }

    /// The reading with its residual stream.
    ///
    /// Errors: `bad-option` for one that was passed to `onBlock`.
    pub(super) fn lensed(&self, name: &str) -> Result<Rc<Lensed>> {
        match &self.source {
            Source::Whole(_, lensed, _) => Ok(lensed.clone()),
            Source::Block(..) => Err(not_whole(name)),
        }
    }

    fn token(&self, id: u32) -> Result<Token> {
        match &self.source {
            Source::Whole(_, lensed, _) => lensed.vocabulary.token(id),
            Source::Block(vocabulary, _) => vocabulary.token(id),
        }
    }
}

#[wasm_bindgen]
impl Reading {
    /// The tokens read.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn tokens(&self) -> Array {
        self.plain().tokens.iter().map(results::token).collect()
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

    /// Tells it from other readings in edits; 0 for one that was passed to `onBlock`.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn key(&self) -> u32 {
        match &self.source {
            Source::Whole(_, lensed, _) => lensed.key,
            Source::Block(..) => 0,
        }
    }

    /// The edits of the run, as plain data.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn edits(&self) -> JsValue {
        let list = match &self.source {
            Source::Whole(_, lensed, _) => lensed.edits(),
            Source::Block(..) => &[],
        };
        js_sys::JSON::parse(&format!("[{}]", list.join(","))).unwrap_or_default()
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
        if let Source::Whole(_, _, Some(alone)) = &self.source {
            match name {
                "kl_alone" => return Ok(Float32Array::from(&alone.kl[..])),
                "kl_alone_reverse" => return Ok(Float32Array::from(&alone.kl_reverse[..])),
                _ => (),
            }
        }
        let statistic = Statistic::from_name(name).ok_or_else(|| {
            let names: Vec<_> = Statistic::ALL.iter().map(|s| s.name()).collect();
            let expected = format!("one of {}", names.join(", "));
            Error::option("name", expected, format!("\"{name}\""))
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
        let ids = self.plain().top_ids.iter().copied().filter(|&id| id != reading::NO_TOKEN);
        let mut ids: Vec<u32> = ids.collect();
        ids.sort_unstable();
        ids.dedup();
        let token = |id| self.token(id).map(|t| results::token(&t)).map_err(|e| js_error(&e));
        ids.into_iter().map(token).collect()
    }

    /// A token that was tracked. Errors: `bad-option` for one that was not.
    #[wasm_bindgen(skip_typescript)]
    pub fn tracked(&self, id: f64) -> std::result::Result<JsValue, JsValue> {
        let found = self.plain().tracked.iter().find(|t| f64::from(t.id) == id);
        let missing = || {
            let expected = "a token of the option track, or a call of trace()";
            js_error(&Error::option("id", expected, id))
        };
        found.map(track).ok_or_else(missing)
    }

    /// Cells with a logit that is not finite.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn not_finite(&self) -> Array {
        results::not_finite(self.plain())
    }

    /// Any tokens along a line of cells, from the residual stream of the reading.
    #[wasm_bindgen(skip_typescript)]
    pub fn trace(&self, ids: JsValue, options: JsValue) -> Promise {
        let whole = match &self.source {
            Source::Whole(session, lensed, _) => {
                session::in_use(session).map(|session| (session.lock(), session, lensed.clone()))
            }
            Source::Block(..) => Err(not_whole("trace")),
        };
        let parsed = trace_options(&ids, &options);
        promise(async move {
            let (lock, session, lensed) = whole?;
            let (ids, line, cancel) = parsed?;
            let _guard = lock.await;
            let tracks = session.trace(&lensed, &ids, line, &cancel).await?;
            Ok(tracks.iter().map(track).collect::<Array>().into())
        })
    }

    /// Sets of tokens at every cell, from the residual stream of the reading.
    #[wasm_bindgen(skip_typescript)]
    pub fn sets(&self, sets: JsValue, options: JsValue) -> Promise {
        let whole = match &self.source {
            Source::Whole(session, lensed, _) => {
                session::in_use(session).map(|session| (session.lock(), session, lensed.clone()))
            }
            Source::Block(..) => Err(not_whole("sets")),
        };
        let lists = options::lists("sets", &sets);
        let parsed = lists.and_then(|lists| Ok((lists, watched(&options, &[])?.1)));
        promise(async move {
            let (lock, session, lensed) = whole?;
            let (lists, watch) = parsed?;
            let _guard = lock.await;
            watch.cancel.check()?;
            let report = |done| watch.report(done);
            let found = session.sets(&lensed, &lists, &watch.cancel, report).await?;
            Ok(found.iter().map(results::set_scores).collect::<Array>().into())
        })
    }
}

#[wasm_bindgen]
impl Reading {
    /// The true next tokens' log-probabilities with other keys and values of earlier positions.
    #[wasm_bindgen(skip_typescript)]
    pub fn memory(&self, options: JsValue) -> Promise {
        let whole = match &self.source {
            Source::Whole(session, lensed, _) => {
                session::in_use(session).map(|session| (session.lock(), session, lensed.clone()))
            }
            Source::Block(..) => Err(not_whole("memory")),
        };
        let parsed = memory_options(&options);
        promise(async move {
            let (lock, session, lensed) = whole?;
            let (request, cancel) = parsed?;
            let _guard = lock.await;
            cancel.check()?;
            let found = session.memory(&lensed, &request, &cancel).await?;
            Ok(Float32Array::from(&found[..]).into())
        })
    }

    /// What each component of the run adds at a cell.
    #[wasm_bindgen(skip_typescript)]
    pub fn attribute(&self, options: JsValue) -> Promise {
        self.ask(Question::Attribution, &options, &["tap", "position", "tokens"])
    }

    /// The weights with which a head, or each head of a block, attends.
    #[wasm_bindgen(skip_typescript)]
    pub fn attention(&self, options: JsValue) -> Promise {
        self.ask(Question::Heads, &options, &["block", "head", "position"])
    }

    /// What a head, or each head of a block, adds at a cell from each position.
    #[wasm_bindgen(skip_typescript)]
    pub fn sources(&self, options: JsValue) -> Promise {
        self.ask(Question::Heads, &options, &["block", "head", "tap", "position", "tokens"])
    }

    /// What each hidden unit of an MLP adds at a cell.
    #[wasm_bindgen(skip_typescript)]
    pub fn neurons(&self, options: JsValue) -> Promise {
        self.ask(Question::Neurons, &options, &["block", "tap", "position", "tokens"])
    }

    /// The tokens that a component raises and lowers most.
    #[wasm_bindgen(skip_typescript)]
    pub fn promoted(&self, options: JsValue) -> Promise {
        self.ask(Question::Promoted, &options, &["component", "tap", "position", "k"])
    }

    /// Which tokens a probe reconstructs from the rows.
    #[wasm_bindgen(skip_typescript)]
    pub fn recover(&self, probe: JsValue, options: JsValue) -> Promise {
        let asked = self.asked(&options, &[]).and_then(|asked| {
            let probe = super::lens::lens("probe", &probe, &asked.session)?;
            Ok((asked.session.lock(), asked, probe))
        });
        promise(async move {
            let (lock, Asked { session, lensed, cancel, .. }, probe) = asked?;
            let _guard = lock.await;
            cancel.check()?;
            Ok(super::lens::recovered(&session.recover(&lensed, &probe, &cancel).await?))
        })
    }

    /// How far the rows are from what the model says of each token alone, or of another one in its place.
    #[wasm_bindgen(skip_typescript)]
    pub fn alone(&self, options: JsValue) -> Promise {
        let asked = self.asked(&options, &["control"]).and_then(|asked| {
            let control = js_sys::Reflect::get(&options, &"control".into()).unwrap_or_default();
            let control = options::optional(&control, |value| options::ids("control", value))?;
            Ok((asked.session.lock(), asked, control))
        });
        promise(async move {
            let (lock, Asked { session, lensed, cancel, .. }, control) = asked?;
            let _guard = lock.await;
            cancel.check()?;
            let found = session.alone(&lensed, control.as_deref(), &cancel).await?;
            Ok(super::lens::alone(&found))
        })
    }

    /// The residual stream at a cell.
    #[wasm_bindgen(skip_typescript)]
    pub fn stream(&self, options: JsValue) -> Promise {
        self.ask(Question::Stream, &options, &["tap", "position"])
    }
}

/// What is asked about a cell of a complete reading.
enum Question {
    Attribution,
    Heads,
    Neurons,
    Promoted,
    Stream,
}

/// A question with its options, as far as it has them.
struct Asked {
    session: Rc<Session>,
    lensed: Rc<Lensed>,
    block: usize,
    head: Option<usize>,
    tap: Option<usize>,
    tokens: Vec<u32>,
    component: String,
    k: usize,
    position: Option<usize>,
    cancel: Cancel,
}

impl Reading {
    /// Answers a question once earlier calls are over; all options with these names are needed, but for `head`, `k`, and
    /// the position of a stream.
    fn ask(&self, question: Question, options: &JsValue, names: &[&str]) -> Promise {
        let parsed = self.asked(options, names).map(|asked| (asked.session.lock(), asked));
        promise(async move {
            let (lock, asked) = parsed?;
            let Asked { session, lensed, block, cancel, .. } = &asked;
            let position = match (&question, asked.position) {
                (Question::Stream, _) => 0,
                (_, Some(position)) => position,
                (_, None) => return Err(Error::option("position", "a position", "none").into()),
            };
            let _guard = lock.await;
            cancel.check()?;
            let tap = asked.tap.unwrap_or(0);
            let cell = (tap, &asked.tokens[..]);
            let found = match question {
                Question::Attribution => {
                    let (tap, tokens) = cell;
                    let found = session.attribute(lensed, tap, position, tokens, cancel).await?;
                    return Ok(results::attribution(&found));
                }
                Question::Promoted => {
                    let of = (tap, asked.component.as_str());
                    let found = session.promoted(lensed, of, position, asked.k, cancel).await?;
                    return Ok(results::promoted(&found));
                }
                Question::Heads => {
                    let (heads, cell) = ((*block, asked.head), asked.tap.map(|_| cell));
                    session.attention(lensed, heads, position, cell, cancel).await?
                }
                Question::Neurons => {
                    session.neurons(lensed, *block, cell, position, cancel).await?
                }
                Question::Stream => session.stream(lensed, tap, asked.position).await?,
            };
            Ok(Float32Array::from(&found[..]).into())
        })
    }

    fn asked(&self, options: &JsValue, names: &[&str]) -> Result<Asked> {
        let Source::Whole(session, lensed, _) = &self.source else {
            return Err(not_whole("reading"));
        };
        let session = session::in_use(session)?;
        let get = options::options(options, &[names, &["signal"]].concat())?;
        let has = |name: &str| names.contains(&name);
        let number = |name: &str| options::index(name, &get(name));
        let optional = |name: &str| options::optional_index(name, &get(name));
        let tap = match has("tap") {
            true => {
                let name = options::string("tap", &get("tap"))?.unwrap_or_default();
                let taps = &lensed.reading.taps;
                let tap = taps.iter().position(|tap| *tap == name).ok_or_else(|| {
                    let expected = format!("one of {}", taps.join(", "));
                    Error::option("tap", expected, format!("\"{name}\""))
                })?;
                Some(tap)
            }
            false => None,
        };
        Ok(Asked {
            block: if has("block") { number("block")? } else { 0 },
            head: if has("head") { optional("head")? } else { None },
            k: if has("k") { optional("k")?.unwrap_or(10) } else { 0 },
            tokens: match has("tokens") {
                true => options::ids("tokens", &get("tokens"))?,
                false => Vec::new(),
            },
            component: match has("component") {
                true => options::string("component", &get("component"))?.unwrap_or_default(),
                false => String::new(),
            },
            cancel: cancel_by(options::signal(&get("signal"))?),
            position: optional("position")?,
            lensed: lensed.clone(),
            session,
            tap,
        })
    }
}

/// Errors: `bad-option`.
fn memory_options(value: &JsValue) -> Result<(MemoryRequest, Cancel)> {
    let get = options::options(value, &["first", "alpha", "tokens", "signal"])?;
    let alpha = options::numbers("alpha", &Array::of1(&get("alpha")).into())?;
    #[expect(clippy::cast_possible_truncation, reason = "activations are stored in f32")]
    let request = MemoryRequest {
        first: options::index("first", &get("first"))?,
        alpha: alpha.first().map_or(f32::NAN, |alpha| *alpha as f32),
        tokens: options::optional(&get("tokens"), |value| options::ids("tokens", value))?,
    };
    Ok((request, cancel_by(options::signal(&get("signal"))?)))
}

fn not_whole(name: &str) -> Error {
    Error::option(name, "a complete reading", "one passed to onBlock")
}

/// Errors: `bad-option`.
fn trace_options(ids: &JsValue, value: &JsValue) -> Result<(Vec<u32>, Line, Cancel)> {
    let get = options::options(value, &["position", "tap", "signal"])?;
    let position = options::optional_index("position", &get("position"))?;
    let tap = options::optional_index("tap", &get("tap"))?;
    let line = match (position, tap) {
        (Some(position), None) => Line::Position(position),
        (None, Some(tap)) => Line::Tap(tap),
        (both, _) => {
            let got = if both.is_some() { "both" } else { "neither" };
            return Err(Error::option("line", "either position or tap", got));
        }
    };
    Ok((options::ids("ids", ids)?, line, cancel_by(options::signal(&get("signal"))?)))
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
