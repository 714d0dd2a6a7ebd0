//! One file of weights: a stream, or something that opens one at any byte.

use js_sys::{Array, Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{AbortSignal, ReadableStream, ReadableStreamDefaultReader};

use crate::error::{Error, Result};

use super::convert::{self, network_error, unless_aborted};

/// Where the bytes of one file come from.
pub(super) enum Source {
    /// From its first byte, once.
    Stream(ReadableStream),
    /// `{ open(from), sha256 }`.
    Opener { object: JsValue, open: Function, sha256: Option<String> },
}

impl Source {
    /// Errors: `bad-option`.
    pub(super) fn parse(value: JsValue) -> Result<Source> {
        let wrong = |what: &str| Error::BadOption(format!("weights is {what}"));
        if let Some(stream) = value.dyn_ref::<ReadableStream>() {
            return match stream.locked() {
                false => Ok(Source::Stream(stream.clone())),
                true => Err(wrong("a stream that somebody reads already; fetch it again")),
            };
        }
        let get = |name: &str| Reflect::get(&value, &name.into()).unwrap_or_default();
        let open: Function = get("open").dyn_into().map_err(|_| {
            wrong("neither a ReadableStream, nor { open(from), sha256 }, nor an array of them")
        })?;
        let sha256 = convert::string("sha256", &get("sha256"))?;
        let is_digest = |s: &String| s.len() == 64 && s.bytes().all(|b| b.is_ascii_hexdigit());
        if !sha256.as_ref().is_none_or(is_digest) {
            return Err(Error::BadOption("sha256 is not 64 hexadecimal digits".into()));
        }
        Ok(Source::Opener { object: value, open, sha256 })
    }

    /// The file's digest, if it is known.
    pub(super) fn sha256(&self) -> Option<&str> {
        match self {
            Source::Stream(_) => None,
            Source::Opener { sha256, .. } => sha256.as_deref(),
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
    ) -> std::result::Result<Pieces, super::Failure> {
        let stream = match self {
            Source::Stream(stream) => stream.clone(),
            Source::Opener { object, open, .. } => {
                let opened = open.call1(object, &JsValue::from(from as f64));
                let opened = Promise::resolve(&opened.map_err(super::Failure::Theirs)?);
                let stream = match unless_aborted(signal, &opened).await {
                    Ok(stream) => stream.map_err(super::Failure::Theirs)?,
                    Err(aborted) => {
                        spawn_local(cancel_when_there(opened));
                        return Err(aborted.into());
                    }
                };
                stream.dyn_into().map_err(|_| {
                    Error::BadOption("weights: open() gave something else than a stream".into())
                })?
            }
        };
        // The same stream may stand in the list twice.
        if stream.locked() {
            return Err(Error::BadOption("weights has a stream that is being read".into()).into());
        }
        Ok(Pieces { reader: stream.get_reader().unchecked_into() })
    }

    /// Gives the memory of a piece back at once: a collector of garbage that sees no haste lets
    /// a hundred megabytes of them gather. Only what `open` gives is ours to take.
    pub(super) fn take_over(&self, piece: &Uint8Array) {
        let buffer = piece.buffer();
        let transfer = Reflect::get(&buffer, &"transfer".into()).unwrap_or_default();
        if let (true, Some(transfer)) = (self.can_seek(), transfer.dyn_ref::<Function>()) {
            // Into a buffer of no length; if that fails, the collector comes in time.
            let _ = transfer.call1(&buffer, &JsValue::from(0));
        }
    }

    /// Lets go of a download that was never read.
    pub(super) async fn cancel(&self) {
        if let Source::Stream(stream) = self
            && !stream.locked()
        {
            // That it fails in turn is no news.
            let _ = JsFuture::from(stream.cancel()).await;
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
    /// Errors: `aborted`, `network`, `bad-option`, and our own errors that the stream passes on.
    pub(super) async fn next(
        &self,
        signal: Option<&AbortSignal>,
    ) -> std::result::Result<Option<Uint8Array>, super::Failure> {
        // A server that has stopped sending must not keep an abort waiting.
        let next = unless_aborted(signal, &self.reader.read()).await?;
        let next = next.map_err(|thrown| match is_ours(&thrown) {
            true => super::Failure::Theirs(thrown),
            false => network_error(thrown).into(),
        })?;
        let field = |name: &str| Reflect::get(&next, &name.into()).unwrap_or_default();
        if field("done").is_truthy() {
            return Ok(None);
        }
        let bytes = field("value").dyn_into().map_err(|_| {
            Error::BadOption("weights is a stream of something else than Uint8Array".into())
        })?;
        Ok(Some(bytes))
    }

    /// Lets go of the stream, and of the download behind it if it is not at its end.
    pub(super) async fn close(self) {
        let _ = JsFuture::from(self.reader.cancel()).await;
        self.reader.release_lock();
    }
}

/// Lets go of a stream that is opened when nobody wants it any more.
async fn cancel_when_there(opened: Promise) {
    if let Ok(stream) = JsFuture::from(opened).await
        && let Ok(stream) = stream.dyn_into::<ReadableStream>()
    {
        let _ = JsFuture::from(stream.cancel()).await;
    }
}

/// Lets go of every stream among what was given as weights.
pub(super) async fn cancel_all(weights: JsValue) {
    let all = match weights.dyn_ref::<Array>() {
        Some(list) => list.iter().collect(),
        None => vec![weights],
    };
    for stream in all.iter().filter_map(|value| value.dyn_ref::<ReadableStream>()) {
        if !stream.locked() {
            let _ = JsFuture::from(stream.cancel()).await;
        }
    }
}

/// Whether a source failed with an error that already has a code of ours.
fn is_ours(thrown: &JsValue) -> bool {
    let get = |name: &str| Reflect::get(thrown, &name.into()).ok().and_then(|v| v.as_string());
    get("name").as_deref() == Some("LoupeError") && get("code").is_some()
}
