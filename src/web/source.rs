//! One file of weights: a stream, or an object that opens one at any byte.

use js_sys::{Array, Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{AbortSignal, ReadableStream, ReadableStreamDefaultReader};

use crate::checkpoint::is_sha256;
use crate::error::{Error, Result};

use super::Failure;
use super::keep;
use super::options::{self, bad};
use super::results::message_of;

/// The bytes of one file.
pub(super) enum Source {
    /// From its first byte, once.
    Stream(ReadableStream),
    /// `{ open(from), sha256, bytes }`.
    Opener { object: JsValue, open: Function, sha256: Option<String>, bytes: Option<u64> },
}

impl Source {
    /// Errors: `bad-option`.
    pub(super) fn parse(value: JsValue) -> Result<Source> {
        let expected = "a ReadableStream, { open(from), sha256, bytes }, or an array of them";
        if let Some(stream) = value.dyn_ref::<ReadableStream>() {
            return match stream.locked() {
                false => Ok(Source::Stream(stream.clone())),
                true => Err(locked()),
            };
        }
        let get = |name: &str| Reflect::get(&value, &name.into()).unwrap_or_default();
        let open = get("open").dyn_into().map_err(|_| bad("weights", expected, &value));
        let open: Function = open?;
        let sha256 = options::string("sha256", &get("sha256"))?;
        if let Some(other) = sha256.as_ref().filter(|sha256| !is_sha256(sha256)) {
            return Err(bad("sha256", "64 hexadecimal digits", &other.into()));
        }
        let bytes = options::optional_bytes("bytes", &get("bytes"))?.map(keep::bytes);
        Ok(Source::Opener { object: value, open, sha256, bytes })
    }

    /// The file's digest, if it is known.
    pub(super) fn sha256(&self) -> Option<&str> {
        match self {
            Source::Stream(_) => None,
            Source::Opener { sha256, .. } => sha256.as_deref(),
        }
    }

    /// Its length, if it can be opened at any byte and the length is known. Units: bytes.
    pub(super) fn bytes(&self) -> Option<u64> {
        match self {
            Source::Stream(_) => None,
            Source::Opener { bytes, .. } => *bytes,
        }
    }

    /// Whether it can be opened at any byte.
    pub(super) fn can_seek(&self) -> bool {
        matches!(self, Source::Opener { .. })
    }

    /// The bytes from `from` on.
    ///
    /// Errors: `aborted`, `bad-option`, and the code of what `open` throws.
    pub(super) async fn open(
        &self,
        from: u64,
        signal: Option<&AbortSignal>,
    ) -> std::result::Result<Pieces, Failure> {
        let stream = match self {
            Source::Stream(stream) => stream.clone(),
            Source::Opener { object, open, .. } => {
                let opened = open.call1(object, &JsValue::from(from as f64));
                let opened = Promise::resolve(&opened.map_err(Failure::Thrown)?);
                let stream = match unless_aborted(signal, &opened).await {
                    Ok(stream) => stream.map_err(Failure::Thrown)?,
                    Err(aborted) => {
                        spawn_local(cancel_when_opened(opened));
                        return Err(aborted.into());
                    }
                };
                stream
                    .dyn_into()
                    .map_err(|other| bad("weights.open()", "a ReadableStream", &other))?
            }
        };
        // The same stream may be in the list twice.
        if stream.locked() {
            return Err(locked().into());
        }
        Ok(Pieces { reader: stream.get_reader().unchecked_into() })
    }

    /// Detaches the buffer of a piece, which frees its memory now: otherwise a hundred megabytes of pieces
    /// wait for the garbage collector. Only the pieces of a stream that `open` returned are detached.
    pub(super) fn detach(&self, piece: &Uint8Array) {
        let buffer = piece.buffer();
        let transfer = Reflect::get(&buffer, &"transfer".into()).unwrap_or_default();
        if let (true, Some(transfer)) = (self.can_seek(), transfer.dyn_ref::<Function>()) {
            // Into a buffer of no length. If that fails, the collector frees it later.
            let _ = transfer.call1(&buffer, &JsValue::from(0));
        }
    }

    /// Cancels a stream that was never read.
    pub(super) fn cancel(&self) {
        if let Source::Stream(stream) = self
            && !stream.locked()
        {
            ignore(stream.cancel());
        }
    }
}

/// An open stream.
pub(super) struct Pieces {
    reader: ReadableStreamDefaultReader,
}

impl Pieces {
    /// The next bytes; none at the end.
    ///
    /// Errors: `aborted`, `network`, `bad-option`, and errors with a code that the stream passes on.
    pub(super) async fn next(
        &self,
        signal: Option<&AbortSignal>,
    ) -> std::result::Result<Option<Uint8Array>, Failure> {
        // An abort must not wait for a server that has stopped sending.
        let next = unless_aborted(signal, &self.reader.read()).await?;
        let next = next.map_err(|thrown| match has_code(&thrown) {
            true => Failure::Thrown(thrown),
            false => Error::Network(message_of(&thrown)).into(),
        })?;
        let field = |name: &str| Reflect::get(&next, &name.into()).unwrap_or_default();
        if field("done").is_truthy() {
            return Ok(None);
        }
        let bytes = field("value")
            .dyn_into()
            .map_err(|other| bad("weights", "a stream of Uint8Array", &other))?;
        Ok(Some(bytes))
    }

    /// Releases the stream, and cancels it if it is not at its end. A stream whose `cancel` never settles
    /// is not waited for.
    pub(super) fn close(self) {
        ignore(self.reader.cancel());
        self.reader.release_lock();
    }
}

fn locked() -> Error {
    let expected = "a ReadableStream that nobody reads yet";
    Error::option("weights", expected, "one that is locked; fetch it again")
}

/// Lets a promise settle without anybody waiting for it.
fn ignore(promise: Promise) {
    spawn_local(async {
        let _ = JsFuture::from(promise).await;
    });
}

/// Waits for `promise`, or until the signal is aborted.
///
/// Every wait has a listener of its own, which is removed when the wait is over: one promise for all waits
/// would keep the results of each.
///
/// Errors: `aborted`; the inner one is what `promise` was rejected with.
async fn unless_aborted(
    signal: Option<&AbortSignal>,
    promise: &Promise,
) -> Result<std::result::Result<JsValue, JsValue>> {
    let Some(signal) = signal else { return Ok(JsFuture::from(promise.clone()).await) };
    if signal.aborted() {
        return Err(Error::Aborted);
    }
    let mut listener = None;
    let aborted = Promise::new(&mut |resolve, _| {
        let _ = signal.add_event_listener_with_callback("abort", &resolve);
        listener = Some(resolve);
    });
    let first = JsFuture::from(Promise::race(&Array::of2(promise, &aborted))).await;
    if let Some(listener) = listener {
        let _ = signal.remove_event_listener_with_callback("abort", &listener);
    }
    if signal.aborted() { Err(Error::Aborted) } else { Ok(first) }
}

/// Cancels a stream that is opened after the load was aborted.
async fn cancel_when_opened(opened: Promise) {
    if let Ok(stream) = JsFuture::from(opened).await
        && let Ok(stream) = stream.dyn_into::<ReadableStream>()
    {
        ignore(stream.cancel());
    }
}

/// Cancels every stream among the values that were given as weights.
pub(super) fn cancel_all(weights: JsValue) {
    let all = match weights.dyn_ref::<Array>() {
        Some(list) => list.iter().collect(),
        None => vec![weights],
    };
    for stream in all.iter().filter_map(|value| value.dyn_ref::<ReadableStream>()) {
        if !stream.locked() {
            ignore(stream.cancel());
        }
    }
}

/// Whether a source failed with an error that already has a code.
fn has_code(thrown: &JsValue) -> bool {
    let get = |name: &str| Reflect::get(thrown, &name.into()).ok().and_then(|v| v.as_string());
    get("name").as_deref() == Some("LoupeError") && get("code").is_some()
}
