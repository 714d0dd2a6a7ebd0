//! The JavaScript API, and the only module with `#[wasm_bindgen]`.
//!
//! Exported methods take `&self`, clone an `Rc` and return a promise, so that no borrow lives across an
//! await: a second call is queued, and `free()` during a read is safe. A method takes its place in the
//! queue before it returns.

mod adapter;
mod atlas;
mod edits;
mod hand_back;
mod keep;
mod lens;
mod load;
mod options;
mod reading;
mod results;
mod share;
mod source;
mod sweep;

use std::pin::Pin;
use std::rc::Rc;

use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

use crate::device::Counters;
use crate::error::Error;
use crate::kernels::Forms;
use crate::lens::Pairs;
use crate::model::Piece;
use crate::session::{Session, Tuning};

use load::{LoadOptions, PlanOptions};
use options::{CancelOptions, CompareOptions, Input, OpenOptions, ReadOptions};
use results::{js_error, object, set};

pub use atlas::Atlas;
pub use lens::{CorpusReader, Lens};
pub use reading::Reading;

/// The written types of everything exported; what wasm-bindgen would guess is skipped.
#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = include_str!("types.d.ts");

/// Runs when the module is initialised. A panic is shown in the console and thrown to JavaScript with its
/// message; the module around this one then ends every call.
#[wasm_bindgen(start, skip_typescript)]
pub fn start() {
    std::panic::set_hook(Box::new(|info| {
        console_error_panic_hook::hook(info);
        wasm_bindgen::throw_str(&info.to_string());
    }));
}

/// Panics, to test what happens after a panic; not in release builds.
#[cfg(debug_assertions)]
#[wasm_bindgen(skip_typescript)]
pub fn panic_for_test() {
    let nothing: Option<u32> = std::hint::black_box(None);
    #[expect(clippy::unwrap_used, reason = "the panic is what is tested")]
    nothing.unwrap();
}

/// One device with at most one model.
#[wasm_bindgen(skip_typescript)]
pub struct Loupe {
    session: Rc<Session>,
    adapter: JsValue,
}

#[wasm_bindgen]
impl Loupe {
    /// Opens the device. Errors: `bad-option`; with `device: "gpu"` also `no-webgpu` and `no-adapter`.
    #[wasm_bindgen(skip_typescript)]
    pub async fn open(options: JsValue) -> std::result::Result<Loupe, JsValue> {
        let opened = async { adapter::open(OpenOptions::parse(&options)?.device).await };
        let (device, adapter) = opened.await.map_err(|e| js_error(&e))?;
        let loupe = Loupe { session: Rc::new(Session::new(device)), adapter };
        loupe.measure_unless_in_software();
        Ok(loupe)
    }

    /// An adapter in software has forms that suit it without a measurement.
    fn measure_unless_in_software(&self) {
        let tuning = match adapter::is_fallback(&self.adapter) {
            false => Tuning::Measured,
            true if adapter::is_swiftshader(&self.adapter) => Tuning::Given(Forms::SWIFTSHADER),
            true => Tuning::Off,
        };
        self.session.set_tuning(tuning);
    }

    /// The forms of kernels as a text, once they are chosen; null before.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn tuning(&self) -> JsValue {
        match self.session.tuning() {
            Tuning::Given(forms) => forms.to_string().into(),
            Tuning::Off => "off".into(),
            Tuning::Measured => JsValue::NULL,
        }
    }

    /// Uses those forms from the next load on, instead of a measurement. Another version may have written another text,
    /// which is measured again.
    #[wasm_bindgen(setter, skip_typescript)]
    pub fn set_tuning(&self, tuning: JsValue) {
        let text = tuning.as_string().unwrap_or_default();
        match Forms::parse(&text) {
            Some(forms) => self.session.set_tuning(Tuning::Given(forms)),
            None if text == "off" => self.session.set_tuning(Tuning::Off),
            None => self.measure_unless_in_software(),
        }
    }

    /// The browser's description of the adapter.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn adapter(&self) -> JsValue {
        self.adapter.clone()
    }

    /// Exact counts of the work given to the device so far, how long giving it took, and its memory; the peak is that since
    /// the last call.
    #[wasm_bindgen(skip_typescript)]
    pub fn counters(&self) -> JsValue {
        let device = self.session.device();
        let Counters { dispatches, bind_groups, read_bytes } = device.counters();
        let out = object();
        for (name, value) in [
            ("dispatches", dispatches),
            ("bind_groups", bind_groups),
            ("read_bytes", read_bytes),
            ("bytes", device.allocated_bytes()),
            ("peak_bytes", device.peak_bytes()),
        ] {
            set(&out, name, value as f64);
        }
        set(&out, "encoding_ms", 1e3 * device.encoding_seconds());
        device.reset_peak();
        out.into()
    }

    /// Resolves with an error once the device is lost.
    #[wasm_bindgen(skip_typescript)]
    pub fn lost(&self) -> Promise {
        let lost = self.session.device().lost();
        promise(async { Ok(js_error(&Error::DeviceLost(lost.await))) })
    }

    /// The loaded model; undefined before the first load, and during a load that released the old model.
    #[wasm_bindgen(getter, skip_typescript)]
    pub fn model(&self) -> JsValue {
        let loaded = self.session.loaded();
        loaded.map_or(JsValue::UNDEFINED, |loaded| results::model(&loaded))
    }

    /// Loads a model; the one in use stays if this fails. Readings run meanwhile.
    #[wasm_bindgen(skip_typescript)]
    pub fn load(&self, options: JsValue) -> Promise {
        let session = self.session.clone();
        let parsed = LoadOptions::parse(&options);
        let lock = session.lock_loads();
        promise(async move {
            let parsed = match parsed {
                Ok(parsed) => parsed,
                Err(error) => {
                    let weights = js_sys::Reflect::get(&options, &"weights".into());
                    source::cancel_all(weights.unwrap_or_default());
                    return Err(error.into());
                }
            };
            Ok(results::copy(&parsed.load(&session, lock).await?))
        })
    }

    /// What a model requires, and whether the device has the memory for it.
    #[wasm_bindgen(skip_typescript)]
    pub fn plan(&self, options: JsValue) -> Promise {
        let session = self.session.clone();
        let parsed = PlanOptions::parse(&options);
        let lock = session.lock();
        promise(async move {
            let PlanOptions { config, precision, trial } = parsed?;
            let _guard = lock.await;
            Ok(results::plan(&session.plan(&config, precision, trial).await?))
        })
    }

    /// Passes the decoder of the model in use to a callback: a header, then pieces of bytes.
    #[wasm_bindgen(skip_typescript)]
    pub fn send_decoder(&self, callback: JsValue) -> Promise {
        let session = self.session.clone();
        let callback = options::function("callback", &callback);
        let lock = session.lock();
        promise(async move {
            let callback =
                callback?.ok_or_else(|| Error::option("callback", "a function", "undefined"))?;
            let _guard = lock.await;
            let mut thrown = None;
            let sent = session.send_decoder(|piece| {
                let piece: JsValue = match piece {
                    Piece::Header(text) => text.into(),
                    Piece::Bytes(bytes) => js_sys::Uint8Array::from(bytes).into(),
                };
                callback.call1(&JsValue::UNDEFINED, &piece).map(|_| ()).map_err(|e| {
                    thrown = Some(e);
                    Error::Aborted
                })
            });
            let sent = sent.await;
            match (sent, thrown) {
                (Err(_), Some(thrown)) => Err(Failure::Thrown(thrown)),
                (sent, _) => Ok(sent.map(|()| JsValue::UNDEFINED)?),
            }
        })
    }

    /// Begins to receive the decoder of another engine.
    #[wasm_bindgen(skip_typescript)]
    pub fn receive_decoder(&self, header: JsValue) -> Promise {
        let session = self.session.clone();
        let header = options::string("header", &header);
        let lock = session.lock();
        promise(async move {
            let header = header?.unwrap_or_default();
            let _guard = lock.await;
            session.receive_decoder(&header).await?;
            Ok(JsValue::UNDEFINED)
        })
    }

    /// Takes its next piece; true once it is complete.
    #[wasm_bindgen(skip_typescript)]
    pub fn receive(&self, bytes: JsValue) -> std::result::Result<bool, JsValue> {
        let received = || {
            let bytes: &js_sys::Uint8Array =
                bytes.dyn_ref().ok_or_else(|| options::bad("bytes", "a Uint8Array", &bytes))?;
            self.session.receive(&bytes.to_vec())
        };
        received().map_err(|e| js_error(&e))
    }

    /// Reads a share of another engine's reading.
    #[wasm_bindgen(skip_typescript)]
    pub fn fold(&self, share: JsValue, options: JsValue) -> Promise {
        let session = self.session.clone();
        let parsed = share::share(&share).and_then(|s| Ok((s, CancelOptions::parse(&options)?)));
        let lock = session.lock();
        promise(async move {
            let (share, CancelOptions { cancel }) = parsed?;
            let _guard = lock.await;
            cancel.check()?;
            Ok(share::folded_object(&session.fold(&share, &cancel).await?))
        })
    }

    /// Shares readings with other engines until another model is in use.
    #[wasm_bindgen(skip_typescript)]
    pub fn share(&self, helpers: JsValue) -> std::result::Result<(), JsValue> {
        let helpers = share::helpers(&helpers).map_err(|e| js_error(&e))?;
        self.session.share(helpers);
        Ok(())
    }

    /// Repeats a short reading of the GPU on the CPU, once earlier calls are over.
    #[wasm_bindgen(skip_typescript)]
    pub fn check(&self, options: JsValue) -> Promise {
        let session = self.session.clone();
        let parsed = CancelOptions::parse(&options);
        let lock = session.lock();
        promise(async move {
            let CancelOptions { cancel } = parsed?;
            let _guard = lock.await;
            cancel.check()?;
            Ok(results::checked(&session.check(&cancel).await?))
        })
    }

    /// The atlas of the model in use.
    #[wasm_bindgen(skip_typescript)]
    pub fn atlas(&self) -> std::result::Result<Atlas, JsValue> {
        let loaded = self.session.loaded().map_err(|e| js_error(&e))?;
        Ok(Atlas { session: Rc::downgrade(&self.session), loaded: Rc::downgrade(&loaded) })
    }

    /// The ids of a text.
    #[wasm_bindgen(skip_typescript)]
    pub fn encode(&self, text: JsValue) -> std::result::Result<Vec<u32>, JsValue> {
        let encode = || self.session.loaded()?.vocabulary.encode(&options::text(&text)?);
        encode().map_err(|e| js_error(&e))
    }

    /// The token of an id.
    #[wasm_bindgen(skip_typescript)]
    pub fn token(&self, id: f64) -> std::result::Result<JsValue, JsValue> {
        let token = || self.session.loaded()?.vocabulary.token(options::id(id)?);
        token().map(|t| results::token(&t)).map_err(|e| js_error(&e))
    }

    /// Reads a text or ids through the lens, once earlier calls are over.
    #[wasm_bindgen(skip_typescript)]
    pub fn read(&self, text_or_ids: JsValue, options: JsValue) -> Promise {
        let session = self.session.clone();
        // Parsed now, so that the caller may change its arrays after the call.
        let parsed = ReadOptions::parse(&options, &session);
        let input = Input::parse(&text_or_ids);
        let lock = session.lock();
        promise(async move {
            let (options, input) = (parsed?, input?);
            let _guard = lock.await;
            options.cancel.check()?;
            let loaded = session.loaded()?;
            loaded.model.whole()?;
            let ids = match input {
                Input::Ids(ids) => ids,
                Input::Text(text) => loaded.vocabulary.encode(&text)?,
            };
            let vocabulary = loaded.vocabulary.clone();
            let mut block_error = None;
            let on_block = |start: usize, end: usize, reading: &crate::reading::Reading| {
                let Some(callback) = &options.on_block else { return Ok(()) };
                let event = object();
                set(&event, "start", start);
                set(&event, "end", end);
                let block = Reading::block(vocabulary.clone(), reading.slice(start, end));
                set(&event, "reading", block);
                callback.call1(&JsValue::UNDEFINED, &event).map(|_| ()).map_err(|e| {
                    block_error = Some(e);
                    Error::Aborted
                })
            };
            let _aside = options.is_aside.then(|| session.aside());
            let ReadOptions { lens, edits, cancel, .. } = &options;
            let read = session.read_edited(&ids, lens, edits, cancel, on_block).await;
            let lensed =
                read.map_err(|e| block_error.map_or(Failure::Error(e), Failure::Thrown))?;
            let alone = match options.has_alone {
                true => Some(session.alone(&lensed, None, cancel).await?),
                false => None,
            };
            Ok(Reading::whole(Rc::downgrade(&session), lensed, alone).into())
        })
    }

    /// How the rows of two readings differ, once earlier calls are over. guard.js has checked that neither has
    /// been freed.
    #[wasm_bindgen(skip_typescript)]
    pub fn compare(&self, a: &Reading, b: &Reading, options: JsValue) -> Promise {
        let session = self.session.clone();
        let parsed = CompareOptions::parse(&options);
        let readings = a.lensed("a").and_then(|a| Ok((a, b.lensed("b")?)));
        let lock = session.lock();
        promise(async move {
            let (CompareOptions { columns, targets, cancel }, (a, b)) = (parsed?, readings?);
            let _guard = lock.await;
            let columns = columns.unwrap_or_else(|| a.shared_positions(&b));
            let pairs = Pairs { columns, targets };
            Ok(results::comparison(&session.compare(&a, &b, &pairs, &cancel).await?))
        })
    }
}

#[wasm_bindgen]
impl Loupe {
    /// Patches one activation after the other from one reading into another, once earlier calls are over.
    #[wasm_bindgen(skip_typescript)]
    pub fn sweep(&self, options: JsValue) -> Promise {
        let session = self.session.clone();
        let parsed = sweep::parse(&options, &session);
        let lock = session.lock();
        promise(async move {
            let (request, watch) = parsed?;
            let _guard = lock.await;
            watch.cancel.check()?;
            let swept = session.sweep(&request, &watch.cancel, |done| watch.report(done)).await?;
            Ok(sweep::result(&swept))
        })
    }

    /// Opens a lens from a file.
    #[wasm_bindgen(skip_typescript)]
    pub fn lens(&self, options: JsValue) -> Promise {
        lens::open(&self.session, &options)
    }

    /// Fits a lens or a probe, once earlier calls are over.
    #[wasm_bindgen(skip_typescript)]
    pub fn fit(&self, options: JsValue) -> Promise {
        lens::fit(&self.session, &options)
    }

    /// A reader of a corpus; guard.js makes an iterator of it.
    #[wasm_bindgen(skip_typescript)]
    pub fn read_corpus(&self, options: JsValue) -> std::result::Result<CorpusReader, JsValue> {
        lens::corpus(&self.session, &options).map_err(|e| js_error(&e))
    }

    /// The direction of the stream from one token to another, once earlier calls are over.
    #[wasm_bindgen(skip_typescript)]
    pub fn direction(&self, tokens: JsValue, options: JsValue) -> Promise {
        let session = self.session.clone();
        let parsed = options::ids("tokens", &tokens).and_then(|tokens| {
            let get = options::options(&options, &["signal"])?;
            Ok((tokens, options::cancel_by(options::signal(&get("signal"))?)))
        });
        let lock = session.lock();
        promise(async move {
            let (tokens, cancel) = parsed?;
            let _guard = lock.await;
            cancel.check()?;
            let found: Vec<f32> = session.token_direction(&tokens, &cancel).await?;
            Ok(js_sys::Float32Array::from(&found[..]).into())
        })
    }
}

/// Why a promise is rejected.
enum Failure {
    /// An error of the engine.
    Error(Error),
    /// A value that a callback or a source of the caller threw.
    Thrown(JsValue),
}

impl Failure {
    /// Whether another attempt with the same files must fail again.
    fn is_permanent(&self) -> bool {
        let code = match self {
            Failure::Error(error) => error.code().to_string(),
            Failure::Thrown(thrown) => {
                let code = js_sys::Reflect::get(thrown, &"code".into()).ok();
                code.and_then(|c| c.as_string()).unwrap_or_default()
            }
        };
        // An error without a code comes from a source, whose download failed.
        let temporary =
            ["aborted", "network", "truncated", "device-lost", "gpu-refused", "out-of-memory", ""];
        !temporary.contains(&code.as_str())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

/// What a promise waits for.
type Work = Pin<Box<dyn Future<Output = std::result::Result<JsValue, Failure>>>>;

/// A promise of `work`, rejected with a LoupeError or with what was thrown.
fn promise(work: impl Future<Output = std::result::Result<JsValue, Failure>> + 'static) -> Promise {
    // Boxed, so that what runs and settles a promise is compiled once and not for each call of the engine.
    let work: Work = Box::pin(work);
    future_to_promise(async move {
        work.await.map_err(|failure| match failure {
            Failure::Error(error) => js_error(&error),
            Failure::Thrown(value) => value,
        })
    })
}
