//! The only module with `#[wasm_bindgen]`: JavaScript values in, Rust types through, JavaScript values out.
//!
//! Exported methods take `&self`, clone an `Rc` and return a promise, so that no borrow lives
//! across an await: a second call waits its turn, and `free()` during a read is safe.

mod adapter;
mod atlas;
mod convert;
mod keep;
mod load;
mod reading;
mod source;

use std::future::Future;
use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;
use web_sys::AbortSignal;

use crate::error::Error;
use crate::gpu::Cancel;
use crate::session::Session;

use convert::{js_error, object, set};
use load::{LoadOptions, PlanOptions};

pub use atlas::Atlas;
pub use reading::Reading;

/// The written types of everything exported; what wasm-bindgen would guess is skipped.
#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = include_str!("types.d.ts");

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
}

#[wasm_bindgen]
impl Loupe {
    /// Opens the device. Errors: `no-webgpu`, `no-adapter`.
    #[wasm_bindgen(skip_typescript)]
    pub async fn open() -> std::result::Result<Loupe, JsValue> {
        let adapter = adapter::describe().await.map_err(|e| js_error(&e))?;
        let session = Session::open().await.map_err(|e| js_error(&e))?;
        Ok(Loupe { session: Rc::new(session), adapter })
    }

    /// What the browser says of the adapter.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn adapter(&self) -> JsValue {
        self.adapter.clone()
    }

    /// What the loaded model is made of; undefined before the first load, and while a load that
    /// the old model made way for has not ended.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn model(&self) -> JsValue {
        let loaded = self.session.loaded();
        loaded.map_or(JsValue::UNDEFINED, |loaded| convert::model(&loaded))
    }

    /// Loads a model; the one in use stays if this fails. Readings go on meanwhile.
    #[wasm_bindgen(skip_typescript)]
    pub fn load(&self, options: JsValue) -> Promise {
        let session = self.session.clone();
        let parsed = LoadOptions::parse(&options);
        promise(async move {
            let parsed = match parsed {
                Ok(parsed) => parsed,
                Err(error) => {
                    let weights = js_sys::Reflect::get(&options, &"weights".into());
                    source::cancel_all(weights.unwrap_or_default()).await;
                    return Err(error.into());
                }
            };
            let _turn = session.load_turn().await;
            Ok(convert::keeping(&parsed.load(&session).await?))
        })
    }

    /// What a model takes, and whether there is room for it.
    #[wasm_bindgen(skip_typescript)]
    pub fn plan(&self, options: JsValue) -> Promise {
        let session = self.session.clone();
        let parsed = PlanOptions::parse(&options);
        promise(async move {
            let PlanOptions { config, precision, trial } = parsed?;
            Ok(convert::needs(&session.plan(&config, precision, trial).await?))
        })
    }

    /// What the weights of the model in use say by themselves.
    #[wasm_bindgen(skip_typescript)]
    pub fn atlas(&self) -> std::result::Result<Atlas, JsValue> {
        let session = self.session.clone();
        let loaded = session.loaded().map_err(|e| js_error(&e))?;
        Ok(Atlas { session, loaded })
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
            let loaded = session.loaded()?;
            loaded.model.whole()?;
            let ids = match input {
                convert::Input::Ids(ids) => ids,
                convert::Input::Text(text) => loaded.encode(&text)?,
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

impl Failure {
    /// Whether trying again with the same files must fail again.
    fn is_lasting(&self) -> bool {
        let code = match self {
            Failure::Ours(error) => error.code().to_string(),
            Failure::Theirs(thrown) => {
                let code = js_sys::Reflect::get(thrown, &"code".into()).ok();
                code.and_then(|c| c.as_string()).unwrap_or_default()
            }
        };
        // What no code names is a source's own trouble: a download that broke.
        let passing = ["aborted", "network", "truncated", "device-lost", "out-of-memory", ""];
        !passing.contains(&code.as_str())
    }
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

/// Stops the work once the signal is aborted.
fn cancel_by(signal: Option<AbortSignal>) -> Cancel {
    signal.map_or_else(Cancel::default, |signal| Cancel::when(move || signal.aborted()))
}
