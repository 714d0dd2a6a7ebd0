//! Lenses, fits and corpora as JavaScript sees them.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use js_sys::{Array, Float32Array, Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

use crate::atlas::CallQueue;
use crate::device::Cancel;
use crate::error::{Error, Result};
use crate::lens::{Intake, Kind, Options};
use crate::session::{
    Alone, Corpus, CorpusOptions, CorpusRow, Edit, FitRequest, OpenLens, Recovered, Session,
    Target, in_use,
};

use super::atlas::{Held, watched};
use super::options::{self, Input, bad, cancel_by, is_absent};
use super::results::{js_error, object, set};
use super::source::Source;
use super::{Failure, promise};

/// A lens other than the logit lens, or a probe.
#[wasm_bindgen(skip_typescript)]
pub struct Lens {
    session: Weak<Session>,
    pub(super) lens: Rc<OpenLens>,
}

#[wasm_bindgen]
impl Lens {
    /// What is known of it, as plain data.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn card(&self) -> JsValue {
        plain(&self.lens.card)
    }

    /// Tells it from other lenses in options.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn key(&self) -> u32 {
        self.lens.maps.key()
    }

    /// The map of a row; null if it is read by the logit lens.
    #[wasm_bindgen(skip_typescript)]
    pub fn map(&self, tap: JsValue) -> Promise {
        let (session, lens) = (in_use(&self.session), self.lens.clone());
        let tap = options::string("tap", &tap);
        promise(async move {
            let (session, tap) = (session?, tap?.unwrap_or_default());
            let lock = session.lock();
            let _guard = lock.await;
            let Some((weight, bias)) = lens.map(session.device(), &tap).await? else {
                return Ok(JsValue::NULL);
            };
            let out = object();
            set(&out, "weight", Float32Array::from(&weight[..]));
            set(&out, "bias", Float32Array::from(&bias[..]));
            Ok(out.into())
        })
    }

    /// A safetensors file that opens again as this lens.
    #[wasm_bindgen(skip_typescript)]
    pub fn export(&self) -> Promise {
        let (session, lens) = (in_use(&self.session), self.lens.clone());
        promise(async move {
            let session = session?;
            let lock = session.lock();
            let _guard = lock.await;
            let bytes = lens.export(session.device()).await?;
            Ok(Uint8Array::from(&bytes[..]).into())
        })
    }
}

/// A value that serde writes, as a plain object.
fn plain(value: &impl serde::Serialize) -> JsValue {
    let text = serde_json::to_string(value).unwrap_or_default();
    js_sys::JSON::parse(&text).unwrap_or_default()
}

/// Opens a lens from a file.
pub(super) fn open(session: &Rc<Session>, value: &JsValue) -> Promise {
    let parsed = OpenRequest::parse(value);
    let session = session.clone();
    promise(async move {
        let OpenRequest { mut intake, file, source, licence, signal } = parsed?;
        let cancel = cancel_by(signal.clone());
        match file {
            File::Bytes(bytes) => {
                cancel.check()?;
                session.push_lens(&mut intake, &bytes.to_vec()).await?;
            }
            File::Source(file) => {
                let pieces = file.open(0, signal.as_ref()).await?;
                let pushed = push_all(&session, &mut intake, &file, &pieces, signal.as_ref()).await;
                pieces.close();
                pushed?;
            }
        }
        let mut lens = session.finish_lens(intake)?;
        lens.card.source = source.or(lens.card.source);
        lens.card.licence = licence.or(lens.card.licence);
        let lens = session.share_lens(lens);
        Ok(Lens { session: Rc::downgrade(&session), lens }.into())
    })
}

async fn push_all(
    session: &Session,
    intake: &mut Intake,
    file: &Source,
    pieces: &super::source::Pieces,
    signal: Option<&web_sys::AbortSignal>,
) -> std::result::Result<(), Failure> {
    while let Some(piece) = pieces.next(signal).await? {
        session.push_lens(intake, &piece.to_vec()).await?;
        file.detach(&piece);
    }
    Ok(())
}

/// Where the bytes of a lens are.
enum File {
    Bytes(Uint8Array),
    Source(Source),
}

/// Options of `loupe.lens`.
struct OpenRequest {
    intake: Intake,
    file: File,
    source: Option<String>,
    licence: Option<String>,
    signal: Option<web_sys::AbortSignal>,
}

impl OpenRequest {
    /// Errors: `bad-option`, `bad-config`.
    fn parse(value: &JsValue) -> Result<OpenRequest> {
        let known = ["kind", "file", "config", "sha256", "source", "licence", "signal"];
        let get = options::options(value, &known)?;
        let kind = options::string("kind", &get("kind"))?;
        let kind = kind.map(|name| Kind::from_name(&name)).transpose()?;
        let config = options::string("config", &get("config"))?;
        let given = options::string("sha256", &get("sha256"))?;
        if let Some(other) = given.as_ref().filter(|hex| !crate::checkpoint::is_sha256(hex)) {
            return Err(bad("sha256", "64 hexadecimal digits", &other.into()));
        }
        let file = get("file");
        let (file, known) = match file.dyn_ref::<Uint8Array>() {
            Some(bytes) => (File::Bytes(bytes.clone()), None),
            None => {
                let source = Source::parse(stream_of(&file)?)?;
                let known = source.sha256().map(str::to_string);
                (File::Source(source), known)
            }
        };
        Ok(OpenRequest {
            intake: Intake::new(kind, given.or(known).as_deref(), config.as_deref())?,
            file,
            source: options::string("source", &get("source"))?,
            licence: options::string("licence", &get("licence"))?,
            signal: options::signal(&get("signal"))?,
        })
    }
}

/// The stream of a Blob; anything else as it is.
fn stream_of(file: &JsValue) -> Result<JsValue> {
    if is_absent(file) {
        return Err(bad("file", "a Blob, a Uint8Array, a ReadableStream or a source", file));
    }
    let stream = Reflect::get(file, &"stream".into()).unwrap_or_default();
    match stream.dyn_ref::<Function>() {
        Some(stream) => stream.call0(file).map_err(|_| bad("file", "a readable Blob", file)),
        None => Ok(file.clone()),
    }
}

/// A lens of this Loupe, by the option `name`.
///
/// Errors: `bad-option`.
pub(super) fn lens(name: &str, value: &JsValue, session: &Session) -> Result<Rc<OpenLens>> {
    let wrong = || bad(name, "a lens of this Loupe", value);
    if !value.is_object() {
        return Err(wrong());
    }
    // The getter of a freed object throws.
    let Ok(key) = Reflect::get(value, &"key".into()) else {
        return Err(Error::option(name, "a lens", "one that has been freed"));
    };
    let key = options::index(name, &key).ok().and_then(|key| u32::try_from(key).ok());
    key.and_then(|key| session.lens(key)).ok_or_else(wrong)
}

/// A lens for readings, which a probe is not.
///
/// Errors: `bad-option`.
pub(super) fn for_reading(value: &JsValue, session: &Session) -> Result<Rc<crate::lens::Maps>> {
    let lens = lens("lens", value, session)?;
    match lens.is_probe() {
        true => Err(Error::option("lens", "a lens", "a probe, which reconstructs the input")),
        false => Ok(lens.maps.clone()),
    }
}

/// Texts or ids, encoded by the model in use.
fn encoded(session: &Session, inputs: Vec<Input>) -> Result<Vec<Vec<u32>>> {
    let loaded = session.loaded()?;
    let encode = |input| match input {
        Input::Ids(ids) => Ok(ids),
        Input::Text(text) => loaded.vocabulary.encode(&text),
    };
    inputs.into_iter().map(encode).collect()
}

/// Fits a lens or a probe.
pub(super) fn fit(session: &Rc<Session>, value: &JsValue) -> Promise {
    let parse = || {
        let own = ["texts", "target", "ridge", "held_out", "refine"];
        let (get, watch) = watched(value, &own)?;
        let texts = get("texts");
        let list = texts.dyn_ref::<Array>();
        let list =
            list.ok_or_else(|| bad("texts", "an array of texts or of arrays of ids", &texts));
        let inputs: Vec<Input> =
            list?.iter().map(|text| Input::parse(&text)).collect::<Result<_>>()?;
        let target = options::string("target", &get("target"))?;
        let target = target.map_or(Ok(Target::Final), |name| Target::from_name(&name))?;
        let ridge = get("ridge");
        let ridges = match ridge.as_f64() {
            Some(one) => vec![one],
            None => options::optional_numbers("ridge", &ridge)?.unwrap_or(vec![1e-4, 1e-3, 1e-2]),
        };
        let held_out = get("held_out");
        let held_out = match is_absent(&held_out) {
            true => 0.1,
            false => held_out.as_f64().ok_or_else(|| bad("held_out", "a share", &held_out))?,
        };
        let refine = options::index_or("refine", &get("refine"), 0)?;
        Ok((inputs, target, ridges, held_out, refine, watch))
    };
    let parsed: Result<_> = parse();
    let session = session.clone();
    let lock = session.lock();
    promise(async move {
        let (inputs, target, ridges, held_out, refine, watch) = parsed?;
        let guard = Cell::new(Some(lock.await));
        watch.cancel.check()?;
        let texts = encoded(&session, inputs)?;
        let request = FitRequest { texts, target, ridges, held_out, refine };
        let queue: &dyn CallQueue = &Held { session: &session, guard };
        let report = |done| watch.report(done);
        let lens = session.fit(&request, queue, &watch.cancel, &report).await?;
        let lens = session.share_lens(lens);
        Ok(Lens { session: Rc::downgrade(&session), lens }.into())
    })
}

/// `{ ids, rank }`.
pub(super) fn recovered(found: &Recovered) -> JsValue {
    let out = object();
    set(&out, "ids", js_sys::Uint32Array::from(&found.ids[..]));
    set(&out, "rank", Float32Array::from(&found.rank[..]));
    out.into()
}

/// `{ kl, kl_reverse, ids }`.
pub(super) fn alone(found: &Alone) -> JsValue {
    let out = object();
    set(&out, "kl", Float32Array::from(&found.kl[..]));
    set(&out, "kl_reverse", Float32Array::from(&found.kl_reverse[..]));
    set(&out, "ids", js_sys::Uint32Array::from(&found.top[..]));
    out.into()
}

/// A corpus that is being read; `loupe.corpus` of guard.js makes an iterator of it.
#[wasm_bindgen(skip_typescript)]
pub struct CorpusReader {
    session: Rc<Session>,
    corpus: Rc<RefCell<Option<Corpus>>>,
    edits: Rc<Vec<Edit>>,
    /// What it goes on from, until the text in which that was begins.
    resume: RefCell<Option<String>>,
}

#[wasm_bindgen]
impl CorpusReader {
    /// Begins the next text. Errors: `bad-option`, `bad-text`, and those of `encode`.
    #[wasm_bindgen(skip_typescript)]
    pub fn begin(&self, text: JsValue) -> std::result::Result<(), JsValue> {
        let begin = || {
            let ids = encoded(&self.session, vec![Input::parse(&text)?])?.pop().unwrap_or_default();
            let mut corpus = self.corpus.borrow_mut();
            let corpus = corpus.as_mut().ok_or_else(is_busy)?;
            match self.resume.take() {
                Some(state) => corpus.resume(&state, ids),
                None => {
                    corpus.begin(ids);
                    Ok(())
                }
            }
        };
        begin().map_err(|e| js_error(&e))
    }

    /// Reads the next window; false at the end of the text.
    #[wasm_bindgen(skip_typescript)]
    pub fn next_window(&self, signal: JsValue) -> Promise {
        let (session, edits) = (self.session.clone(), self.edits.clone());
        let (corpus, signal) = (self.corpus.clone(), options::signal(&signal));
        let lock = session.lock();
        promise(async move {
            let cancel: Cancel = cancel_by(signal?);
            let _guard = lock.await;
            cancel.check()?;
            let mut taken = corpus.take().ok_or_else(is_busy)?;
            let read = session.read_window(&mut taken, &edits, &cancel).await;
            corpus.replace(Some(taken));
            Ok(read?.into())
        })
    }

    /// The sums so far.
    #[wasm_bindgen(skip_typescript)]
    pub fn part(&self) -> std::result::Result<JsValue, JsValue> {
        let corpus = self.corpus.borrow();
        let corpus = corpus.as_ref().ok_or_else(|| js_error(&is_busy()))?;
        let out = object();
        let mut groups = corpus.rows().into_iter();
        set(&out, "rows", rows(&groups.next().unwrap_or_default()));
        set(&out, "classes", groups.map(|group| rows(&group)).collect::<Array>());
        set(&out, "windows", corpus.n_windows() as f64);
        set(&out, "not_finite", corpus.n_skipped() as f64);
        if let Some(place) = corpus.last() {
            let last = object();
            set(&last, "text", place.text as f64);
            set(&last, "start", place.start);
            set(&last, "n", place.n);
            set(&last, "loss", place.loss);
            set(&out, "last", last);
        }
        Ok(out.into())
    }

    /// How many texts are left out, because the state that it goes on from has all of them.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn n_texts(&self) -> f64 {
        let state = self.resume.borrow();
        let n = state.as_deref().map_or(Ok(0), Corpus::text_of);
        n.unwrap_or_default() as f64
    }

    /// What is needed to go on another day.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn state(&self) -> String {
        self.corpus.borrow().as_ref().map(Corpus::state).unwrap_or_default()
    }
}

fn is_busy() -> Error {
    Error::option("corpus", "one window at a time", "another one before the last is read")
}

/// `[{ tap, n, loss, kl, entropy, agreement, settled }]`, each measure as `{ mean, low, high }`.
fn rows(rows: &[CorpusRow]) -> Array {
    let row = |row: &CorpusRow| {
        let out = object();
        set(&out, "tap", row.tap.as_str());
        set(&out, "n", row.n);
        for (name, measure) in [
            ("loss", row.loss),
            ("kl", row.kl),
            ("entropy", row.entropy),
            ("agreement", row.agreement),
            ("settled", row.settled),
        ] {
            let of = object();
            set(&of, "mean", measure.mean);
            set(&of, "low", measure.low);
            set(&of, "high", measure.high);
            set(&out, name, of);
        }
        out
    };
    rows.iter().map(row).collect()
}

/// A reader of a corpus.
///
/// Errors: `bad-option`, `not-found`.
pub(super) fn corpus(session: &Rc<Session>, value: &JsValue) -> Result<CorpusReader> {
    let known = ["window", "stride", "norm", "subblocks", "lens", "edits", "classes", "state"];
    let get = options::options(value, &known)?;
    let loaded = session.loaded()?;
    let config = &loaded.model.config;
    let window = options::index_or("window", &get("window"), config.n_ctx)?;
    let mut options = Options::default();
    if let Some(name) = options::string("norm", &get("norm"))? {
        options.norm = crate::lens::Norm::from_name(&name)?;
    }
    if get("subblocks").is_truthy() {
        options.depth = crate::lens::Depth::Halves;
    }
    options.lens = options::optional(&get("lens"), |v| for_reading(v, session))?;
    let classes = get("classes");
    let classes = options::optional(&classes, |v| {
        let bytes = v.dyn_ref::<Uint8Array>();
        bytes.map(Uint8Array::to_vec).ok_or_else(|| bad("classes", "a Uint8Array", v))
    })?;
    let how = CorpusOptions {
        window,
        stride: options::index_or("stride", &get("stride"), window)?,
        options,
        classes: classes.unwrap_or_default(),
    };
    let edits = options::optional(&get("edits"), |v| super::edits::parse(v, session))?;
    let state = options::string("state", &get("state"))?;
    state.as_deref().map_or(Ok(0), Corpus::text_of)?;
    Ok(CorpusReader {
        session: session.clone(),
        corpus: Rc::new(RefCell::new(Some(Corpus::new(how, config.n_ctx, config.vocab_size)?))),
        edits: Rc::new(edits.unwrap_or_default()),
        resume: RefCell::new(state),
    })
}
