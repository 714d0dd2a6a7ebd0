//! The only module with `#[wasm_bindgen]`: JavaScript values in, Rust types through, JavaScript values out.
//!
//! Exported methods take `&self`, clone an `Rc` and return a promise, so that no borrow lives
//! across an await: a second call waits its turn, and `free()` during a read is safe.

mod adapter;
mod convert;
mod reading;

use std::cell::RefCell;
use std::future::Future;
use std::rc::Rc;

use js_sys::{Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use web_sys::{AbortSignal, ReadableStream, ReadableStreamDefaultReader};

use crate::error::{Error, Result};
use crate::gpu::Cancel;
use crate::kernels::Precision;
use crate::session::{Loading, Recipe, Session};

use convert::{js_error, network_error, object, set};

pub use reading::Reading;

/// The written types of everything exported; what wasm-bindgen would guess is skipped.
#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = include_str!("types.d.ts");

/// Largest piece handed to the checkpoint reader. Units: bytes.
const PIECE: u32 = 16 << 20;

/// Shows the stack of a Rust panic in the console; runs when the module is initialised.
#[wasm_bindgen(start, skip_typescript)]
pub fn start() {
    console_error_panic_hook::set_once();
}

/// One device with at most one model.
#[wasm_bindgen(skip_typescript)]
pub struct Loupe {
    session: Rc<Session>,
    adapter: JsValue,
    model: Rc<RefCell<JsValue>>,
}

#[wasm_bindgen]
impl Loupe {
    /// Opens the device. Errors: `no-webgpu`, `no-adapter`.
    #[wasm_bindgen(skip_typescript)]
    pub async fn open() -> std::result::Result<Loupe, JsValue> {
        let adapter = adapter::describe().await.map_err(|e| js_error(&e))?;
        let session = Session::open().await.map_err(|e| js_error(&e))?;
        Ok(Loupe { session: Rc::new(session), adapter, model: Rc::default() })
    }

    /// What the browser says of the adapter.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn adapter(&self) -> JsValue {
        self.adapter.clone()
    }

    /// What the loaded model is made of; undefined before the first load.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn model(&self) -> JsValue {
        self.model.borrow().clone()
    }

    /// Loads a model; the one in use stays if this fails.
    #[wasm_bindgen(skip_typescript)]
    pub fn load(&self, options: JsValue) -> Promise {
        let (session, model) = (self.session.clone(), self.model.clone());
        let parsed = LoadOptions::parse(&options);
        promise(async move {
            let options = parsed?;
            let _turn = session.turn().await;
            let loaded = options.load(&session).await?;
            model.replace(convert::model(&loaded));
            Ok(JsValue::UNDEFINED)
        })
    }

    /// The ids of a text.
    #[wasm_bindgen(skip_typescript)]
    pub fn encode(&self, text: JsValue) -> std::result::Result<Vec<u32>, JsValue> {
        let encode = || self.session.loaded()?.encode(&convert::text(&text)?);
        encode().map_err(|e| js_error(&e))
    }

    /// What is known of a token.
    #[wasm_bindgen(skip_typescript)]
    pub fn token(&self, id: f64) -> std::result::Result<JsValue, JsValue> {
        let token = || self.session.loaded()?.token(convert::id(id)?);
        token().map(|t| convert::token(&t)).map_err(|e| js_error(&e))
    }

    /// Reads a text or ids through the lens; waits until earlier calls are done.
    #[wasm_bindgen(skip_typescript)]
    pub fn read(&self, text_or_ids: JsValue, options: JsValue) -> Promise {
        let session = self.session.clone();
        // Parsed at once, so that the caller may change its arrays after the call.
        let parsed = convert::ReadOptions::parse(&options);
        let input = convert::Input::parse(&text_or_ids);
        promise(async move {
            let (options, input) = (parsed?, input?);
            let _turn = session.turn().await;
            options.cancel.check()?;
            let ids = match input {
                convert::Input::Ids(ids) => ids,
                convert::Input::Text(text) => session.loaded()?.encode(&text)?,
            };
            let mut block_error = None;
            let on_block = |start: usize, end: usize, reading: &crate::reading::Reading| {
                let Some(callback) = &options.on_block else { return Ok(()) };
                let event = object();
                set(&event, "start", start);
                set(&event, "end", end);
                let block = Reading::block(session.loaded()?, reading.slice(start, end));
                set(&event, "reading", block);
                callback.call1(&JsValue::UNDEFINED, &event).map(|_| ()).map_err(|e| {
                    block_error = Some(e);
                    Error::Aborted
                })
            };
            match session.read(&ids, &options.lens, &options.cancel, on_block).await {
                Ok(lensed) => Ok(Reading::whole(session.clone(), lensed).into()),
                Err(e) => Err(block_error.map_or(Failure::Ours(e), Failure::Theirs)),
            }
        })
    }
}

/// Why a promise is rejected: our error, or what the caller's own callback threw.
enum Failure {
    Ours(Error),
    Theirs(JsValue),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Ours(error)
    }
}

/// A promise of `work`, rejected with a LoupeError.
fn promise(work: impl Future<Output = std::result::Result<JsValue, Failure>> + 'static) -> Promise {
    future_to_promise(async move {
        work.await.map_err(|failure| match failure {
            Failure::Ours(error) => js_error(&error),
            Failure::Theirs(value) => value,
        })
    })
}

struct LoadOptions {
    config: String,
    tokenizer: Option<String>,
    weights: Vec<ReadableStream>,
    precision: Precision,
    total: Option<f64>,
    on_progress: Option<Function>,
    signal: Option<AbortSignal>,
}

impl LoadOptions {
    fn parse(value: &JsValue) -> Result<LoadOptions> {
        let known =
            ["config", "tokenizer", "weights", "precision", "total", "onProgress", "signal"];
        let get = convert::options(value, &known)?;
        let weights = get("weights");
        let streams = match weights.dyn_ref::<js_sys::Array>() {
            Some(list) => list.iter().collect(),
            None => vec![weights],
        };
        let stream = |value: JsValue| {
            let wrong = |what: &str| Error::BadOption(format!("weights is {what}"));
            let stream: ReadableStream =
                value.dyn_into().map_err(|_| wrong("no ReadableStream (or array of them)"))?;
            match stream.locked() {
                false => Ok(stream),
                true => Err(wrong("a stream that somebody reads already; fetch it again")),
            }
        };
        Ok(LoadOptions {
            config: convert::string("config", &get("config"))?
                .ok_or_else(|| Error::BadConfig("no text of it was given".into()))?,
            tokenizer: convert::string("tokenizer", &get("tokenizer"))?,
            weights: streams.into_iter().map(stream).collect::<Result<_>>()?,
            precision: match convert::string("precision", &get("precision"))?.as_deref() {
                None | Some("f16") => Precision::F16,
                Some("f32") => Precision::F32,
                Some(other) => {
                    return Err(Error::BadOption(format!(
                        "precision is \"{other}\", expected \"f16\" or \"f32\""
                    )));
                }
            },
            total: convert::number("total", &get("total"))?,
            on_progress: convert::function("onProgress", &get("onProgress"))?,
            signal: convert::signal(&get("signal"))?,
        })
    }

    /// Loads; whatever happens, no download is left open.
    async fn load(&self, session: &Session) -> Result<Rc<crate::session::Loaded>> {
        let result = self.load_streams(session).await;
        for stream in self.weights.iter().filter(|s| result.is_err() && !s.locked()) {
            // Lets go of the download; that it fails in turn is no news.
            let _ = JsFuture::from(stream.cancel()).await;
        }
        result
    }

    async fn load_streams(&self, session: &Session) -> Result<Rc<crate::session::Loaded>> {
        let cancel = cancel_by(self.signal.clone());
        cancel.check()?;
        let mut recipe = Recipe::new(&self.config, self.tokenizer.as_deref());
        recipe.precision = self.precision;
        let mut loading = session.load(&recipe).await?;
        for stream in &self.weights {
            // The same stream may stand in the list twice.
            if stream.locked() {
                return Err(Error::BadOption("weights has a stream that is being read".into()));
            }
            let reader: ReadableStreamDefaultReader = stream.get_reader().unchecked_into();
            let result = self.pump(session, &mut loading, &reader, &cancel).await;
            if result.is_err() {
                let _ = JsFuture::from(reader.cancel()).await;
            }
            reader.release_lock();
            result?;
        }
        session.install(loading).await
    }

    /// Moves one file into the loader.
    async fn pump(
        &self,
        session: &Session,
        loading: &mut Loading,
        reader: &ReadableStreamDefaultReader,
        cancel: &Cancel,
    ) -> Result<()> {
        let aborted = convert::Aborted::new(self.signal.clone());
        loop {
            // A server that has stopped sending must not keep an abort waiting.
            let next = JsFuture::from(aborted.or(reader.read())).await;
            cancel.check()?;
            let next = next.map_err(network_error)?;
            let field = |name: &str| Reflect::get(&next, &name.into()).unwrap_or_default();
            if field("done").is_truthy() {
                return loading.loader.end_file();
            }
            let bytes: Uint8Array = field("value").dyn_into().map_err(|_| {
                Error::BadOption("weights is a stream of something else than Uint8Array".into())
            })?;
            for start in (0..bytes.length()).step_by(PIECE as usize) {
                let end = (start + PIECE).min(bytes.length());
                let piece = bytes.subarray(start, end).to_vec();
                loading.loader.push(session.gpu(), &piece).await?;
                self.report(loading);
            }
        }
    }

    fn report(&self, loading: &Loading) {
        let Some(callback) = &self.on_progress else { return };
        let progress = loading.loader.progress();
        let of_file = progress.file_bytes.filter(|_| self.weights.len() == 1);
        let total = self.total.or(of_file.map(|b| b as f64));
        let event = object();
        set(&event, "received", progress.received as f64);
        set(&event, "total", total.map_or(JsValue::NULL, JsValue::from));
        set(&event, "tensor", progress.tensor);
        // A page's own trouble with drawing a bar must not break a download.
        let _ = callback.call1(&JsValue::UNDEFINED, &event);
    }
}

/// Stops the work once the signal is aborted.
fn cancel_by(signal: Option<AbortSignal>) -> Cancel {
    signal.map_or_else(Cancel::default, |signal| Cancel::when(move || signal.aborted()))
}
