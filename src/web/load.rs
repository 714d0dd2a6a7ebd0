//! `load` and `plan`: options in, the bytes of each source into the loader.

use js_sys::{Array, Function};
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

use crate::checkpoint::Position;
use crate::error::{Error, Result};
use crate::gpu::Cancel;
use crate::kernels::Precision;
use crate::model::{Keeping, Progress, RestoreWatch};
use crate::session::{Loading, Recipe, Session, TokenizerText};

use super::convert::{self, object, set};
use super::keep::{Handle, KeptFile};
use super::source::{Pieces, Source};
use super::{Failure, cancel_by};

/// Largest piece handed to the checkpoint reader. Units: bytes.
const PIECE: u32 = 16 << 20;

/// What becomes of a step that calls back.
type Outcome<V> = std::result::Result<V, Failure>;

/// What `load` is given.
pub(super) struct LoadOptions {
    config: Option<String>,
    tokenizer: Option<TokenizerFiles>,
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
        let get = convert::options(value, &known)?;
        let weights = get("weights");
        let sources = match weights.dyn_ref::<Array>() {
            Some(list) => list.iter().collect(),
            None => vec![weights],
        };
        let keep = get("keep");
        let partial = get("partial").is_truthy();
        if partial && keep.is_truthy() {
            return Err(Error::BadOption("keep does not go with partial".into()));
        }
        Ok(LoadOptions {
            config: match partial {
                true => convert::string("config", &get("config"))?,
                false => Some(config(&get("config"))?),
            },
            tokenizer: TokenizerFiles::parse(&get("tokenizer"))?,
            weights: sources.into_iter().map(Source::parse).collect::<Result<_>>()?,
            precision: precision(&get("precision"))?,
            total: convert::number("total", &get("total"))?,
            keep: match convert::is_absent(&keep) {
                true => None,
                false => Some(KeptFile::parse(&keep)?),
            },
            release: get("release").is_truthy(),
            partial,
            on_progress: convert::function("onProgress", &get("onProgress"))?,
            signal: convert::signal(&get("signal"))?,
        })
    }

    /// Loads; whatever happens, no download is left open.
    pub(super) async fn load(&self, session: &Session) -> Outcome<Keeping> {
        let result = self.load_sources(session).await;
        if result.is_err() {
            for source in &self.weights {
                source.cancel().await;
            }
        }
        result
    }

    async fn load_sources(&self, session: &Session) -> Outcome<Keeping> {
        let cancel = cancel_by(self.signal.clone());
        cancel.check()?;
        let recipe = Recipe {
            config: self.config.as_deref(),
            tokenizer: self.tokenizer.as_ref().map(TokenizerFiles::text),
            precision: self.precision,
            release: self.release,
            partial: self.partial,
            ..Recipe::new("", None)
        };
        let mut loading = session.load(&recipe).await?;
        match self.fill(session, &mut loading, &cancel).await {
            Ok(()) => {}
            Err(failure) => {
                match failure.is_lasting() {
                    true => loading.loader.discard(),
                    false => loading.loader.save(),
                }
                return Err(failure);
            }
        }
        let (_, keeping) = session.install(loading).await?;
        Ok(keeping)
    }

    async fn fill(&self, session: &Session, loading: &mut Loading, cancel: &Cancel) -> Outcome<()> {
        let signal = self.signal.as_ref();
        let mut start = Position::default();
        if let Some(handle) = &self.keep {
            let store = Box::new(KeptFile::new(handle));
            let watch = RestoreWatch {
                can_go_on: &|position| self.can_go_on(position),
                cancel,
                on_progress: &|progress| self.report(&progress),
            };
            start = loading.loader.keep(session.gpu(), store, &watch).await?;
        }
        for (index, source) in self.weights.iter().enumerate().skip(start.file) {
            loading.loader.begin_file(index, source.sha256());
            let mut pieces = source.open(0, signal).await?;
            if index == start.file && start.offset > 0 {
                let header = self.pump_header(session, loading, &pieces).await;
                pieces.close().await;
                header?;
                if !loading.loader.go_on_at(&start)? {
                    loading.loader.end_file()?;
                    continue;
                }
                pieces = source.open(start.offset, signal).await?;
            }
            let pumped = self.pump(session, loading, source, &pieces).await;
            pieces.close().await;
            pumped?;
            loading.loader.end_file()?;
        }
        Ok(())
    }

    /// Moves the bytes of one file into the loader.
    async fn pump(
        &self,
        session: &Session,
        loading: &mut Loading,
        source: &Source,
        pieces: &Pieces,
    ) -> Outcome<()> {
        while let Some(bytes) = pieces.next(self.signal.as_ref()).await? {
            for start in (0..bytes.length()).step_by(PIECE as usize) {
                let end = (start + PIECE).min(bytes.length());
                let piece = bytes.subarray(start, end).to_vec();
                loading.loader.push(session.gpu(), &piece).await?;
                self.report(&loading.loader.progress());
            }
            source.take_over(&bytes);
        }
        Ok(())
    }

    /// Moves bytes into the loader until it knows the header of the file.
    async fn pump_header(
        &self,
        session: &Session,
        loading: &mut Loading,
        pieces: &Pieces,
    ) -> Outcome<()> {
        while let Some(bytes) = pieces.next(self.signal.as_ref()).await? {
            let mut piece = &bytes.to_vec()[..];
            if loading.loader.push_header(session.gpu(), &mut piece)? {
                return Ok(());
            }
        }
        Ok(loading.loader.end_file()?)
    }

    /// Whether what an earlier load left can be gone on with by these sources: they open anywhere,
    /// and where a digest is known, its state was kept.
    fn can_go_on(&self, position: &Position) -> bool {
        let source = self.weights.get(position.file);
        let is_held = source.is_none_or(|s| s.sha256().is_none() || position.digest.is_some());
        self.weights.iter().all(Source::can_seek) && (is_held || position.offset == 0)
    }

    fn report(&self, progress: &Progress) {
        let Some(callback) = &self.on_progress else { return };
        let of_file = progress.file_bytes.filter(|_| self.weights.len() == 1);
        let total = self.total.or(of_file.map(|b| b as f64));
        let event = object();
        set(&event, "received", progress.received as f64);
        set(&event, "total", total.map_or(JsValue::NULL, JsValue::from));
        set(&event, "tensor", progress.tensor.as_str());
        // A page's own trouble with drawing a bar must not break a download.
        let _ = callback.call1(&JsValue::UNDEFINED, &event);
    }
}

/// The text of `tokenizer.json`, or those of `vocab.json` and `merges.txt`.
enum TokenizerFiles {
    Json(String),
    Merges { vocab: String, merges: String },
}

impl TokenizerFiles {
    /// Errors: `bad-option`.
    fn parse(value: &JsValue) -> Result<Option<TokenizerFiles>> {
        if let Some(text) = value.as_string() {
            return Ok(Some(TokenizerFiles::Json(text)));
        }
        if convert::is_absent(value) {
            return Ok(None);
        }
        let get = convert::options(value, &["vocab", "merges"])?;
        let text = |name: &str| {
            let wrong =
                || Error::BadOption("tokenizer is neither a text nor { vocab, merges }".into());
            convert::string(name, &get(name))?.ok_or_else(wrong)
        };
        Ok(Some(TokenizerFiles::Merges { vocab: text("vocab")?, merges: text("merges")? }))
    }

    fn text(&self) -> TokenizerText<'_> {
        match self {
            TokenizerFiles::Json(text) => TokenizerText::Json(text),
            TokenizerFiles::Merges { vocab, merges } => TokenizerText::Merges { vocab, merges },
        }
    }
}

/// What `plan` is given.
pub(super) struct PlanOptions {
    pub(super) config: String,
    pub(super) precision: Precision,
    pub(super) trial: bool,
}

impl PlanOptions {
    /// Errors: `bad-option`, `bad-config`.
    pub(super) fn parse(value: &JsValue) -> Result<PlanOptions> {
        let get = convert::options(value, &["config", "precision", "trial"])?;
        Ok(PlanOptions {
            config: config(&get("config"))?,
            precision: precision(&get("precision"))?,
            trial: get("trial").is_truthy(),
        })
    }
}

fn config(value: &JsValue) -> Result<String> {
    let missing = || Error::BadConfig("no text of it was given".into());
    convert::string("config", value)?.ok_or_else(missing)
}

fn precision(value: &JsValue) -> Result<Precision> {
    match convert::string("precision", value)?.as_deref() {
        None | Some("f16") => Ok(Precision::F16),
        Some("f32") => Ok(Precision::F32),
        Some(other) => {
            Err(Error::BadOption(format!("precision is \"{other}\", expected \"f16\" or \"f32\"")))
        }
    }
}
