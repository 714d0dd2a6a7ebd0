//! `load` and `plan`: options in, the bytes of each source into the loader.

use std::collections::HashMap;

use js_sys::{Array, Function};
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

use crate::checkpoint::{Directory, DirectoryReader, PartialCopy, Position, Reader};
use crate::device::Cancel;
use crate::error::{Error, Result};
use crate::kernels::Precision;
use crate::model::{CopyOutcome, Progress, RestoreWatch};
use crate::session::{Guard, LoadRequest, Loading, Session};
use crate::tokenizer::TokenizerFiles;

use super::Failure;
use super::keep::{Handle, KeptFile, bytes};
use super::options::{self, cancel_by, is_absent};
use super::results::{object, set};
use super::source::{Pieces, Source};

/// Largest piece that is given to the loader. Units: bytes.
const PIECE: u32 = 8 << 20;
/// Bytes of a source that are searched at once for the end of its header.
const HEAD_PIECE: u32 = 64 << 10;

/// The beginning of a source.
#[derive(Default)]
struct Head {
    /// Its bytes up to the end of the header, approximately.
    bytes: Vec<u8>,
    /// The directory of a zip file.
    directory: Option<Directory>,
}

/// The result of a step that may call back.
type Outcome<V> = std::result::Result<V, Failure>;

/// The options of `load`.
pub(super) struct LoadOptions {
    config: Option<String>,
    tokenizer: Option<TokenizerTexts>,
    weights: Vec<Source>,
    precision: Precision,
    total: Option<f64>,
    keep: Option<Handle>,
    release: bool,
    partial: bool,
    on_progress: Option<Function>,
    signal: Option<AbortSignal>,
}

impl LoadOptions {
    /// Errors: `bad-option`, `bad-config`.
    pub(super) fn parse(value: &JsValue) -> Result<LoadOptions> {
        let known = [
            "config",
            "tokenizer",
            "weights",
            "precision",
            "total",
            "keep",
            "release",
            "partial",
            "onProgress",
            "signal",
        ];
        let get = options::options(value, &known)?;
        let weights = get("weights");
        let sources = match weights.dyn_ref::<Array>() {
            Some(list) => list.iter().collect(),
            None => vec![weights],
        };
        let keep = get("keep");
        let partial = get("partial").is_truthy();
        if partial && keep.is_truthy() {
            return Err(Error::option("keep", "nothing with partial", "a handle"));
        }
        Ok(LoadOptions {
            config: match partial {
                true => options::string("config", &get("config"))?,
                false => Some(config(&get("config"))?),
            },
            tokenizer: TokenizerTexts::parse(&get("tokenizer"))?,
            weights: sources.into_iter().map(Source::parse).collect::<Result<_>>()?,
            precision: precision(&get("precision"))?,
            total: options::optional_bytes("total", &get("total"))?,
            keep: match is_absent(&keep) {
                true => None,
                false => Some(KeptFile::parse(&keep)?),
            },
            release: get("release").is_truthy(),
            partial,
            on_progress: options::function("onProgress", &get("onProgress"))?,
            signal: options::signal(&get("signal"))?,
        })
    }

    /// Loads, once earlier loads are over. Whatever happens, no download is left open.
    pub(super) async fn load(
        &self,
        session: &Session,
        lock: impl Future<Output = Guard>,
    ) -> Outcome<CopyOutcome> {
        let result = self.load_sources(session, lock).await;
        if result.is_err() {
            self.weights.iter().for_each(Source::cancel);
        }
        result
    }

    async fn load_sources(
        &self,
        session: &Session,
        lock: impl Future<Output = Guard>,
    ) -> Outcome<CopyOutcome> {
        let request = LoadRequest {
            config: self.config.as_deref(),
            tokenizer: self.tokenizer.as_ref().map(TokenizerTexts::files),
            precision: self.precision,
            release: self.release,
            partial: self.partial,
            n_files: self.weights.len(),
            total_bytes: self.total.map(bytes),
            ..LoadRequest::new("", None)
        };
        // Parsed before the lock is taken, so that no other load waits for it.
        let request = request.parse()?;
        let _guard = lock.await;
        let cancel = cancel_by(self.signal.clone());
        cancel.check()?;
        let mut loading = session.begin(request).await?;
        loading.stop_by(&cancel);
        if let Err(failure) = self.fill(session, &mut loading, &cancel).await {
            match failure.is_permanent() {
                true => loading.loader.discard(),
                false => loading.loader.save(),
            }
            return Err(failure);
        }
        let (_, copy) = session.install(loading).await?;
        Ok(copy)
    }

    async fn fill(&self, session: &Session, loading: &mut Loading, cancel: &Cancel) -> Outcome<()> {
        let signal = self.signal.as_ref();
        let (mut start, mut heads) = (Position::default(), HashMap::new());
        if let Some(handle) = &self.keep {
            let mut store = Box::new(KeptFile::new(handle));
            let mut copy = PartialCopy::find(&mut *store);
            if let Some(found) = copy.take()
                && let Some(known) = self.heads_of(&found).await?
            {
                (copy, heads) = (Some(found), known);
            }
            let watch = RestoreWatch { cancel, on_progress: &|progress| self.report(&progress) };
            start = session.keep(loading, store, copy, &watch).await?;
        }
        for (index, source) in self.weights.iter().enumerate().skip(start.file) {
            loading.loader.begin_file(index, source.sha256());
            let resumes = index == start.file && start.offset > 0;
            if resumes {
                self.push_header(session, loading, source, heads.remove(&index)).await?;
                if !loading.loader.resume_at(&start)? {
                    loading.loader.end_file()?;
                    continue;
                }
            }
            let pieces = source.open(if resumes { start.offset } else { 0 }, signal).await?;
            let pumped = self.pump(session, loading, source, &pieces, resumes).await;
            pieces.close();
            pumped?;
            loading.loader.end_file()?;
        }
        Ok(())
    }

    /// Whether a copy was made of these sources and can be resumed from them: then the beginnings of the
    /// sources that had to be opened to find out.
    async fn heads_of(&self, copy: &PartialCopy) -> Outcome<Option<HashMap<usize, Head>>> {
        let digests: Vec<_> = self.weights.iter().map(Source::sha256).collect();
        let can_seek = self.weights.iter().all(Source::can_seek);
        let Some(undecided) = copy.compare(&digests).filter(|_| can_seek) else { return Ok(None) };
        let mut heads = HashMap::new();
        for index in undecided {
            let (Some(source), Some(known)) = (self.weights.get(index), copy.sources.get(index))
            else {
                return Ok(None);
            };
            // A file without a valid header is another one.
            match self.read_head(source).await {
                Ok((head, reader)) if reader.id().is_some_and(|id| id.is_same(known)) => {
                    heads.insert(index, head);
                }
                Err(failure) if !failure.is_permanent() => return Err(failure),
                _ => return Ok(None),
            }
        }
        Ok(Some(heads))
    }

    /// The beginning of a source, and a reader that has read it.
    async fn read_head(&self, source: &Source) -> Outcome<(Head, Reader)> {
        let pieces = source.open(0, self.signal.as_ref()).await?;
        let read = self.read_head_from(source, &pieces).await;
        pieces.close();
        read
    }

    async fn read_head_from(&self, source: &Source, pieces: &Pieces) -> Outcome<(Head, Reader)> {
        let (mut head, mut reader) = (Head::default(), Reader::new(None));
        while let Some(bytes) = pieces.next(self.signal.as_ref()).await? {
            // In steps, because a source may give a whole file at once.
            for start in (0..bytes.length()).step_by(HEAD_PIECE as usize) {
                let end = start.saturating_add(HEAD_PIECE).min(bytes.length());
                let piece = bytes.subarray(start, end).to_vec();
                if reader.offset() == 0
                    && let Some(directory) = self.directory_of(source, &piece).await?
                {
                    reader.set_directory(directory.clone())?;
                    head.directory = Some(directory);
                }
                head.bytes.extend_from_slice(&piece);
                if reader.next(&mut &piece[..])?.is_some() {
                    return Ok((head, reader));
                }
            }
        }
        Ok((head, reader))
    }

    /// The directory of a source that begins with `start`, if it is a zip file whose length is known: it is at
    /// the end of the file.
    async fn directory_of(&self, source: &Source, start: &[u8]) -> Outcome<Option<Directory>> {
        let Some(bytes) = source.bytes().filter(|_| Directory::is_zip(start)) else {
            return Ok(None);
        };
        let mut reader = DirectoryReader::new(bytes);
        loop {
            let (from, n) = reader.wants();
            let pieces = source.open(from, self.signal.as_ref()).await?;
            let read = self.read_up_to(n, &pieces).await;
            pieces.close();
            if let Some(directory) = reader.take(read?)? {
                return Ok(Some(directory));
            }
        }
    }

    /// At most `n` bytes of an open source.
    async fn read_up_to(&self, n: u64, pieces: &Pieces) -> Outcome<Vec<u8>> {
        let mut read = Vec::new();
        while (read.len() as u64) < n {
            let Some(bytes) = pieces.next(self.signal.as_ref()).await? else { break };
            let missing = u32::try_from(n - read.len() as u64).unwrap_or(u32::MAX);
            read.extend(bytes.subarray(0, missing.min(bytes.length())).to_vec());
        }
        Ok(read)
    }

    /// Takes the header of a source that is resumed; `head` is its beginning, if it is known.
    async fn push_header(
        &self,
        session: &Session,
        loading: &mut Loading,
        source: &Source,
        head: Option<Head>,
    ) -> Outcome<()> {
        let head = match head {
            Some(head) => head,
            None => self.read_head(source).await?.0,
        };
        if let Some(directory) = head.directory {
            loading.loader.set_directory(directory)?;
        }
        match session.push_header(loading, &mut &head.bytes[..]).await? {
            true => Ok(()),
            // The file ended in its header.
            false => Ok(loading.loader.end_file()?),
        }
    }

    /// Moves the bytes of one file into the loader. If the file is not resumed, its first bytes tell its format.
    async fn pump(
        &self,
        session: &Session,
        loading: &mut Loading,
        source: &Source,
        pieces: &Pieces,
        resumes: bool,
    ) -> Outcome<()> {
        let mut is_start = !resumes;
        while let Some(bytes) = pieces.next(self.signal.as_ref()).await? {
            for start in (0..bytes.length()).step_by(PIECE as usize) {
                let end = start.saturating_add(PIECE).min(bytes.length());
                let piece = bytes.subarray(start, end).to_vec();
                if std::mem::take(&mut is_start)
                    && let Some(directory) = self.directory_of(source, &piece).await?
                {
                    loading.loader.set_directory(directory)?;
                }
                session.push(loading, &piece).await?;
                self.report(&loading.loader.progress());
            }
            source.detach(&bytes);
        }
        Ok(())
    }

    fn report(&self, progress: &Progress) {
        let Some(callback) = &self.on_progress else { return };
        let of_file = match &self.weights[..] {
            // What the header of a zip file says lacks those of its entries.
            [source] => source.bytes().or(progress.file_bytes.map(|b| b.max(progress.received))),
            _ => None,
        };
        let total = self.total.or(of_file.map(|b| b as f64));
        let event = object();
        set(&event, "received", progress.received as f64);
        set(&event, "total", total.map_or(JsValue::NULL, JsValue::from));
        set(&event, "tensor", progress.tensor.as_str());
        // An error in the caller's progress bar must not end the load.
        let _ = callback.call1(&JsValue::UNDEFINED, &event);
    }
}

/// The text of `tokenizer.json`, or those of `vocab.json` and `merges.txt`.
enum TokenizerTexts {
    Json(String),
    Merges { vocab: String, merges: String },
}

impl TokenizerTexts {
    /// Errors: `bad-option`.
    fn parse(value: &JsValue) -> Result<Option<TokenizerTexts>> {
        if let Some(text) = value.as_string() {
            return Ok(Some(TokenizerTexts::Json(text)));
        }
        if is_absent(value) {
            return Ok(None);
        }
        let get = options::options(value, &["vocab", "merges"])?;
        let text = |name: &str| {
            let expected = "a text, or { vocab, merges } with two texts";
            options::string(name, &get(name))?
                .ok_or_else(|| Error::option("tokenizer", expected, format!("no {name}")))
        };
        Ok(Some(TokenizerTexts::Merges { vocab: text("vocab")?, merges: text("merges")? }))
    }

    fn files(&self) -> TokenizerFiles<'_> {
        match self {
            TokenizerTexts::Json(text) => TokenizerFiles::Json(text),
            TokenizerTexts::Merges { vocab, merges } => TokenizerFiles::Merges { vocab, merges },
        }
    }
}

/// The options of `plan`.
pub(super) struct PlanOptions {
    pub(super) config: String,
    pub(super) precision: Precision,
    pub(super) trial: bool,
}

impl PlanOptions {
    /// Errors: `bad-option`, `bad-config`.
    pub(super) fn parse(value: &JsValue) -> Result<PlanOptions> {
        let get = options::options(value, &["config", "precision", "trial"])?;
        Ok(PlanOptions {
            config: config(&get("config"))?,
            precision: precision(&get("precision"))?,
            trial: get("trial").is_truthy(),
        })
    }
}

fn config(value: &JsValue) -> Result<String> {
    let missing = || Error::config("the file", "its text in the option config", "nothing");
    options::string("config", value)?.ok_or_else(missing)
}

fn precision(value: &JsValue) -> Result<Precision> {
    match options::string("precision", value)?.as_deref() {
        None | Some("f16") => Ok(Precision::F16),
        Some("f32") => Ok(Precision::F32),
        Some(other) => {
            Err(Error::option("precision", "\"f16\" or \"f32\"", format!("\"{other}\"")))
        }
    }
}
